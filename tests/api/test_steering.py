"""What owners do to their tasks: pause, resume, revoke, execute, retry, edit, delete."""

import asyncio
from typing import Any

import httpx
import pytest

from tasks_server.domain.attempt import Outcome, OutcomeKind

from .conftest import ADMIN_KEY, Api, claimed, task, worked
from .test_tasks import registered, shown

SUCCESS = Outcome(OutcomeKind.SUCCESS, 200)
DONE = {"status": "Done"}


async def steer(client: httpx.AsyncClient, made: dict[str, Any], step: str) -> httpx.Response:
    method = "POST" if step in ("execute", "retry") else "PATCH"
    return await client.request(method, f"/v1/queues/{made['id']}/{step}")


async def hints_forgotten(api: Api) -> None:
    await asyncio.sleep(0)  # hints of one turn of the loop go out at its end
    await api.store.wait(0)


async def test_pause_keeps_the_wait_that_remains_and_resume_goes_on(client: httpx.AsyncClient, api: Api) -> None:
    made = await registered(client, executionDelay=60_000)
    paused_at = api.clock.advance(20_000)

    assert (await steer(client, made, "pause")).json() == DONE
    paused = await shown(client, made)
    assert (paused["state"], paused["estimateEndAt"]) == ("PAUSED", paused_at)

    api.clock.advance(3_600_000)
    resumed = (await steer(client, made, "resume")).json()
    assert (resumed["state"], resumed["estimateEndAt"]) == ("RUNNING", 0)
    assert resumed["estimateExecutionAt"] == api.clock.now() + 40_000


@pytest.mark.parametrize(("step", "state"), [("pause", "PAUSED"), ("revoke", "REVOKED")])
async def test_a_task_in_flight_loses_its_lease_and_logs_the_attempt(
    client: httpx.AsyncClient, api: Api, step: str, state: str
) -> None:
    made = await registered(client)
    began = api.clock.advance(5)
    (claim,) = await claimed(api.store, api.clock)
    ended = api.clock.advance(50)
    await hints_forgotten(api)

    assert (await steer(client, made, step)).json() == DONE

    assert await api.store.held([(claim.ref, claim.lease)]) == set()
    assert (await api.store.wait(5)).cancelled
    assert (await shown(client, made))["state"] == state
    (attempt,) = await shown(client, made, "/attempts")
    assert (attempt["outcome"], attempt["startedAt"], attempt["endedAt"]) == ("aborted", began, ended)
    assert step in attempt["error"]


async def test_execute_runs_a_waiting_task_now(client: httpx.AsyncClient, api: Api) -> None:
    made = await registered(client, executionDelay="1d")
    await hints_forgotten(api)

    assert (await steer(client, made, "execute")).json() == DONE

    assert (await api.store.wait(5)).work_at is not None
    assert await worked(api.store, api.clock, SUCCESS) == 1


async def test_execute_does_not_send_twice(client: httpx.AsyncClient, api: Api) -> None:
    made = await registered(client)
    api.clock.advance(5)
    (claim,) = await claimed(api.store, api.clock)

    assert (await steer(client, made, "execute")).json() == DONE

    assert await api.store.held([(claim.ref, claim.lease)]) == {claim.ref}
    assert await claimed(api.store, api.clock) == []


async def test_retry_gives_a_final_task_a_fresh_budget_and_keeps_its_history(
    client: httpx.AsyncClient, api: Api
) -> None:
    made = await registered(client)
    api.clock.advance(5)
    await worked(api.store, api.clock, Outcome(OutcomeKind.HTTP_ERROR, 500))
    assert (await shown(client, made))["state"] == "ERROR"

    again = (await steer(client, made, "retry")).json()
    assert (again["state"], again["failures"]) == ("RUNNING", 0)
    await worked(api.store, api.clock, SUCCESS)

    assert (await shown(client, made))["state"] == "SUCCESS"
    assert [attempt["number"] for attempt in await shown(client, made, "/attempts")] == [1, 2]


@pytest.mark.parametrize(
    ("before", "refused"),
    [
        ((), ("resume", "retry")),
        (("pause",), ("pause", "execute", "retry")),
        (("revoke",), ("pause", "resume", "revoke", "execute")),
    ],
)
async def test_the_state_refuses_what_does_not_suit_it(
    client: httpx.AsyncClient, before: tuple[str, ...], refused: tuple[str, ...]
) -> None:
    made = await registered(client, executionDelay="1h")
    for step in before:
        assert (await steer(client, made, step)).is_success
    as_it_was = await shown(client, made)

    for step in refused:
        answer = await steer(client, made, step)
        assert (answer.status_code, answer.json()["code"]) == (422, "state_refuses")

    assert await shown(client, made) == as_it_was


