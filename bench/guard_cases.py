"""The dearest requests that each route takes: made from the routes of the application itself, so that a new route has
its cases as soon as it is there. The benchmark `guard` measures whom they hold up; `tests/guard` counts their work.
"""

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from tasks_server.api.routes import Route
from tasks_server.domain import limits

_BATCH: Final = "/v1/queues/batch"
_QUERY_BYTES: Final = 12_000
"""The head of a request may have 16 KiB."""
_UNKNOWN: Final = "retri"
"""Near enough to names that there are, so that better ones are sought."""
_SCHEDULES: Final = "/v1/schedules"
_REGISTRATIONS: Final = ("/v1/queues/register", _BATCH)


class Case(msgspec.Struct, frozen=True):
    """One request. `body` None: without one. The path names its parameters in braces."""

    name: str
    method: str
    path: str
    query: str = ""
    body: Callable[[], bytes] | None = None

    @property
    def what(self) -> str:
        return f"{self.method} {self.path[:60]}, {self.name}"


def cases_of(route: Route, size: int) -> Iterator[Case]:
    """The cases of a route; its bodies are as large as `size` allows."""
    for name, query in _queries(route):
        yield Case(name, route.method, route.path, query, _empty if route.body is not None else None)
    if route.body is not None:
        for name, make in (_BODIES | _special(route.path)).items():
            yield Case(name, route.method, route.path, "", lambda make=make: make(size))  # type: ignore[misc]  # binds
    if "{" in route.path:
        wild = route.path.replace("{id}", "%30" * 2_000).replace("{name}", "%30" * 2_000)
        yield Case("a parameter without end", route.method, wild)


def all_cases(table: Sequence[Route], sizes: dict[str, int], size: int) -> list[Case]:
    """The cases of all routes; `sizes` has those of paths whose bodies may be of another size."""
    return [case for route in table for case in cases_of(route, sizes.get(route.path, size))]


# Queries


