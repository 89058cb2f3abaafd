"""What is sent again and what is not, by a scripted server: the same for both clients."""

import logging
import pickle
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tasks_server.client import (
    AsyncClient,
    Client,
    Conflict,
    ConnectionFailed,
    Forbidden,
    InvalidRequest,
    NotFound,
    Refused,
    Retries,
    TasksError,
    Throttled,
    TooLarge,
    Unauthorized,
    Unavailable,
)
from tests.client.scripted import DETAIL, KEY, TASK, Ask, Script, json, problem


def register(client: Any) -> Any:
    return client.tasks.register(url="https://target.test/")


def register_batch(client: Any) -> Any:
    return client.tasks.register_batch([{"url": "https://target.test/"}])


def run(client: Any) -> Any:
    return client.handler_tasks.create("send-email")


def show(client: Any) -> Any:
    return client.tasks.get("T" * 24)


NEVER_SENT = [httpx.ConnectError("refused"), httpx.ConnectTimeout("late"), httpx.PoolTimeout("full")]
NEVER_SENDABLE = [httpx.LocalProtocolError("Illegal header value"), httpx.UnsupportedProtocol("none of HTTP")]
PERHAPS_SENT = [httpx.ReadError("reset"), httpx.ReadTimeout("late"), httpx.RemoteProtocolError("closed")]
PASSING = [problem(429, "throttled"), problem(503, "store_unavailable"), problem(503, "store_busy")]
DOUBTFUL = [httpx.Response(502), problem(503, "store_outcome_unknown"), httpx.Response(503), httpx.Response(504)]


@pytest.mark.parametrize("outcome", [*NEVER_SENT, *PERHAPS_SENT, *PASSING, *DOUBTFUL], ids=str)
@pytest.mark.parametrize(("asked", "answer"), [(register, TASK), (run, TASK), (show, DETAIL)])
def test_what_passes_is_asked_again(ask: Ask, outcome: Any, asked: Callable[[Any], Any], answer: Any) -> None:
    script = Script([outcome, json(200, answer)])
    assert ask(script, asked).id == "T" * 24
    assert len(script.requests) == 2
    assert len(script.slept) == 1


@pytest.mark.parametrize("outcome", NEVER_SENDABLE, ids=str)
@pytest.mark.parametrize("asked", [register, register_batch, show])
def test_what_cannot_be_sent_is_told_at_once(ask: Ask, outcome: Any, asked: Callable[[Any], Any]) -> None:
    script = Script([outcome])
    with pytest.raises(ConnectionFailed, match=str(outcome)) as told:
        ask(script, asked)
    assert not told.value.uncertain
    assert script.slept == []


def test_a_registration_has_one_key_over_its_retries_and_each_has_its_own(ask: Ask) -> None:
    script = Script([httpx.ReadError("reset"), httpx.Response(502), json(201, TASK), json(201, TASK)])
    ask(script, register)
    ask(script, register)
    *first, second = [request.headers["idempotency-key"] for request in script.requests]
    assert len(first) == 3
    assert len(set(first)) == 1
    assert second != first[0]
    assert len({request.content for request in script.requests[:3]}) == 1


def test_a_key_of_the_business_is_sent_as_it_is(ask: Ask) -> None:
    script = Script([json(201, TASK)])
    ask(script, lambda client: client.tasks.register(url="https://target.test/", idempotency_key="order-7"))
    assert script.requests[0].headers["idempotency-key"] == "order-7"


@pytest.mark.parametrize("outcome", [*NEVER_SENT, *PERHAPS_SENT, *PASSING, *DOUBTFUL], ids=str)
def test_a_batch_is_sent_again_under_its_key(ask: Ask, outcome: Any) -> None:
    script = Script([outcome, json(200, {"tasks": [TASK]})])
    assert [task.id for task in ask(script, register_batch).tasks] == ["T" * 24]
    first, second = [request.headers["idempotency-key"] for request in script.requests]
    assert first == second


