"""Calls that need more than one transfer: what to ask next, and when an answer is the answer. Sans I/O.

A conversation is a generator: it yields an `Ask`, is sent the `Answer`, and returns when the latest answer is that of
the call. Parts of one (a dance of authentication, a redirect) are generators too, put together by `yield from`. Who
carries the asks to libcurl is in `talk`; who builds a conversation, and for which calls, in `conversations`.
"""

from collections.abc import Generator, Sequence
from typing import Literal

import msgspec

from tasks_server.domain.attempt import Outcome
from tasks_server.engine.calls import Call
from tasks_server.engine.http.options import render_lines, render_url
from tasks_server.engine.http.responses import last_block

Way = Literal["usual", "connect", "tunnel"]
"""How an ask goes: as the options of the task say; as a CONNECT to the task's proxy, made by the conversation itself;
or through the tunnel that such a CONNECT has opened."""


class Ask(msgspec.Struct, frozen=True):
    """One request, whole: nothing of the ask before stays."""

    url: str
    """Absolute. Of a `connect`: the URL that the tunnel is for."""
    method: str
    lines: Sequence[bytes] = ()
    """All header lines, in libcurl's form."""
    body: bytes | None = None
    """What is sent; None: nothing, and no Content-Length."""
    proxy_lines: Sequence[bytes] = ()
    """Header lines for the proxy alone, beside those of `proxyHeaders`."""
    same_connection: bool = False
    """The connection of the ask before is wanted. It may be gone: see `Answer.connects`."""
    leads_on: bool = False
    """Its answer is no more than a step: another ask is to follow on the same connection."""
    credentials: bool = True
    """Whether what libcurl itself knows goes along: `authBasic`, `authDigest`, `locationTrusted`, and cookies by name.
    Cookies of files and of answers go where they belong by themselves."""
    anonymous: bool = False
    """Nothing that says who asks goes along, now and later: no cookie of any kind, no client certificate."""
    referer: str | None = None
    """The Referer; None: what the options of the task say."""
    redirects: int = 0
    """How many redirects led here."""
    way: Way = "usual"
    opens: bool = False
    """A `connect` that counts on being let through: its answer has no body unless it is refused."""


class Answer(msgspec.Struct, frozen=True):
    """What came of an ask."""

    status: int
    """0: no status came (a broken transfer, HTTP/0.9)."""
    lines: Sequence[bytes]
    """The header lines of the answer, all 1xx and trailers included."""
    url: str
    """The URL that was called: HSTS may have made it https."""
    connects: int = 0
    """Connections that were opened for it; 0: the one before was used."""
    broken: int = 0
    """libcurl's code when there is no whole answer. A conversation may ask again; else so ends the call."""

    def values(self, name: bytes) -> list[bytes]:
        """The values of a header (its name in lower case) in the last block of header lines."""
        values = []
        for line in last_block(self.lines):
            given, _, value = line.partition(b":")
            if given.strip().lower() == name:
                values.append(value.strip())
        return values


class Broken(Exception):
    """Ends the call as a transfer ends that libcurl gives up with this code (see `errors`). `following`: it broke
    on the way from the present ask to where that redirects.
    """

    def __init__(self, code: int, message: str = "", *, following: bool = False) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.following = following


class Ended(Exception):
    """Ends the call with this outcome."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.error)
        self.outcome = outcome


Conversation = Generator[Ask, Answer, Answer]
"""Returns the answer of the call (of a part: its answer)."""


def opening(call: Call, agent_line: bytes) -> Ask:
    """The request of the call as it is sent without any conversation."""
    body, lines = render_lines(call, agent_line)
    return Ask(render_url(call.request)[0].decode("ascii"), call.request.method, lines, body)
