"""Which callback an end brings, and what it tells: pure, and the same for every store."""

import base64

import msgspec
import pytest
from msgspec.structs import replace

from tasks_server.domain.attempt import OutcomeKind
from tasks_server.domain.callback import NO_CALLBACKS, Callback, Callbacks, decode_callbacks, encode_callbacks
from tasks_server.domain.callback_making import End, Ended, tells, told
from tasks_server.domain.forms import decode_spec, encode_spec
from tasks_server.domain.request import HandlerCall, HttpRequest, TaskConfig, TaskSpec
from tasks_server.domain.task import State

CALLBACK = Callback("https://ops.example/told")
END = End(State.FAILED, 5_000, 2, 2, 503, OutcomeKind.HTTP_ERROR, "Service Unavailable", 4_000, b"busy")


def ended(config: TaskConfig | None = None, **fields: object) -> Ended:
    request = HttpRequest("http://a.example/?token=Zx81&page=2", "GET", headers={"Authorization": "Bearer Zx81"})
    spec = encode_spec(TaskSpec(request, config or TaskConfig()))
    known = Ended("T" * 24, "O" * 26, "mail", 1_000, None, None, 0, None, spec, NO_CALLBACKS, NO_CALLBACKS)
    return replace(known, **fields)


def body_of(source: Ended, end: End = END) -> dict[str, object]:
    found = told(source, end)
    assert found is not None
    assert found.task is not None
    spec = decode_spec(found.task.spec)
    assert spec.request is not None
    assert spec.request.json is not None
    body: dict[str, object] = msgspec.json.decode(spec.request.json)["data"]
    return body


ASKS = TaskConfig(failure_callback=CALLBACK)


@pytest.mark.parametrize("state", [state for state in State if state not in (State.FAILED, State.COMPLETED)])
def test_only_ends_by_an_attempt_or_by_expiry_are_told(state: State) -> None:
    both = TaskConfig(failure_callback=CALLBACK, success_callback=CALLBACK)
    assert tells(both, state) is False
    assert told(ended(both), replace(END, state=state)) is None


@pytest.mark.parametrize(
    ("config", "failed", "completed"),
    [
        (TaskConfig(), None, None),
        (TaskConfig(failure_callback=CALLBACK), True, None),
        (TaskConfig(success_callback=False), None, False),
        (TaskConfig(failure_callback=False, success_callback=CALLBACK), False, True),
    ],
)
def test_a_task_says_whether_it_asks(config: TaskConfig, failed: bool | None, completed: bool | None) -> None:
    assert (tells(config, State.FAILED), tells(config, State.COMPLETED)) == (failed, completed)


def test_the_same_end_makes_the_same_callback_and_another_end_another() -> None:
    source = ended(ASKS)
    first = told(source, END)
    assert first == told(source, END)
    others = [replace(END, attempt=3), replace(END, at=5_001)]
    found = {one.task.id for end in (END, *others) if (one := told(source, end)) is not None and one.task is not None}
    assert len(found) == 3


def test_a_callback_is_due_at_once_in_a_lane_of_its_own_and_asks_for_none() -> None:
    found = told(ended(ASKS), END)
    assert found is not None
    assert found.task is not None
    assert (found.task.state, found.task.due_at, found.task.lane) == (State.AVAILABLE, END.at, "callbacks")
    config = decode_spec(found.task.spec).config
    assert (config.failure_callback, config.success_callback) == (False, False)
    policy = config.retry_policy()
    assert (policy.retries_max, policy.interval_ms, policy.backoff) == (8, 10_000, "exponential")
    assert told(ended(ASKS, callback_of="S" * 24), END) is None


def test_secrets_of_the_task_are_not_told() -> None:
    source = ended(ASKS, metadata={"order": "7", "api_key": "Zx81"})
    body = body_of(source)
    assert body["url"] == "http://a.example/?token=***&page=2"
    assert body["metadata"] == {"order": "7", "api_key": "***"}
    found = told(source, END)
    assert found is not None
    assert found.task is not None
    assert b"Zx81" not in found.task.spec


def test_a_long_answer_goes_along_in_part() -> None:
    body = body_of(ended(ASKS), replace(END, response=bytes(70_000)))
    assert (len(base64.b64decode(str(body["response"]))), body["responseTruncated"]) == (65_536, True)
    body = body_of(ended(ASKS), replace(END, response=None))
    assert (body["response"], body["responseTruncated"]) == (None, False)


def test_a_handler_is_told_by_its_name_and_a_schedule_by_its_id() -> None:
    spec = encode_spec(TaskSpec(None, ASKS, handler=HandlerCall("ship", b'{"password":"Zx81"}')))
    body = body_of(ended(spec=spec, schedule="S" * 24, fire_at=900))
    assert (body["handler"], body["method"], body["url"]) == ("ship", None, None)
    assert body["schedule"] == {"id": "S" * 24, "fireAt": 900}


def test_of_a_task_that_cannot_be_read_lane_and_owner_are_told() -> None:
    source = ended(spec=b"\xff", of_lane=Callbacks(failure=CALLBACK))
    body = body_of(source)
    assert (body["id"], body["method"], body["handler"]) == (source.id, None, None)
    assert told(ended(spec=b""), END) is None


def test_what_cannot_be_read_of_an_owner_is_said_unless_the_task_decides() -> None:
    damaged = Callbacks(unreadable="it is damaged")
    found = told(ended(of_owner=damaged), END)
    assert found is not None
    assert (found.task, found.event.kind, found.event.detail) == (None, "callback_not_made", "it is damaged")
    assert told(ended(TaskConfig(failure_callback=False), of_owner=damaged), END) is None


def test_what_lanes_and_owners_ask_for_is_stored_and_nothing_is_not() -> None:
    asked = Callbacks(failure=CALLBACK, success=False)
    stored = encode_callbacks(asked)
    assert stored is not None
    assert decode_callbacks(stored) == asked
    assert encode_callbacks(NO_CALLBACKS) is None
