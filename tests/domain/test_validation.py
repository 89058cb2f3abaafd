"""What a registration may say, and that every fault of it is named at once."""

from datetime import UTC
from typing import Any

import msgspec
import pytest

from tasks_server.domain import asked, json_text, validation
from tasks_server.domain.errors import InvalidRequest
from tasks_server.domain.forms import decode_spec
from tasks_server.domain.lifecycle import due_at
from tasks_server.domain.limits import TOKEN_LENGTH_MAX
from tasks_server.domain.request import HttpRequest, TaskConfig, TaskSpec
from tasks_server.domain.task import State, Task

NOW = 1_700_000_000_000


def body(request: dict[str, Any] | None = None, config: Any = None, **rest: Any) -> dict[str, Any]:
    whole = {"httpRequest": {"url": "https://target.test/", "method": "POST", **(request or {})}, **rest}
    return whole if config is None else {**whole, "config": config}


def opened(raw: object) -> object:
    """A body as it is read, its data left as they came."""
    return json_text.opened(msgspec.json.encode(raw), asked.KEPT)


def read(raw: object) -> validation.Draft:
    return validation.read(opened(raw), NOW, UTC)


def faults(raw: object) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as refused:
        read(raw)
    fields = [fault.field for fault in refused.value.faults]
    assert len(fields) == len(set(fields)), "each field is named once"
    return {fault.field: fault.message for fault in refused.value.faults}


def test_other_forms_become_the_canonical_one() -> None:
    draft = read(
        body({"method": "pOsT"}, {"executeAt": "2030-01-01", "timeout": "10s", "retry": 3.0, "retryInterval": 9.9})
    )

    assert draft.request.method == "POST"
    assert draft.config == TaskConfig(execute_at=1_893_456_000_000, timeout=10_000, retry=3, retry_interval=9)
    assert decode_spec(draft.spec) == TaskSpec(draft.request, draft.config)
    assert draft.target == "target.test:443"


