"""Each action answers to POST and to PATCH alike, and the document says so."""

import httpx
import pytest

from .conftest import Api, task

ACTIONS = {
    "tasks": [("pause", 200), ("resume", 200), ("execute", 200), ("revoke", 200), ("retry", 200)],
    "schedules": [("pause", 200), ("resume", 200), ("run", 201)],
    "lanes": [("pause", 200), ("resume", 200), ("purge", 202)],
    "bulk": [("cancel", 200)],
}


async def made(client: httpx.AsyncClient, kind: str) -> str:
    """The path of something new."""
    if kind == "tasks":
        answer = await client.post("/v1/queues/register", json=task(executionDelay="1h"))
        return f"/v1/queues/{answer.json()['id']}"
    if kind == "schedules":
        answer = await client.post("/v1/schedules", json={"name": "daily", "cron": "@daily", "task": task()})
        return f"/v1/schedules/{answer.json()['id']}"
    if kind == "lanes":
        await client.put("/v1/lanes/mail", json={"maxConcurrent": 1})
        return "/v1/lanes/mail"
    answer = await client.post("/v1/bulk", json={"action": "retry", "filter": {"all": True}})
    return f"/v1/bulk/{answer.json()['id']}"


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("kind", ACTIONS)
async def test_actions_answer_to_both(api: Api, client: httpx.AsyncClient, kind: str, method: str) -> None:
    path = await made(client, kind)
    document = (await client.get("/openapi.json")).json()
    for action, status in ACTIONS[kind]:
        answer = await client.request(method, f"{path}/{action}")
        assert answer.status_code == status, (action, answer.text)
        (described,) = [
            operations
            for known, operations in document["paths"].items()
            if known.startswith(path[:6]) and known.endswith(f"/{action}") and known.split("/")[2] == path.split("/")[2]
        ]
        assert {"post", "patch"} <= described.keys()
        assert described["post"]["operationId"] != described["patch"]["operationId"]
        refused = await client.delete(f"{path}/{action}")
        assert (refused.status_code, refused.headers["allow"]) == (405, "PATCH, POST")


def test_no_action_answers_to_one_alone(api: Api) -> None:
    steps = {step for actions in ACTIONS.values() for step, _ in actions}
    for route in api.app.table:
        if route.path.rpartition("/")[2] in steps and route.method != "GET":
            assert {route.method, route.also} == {"POST", "PATCH"}, route.path