NOT_TWICE: dict[str, Callable[[Any], Any]] = {
    "pause": lambda client: client.tasks.pause("T" * 24),
    "execute": lambda client: client.tasks.execute("T" * 24),
    "retry": lambda client: client.tasks.retry("T" * 24),
    "edit": lambda client: client.tasks.edit("T" * 24, retry=1),
    "run": lambda client: client.schedules.run("daily"),
    "create": lambda client: client.schedules.create("daily", every="1d", task={"url": "https://target.test/"}),
    "recurring": lambda client: client.handler_tasks.create_recurring("send-email", "@daily"),
    "reschedule": lambda client: client.handler_tasks.reschedule("T" * 24, "2030-01-01"),
    "bulk": lambda client: client.bulk.create("retry", all=True),
    "purge": lambda client: client.lanes.purge("mails"),
    "owner": lambda client: client.owners.register("small-shop"),
    "no_owner": lambda client: client.owners.delete("small-shop"),
    "key": lambda client: client.owners.add_key("small-shop"),
}


@pytest.mark.parametrize("outcome", [*PERHAPS_SENT, *DOUBTFUL], ids=str)
@pytest.mark.parametrize("asked", NOT_TWICE.values(), ids=NOT_TWICE)
def test_what_may_have_been_done_is_not_done_twice(ask: Ask, outcome: Any, asked: Callable[[Any], Any]) -> None:
    script = Script([outcome])
    with pytest.raises(TasksError) as told:
        ask(script, asked)
    assert told.value.uncertain
    assert "it may have been done nevertheless" in str(told.value)
    assert script.slept == []


HARMLESS: dict[str, Callable[[Any], Any]] = {
    "delete": lambda client: client.tasks.delete("T" * 24),
    "put": lambda client: client.schedules.put("daily", every="1d", task={"url": "https://target.test/"}),
    "edit": lambda client: client.schedules.edit("daily", every="2d"),
    "pause": lambda client: client.schedules.pause("daily"),
    "resume": lambda client: client.schedules.resume("daily"),
    "no_schedule": lambda client: client.schedules.delete("daily"),
    "lane": lambda client: client.lanes.put("mails", burst=5),
    "edit_lane": lambda client: client.lanes.edit("mails", burst=6),
    "pause_lane": lambda client: client.lanes.pause("mails"),
    "resume_lane": lambda client: client.lanes.resume("mails"),
    "dry_run": lambda client: client.bulk.dry_run("retry", all=True),
    "cancel": lambda client: client.bulk.cancel("B" * 24),
    "signing": lambda client: client.owners.edit_signing("small-shop", enabled=True),
}


@pytest.mark.parametrize("outcome", [*PERHAPS_SENT, *DOUBTFUL], ids=str)
@pytest.mark.parametrize("asked", HARMLESS.values(), ids=HARMLESS)
def test_what_is_the_same_when_it_is_done_twice_is_sent_again(
    ask: Ask, outcome: Any, asked: Callable[[Any], Any]
) -> None:
    """The second time it is refused, to tell the end of it."""
    script = Script([outcome, problem(403, "owner_unknown")])
    with pytest.raises(Forbidden):
        ask(script, asked)
    first, second = script.requests
    assert (first.method, first.url, first.content) == (second.method, second.url, second.content)


def test_what_is_gone_on_the_second_try_was_deleted_by_the_first(ask: Ask) -> None:
    script = Script([httpx.ReadError("reset"), problem(404, "task_not_found")])
    assert ask(script, lambda client: client.tasks.delete("T" * 24)) is None
    for harmless in (problem(503, "store_busy"), httpx.ConnectError("refused")):
        script = Script([harmless, problem(404, "task_not_found")])
        with pytest.raises(NotFound):
            ask(script, lambda client: client.tasks.delete("T" * 24))