def test_every_fault_is_named_at_once() -> None:
    found = faults(
        {
            "httpRequest": {
                "url": "ftp://x",
                "method": "FETCH",
                "headers": {"Connection": "close", "X-Tasks-Queue-Id": "1", "Bad Name": "v", "Good": 5, "Fine": "ok"},
                "query": {"a": "x" * (TOKEN_LENGTH_MAX + 1)},
                "data": [
                    {"name": "a", "value": "b"},
                    {"name": "", "value": 3},
                    {"name": "c"},
                    {"name": "d", "valu": "e"},
                ],
                "dataBase64": "!",
                "querry": {},
            },
            "config": {
                "retry": -1,
                "executionDelay": "5",
                "retryAt": "soon",
                "timeout": 99.5,
                "priorty": 1,
                "ignoreStatusCode": [404, 399, "500"],
                "dohInsecure": "yes",
                "lane": "",
            },
            "metadata": {"a": "", "b": "fine"},
            "meta": 1,
        }
    )

    assert set(found) == {
        "meta",
        "httpRequest.url",
        "httpRequest.method",
        "httpRequest.headers.Connection",
        "httpRequest.headers.X-Tasks-Queue-Id",
        "httpRequest.headers.Bad Name",
        "httpRequest.headers.Good",
        "httpRequest.query.a",
        "httpRequest.data.1.name",
        "httpRequest.data.1.value",
        "httpRequest.data.2.value",
        "httpRequest.data.3.valu",
        "httpRequest.data.3.value",
        "httpRequest.dataBase64",
        "httpRequest.querry",
        "config.retry",
        "config.executionDelay",
        "config.retryAt",
        "config.timeout",
        "config.priorty",
        "config.ignoreStatusCode.1",
        "config.ignoreStatusCode.2",
        "config.dohInsecure",
        "config.lane",
        "metadata.a",
    }
    assert found["config.priorty"].endswith("did you mean priority?")


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ([], "body"),
        ("text", "body"),
        (None, "body"),
        ({}, "httpRequest"),
        ({"httpRequest": None}, "httpRequest"),
        ({"httpRequest": []}, "httpRequest"),
        ({"httpRequest": {}}, "httpRequest.url"),
        (body(config=[]), "config"),
        (body(config={"retry": None}), "config.retry"),
        (body(config={"retry": True}), "config.retry"),
        (body(config={"retry": 10**30}), "config.retry"),
        (body(config={"executeAt": 10**30}), "config.executeAt"),
        (body(config={"executeAt": NOW - 1}), "config.executeAt"),
        (body(config={"executeAt": -1, "executeImmediately": True}), "config.executeAt"),
        (body(config={"retryAt": NOW + 1_000}), "config.retryAt"),
        (body(config={"repeatAt": NOW + 1_000}), "config.repeatAt"),
        (body(config={"timeoutAt": NOW + 1_000}), "config.timeoutAt"),
        (body(config={"expireAt": NOW + 1}), "config.expireAt"),
        (body(config={"expireAt": 10**18}), "config.expireAt"),
        (body(config={"userAgent": "line\nbreaking"}), "config.userAgent"),
        (body(config={"lane": "a\n"}), "config.lane"),
        (body({"headers": {"A\n": "x"}}), "httpRequest.headers.A"),
        (body({"headers": {"A": "x\r\nB: y"}}), "httpRequest.headers.A"),
        (body({"headers": {"A": "x", "a": "y"}}), "httpRequest.headers.a"),
        (body({"headers": {"Content-Length": "3"}}), "httpRequest.headers.Content-Length"),
        (body({"headers": {"Proxy-Authorization": "x"}}), "httpRequest.headers.Proxy-Authorization"),
        (body({"headers": {"Host": "a b"}}), "httpRequest.headers.Host"),
        (body({"query": {"a\n": "x"}}), "httpRequest.query.a"),
        (body({"data": "x", "dataBase64": "eA=="}), "httpRequest.dataBase64"),
        (body({"dataBase64": "eA"}), "httpRequest.dataBase64"),
        (body({"dataBase64": "eA==\n"}), "httpRequest.dataBase64"),
        (body({"data": []}), "httpRequest.data"),
        (body({"data": 5}), "httpRequest.data"),
        (body({"data": [{"name": "a\r\n", "value": "b"}]}), "httpRequest.data.0.name"),
        (body(metadata={}), "metadata"),
        (body(metadata={"": "v"}), "metadata."),
        (body(metadata={"a": "\0"}), "metadata.a"),
        (body(metadata={"a\n": "x"}), "metadata.a"),
        (body(metadata={f"k{n}": "v" for n in range(9)}), "metadata"),
    ],
)
def test_refused(raw: object, field: str) -> None:
    assert field in faults(raw)


@pytest.mark.parametrize(
    "raw",
    [
        body({"headers": {"Host": "virtual.test:80", "X-Smile": "☺", "Accept": "*/*"}}),
        body({"transport": None, "query": None, "headers": None, "data": None}),
        body({"data": "@/etc/passwd"}),
        body({"data": {}}),
        body({"dataBase64": ""}),
        body(config={"executeAt": NOW - 1, "executeImmediately": True}),
        body(config={"executeAt": NOW}),
        body(config={"retryAt": NOW + 1_001, "timeoutAt": NOW + 1_001, "expireAt": NOW + 2}),
        body(config={"executionDelay": "1h", "retryAt": NOW + 3_601_000}),
        body(config=None, metadata={"a": "b"}),
        {**body(), "config": None, "metadata": None},
    ],
)
def test_accepted(raw: object) -> None:
    assert decode_spec(read(raw).spec).request.method == "POST"


def test_data_may_nest_32_levels_and_no_more() -> None:
    def nested(levels: int) -> Any:
        return {"a": nested(levels - 1)} if levels else 1

    assert read(body({"data": nested(32)}))
    assert "httpRequest.data" in faults(body({"data": nested(33)}))


