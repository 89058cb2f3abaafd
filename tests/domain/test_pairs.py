"""Nothing that is given has no effect: what would be ignored beside another option is refused, and an edit of the one
takes the place of the other.
"""

from datetime import UTC
from typing import Any

import msgspec
import pytest

from tasks_server.domain import validation
from tasks_server.domain.errors import InvalidRequest
from tasks_server.domain.handler_reading import HandlerRegistration
from tasks_server.domain.request import HandlerCall, HttpRequest, TaskConfig, TaskSpec
from tasks_server.domain.task import State

from .examples import NOW, a_task

URL = "https://target.test/"
LATER = NOW + 3_600_000
PAIRS: list[tuple[dict[str, Any], list[str]]] = [
    ({"executionDelay": 60_000, "executeAt": LATER}, ["executionDelay"]),
    ({"executionDelay": 0, "executeAt": LATER}, ["executionDelay"]),
    ({"executionDelay": 60_000, "executeImmediately": True}, ["executeImmediately"]),
    ({"retry": 3, "retryAt": LATER}, ["retry"]),
    ({"retry": 0, "retryAt": LATER}, ["retry"]),
    ({"retryAt": LATER, "retryInterval": 5_000}, ["retryInterval"]),
    (
        {"retryAt": LATER, "retryExponential": False, "retryBackoff": "fixed", "retryMaxInterval": 9, "retryJitter": 0},
        ["retryExponential", "retryBackoff", "retryMaxInterval", "retryJitter"],
    ),
    ({"retryExponential": False, "retryBackoff": "exponential"}, ["retryExponential"]),
    ({"retryExponential": True, "retryBackoff": "fixed"}, ["retryExponential"]),
    ({"repeatAt": LATER, "repeat": 3}, ["repeat"]),
    ({"repeatAt": LATER, "repeatInterval": 5_000, "repeatExponential": False}, ["repeatInterval", "repeatExponential"]),
]
HTTP_PAIRS: list[tuple[dict[str, Any], list[str]]] = [
    ({"location": False, "redirectAttempts": 3}, ["redirectAttempts"]),
    ({"location": False, "protoRedirect": "https"}, ["protoRedirect"]),
]


def told(raw: dict[str, Any]) -> list[str]:
    """The faults of a registration, which both ways of reading it find alike."""
    with pytest.raises(InvalidRequest) as thorough:
        validation.read(raw, NOW, UTC)
    fast = pytest.raises(InvalidRequest)
    with fast as quick:
        if "handler" in raw:
            validation.judge_handler(msgspec.convert(raw, HandlerRegistration), NOW)
        else:
            validation.judge(msgspec.convert(raw, validation.Registration), NOW)
    fields = [fault.field for fault in thorough.value.faults]
    assert fields == [fault.field for fault in quick.value.faults]
    return [field.removeprefix("config.") for field in fields]


@pytest.mark.parametrize(("config", "fields"), [*PAIRS, *HTTP_PAIRS])
def test_what_would_be_ignored_is_refused(config: dict[str, Any], fields: list[str]) -> None:
    assert told({"httpRequest": {"url": URL, "method": "GET"}, "config": config}) == fields


@pytest.mark.parametrize(("config", "fields"), PAIRS)
def test_of_a_handler_too(config: dict[str, Any], fields: list[str]) -> None:
    assert told({"handler": {"name": "send"}, "config": config}) == fields


@pytest.mark.parametrize(
    "config",
    [
        {"executionDelay": None, "executeAt": LATER} | {"executionDelay": 1},
        {"executeImmediately": True},
        {"executeImmediately": True, "executeAt": NOW - 5},
        {"retry": 1, "retryAt": LATER},
        {"retryExponential": True, "retryBackoff": "exponential"},
        {"retryExponential": False, "retryBackoff": "fixed"},
        {"repeat": 1, "repeatAt": LATER},
        {"location": False, "redirectAttempts": 0},
        {"timezone": "Europe/Berlin"},
    ],
)
def test_what_says_the_same_twice_is_taken(config: dict[str, Any]) -> None:
    validation.read({"httpRequest": {"url": URL, "method": "GET"}, "config": config}, NOW, UTC)


# Edits


def edited(config: TaskConfig, patch: dict[str, Any], **fields: Any) -> validation.Edit:
    request = HttpRequest(URL, "POST", data="x")
    task = a_task(**({"target": "target.test:443"} | fields))
    return validation.revise(TaskSpec(request, config), task, patch, NOW, UTC)


