"""What is suggested for a field that is not there: the words that people bring along lead to ours."""

from datetime import UTC
from typing import Any

import pytest

from tasks_server.domain import suggestions, validation
from tasks_server.domain.errors import Fault, InvalidRequest
from tasks_server.domain.named_reading import Manner, NamedTask, read_named
from tasks_server.domain.request import HttpRequest, TaskConfig
from tasks_server.domain.schedule_reading import ScheduleBody
from tasks_server.domain.shapes import fields_of, unknown_field

from .examples import NOW

TASK = ("config", "handler", "httpRequest", "metadata")
CONFIG = tuple(fields_of(TaskConfig))
NAMED = tuple(fields_of(NamedTask))
HEADER = "the header Idempotency-Key"
SCHEDULE = tuple(fields_of(ScheduleBody))


def told(raw: dict[str, Any]) -> dict[str, Fault]:
    with pytest.raises(InvalidRequest) as refused:
        validation.read({"httpRequest": {"url": "https://a.example/", "method": "GET"}, **raw}, NOW, UTC)
    return {fault.field: fault for fault in refused.value.faults}


@pytest.mark.parametrize(
    ("word", "in_config", "beside", "of_tasks", "of_schedules"),
    [
        ("retries", "retry", "config.retry", "max_retries", "task.config.retry"),
        ("max_attempts", "retry", "config.retry", "max_retries", "task.config.retry"),
        ("delay", "executionDelay", "config.executionDelay", "scheduled_at", None),
        ("countdown", "executionDelay", "config.executionDelay", "scheduled_at", None),
        ("eta", "executeAt", "config.executeAt", "scheduled_at", "startAt"),
        ("backoff", "retryBackoff", "config.retryBackoff", None, "task.config.retryBackoff"),
        ("retry_interval", "retryInterval", "config.retryInterval", None, "task.config.retryInterval"),
        ("queue", "lane", "config.lane", "lane", "task.config.lane"),
        ("url", "httpRequest.url", "httpRequest.url", None, "task.httpRequest.url"),
        ("headers", "httpRequest.headers", "httpRequest.headers", None, "task.httpRequest.headers"),
        ("body", "httpRequest.data", "httpRequest.data", "payload", "task.httpRequest.data"),
        ("priorty", "priority", "config.priority", "priority", "task.config.priority"),
        ("tz", "timezone", "config.timezone", "timezone", "timezone"),
        (
            "idempotencyKey",
            "the header Idempotency-Key",
            "the header Idempotency-Key",
            "the header Idempotency-Key",
            None,
        ),
        ("colour", None, None, None, None),
    ],
)
def test_words_of_other_systems_lead_to_ours(
    word: str, in_config: str | None, beside: str | None, of_tasks: str | None, of_schedules: str | None
) -> None:
    assert suggestions.meant("config", word, CONFIG) == suggestions.meant("tasks.7.config", word, CONFIG) == in_config
    assert suggestions.meant("", word, TASK) == suggestions.meant("tasks.7", word, TASK) == beside
    assert suggestions.meant("", word, NAMED) == of_tasks
    assert suggestions.meant("", word, SCHEDULE) == of_schedules


def test_every_word_leads_to_a_field_that_there_is() -> None:
    parts = {"config": set(CONFIG), "httpRequest": set(fields_of(HttpRequest)), "handler": {"name", "payload"}}
    others = {"maxConcurrent", "ratePerSecond", "state", "cursor", "limit", "schedule"}
    alone = {*CONFIG, *fields_of(HttpRequest), *NAMED, *SCHEDULE, *TASK, *others}
    for word, fields in suggestions._WORDS.items():
        assert word == word.lower().replace("_", "").replace("-", "")
        for field in fields:
            head, _, inner = field.removeprefix("task.").partition(".")
            assert inner in parts[head] if inner else head in alone or " " in head, (word, field)


def test_a_suggestion_is_told_with_its_place() -> None:
    found = told({"url": "https://b.example/", "delay": "5s", "config": {"retries": 3, "colour": "red"}})
    assert found["url"].message == "is not a known field; did you mean httpRequest.url?"
    assert found["delay"].message == "is not a known field; did you mean config.executionDelay?"
    assert (found["config.retries"].message, found["config.retries"].allowed) == (
        "is not a known field; did you mean retry?",
        ["retry"],
    )
    assert found["config.colour"].message == "is not a known field"


def test_no_list_is_longer_than_people_read() -> None:
    assert told({"config": {"colour": 1}})["config.colour"].allowed == (
        f"one of the {len(CONFIG)} that the documentation lists"
    )
    assert told({"colour": 1})["colour"].allowed == list(TASK)
    for known in (CONFIG, tuple(str(number) for number in range(1_000))):
        assert isinstance(unknown_field("", "colour", known).allowed, str)


def test_in_the_words_of_tasks() -> None:
    with pytest.raises(InvalidRequest, match="retries: is not a known field; did you mean max_retries"):
        read_named({"task_name": "a", "retries": 3}, NOW, Manner(UTC))