def test_seconds_given_for_milliseconds_are_pointed_out() -> None:
    assert "looks like seconds" in faults(body(config={"executeAt": NOW // 1_000}))["config.executeAt"]
    for past in (NOW - 5_000, "2020-01-01"):
        assert "executeImmediately" in faults(body(config={"executeAt": past}))["config.executeAt"]


def test_dates_are_not_judged_against_a_due_time_that_is_unknown() -> None:
    assert set(faults(body(config={"executeAt": "soon", "retryAt": NOW}))) == {"config.executeAt"}


def test_faults_show_little_and_nothing_secret() -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(
            body(
                {
                    "url": "http://me:hunter2@x/",
                    "headers": {"Authorization": 5, "Cookie": "a" * 2_000, "X-Long": "b" * (TOKEN_LENGTH_MAX + 1)},
                    "authBasic": {"username": "u", "password": "hunter2"},
                }
            )
        )
    told = msgspec.json.encode(refused.value.faults).decode()
    assert "hunter2" not in told
    assert "aaaa" not in told
    assert "b" * 100 + "…" in told
    assert len(told) < 1_500


# Patches


def stored(config: TaskConfig | None = None, **fields: Any) -> tuple[TaskSpec, Task]:
    spec = TaskSpec(HttpRequest("https://target.test/", "POST", headers={"A": "1", "B": "2"}), config or TaskConfig())
    due = due_at(spec.config, NOW)
    task = Task("T" * 24, "O" * 26, "default", State.SCHEDULED, 0, NOW, due, due, **fields)
    return spec, task


def revise(patch: object, config: TaskConfig | None = None, now: int = NOW, **fields: Any) -> validation.Edit:
    spec, task = stored(config, **fields)
    return validation.revise(spec, task, opened(patch), now, UTC)


def test_a_patch_merges_and_null_removes() -> None:
    edit = revise({"httpRequest": {"headers": {"A": None, "C": "3"}}, "metadata": {"k": "v"}}, metadata={"old": "1"})

    assert edit.draft.request.headers == {"B": "2", "C": "3"}
    assert edit.draft.metadata == {"old": "1", "k": "v"}
    assert not edit.rescheduled


@pytest.mark.parametrize(
    ("patch", "rescheduled"),
    [
        ({"config": {"executionDelay": "5m"}}, True),
        ({"config": {"executeAt": None}}, True),
        ({"config": None}, True),
        ({"config": {"retry": 5}}, False),
        ({}, False),
    ],
)
def test_only_a_patch_of_its_time_moves_a_task(patch: object, rescheduled: bool) -> None:
    assert revise(patch).rescheduled is rescheduled


def test_dates_that_a_patch_leaves_alone_are_not_judged_again() -> None:
    config = TaskConfig(execute_at=NOW + 5_000, retry_at=NOW + 9_000)
    assert revise({"config": {"retry": 2}}, config, now=NOW + 60_000).draft.config.retry == 2


def test_a_patch_that_moves_the_time_is_judged_against_the_new_one() -> None:
    config = TaskConfig(execute_at=NOW + 5_000, expire_at=NOW + 9_000)
    with pytest.raises(InvalidRequest) as refused:
        revise({"config": {"executeAt": NOW + 10_000}}, config)
    assert [fault.field for fault in refused.value.faults] == ["config.expireAt"]


@pytest.mark.parametrize(
    ("patch", "field"),
    [
        ([], "body"),
        ({"httpRequest": None}, "httpRequest"),
        ({"httpRequest": {"url": None}}, "httpRequest.url"),
        ({"httpRequest": {"dataBase64": "eA==", "data": "x"}}, "httpRequest.dataBase64"),
        ({"config": {"retry": "x"}}, "config.retry"),
        ({"config": 5}, "config"),
        ({"state": "PAUSED"}, "state"),
    ],
)
def test_a_patch_is_judged_as_a_whole(patch: object, field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        revise(patch)
    assert field in [fault.field for fault in refused.value.faults]


def test_every_option_of_a_request_is_taken_over() -> None:
    fields = [field.name for field in msgspec.structs.fields(asked.AskedRequest) if field.name != "data"]
    given = asked.AskedRequest(**{name: f"the {name}" for name in fields})
    stored = asked.request_of(given)
    assert {name: getattr(stored, name) for name in fields} == {name: f"the {name}" for name in fields}
    assert {field.name for field in msgspec.structs.fields(HttpRequest)} == {*fields, "data", "json"}
