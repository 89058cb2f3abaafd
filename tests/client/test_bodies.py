"""What the client makes of Python's values: names, milliseconds, and what does not go together."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_server.client.bodies import iso, millis, schedule_body, schedule_patch, task_body, task_patch
from tasks_server.client.calls import handler_tasks, lanes, tasks
from tasks_server.client.options import TaskFields

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
AT = datetime(2030, 1, 31, 12, 0, 0, 500, tzinfo=timezone(timedelta(hours=1)))
AT_MS = 1_896_087_600_001  # half a millisecond is rounded up


@dataclass
class Order:
    id: int
    at: datetime


def test_short_forms_become_fields_of_the_api() -> None:
    body = task_body(
        {
            "url": "https://target.test/",
            "query": {"a": "1"},
            "headers": {"X-Shop": "7"},
            "data": {"order": 7},
            "delay": timedelta(minutes=1),
            "retry": 5,
            "timeout": "5s",
            "priority": 9,
            "lane": "mails",
            "metadata": {"order": "7"},
            "config": {"retryInterval": timedelta(seconds=2), "keepAliveDuration": timedelta(seconds=5)},
        }
    )
    assert body == {
        "httpRequest": {
            "url": "https://target.test/",
            "method": "POST",
            "query": {"a": "1"},
            "headers": {"X-Shop": "7"},
            "data": {"order": 7},
        },
        "config": {
            "executionDelay": 60_000,
            "retry": 5,
            "timeout": "5s",
            "priority": 9,
            "lane": "mails",
            "retryInterval": 2_000,
            "keepAliveDuration": 5,
        },
        "metadata": {"order": "7"},
    }


def test_handlers_have_a_name_and_a_payload() -> None:
    assert task_body({"handler": "send-email"}) == {"handler": {"name": "send-email"}}
    assert task_body({"handler": "send-email", "payload": None, "at": AT}) == {
        "handler": {"name": "send-email", "payload": None},
        "config": {"executeAt": AT_MS},
    }


def test_a_whole_request_is_sent_as_it_is() -> None:
    assert task_body({"http_request": {"url": "https://target.test/", "method": "GET"}}) == {
        "httpRequest": {"url": "https://target.test/", "method": "GET"}
    }


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "a url, an http_request or a handler"),
        ({"payload": 7, "url": "https://target.test/"}, "one of them"),
        ({"url": "https://target.test/", "handler": "send"}, "one of them"),
        ({"url": "https://target.test/", "http_request": {}}, "put url into it"),
        (
            {"url": "https://target.test/", "delay": "1s", "config": {"executionDelay": "2s"}},
            "given twice.*executionDelay",
        ),
        ({"url": "https://target.test/", "delay": "1s", "at": 2}, "delay and at both"),
        ({"url": "https://target.test/", "delay": "1s", "config": {"executeAt": AT}}, "delay and at both"),
        ({"url": "https://target.test/", "dely": 1}, r"unknown: dely; for dely, did you mean delay\?$"),
    ],
)
def test_what_does_not_go_together_is_refused(fields: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        task_body(fields)


def test_a_change_names_no_more_than_it_changes() -> None:
    assert task_patch({"url": "https://target.test/"}) == {"httpRequest": {"url": "https://target.test/"}}
    assert task_patch({"payload": 7}) == {"handler": {"payload": 7}}
    assert task_patch({"config": {"retryAt": None}, "metadata": None}) == {
        "config": {"retryAt": None},
        "metadata": None,
    }
    assert task_patch({"config": None}) == {"config": None}
    assert schedule_patch({"task": {"retry": 5}, "end_at": None}) == {"task": {"config": {"retry": 5}}, "endAt": None}


def test_schedules_have_times_too() -> None:
    body = schedule_body(
        {"every": timedelta(minutes=15), "start_at": AT, "max_runs": 3, "task": {"url": "https://target.test/"}},
        "daily",
    )
    assert body == {
        "name": "daily",
        "every": 900_000,
        "startAt": AT_MS,
        "maxRuns": 3,
        "task": {"httpRequest": {"url": "https://target.test/", "method": "POST"}},
    }


def test_a_datetime_without_a_zone_is_no_instant() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        millis(datetime(2030, 1, 1))


@pytest.mark.parametrize("fraction", [1.5, 0.001, float("nan"), float("inf")])
def test_a_number_with_a_fraction_is_not_taken_for_milliseconds(fraction: float) -> None:
    for fields in ({"delay": fraction}, {"at": fraction}, {"config": {"retryInterval": fraction}}):
        with pytest.raises(ValueError, match=r"(executionDelay|executeAt|retryInterval): .*timedelta\(seconds="):
            task_patch(cast(TaskFields, fields))
    with pytest.raises(ValueError, match=r"every: .*timedelta\(seconds="):
        schedule_patch({"every": cast(int, fraction)})


def test_a_datetime_without_a_zone_counts_in_the_one_beside_it() -> None:
    nine = datetime(2030, 1, 31, 9)
    body = task_body({"url": "https://a.example/", "at": nine, "timezone": "Europe/Berlin"})
    assert body["config"] == {"executeAt": "2030-01-31T09:00:00", "timezone": "Europe/Berlin"}
    whole = task_body({"url": "https://a.example/", "config": {"expireAt": nine, "timezone": "Asia/Tokyo"}})
    assert whole["config"] == {"expireAt": "2030-01-31T09:00:00", "timezone": "Asia/Tokyo"}
    schedule = schedule_body({"cron": "@daily", "timezone": "Asia/Tokyo", "start_at": nine})
    assert (schedule["startAt"], schedule["timezone"]) == ("2030-01-31T09:00:00", "Asia/Tokyo")
    said = b'"scheduled_at":"2030-01-31T09:00:00","timezone":"Asia/Tokyo"'
    assert said in handler_tasks.create("greet", scheduled_at=nine, timezone="Asia/Tokyo").content
    assert handler_tasks.reschedule("A" * 24, nine, timezone="Asia/Tokyo").content == b"{%s}" % said


def test_numbers_that_are_no_times_may_have_a_fraction() -> None:
    assert task_patch({"config": {"retryJitter": 0.25}}) == {"config": {"retryJitter": 0.25}}
    assert lanes.edit("mails", rate_per_second=0.5).content == b'{"ratePerSecond":0.5}'


def test_one_of_delay_and_at_may_take_the_place_of_the_other() -> None:
    assert task_patch({"delay": "5s", "config": {"executeAt": None}}) == {
        "config": {"executeAt": None, "executionDelay": "5s"}
    }


@given(st.datetimes(timezones=st.timezones()))
def test_instants_are_exact_and_never_early(at: datetime) -> None:
    since = millis(at) * timedelta(milliseconds=1) - (at - EPOCH)
    assert timedelta(0) <= since < timedelta(milliseconds=1)


def test_instants_of_handlers_are_text() -> None:
    assert iso(AT) == "2030-01-31T11:00:00.001+00:00"
    assert iso("tomorrow") == "tomorrow"
    with pytest.raises(TypeError, match="unknown: dely"):
        handler_tasks.create("send-email", dely=5)  # type: ignore[call-arg]  # no such option


def test_data_is_whatever_has_a_form_in_json() -> None:
    """Times in data are the target's affair: they are sent as text."""
    request = tasks.register(url="https://target.test/", data=Order(7, AT))
    assert request.content is not None
    sent = msgspec.json.decode(request.content)["httpRequest"]["data"]
    assert sent == {"id": 7, "at": "2030-01-31T12:00:00.000500+01:00"}