def test_what_is_cancelled_on_the_second_try_was_cancelled_by_the_first(ask: Ask) -> None:
    def cancel(client: Any) -> Any:
        return client.handler_tasks.delete("T" * 24)

    script = Script([httpx.ReadError("reset"), problem(409, "task_cancelled")])
    assert ask(script, cancel) is None
    script = Script([httpx.ReadError("reset"), problem(409, "task_not_pending")])
    with pytest.raises(Conflict) as told:  # it has begun, whatever became of the first try
        ask(script, cancel)
    for harmless in ([], [problem(503, "store_busy")], [httpx.ConnectError("refused")]):
        script = Script([*harmless, problem(409, "task_cancelled")])
        with pytest.raises(Conflict) as told:
            ask(script, cancel)
        assert told.value.code == "task_cancelled"


def test_waits_double_up_to_the_longest_and_are_shortened_by_chance(ask: Ask) -> None:
    failures = [httpx.ConnectError("refused") for _ in range(6)]
    script = Script([*failures, json(201, TASK)], Retries(first=0.5, longest=5.0, unreachable=60.0))
    ask(script, register)
    assert script.slept == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    script = Script([*failures[:2], json(201, TASK)], Retries(first=0.5, longest=5.0), chance=0.25)
    ask(script, register)
    assert script.slept == [0.125, 0.25]


def test_retry_after_comes_first(ask: Ask) -> None:
    script = Script([problem(429, "throttled", **{"retry-after": "7"}), json(201, TASK)], Retries(first=0.5))
    ask(script, register)
    assert script.slept == [7.5]  # never before, and not all at the same instant
    busy = [problem(503, "store_busy", **{"retry-after": "2"}) for _ in range(3)]
    script = Script([*busy, json(201, TASK)], Retries(first=0.5))
    ask(script, register)
    assert script.slept == [2.5, 3.0, 4.0]
    odd = problem(503, "store_busy", **{"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"})
    script = Script([odd, json(201, TASK)], Retries(first=0.5))
    ask(script, register)
    assert script.slept == [0.5]


def test_no_try_begins_after_the_deadline(ask: Ask) -> None:
    script = Script([httpx.ConnectError("refused") for _ in range(9)], Retries(deadline=3.0, first=1.0))
    with pytest.raises(ConnectionFailed) as told:
        ask(script, register)
    assert script.slept == [1.0, 2.0]
    assert len(script.requests) == 3
    assert not told.value.uncertain
    assert isinstance(told.value.__cause__, httpx.ConnectError)
    script = Script([problem(429, "throttled", **{"retry-after": "4"})], Retries(deadline=3.0))
    with pytest.raises(Throttled) as throttled:
        ask(script, register)
    assert throttled.value.retry_after == 4.0
    script = Script([httpx.ConnectError("refused")], Retries(deadline=0.0))
    with pytest.raises(ConnectionFailed):
        ask(script, register)


def test_what_was_in_doubt_once_stays_in_doubt(ask: Ask) -> None:
    """The last try was never sent, but an earlier one may have been carried out."""
    script = Script([httpx.ReadError("reset"), httpx.ConnectError("refused")], Retries(deadline=0.1))
    with pytest.raises(ConnectionFailed) as told:
        ask(script, register)
    assert told.value.uncertain


def test_nothing_is_in_doubt_where_nothing_is_changed(ask: Ask) -> None:
    script = Script([httpx.ReadError("reset")], Retries(deadline=0.0))
    with pytest.raises(ConnectionFailed) as told:
        ask(script, show)
    assert not told.value.uncertain


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, InvalidRequest, "invalid_request"),
        (401, Unauthorized, "key_invalid"),
        (403, Forbidden, "admin_required"),
        (404, NotFound, "task_not_found"),
        (409, Conflict, "idempotency_key_reused"),
        (413, TooLarge, "body_too_large"),
        (422, Refused, "queue_full"),
        (500, TasksError, "internal_error"),
    ],
)
def test_what_lasts_is_raised_at_once(ask: Ask, status: int, kind: type[TasksError], code: str) -> None:
    script = Script([problem(status, code)])
    with pytest.raises(TasksError) as told:
        ask(script, register)
    error = told.value
    assert type(error) is kind
    assert (error.status, error.code, error.detail, error.request_id) == (status, code, f"it is {code}", "r-1")
    assert error.uncertain is (status == 500)
    assert script.slept == []


