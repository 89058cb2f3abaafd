"""How a transfer ended, as the outcome of its call: asked of the handle while it still knows."""

import os
import socket

import pycurl

from tasks_server.domain.attempt import Outcome
from tasks_server.engine.calls import Call
from tasks_server.engine.http.egress import blocked
from tasks_server.engine.http.errors import NO_FILES, OPENS_FILES, Circumstances, Unsendable, failed, unsendable
from tasks_server.engine.http.handles import Handle
from tasks_server.engine.http.proxy import proxy_host
from tasks_server.engine.http.responses import answered

Failure = tuple[int, str]
"""libcurl's code and its own words."""


def broke(handle: Handle, failure: Failure | None) -> Failure | None:
    """The failure, unless libcurl was stopped because enough had come: then there is an answer."""
    return None if handle.body.is_cut else failure


def outcome_of(handle: Handle, call: Call, failure: Failure | None, now: int) -> Outcome:
    """The outcome of a call whose last transfer ended, with an answer or (`failure`) without."""
    if failure is not None:
        return outcome_of_failure(handle, call, *failure)
    body, is_truncated = None, False
    if call.config.trace_response_data:
        body, is_truncated = handle.body.kept(), handle.body.is_truncated
    return answered(handle.curl.getinfo(pycurl.RESPONSE_CODE), handle.headers, body, now, is_truncated=is_truncated)


def outcome_of_failure(handle: Handle, call: Call, code: int, message: str, following: int = 0) -> Outcome:
    """The outcome of a call that libcurl gave up. `following` is 1 on the way to where the present ask redirects."""
    curl, gate, talk = handle.curl, handle.gate, handle.talk
    if gate.refusal is not None:
        return blocked(gate.refusal)
    url = ""
    if talk is not None:
        code, url = talk.blame(code)
    os_errno = gate.os_errno or curl.getinfo(pycurl.OS_ERRNO)
    if code in OPENS_FILES and os_errno not in NO_FILES:
        os_errno = _why_no_file() or os_errno  # libcurl does not say so of names and authorities
    about = Circumstances(
        url=url or curl.getinfo(pycurl.EFFECTIVE_URL),
        message=message,
        os_errno=os_errno,
        redirects=0 if talk is None else talk.ask.redirects + following,
        redirects_max=call.config.redirect_attempts,
        timeout_ms=call.timeout_ms,
        elapsed_ms=int(curl.getinfo(pycurl.TOTAL_TIME) * 1_000) if talk is None else talk.elapsed_ms,
        sent=not following and curl.getinfo(pycurl.REQUEST_SIZE) > 0,
        heard=not following and bool(handle.headers),
        by_ipv4=gate.family == socket.AF_INET,
        proxy=proxy_host(call.config.proxy) if call.config.proxy is not None else "",
    )
    return failed(code, about)


def _why_no_file() -> int:
    """Why this process cannot open a file now; 0: it can."""
    try:
        os.close(os.dup(2))
    except OSError as error:
        return error.errno if error.errno in NO_FILES else 0
    return 0


def outcome_of_fault(error: Exception) -> Outcome:
    """The outcome of a call that could not be prepared, without values of the request: they may be secret."""
    if isinstance(error, Unsendable):
        return unsendable(str(error))
    if isinstance(error, UnicodeError):
        return unsendable("it holds text that is not valid Unicode")
    if isinstance(error, pycurl.error):
        return unsendable(f"the HTTP library refused it: {error.args[-1]}")
    return unsendable(f"preparing it failed with {type(error).__name__}")