async def test_delete_removes_a_task_in_any_state(client: httpx.AsyncClient, api: Api) -> None:
    made = await registered(client)
    api.clock.advance(5)
    (claim,) = await claimed(api.store, api.clock)
    await hints_forgotten(api)

    assert (await client.delete(f"/v1/queues/{made['id']}")).json() == DONE

    assert (await api.store.wait(5)).cancelled
    assert await api.store.held([(claim.ref, claim.lease)]) == set()
    assert (await client.delete(f"/v1/queues/{made['id']}")).status_code == 404
    assert (await client.get(f"/v1/queues/{made['id']}/attempts")).status_code == 404


# Edits


async def edited(client: httpx.AsyncClient, made: dict[str, Any], patch: object) -> httpx.Response:
    return await client.patch(f"/v1/queues/{made['id']}", json=patch)


async def test_an_edit_changes_what_it_names_and_nothing_else(client: httpx.AsyncClient) -> None:
    body = {**task(executionDelay="1h", retry=3), "metadata": {"order": "17"}}
    made = (await client.post("/v1/queues/register", json=body)).json()
    before = await shown(client, made, "/config")

    answer = await edited(
        client,
        made,
        {"httpRequest": {"url": "http://other.test/"}, "config": {"priority": 7}, "metadata": {"by": "me"}},
    )

    assert answer.status_code == 200
    assert (answer.json()["priority"], answer.json()["metadata"]) == (7, {"order": "17", "by": "me"})
    assert answer.json()["estimateExecutionAt"] == made["estimateExecutionAt"]
    after = await shown(client, made, "/config")
    assert after["httpRequest"] == before["httpRequest"] | {"url": "http://other.test/"}
    assert after["config"] == before["config"] | {"priority": 7}
    assert len((await client.get("/v1/queues?metadata.by=me")).json()) == 1


async def test_an_edit_of_its_time_moves_the_task(client: httpx.AsyncClient, api: Api) -> None:
    made = await registered(client, executionDelay="1h")
    now = api.clock.advance(1_000)

    moved = (await edited(client, made, {"config": {"executionDelay": "2h"}})).json()
    assert moved["estimateExecutionAt"] == now + 7_200_000

    await hints_forgotten(api)
    soon = (await edited(client, made, {"config": {"executionDelay": 0}})).json()
    assert (soon["phase"], soon["estimateExecutionAt"]) == ("available", now)
    assert (await api.store.wait(5)).work_at is not None


async def test_an_edited_target_is_the_one_that_is_called(client: httpx.AsyncClient, api: Api) -> None:
    made = await registered(client)
    await edited(client, made, {"httpRequest": {"url": "http://other.test:8080/x"}})
    api.clock.advance(5)
    (claim,) = await claimed(api.store, api.clock)
    assert claim.target == "other.test:8080"


async def test_a_paused_task_is_edited_and_stays_paused(client: httpx.AsyncClient, api: Api) -> None:
    made = await registered(client, executionDelay="1h")
    await steer(client, made, "pause")
    assert (await edited(client, made, {"config": {"executionDelay": "5m"}})).json()["state"] == "PAUSED"
    now = api.clock.advance(10_000_000)
    assert (await steer(client, made, "resume")).json()["estimateExecutionAt"] == now + 300_000


async def test_a_bad_edit_changes_nothing_and_names_every_fault(client: httpx.AsyncClient) -> None:
    made = await registered(client, executionDelay="1h")
    before = await shown(client, made, "/config")

    answer = await edited(client, made, {"httpRequest": {"url": "x"}, "config": {"retry": -1}, "state": "PAUSED"})

    assert answer.status_code == 400
    assert {fault["field"] for fault in answer.json()["errors"]} == {"httpRequest.url", "config.retry", "state"}
    assert await shown(client, made, "/config") == before


async def test_tasks_in_flight_and_final_ones_are_not_edited(client: httpx.AsyncClient, api: Api) -> None:
    made = await registered(client)
    api.clock.advance(5)
    await claimed(api.store, api.clock)
    assert (await edited(client, made, {"nonsense": 1})).status_code == 422
    await steer(client, made, "revoke")
    assert (await edited(client, made, {"config": {"retry": 1}})).status_code == 422