def _queries(route: Route) -> Iterator[tuple[str, str]]:
    yield "plain", ""
    yield "names that are unknown", "&".join(f"{_UNKNOWN}{number}=1" for number in range(1_000))[:_QUERY_BYTES]
    names = [parameter.name for parameter in route.query]
    if not names:
        return
    yield "values without end", urlencode({name: "9" * (_QUERY_BYTES // len(names)) for name in names})
    yield "values with commas", urlencode({name: "x," * (_QUERY_BYTES // 4 // len(names)) for name in names})
    if "limit" in names:
        yield "the largest page", "limit=1000"
    for name, value in _RARE.items():
        if name in names:
            yield f"{name} that fits nothing", urlencode({name: value} | ({"limit": 1_000} if "limit" in names else {}))
    for order in _ORDERS if "order" in names else ():
        yield f"by {order}, fits nothing", f"order={order}&sort=desc&lane=nowhere&statusCode=599&limit=1000"
    if "offset" in names:
        yield "far on", "offset=1000000"
    if route.query_prefix:
        pairs = "&".join(f"{route.query_prefix}{_UNKNOWN}{number}={quote('a b')}" for number in range(400))
        yield "many entries", pairs[:_QUERY_BYTES].rpartition("&")[0]
        yield "an entry of all, and a status of none", f"{route.query_prefix}z=same&statusCode=599&limit=1000"


_ORDERS: Final = ("createdAt", "estimateEndAt", "estimateExecutionAt")
_RARE: Final = {
    "state": "PAUSED",
    "status": "paused",
    "statusCode": "599",
    "lane": "nowhere",
    "host": "nowhere.example",
    "handler": "nothing",
    "task_name": "nothing",
    "priority": "9",
    "schedule": "0" * 24,
    "until": "1",
    "endedUntil": "1",
    "scheduled_before": "1",
    "created_before": "1",
}


# Bodies


def _empty() -> bytes:
    return b"{}"


def _unknown(size: int) -> bytes:
    return _json({f"{_UNKNOWN}{number:07}": 1 for number in range(size // 18)})


def _deep(size: int) -> bytes:
    return b'{"httpRequest":' + b"[" * (size // 2 - 10) + b"]" * (size // 2 - 10) + b"}"


def _long_number(size: int) -> bytes:
    return b'{"config":' + b"9" * (size - 20) + b"}"


def _same_name(size: int) -> bytes:
    return b"{" + b'"config":{},' * (size // 12 - 2) + b'"config":{}}'


def _escapes(size: int) -> bytes:
    return b'{"name":"' + b"\\ud83d\\ude00" * ((size - 20) // 12) + b'"}'


def _broken(size: int) -> bytes:
    return b'{"a":"' + b"\\" * (size - 10)


_BODIES: Final[dict[str, Callable[[int], bytes]]] = {
    "unknown fields": _unknown,
    "depth": _deep,
    "a number without end": _long_number,
    "one name again and again": _same_name,
    "escapes": _escapes,
    "broken": _broken,
}


def _special(path: str) -> dict[str, Callable[[int], bytes]]:
    """The bodies of routes that take more than others."""
    if path == _BATCH:
        return {
            **{name: _alone(make) for name, make in _TASKS.items()},
            "many tasks, each with faults": _faulty_batch,
            "many tasks that are right": _right_batch,
        }
    if path in _REGISTRATIONS:
        return _TASKS
    return _RULES if path.startswith(_SCHEDULES) else {}


def _alone(make: Callable[[int], bytes]) -> Callable[[int], bytes]:
    return lambda size: b'{"tasks":[' + make(size - 20) + b"]}"


def _request(**more: Any) -> dict[str, Any]:
    return {"httpRequest": {"url": "http://127.0.0.1:9/", "method": "POST"} | more, "config": {"executionDelay": 10**9}}


def _many(field: str) -> Callable[[int], bytes]:
    return lambda size: _json(_request(**{field: {f"a b{number:07}": 1 for number in range((size - 200) // 16)}}))


def _form(size: int) -> bytes:
    return _json(_request(data=[{"name": 1}] * ((size - 200) // 12)))


def _url(size: int) -> bytes:
    return _json({"httpRequest": {"url": "http://" + "a." * ((size - 200) // 2), "method": "x" * 50}})


def _pem_bait(size: int) -> bytes:
    text = b"-----BEGIN X-----\n" * ((size - 400) * 3 // 4 // 18)
    return _with_key(base64.b64encode(text).decode())


def _unpadded(size: int) -> bytes:
    return _with_key("A" * (size - 300) + "=")


def _cookies(size: int) -> bytes:
    text = b"a\tTRUE\t/\tTRUE\t0\tn\tv\n" * ((size - 400) * 3 // 4 // 21)
    return _json(_request(cookie=base64.b64encode(text).decode()))


def _dates(size: int) -> bytes:
    return _json(
        {"httpRequest": {"url": "http://a/", "method": "GET"}, "config": {"executeAt": "1 " * (size // 2 - 80)}}
    )


def _duration(size: int) -> bytes:
    asked = {"executionDelay": "1d " * ((size - 200) // 3)}
    return _json({"httpRequest": {"url": "http://a/", "method": "GET"}, "config": asked})


def _with_key(key: str) -> bytes:
    config = {"ca": key, "key": {"value": key}, "cert": {"value": key}} if len(key) < 5_000 else {"ca": key}
    return _json({"httpRequest": {"url": "https://a/", "method": "GET"}, "config": config})


def _metadata(size: int) -> bytes:
    return _json(_request() | {"metadata": {f"k{number:06}": "v" for number in range((size - 300) // 16)}})


_TASKS: Final[dict[str, Callable[[int], bytes]]] = {
    "headers": _many("headers"),
    "query": _many("query"),
    "json": _many("data"),
    "form": _form,
    "url": _url,
    "begins of PEM": _pem_bait,
    "base64 that is none": _unpadded,
    "cookies": _cookies,
    "a date without end": _dates,
    "a duration without end": _duration,
    "metadata": _metadata,
}


def _faulty_batch(size: int) -> bytes:
    faults = {f"{_UNKNOWN}{number}": 1 for number in range(50)}
    one = {"httpRequest": {"url": "no", "method": "no"} | faults, "config": faults, "metadata": faults}
    return _json({"tasks": [one] * min(limits.BATCH_TASKS_MAX, size // len(_json(one)) - 1)})


def _right_batch(size: int) -> bytes:
    one = _request(headers={f"h{number}": "v" * 50 for number in range(60)}, data={"a": ["b" * 100] * 20})
    return _json({"tasks": [one] * max(1, min(limits.BATCH_TASKS_MAX, size // len(_json(one)) - 1))})


def _schedule(**rule: Any) -> bytes:
    return _json({"name": "guarded", "task": _request()} | rule)


_RULES: Final[dict[str, Callable[[int], bytes]]] = {
    "cron that never comes": lambda _: _schedule(cron="0 0 30 2 *"),
    "cron with seconds": lambda _: _schedule(cron="59 59 23 29 2 *", timezone="Europe/Berlin"),
    "cron without end": lambda size: _schedule(cron="1," * ((size - 400) // 2) + "1 * * * *"),
    "cron of steps": lambda size: _schedule(cron=",".join(["0-59/1"] * ((size - 500) // 7)) + " * * * *"),
    "every": lambda size: _schedule(every="1h" * ((size - 400) // 2)),
    "a start long ago": lambda _: _schedule(every=1_000, startAt="1970-01-01T00:00:00Z"),
    "a zone without end": lambda size: _schedule(cron="@daily", timezone="Europe/" * ((size - 400) // 7)),
}


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
