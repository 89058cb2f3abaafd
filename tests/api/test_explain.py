"""Why a task has not run, as owners and the operator are told."""

import httpx

from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.domain.engines import EngineFacts, EngineReport, Repertoire

from .conftest import Api, claimed, worked
from .test_tasks import registered

FACTS = EngineFacts("machine-of-the-operator", 4711, "1", 8, 7, 4, Repertoire(True, ()))


async def engine_is_there(api: Api) -> int:
    """An engine has told of itself. Its number."""
    await api.store.report(EngineReport(api.clock.now(), api.clock.now(), FACTS))
    (engine,) = await api.store.engines()
    return engine.number


async def test_what_holds_a_task(client: httpx.AsyncClient, api: Api) -> None:
    await engine_is_there(api)
    made = await registered(client, executionDelay=3_600_000)
    answer = await client.get(f"/v1/queues/{made['id']}/explain")
    assert answer.status_code == 200
    explained = answer.json()
    due = api.clock.now() + 3_600_000
    assert (explained["id"], explained["state"], explained["phase"]) == (made["id"], "RUNNING", "scheduled")
    assert explained["summary"] == "It is due in 1 h, at 2023-11-14T23:13:20.000Z. Wait, or run it now."
    assert (explained["runnable"], explained["estimateAt"]) == (False, due)
    assert explained["engines"] == {"alive": 1, "lastSeenAt": api.clock.now()}
    (gate,) = (gate for gate in explained["gates"] if gate["closed"])
    assert gate == {
        "gate": "due",
        "closed": True,
        "text": "it is due in 1 h, at 2023-11-14T23:13:20.000Z",
        "until": due,
        "facts": {"dueAt": due},
    }


async def test_nothing_holds_it_or_no_engine_is_there(client: httpx.AsyncClient, api: Api) -> None:
    made = await registered(client)
    explained = (await client.get(f"/v1/queues/{made['id']}/explain")).json()
    assert explained["summary"].startswith("No engine has ever run on this database. Start one: ")
    assert explained["engines"] == {"alive": 0, "lastSeenAt": None}
    await engine_is_there(api)
    api.clock.advance(1)
    explained = (await client.get(f"/v1/queues/{made['id']}/explain")).json()
    assert (explained["runnable"], explained["estimateAt"]) == (True, api.clock.now())


async def test_a_pause_tells_who_asked_for_it(client: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    made = await registered(client)
    for who, by in ((client, "by its owner"), (admin, "by the operator")):
        assert (await who.patch(f"/v1/queues/{made['id']}/pause")).status_code == 200
        explained = (await client.get(f"/v1/queues/{made['id']}/explain")).json()
        assert (explained["state"], explained["gates"][0]["facts"]["detail"]) == ("PAUSED", by)
        timeline = (await client.get(f"/v1/queues/{made['id']}/timeline")).json()
        assert [entry["detail"] for entry in timeline if entry["event"] == "paused"][-1] == by
        assert (await client.patch(f"/v1/queues/{made['id']}/resume")).status_code == 200


async def test_machines_are_named_to_the_operator_alone(
    client: httpx.AsyncClient, admin: httpx.AsyncClient, api: Api
) -> None:
    made = await registered(client)
    api.clock.advance(1)
    await claimed(api.store, api.clock)
    number = await engine_is_there(api)
    owners, operators = [(await who.get(f"/v1/queues/{made['id']}/explain")).json() for who in (client, admin)]
    assert owners["gates"][0]["gate"] == "running"
    assert f"engine {number}:" in owners["summary"]
    assert "machine-of-the-operator" not in str(owners)
    assert "process 4711" not in owners["summary"]
    assert "(process 4711 on machine-of-the-operator)" in operators["summary"]


async def test_a_final_task_and_one_that_is_not_there(client: httpx.AsyncClient, api: Api) -> None:
    made = await registered(client)
    api.clock.advance(1)
    assert await worked(api.store, api.clock, Outcome(OutcomeKind.SUCCESS, 200)) == 1
    explained = (await client.get(f"/v1/queues/{made['id']}/explain")).json()
    assert (explained["state"], [gate["gate"] for gate in explained["gates"]]) == ("SUCCESS", ["final"])
    stranger, _ = await api.owner("other-shop")
    for asked in (made["id"], "0" * 24, "nonsense"):
        answer = await stranger.get(f"/v1/queues/{asked}/explain")
        assert (answer.status_code, answer.json()["code"]) == (404, "task_not_found")