@pytest.mark.parametrize(
    ("before", "patch", "after"),
    [
        (TaskConfig(execute_at=LATER), {"executionDelay": 5_000}, TaskConfig(execution_delay=5_000)),
        (TaskConfig(execute_at=LATER), {"executionDelay": 1}, TaskConfig()),
        (TaskConfig(execution_delay=5_000), {"executeAt": LATER}, TaskConfig(execute_at=LATER)),
        (TaskConfig(retry=3, retry_interval=5, retry_jitter=0.5), {"retryAt": LATER}, TaskConfig(retry_at=LATER)),
        (TaskConfig(retry_at=LATER), {"retry": 3}, TaskConfig(retry=3)),
        (TaskConfig(repeat=3, repeat_interval=5), {"repeatAt": LATER}, TaskConfig(repeat_at=LATER)),
        (TaskConfig(repeat_at=LATER), {"repeat": 3}, TaskConfig(repeat=3)),
        (
            TaskConfig(retry=1, retry_backoff="fixed"),
            {"retryExponential": True},
            TaskConfig(retry=1, retry_exponential=True),
        ),
        (
            TaskConfig(retry=1, retry_exponential=False),
            {"retryBackoff": "linear"},
            TaskConfig(retry=1, retry_backoff="linear"),
        ),
    ],
)
def test_an_edit_takes_the_place_of_what_it_excludes(
    before: TaskConfig, patch: dict[str, Any], after: TaskConfig
) -> None:
    edit = edited(before, {"config": patch}, due_at=NOW + 60_000)
    assert edit.draft.config == after
    assert edit.rescheduled is bool({"executionDelay", "executeAt"} & patch.keys())


def test_data_of_one_kind_take_the_place_of_the_other() -> None:
    edit = edited(TaskConfig(), {"httpRequest": {"dataBase64": "eA=="}})
    assert (edit.draft.request.data, edit.draft.request.data_base64) == (None, "eA==")


def test_of_a_handler_an_edit_does_the_same() -> None:
    spec = TaskSpec(None, TaskConfig(execute_at=LATER), handler=HandlerCall("send"))
    edit = validation.revise(spec, a_task(target="@send"), {"config": {"executionDelay": "5s"}}, NOW, UTC)
    assert edit.draft.config == TaskConfig(execution_delay=5_000)


@pytest.mark.parametrize(
    ("config", "patch", "fields", "field"),
    [
        (TaskConfig(execute_at=LATER), {"executionDelay": 5_000, "executeAt": LATER}, {}, "executionDelay"),
        (TaskConfig(execute_at=LATER), {"executeImmediately": True}, {}, "executeImmediately"),
        (TaskConfig(execution_delay=99), {"executeImmediately": True}, {}, "executeImmediately"),
        (TaskConfig(retry_at=LATER), {"retryInterval": 5_000}, {}, "retryInterval"),
        (TaskConfig(repeat_at=LATER), {"repeatInterval": 5_000}, {}, "repeatInterval"),
        (TaskConfig(), {"timeoutAt": LATER}, {"attempt": 1}, "timeoutAt"),
        (TaskConfig(retry=3), {"retryAt": LATER}, {"state": State.RETRYABLE}, "retryAt"),
        (TaskConfig(repeat=3), {"repeatAt": LATER}, {"repeats": 1, "attempt": 1}, "repeatAt"),
        (TaskConfig(execute_at=LATER), {"timezone": "Asia/Tokyo"}, {}, "timezone"),
    ],
)
def test_an_edit_that_would_change_nothing_is_refused(
    config: TaskConfig, patch: dict[str, Any], fields: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        edited(config, {"config": patch}, **fields)
    assert [fault.field for fault in refused.value.faults] == [f"config.{field}"]


def test_what_was_stored_before_may_be_edited() -> None:
    """These pairs were taken once; an edit of something else leaves them alone."""
    old = TaskConfig(execution_delay=0, execute_at=LATER, retry=3, retry_at=LATER + 60_000, repeat_at=LATER, repeat=2)
    assert edited(old, {"config": {"priority": 3}}).draft.config == msgspec.structs.replace(old, priority=3)


def test_a_date_of_an_edit_counts_in_the_zone_of_the_task() -> None:
    edit = edited(TaskConfig(timezone="Asia/Tokyo"), {"config": {"executeAt": "2030-01-31T12:00"}})
    assert edit.draft.config.execute_at == 1_896_058_800_000
    edit = edited(
        TaskConfig(execute_at=LATER), {"config": {"executeAt": "2030-01-31T04:00", "timezone": "Europe/Berlin"}}
    )
    assert edit.draft.config.execute_at == 1_896_058_800_000


@pytest.mark.parametrize("name", ["CEST", "europe/berln", "Berlin", "MESZ"])
def test_a_zone_that_is_none_is_told_what_was_meant(name: str) -> None:
    raw = {"httpRequest": {"url": URL, "method": "GET"}, "config": {"timezone": name}}
    with pytest.raises(InvalidRequest, match="did you mean Europe/Berlin") as refused:
        validation.read(raw, NOW, UTC)
    assert [fault.field for fault in refused.value.faults] == ["config.timezone"]
    assert told(raw) == ["timezone"]
