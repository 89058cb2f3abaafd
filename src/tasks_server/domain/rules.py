"""Rules that types cannot say: about URLs, headers, data, and dates against the clock and each other.

They take values whose types fit and add what they find to a list of faults, by dotted path. The one place for them:
the fast and the thorough reading of `domain.validation` both come here.
"""

import binascii
import re
from collections.abc import Mapping
from typing import Final

import msgspec

from tasks_server.domain import dates, limits, shapes, urls, zones
from tasks_server.domain.errors import Fault
from tasks_server.domain.json_text import deeper_than
from tasks_server.domain.request import FormPart, HttpRequest, TaskConfig
from tasks_server.domain.rules_pairs import judge_pairs

HEADERS_REFUSED: Final = frozenset(
    {*("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "content-length", "expect")}
)
"""Hop-by-hop headers and Content-Length. `Host` is allowed: it names a virtual host behind the URL's address."""
_OWN_PREFIX: Final = "x-tasks-"
_PROXY_PREFIX: Final = "proxy-"
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
"""What would end a line, or hide in it."""
_HOST_HEADER: Final = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_IMMEDIATELY: Final = "executeImmediately: true accepts it and runs the task at once"
_TOO_FAR: Final = "is no date that this calendar holds"


class Moment(msgspec.Struct, frozen=True):
    """What dates are judged against: the clock, when the task is due, and which dates to judge (None: all). `named`:
    the fields of the configuration that an edit names (None: it is no edit).
    """

    now: int
    due: int
    only: frozenset[str] | None = None
    named: frozenset[str] | None = None

    def concerns(self, name: str) -> bool:
        return self.only is None or name in self.only


def judge_request(request: HttpRequest, faults: list[Fault]) -> str:
    """The request's target (`host:port`). Brings its URL into the form that is called."""
    target = ""
    try:
        request.url, target = urls.read_url(request.url)
    except ValueError as error:
        given = None if "@" in request.url else shapes.shown(request.url)
        faults.append(Fault("httpRequest.url", str(error), given, urls.FORMS))
    if request.headers is not None:
        judge_headers(request.headers, "httpRequest.headers", faults)
    if request.query is not None:
        judge_names("httpRequest.query", request.query, faults)
    if request.data_base64 is not None:
        _judge_base64(request, request.data_base64, faults)
    if request.json is not None:
        judge_depth("httpRequest.data", request.json, faults)
    elif isinstance(request.data, list):
        _judge_form(request.data, faults)
    return target


def judge_depth(field: str, text: bytes, faults: list[Fault]) -> None:
    """Judges JSON as it came."""
    if deeper_than(text, limits.DATA_DEPTH_MAX):
        faults.append(Fault(field, "is nested too deep", allowed=f"at most {limits.DATA_DEPTH_MAX} levels"))


def judge_names(field: str, entries: Mapping[str, str], faults: list[Fault]) -> None:
    """Judges a map of names to text: query or metadata."""
    for name, value in entries.items():
        if name.endswith("\n"):  # the `$` of the pattern lets one pass
            faults.append(Fault(f"{field}.{name.strip()}", "has a line break in its name"))
        if "\0" in value:
            faults.append(Fault(f"{field}.{name}", "must not contain the character NUL"))


def is_named(request: HttpRequest, header: str) -> bool:
    """Whether the caller sends a header of this name, given in lower case."""
    return any(name.lower() == header for name in request.headers or ())


def judge_config(config: TaskConfig, faults: list[Fault]) -> None:
    if config.lane.endswith("\n"):
        faults.append(Fault("config.lane", "has a line break in it"))
    if config.redirect_method != "change" and not (config.location and config.redirect_attempts):
        faults.append(Fault("config.redirectMethod", "has no meaning where no redirects are followed"))
    if config.user_agent is not None and CONTROL.search(config.user_agent):
        faults.append(Fault("config.userAgent", "must not contain control characters"))
    if config.timezone is not None:
        try:
            zones.zone_of(config.timezone)
        except ValueError as error:
            faults.append(Fault("config.timezone", str(error), config.timezone, zones.FORMS))


def judge_times(config: TaskConfig, moment: Moment, faults: list[Fault]) -> None:
    """Judges the dates: `executeAt` against the clock, the others against the due time; and what goes together."""
    judge_pairs(config, moment.named, faults)
    if config.execute_at is not None and moment.concerns("executeAt"):
        _judge_execute_at(config.execute_at, config.execute_immediately, moment.now, faults)
    soon = moment.due + limits.AFTER_DUE_MIN_MS
    for name, at, earliest in (
        ("retryAt", config.retry_at, soon),
        ("repeatAt", config.repeat_at, soon),
        ("timeoutAt", config.timeout_at, soon),
        ("expireAt", config.expire_at, moment.due + 1),
    ):
        if at is None or not moment.concerns(name):
            continue
        if at > dates.DATE_MAX_MS:
            faults.append(Fault(f"config.{name}", _TOO_FAR, shapes.shown(at), dates.FORMS))
        elif at < earliest:
            rule = "at least 1 s after the due time" if earliest == soon else "after the due time"
            faults.append(Fault(f"config.{name}", f"must lie {rule}", shapes.shown(at), f"{earliest} or later"))


def _judge_execute_at(at: int, immediately: bool, now: int, faults: list[Fault]) -> None:
    if not 0 <= at <= dates.DATE_MAX_MS:
        faults.append(Fault("config.executeAt", _TOO_FAR, shapes.shown(at), dates.FORMS))
    elif at < now and not immediately:
        # Instants of our days in seconds would be instants of January 1970 in milliseconds.
        advice = "it looks like seconds, milliseconds are wanted" if at * 100 < now else _IMMEDIATELY
        faults.append(Fault("config.executeAt", f"lies in the past; {advice}", at, f"{now} or later"))


def _judge_base64(request: HttpRequest, text: str, faults: list[Fault]) -> None:
    if request.data is not None or request.json is not None:
        faults.append(Fault("httpRequest.dataBase64", "cannot be given together with data", allowed="one of both"))
    try:
        binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        allowed = "base64 (RFC 4648 section 4) with padding and without line breaks"
        faults.append(Fault("httpRequest.dataBase64", "is not base64", shapes.shown(text), allowed))


def _judge_form(parts: list[FormPart], faults: list[Fault]) -> None:
    for index, part in enumerate(parts):
        if CONTROL.search(part.name):
            field = f"httpRequest.data.{index}.name"
            faults.append(Fault(field, "must not contain control characters", shapes.shown(part.name)))


def judge_headers(headers: dict[str, str], path: str, faults: list[Fault]) -> None:
    """Judges the headers of a call."""
    seen = set()
    for name, value in headers.items():
        lowered, field = name.lower(), f"{path}.{name.strip()}"
        if lowered.startswith(_OWN_PREFIX):
            faults.append(Fault(field, "cannot be set: X-Tasks- headers are this server's own"))
        elif lowered in HEADERS_REFUSED or lowered.startswith(_PROXY_PREFIX):
            faults.append(Fault(field, "cannot be set: it belongs to the connection"))
        elif lowered in seen:
            faults.append(Fault(field, "is given twice; the case of names does not matter"))
        elif lowered.endswith("\n"):  # the `$` of the pattern lets one pass
            faults.append(Fault(field, "has a line break in its name"))
        seen.add(lowered)
        # isprintable() is the quick answer for nearly every value; the pattern has the last word.
        if not value.isprintable() and CONTROL.search(value):
            faults.append(Fault(field, "must not contain control characters"))
        elif lowered == "host" and not _HOST_HEADER.fullmatch(value):
            faults.append(Fault(field, "is not a host", shapes.shown(value), "host or host:port"))