def test_an_error_names_every_field_that_is_wrong(ask: Ask) -> None:
    faults = [
        {"field": "config.retry", "message": "must be at least 0", "given": -1, "allowed": "0.."},
        {"field": "url", "message": "x"},
    ]
    script = Script([json(400, {"code": "invalid_request", "detail": "config.retry: must be …", "errors": faults})])
    with pytest.raises(InvalidRequest) as told:
        ask(script, register)
    assert [(fault.field, fault.given) for fault in told.value.errors] == [("config.retry", -1), ("url", None)]
    assert str(told.value) == "400 invalid_request: config.retry: must be at least 0 (given -1; allowed 0..); url: x"


def test_an_error_of_many_faults_shows_the_first_few(ask: Ask) -> None:
    faults = [{"field": f"f{number}", "message": "x"} for number in range(7)]
    with pytest.raises(InvalidRequest) as told:
        ask(Script([json(400, {"code": "invalid_request", "detail": "7", "errors": faults})]), register)
    assert str(told.value).endswith("f4: x; and 2 more")
    assert len(told.value.errors) == 7


@pytest.mark.parametrize("body", [b"<html>Bad gateway</html>", b"\xff", b"[]", b"", b'{"x":' + b"[" * 9_000])
def test_errors_of_others_on_the_way_are_told_as_they_are(ask: Ask, body: bytes) -> None:
    script = Script([httpx.Response(403, content=body)])
    with pytest.raises(Forbidden) as told:
        ask(script, register)
    assert told.value.code == "unknown"
    assert told.value.detail == body.decode("utf-8", "replace")[:200]


@pytest.mark.parametrize("answer", [httpx.Response(200, content=b"hello"), json(200, {"id": 7})])
def test_an_answer_that_is_none_of_the_api(ask: Ask, answer: httpx.Response) -> None:
    script = Script([answer])
    with pytest.raises(TasksError, match="answer_unreadable") as told:
        ask(script, show)
    assert told.value.status == 200


def test_a_server_that_is_not_well_says_so_at_once(ask: Ask) -> None:
    script = Script([json(503, {"status": "unavailable", "checks": {"engines": {"alive": 0}}})])
    health = ask(script, lambda client: client.monitor.health())
    assert (health.status, health.checks) == ("unavailable", {"engines": {"alive": 0}})
    assert script.slept == []


def test_a_redirect_is_no_success(ask: Ask) -> None:
    script = Script([httpx.Response(302, headers={"location": "https://elsewhere.test/"})])
    with pytest.raises(TasksError) as told:
        ask(script, register)
    assert told.value.status == 302
    assert len(script.requests) == 1


def test_what_newer_servers_say_is_left_out(ask: Ask) -> None:
    assert ask(Script([json(200, DETAIL | {"mood": "fine"})]), show).phase == "scheduled"


def test_errors_travel_between_processes(ask: Ask) -> None:
    with pytest.raises(TasksError) as told:
        ask(Script([httpx.Response(500)]), register)
    again = pickle.loads(pickle.dumps(told.value))
    assert (again.status, again.uncertain, str(again)) == (500, True, str(told.value))