def test_names_in_paths_and_queries_are_escaped() -> None:
    assert tasks.get("a/b c?").target == "/v1/queues/a%2Fb%20c%3F"
    listed = tasks.list_(state=["ERROR", "REVOKED"], metadata={"a[b]": "x&y"}, page_size=5)
    assert listed.target == "/v1/queues?limit=5&state=ERROR%2CREVOKED&metadata.a%5Bb%5D=x%26y"
    with pytest.raises(ValueError, match="is empty"):
        tasks.get("")


@pytest.mark.parametrize("number", [5, 0.5, 5_000, 2.0])
def test_a_bare_number_is_no_duration(number: Any) -> None:
    said = rf"{number} may mean seconds or milliseconds; give timedelta\(seconds={number}\)"
    for fields in ({"delay": number}, {"timeout": number}, {"config": {"repeatInterval": number}}):
        with pytest.raises(ValueError, match=rf"(executionDelay|timeout|repeatInterval): {said}"):
            task_patch(cast(TaskFields, fields))
    for name in ("every", "jitter", "missed_window"):
        with pytest.raises(ValueError, match=f"{name}: {said}"):
            schedule_patch(cast(Any, {name: number}))
    assert task_patch({"delay": 0, "timeout": "5s"}) == {"config": {"executionDelay": 0, "timeout": "5s"}}


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("retries", "retry"), ("max_retries", "retry"), ("eta", "at"), ("countdown", "delay"), ("queue", "lane"),
        ("json", "data"), ("args", "payload"), ("task_name", "handler"), ("Retries", "retry"), ("prioriti", "priority"),
    ],
)  # fmt: skip
def test_words_of_other_systems_are_told_what_they_are_here(given: str, meant: str) -> None:
    with pytest.raises(TypeError, match=rf"^unknown: {given}; for {given}, did you mean {meant}\?$"):
        task_body(cast(TaskFields, {"url": "https://target.test/", given: 3}))
    with pytest.raises(TypeError, match=r"unknown: eta, zzz; for eta, did you mean at\?; there are url, method"):
        task_body(cast(TaskFields, {"url": "https://target.test/", "eta": 3, "zzz": 1}))
