"""Makes a call the way a task does: from JSON, through validation and the stored form."""

from datetime import UTC
from typing import Any

import msgspec

from tasks_server.domain import json_text, validation
from tasks_server.domain.asked import KEPT
from tasks_server.domain.attempt import Outcome
from tasks_server.domain.forms import decode_spec
from tasks_server.engine.calls import Call
from tests.engine.http.driver import Driver, call
from tests.engine.http.target import DEADLINE_SECONDS


def asked(url: str, config: dict[str, Any] | None = None, method: str = "GET", **request: Any) -> Call:
    """The call of a task with this configuration and these other fields of `httpRequest`."""
    raw = {"httpRequest": {"url": url, "method": method, **request}, "config": config or {}}
    opened = json_text.opened(msgspec.json.encode(raw), KEPT)
    spec = decode_spec(validation.read(opened, 1_700_000_000_000, UTC).spec)
    token = call(url).token
    return Call(token, spec.request, spec.config, (), 0, DEADLINE_SECONDS * 1_000, special=spec.special)


def ask(http: Driver, url: str, config: dict[str, Any] | None = None, method: str = "GET", **request: Any) -> Outcome:
    """Makes that call and gives its outcome."""
    return http.run(asked(url, config, method, **request))[0]