async def test_a_merge_patch_may_call_itself_one(client: httpx.AsyncClient) -> None:
    made = await registered(client, executionDelay="1h")
    answer = await client.patch(
        f"/v1/queues/{made['id']}",
        content=b'{"config":{"retry":2}}',
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert answer.status_code == 200


# By whom


@pytest.fixture
async def in_its_name(api: Api, client: httpx.AsyncClient, admin: httpx.AsyncClient) -> httpx.AsyncClient:
    """A client of the operator who acts in the name of the owner that `client` is of."""
    owner = (await client.get("/v1/owners/small-shop")).json()
    return api.client(ADMIN_KEY, owner["id"])


@pytest.mark.parametrize("by", ["its owner", "the operator"])
async def test_all_that_is_done_by_hand_tells_by_whose(
    client: httpx.AsyncClient, in_its_name: httpx.AsyncClient, api: Api, by: str
) -> None:
    who = client if by == "its owner" else in_its_name
    made = await registered(client, executionDelay=60_000)
    for step in ("pause", "resume", "execute"):
        assert (await steer(who, made, step)).status_code == 200
    assert (await who.patch(f"/v1/queues/{made['id']}", json={"metadata": {"a": "b"}})).status_code == 200
    api.clock.advance(5)
    await claimed(api.store, api.clock)
    for step in ("revoke", "retry"):
        assert (await steer(who, made, step)).status_code == 200
    told = await shown(client, made, "/timeline")
    details = {entry["event"]: entry.get("detail") for entry in told}
    events = ("paused", "resumed", "executed", "edited", "revoked", "restarted")
    assert {event: details[event] for event in events} == dict.fromkeys(events, f"by {by}")
    (attempt,) = await shown(client, made, "/attempts")
    assert attempt["error"] == details["dropped"] == f"dropped: {by} asked to revoke the task"


@pytest.mark.parametrize("by", ["its owner", "the operator"])
async def test_runs_of_handlers_tell_the_same(
    client: httpx.AsyncClient, in_its_name: httpx.AsyncClient, by: str
) -> None:
    who = client if by == "its owner" else in_its_name
    body = {"task_name": "send-email", "scheduled_at": "2030-01-01"}
    made = (await client.post("/tasks", json=body)).json()
    assert (await who.patch(f"/tasks/{made['id']}", json={"scheduled_at": "2031-01-01"})).status_code == 200
    assert (await who.delete(f"/tasks/{made['id']}")).status_code == 204
    told = [(entry["event"], entry.get("detail")) for entry in await shown(client, made, "/timeline")]
    assert told[1:] == [("edited", f"by {by}"), ("revoked", f"by {by}")]


async def test_lanes_and_bulk_work_tell_it_too(client: httpx.AsyncClient, in_its_name: httpx.AsyncClient) -> None:
    for who, by in ((client, "owner"), (in_its_name, "operator")):
        await registered(client, lane=by)
        assert (await who.post(f"/v1/lanes/{by}/pause")).json()["pausedBy"] == by
        assert (await who.post(f"/v1/lanes/{by}/purge")).json()["askedBy"] == by
        assert (await who.put(f"/v1/lanes/put-{by}", json={"paused": True})).json()["pausedBy"] == by
        bulk = await who.post("/v1/bulk", json={"action": "revoke", "filter": {"lane": by}})
        assert bulk.json()["askedBy"] == by


async def test_an_edit_of_a_delay_takes_the_place_of_a_date_and_the_reverse(
    client: httpx.AsyncClient, api: Api
) -> None:
    at = api.clock.now() + 7_200_000
    made = await registered(client, executeAt=at)

    async def patched(**config: Any) -> httpx.Response:
        return await client.patch(f"/v1/queues/{made['id']}", json={"config": config})

    assert (await patched(executionDelay=60_000)).json()["estimateExecutionAt"] == api.clock.now() + 60_000
    config = (await shown(client, made, "/config"))["config"]
    assert (config["executionDelay"], config["executeAt"]) == (60_000, None)
    assert (await patched(executeAt=at)).json()["estimateExecutionAt"] == at
    config = (await shown(client, made, "/config"))["config"]
    assert (config["executionDelay"], config["executeAt"]) == (1, at)
    berlin = (await patched(executeAt="2030-01-31T12:00", timezone="Europe/Berlin")).json()
    assert berlin["estimateExecutionAt"] == 1_896_087_600_000
    assert (await shown(client, made, "/config"))["config"]["timezone"] == "Europe/Berlin"
    both = await patched(executeAt=at, executionDelay=60_000)
    (fault,) = both.json()["errors"]
    assert (both.status_code, fault["field"]) == (400, "config.executionDelay")
    assert "both say when the task is due" in fault["message"]


async def test_a_date_and_a_delay_are_not_registered_together(client: httpx.AsyncClient, api: Api) -> None:
    both = {"executeAt": api.clock.now() + 60_000, "executionDelay": 60_000}
    for answer in (
        await client.post("/v1/queues/register", json=task(**both)),
        await client.post("/v1/queues/batch", json={"tasks": [task(**both)]}),
        await client.post("/v1/queues/register", json={"handler": {"name": "send"}, "config": both}),
    ):
        assert answer.status_code == 400
        assert [fault["field"].removeprefix("tasks.0.") for fault in answer.json()["errors"]] == [
            "config.executionDelay"
        ]