def test_the_key_is_sent_and_never_shown(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    script = Script([httpx.ReadError("reset"), problem(401, "key_invalid")])
    with pytest.raises(Unauthorized) as told:
        ask(script, register)
    assert {request.headers["authorization"] for request in script.requests} == {f"Bearer {KEY}"}
    client = script.sync()
    shown = [repr(client), str(told.value), repr(told.value), caplog.text, repr(client._http), repr(vars(client))]
    assert [text for text in shown if KEY in text] == []
    assert repr(client) == "Client('http://api.test')"
    client.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("api.test", "must read http"),
        ("ftp://api.test", "must read http"),
        ("http://", "must read http"),
        ("http://user:pass@api.test", "no user or password"),
    ],
)
def test_an_address_that_is_none_is_refused(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as told:
        Client(url)
    assert "pass@" not in str(told.value)


def test_keys_that_cannot_be_are_refused_before_anything_is_sent() -> None:
    client = Script([]).sync()
    for key in ("", "ö", "a\nb", " a", "x" * 256):
        with pytest.raises(ValueError, match="an idempotency key is 1 to 255"):
            client.tasks.register(url="https://target.test/", idempotency_key=key)
    client.close()
    with pytest.raises(ValueError, match="no key has") as told:
        Client("http://api.test", "secret\r\nX-Tasks-Owner-Id: 7")
    assert "secret" not in str(told.value)


def test_a_key_may_come_with_the_end_of_a_line() -> None:
    with Client("http://api.test", KEY + "\n") as client:
        assert client._http.headers["authorization"] == f"Bearer {KEY}"


def test_a_server_may_live_below_a_path(ask: Ask) -> None:
    script = Script([json(200, DETAIL)])
    client = script.sync()
    client.url = "http://api.test/tasks-server"
    client.tasks.get("T" * 24)
    client.close()
    assert str(script.requests[0].url) == f"http://api.test/tasks-server/v1/queues/{'T' * 24}"


def test_statuses_that_wait_for_the_unavailable() -> None:
    """The class of 503, which no other test lets through."""
    script = Script([problem(503, "store_busy")], Retries(deadline=0.0))
    with pytest.raises(Unavailable), script.sync() as client:
        client.tasks.get("T" * 24)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("blank", ["", " ", "\n"])
def test_a_key_or_an_owner_that_is_empty_is_refused_at_once(kind: Any, blank: str) -> None:
    with pytest.raises(ValueError, match="the key is empty"):
        kind("http://api.test", blank)
    for owner in (blank, "ö", "a\nb"):
        with pytest.raises(ValueError, match="no owner has the id"):
            kind("http://api.test", KEY, owner_id=owner)


def test_a_server_out_of_reach_is_given_up_soon_and_told_by_its_address(ask: Ask) -> None:
    script = Script([httpx.ConnectError("refused") for _ in range(99)], Retries(first=1.0))
    with pytest.raises(ConnectionFailed) as told:
        ask(script, register)
    assert sum(script.slept) <= 5.0
    assert "http://api.test cannot be reached: refused. Is the server running there" in str(told.value)
    assert "TASKS_SERVER_URL" in str(told.value)
    script = Script([httpx.ReadTimeout("slow") for _ in range(99)], Retries(first=1.0))
    with pytest.raises(ConnectionFailed, match=r"no answer came from http://api\.test: slow") as told:
        ask(script, register)
    assert sum(script.slept) > 50.0
    times = [httpx.ConnectError("refused"), httpx.ReadTimeout("slow")] * 6
    script = Script([*times, json(201, TASK)], Retries(first=2.0))
    ask(script, register)  # it comes and goes: it is not out of reach
    assert sum(script.slept) > 5.0


def test_no_connection_takes_longer_than_a_server_may_be_out_of_reach() -> None:
    for given, connect in ((10.0, 5.0), (2.0, 2.0)):
        with Client("http://api.test", timeout=given) as client:
            assert (client._http.timeout.connect, client._http.timeout.read) == (connect, given)


def test_an_error_says_what_was_given_and_what_is_allowed(ask: Ask) -> None:
    faults = [
        {"field": "config.retry", "message": "is too small", "given": -1, "allowed": "0 or more"},
        {"field": "config.mode", "message": "is none of them", "given": "x", "allowed": ["cors", "no-cors"]},
        {"field": "a", "message": "is not known", "allowed": [str(number) for number in range(20)]},
    ]
    body = {"status": 400, "code": "invalid_request", "detail": "it is wrong", "errors": faults}
    with pytest.raises(InvalidRequest) as told:
        ask(Script([json(400, body)]), register)
    assert str(told.value) == (
        "400 invalid_request: config.retry: is too small (given -1; allowed 0 or more); "
        "config.mode: is none of them (given 'x'; allowed cors, no-cors); "
        f"a: is not known (allowed {', '.join(str(number) for number in range(12))} and 8 more)"
    )
