"""What the client sends of Python's values: the same, or nothing and an error that names the field."""

import sqlite3
from base64 import b64decode
from dataclasses import dataclass
from math import inf, nan
from typing import Any

import msgspec
import pydantic
import pytest

from tasks_server.client import results
from tasks_server.client.calls import handler_tasks, schedules, tasks
from tasks_server.client.outbox import Outbox


@dataclass
class Order:
    total: Any


class Model(pydantic.BaseModel):
    total: Any


@pytest.mark.parametrize("data", [b"x", bytearray(b"x"), memoryview(b"x")])
def test_bytes_go_as_base64(data: Any) -> None:
    for fields in (
        {"url": "http://a.example", "data": data},
        {"http_request": {"url": "http://a.example", "data": data}},
    ):
        _, (_, text) = Outbox(sqlite3).insert(**fields)  # type: ignore[arg-type]  # what a test gives
        request = msgspec.json.decode(text)["httpRequest"]
        assert (request.get("data"), b64decode(request["dataBase64"])) == (None, b"x")


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (nan, "total"), (inf, "total"), ([1, -inf], "total.1"), ({"a": (1, nan)}, "total.a.1"), (b"x", "total"),
        ({"a": b"x"}, "total.a"), ("\ud800", "total"), ({"\ud800": 1}, "total"), ({nan}, "total.0"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", [dict, Order, Model])
def test_what_json_does_not_have_is_refused_by_its_field(value: Any, field: str, kind: Any) -> None:
    thing = kind(total=value)
    with pytest.raises(ValueError, match=f"httpRequest.data.{field}: "):
        tasks.edit("T" * 24, data=thing)
    with pytest.raises(ValueError, match=f"payload.{field}: "):
        handler_tasks.create("mail", thing)
    with pytest.raises(ValueError, match=f"task.handler.payload.{field}: "):
        schedules.put("s", task={"handler": "mail", "payload": thing})


def test_what_json_has_goes_as_it_is() -> None:
    request = tasks.edit("T" * 24, payload={"n": 10**30, "raw": msgspec.Raw(b"1e400"), "model": Model(total=[1])})
    assert request.content == (
        b'{"handler":{"payload":{"n":1000000000000000000000000000000,"raw":1e400,"model":{"total":[1]}}}}'
    )


def test_answers_that_hold_a_list_are_that_list() -> None:
    made = [results.NewTask(f"T{n}", "RUNNING", 1, 0, 0, 2, None, None) for n in range(2)]
    batch = results.Batch(made)
    assert (list(batch), len(batch), batch[1]) == (made, 2, made[1])
    preview = results.Preview("UTC", [results.FireTime(1, "x")])
    assert (list(preview), len(preview), preview[0]) == (preview.times, 1, preview.times[0])
    signing = results.Signing(True, [])
    assert (list(signing), len(signing)) == ([], 0)
    gate = results.Gate("due", True, "later", None, {})
    explained = results.Explanation("T", "RUNNING", "scheduled", "s", False, [gate], None, results.Engines(0, None))
    assert (list(explained), len(explained)) == ([gate], 1)
