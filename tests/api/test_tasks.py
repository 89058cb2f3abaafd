"""Tasks: registered, shown, listed."""

from typing import Any

import httpx

from .conftest import Api, task


async def registered(client: httpx.AsyncClient, **config: object) -> dict[str, Any]:
    answer = await client.post("/v1/queues/register", json=task(**config))
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_register_answers_the_contracts_fields(client: httpx.AsyncClient, api: Api) -> None:
    body = {**task(executionDelay=60_000), "metadata": {"order": "17"}}

    answer = await client.post("/v1/queues/register", json=body)

    now = api.clock.now()
    assert answer.status_code == 201
    made = answer.json()
    assert len(made.pop("id")) == 24
    assert made == {
        "state": "RUNNING",
        "createdAt": now,
        "statusCode": 0,
        "estimateEndAt": 0,
        "estimateExecutionAt": now + 60_000,
        "response": None,
        "metadata": {"order": "17"},
    }


async def test_a_registered_task_can_be_shown(client: httpx.AsyncClient) -> None:
    made = await registered(client, executionDelay="90s", priority=3)

    shown = (await client.get(f"/v1/queues/{made['id']}")).json()

    assert shown | made == shown
    assert (shown["phase"], shown["priority"], shown["attempts"]) == ("scheduled", 3, 0)


async def test_list_pages_by_cursor_in_the_order_asked_for(client: httpx.AsyncClient, api: Api) -> None:
    made = []
    for delay in (5, 4, 3, 2, 1):
        api.clock.advance(1)
        made.append(await registered(client, executionDelay=delay * 60_000))

    seen, path = [], "/v1/queues?limit=2&order=estimateExecutionAt&sort=asc"
    while path:
        answer = await client.get(path)
        assert answer.status_code == 200
        seen += [listed["id"] for listed in answer.json()]
        path = answer.links.get("next", {}).get("url", "")

    assert seen == [one["id"] for one in reversed(made)]
