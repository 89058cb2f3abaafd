"""NTLM at a target and at a proxy, which the libcurl at hand does not speak. Sans I/O but for the random numbers.

It proves who somebody is to one connection: a first message, the other side's challenge, an answer to that, all on
the same connection, which then counts as theirs. So the connections of such a call are its own.
"""

import binascii
from collections.abc import Callable
from typing import Any, Final

import msgspec
import pycurl

from tasks_server.domain.options import Credentials
from tasks_server.domain.urls import origin
from tasks_server.engine.http.conversation import Answer, Ask, Broken, Conversation
from tasks_server.engine.http.places import location

Play = Callable[[Ask], Conversation]
_LET_THROUGH: Final = range(200, 300)
_SCHEME: Final = b"NTLM"
_AUTH_ERROR: Final = 94
"""CURLE_AUTH_ERROR, which pycurl has no name for."""


class _Side(msgspec.Struct, frozen=True):
    """Who asks for the proof, and in which headers."""

    status: int
    challenge: bytes
    proof: bytes


_TARGET: Final = _Side(401, b"www-authenticate", b"Authorization: NTLM ")
_PROXY: Final = _Side(407, b"proxy-authenticate", b"Proxy-Authorization: NTLM ")


class AtTarget:
    """Plays asks with NTLM at the target, where they carry credentials. `play` carries each on."""

    def __init__(self, who: Credentials, play: Play) -> None:
        self._who = who
        self._play = play
        self._proven = False

    def play(self, ask: Ask) -> Conversation:
        if not ask.credentials:
            return (yield from self._play(ask))
        if self._proven:
            answer = yield from self._play(msgspec.structs.replace(ask, same_connection=True))
            if answer.status != _TARGET.status:
                return answer
        answer = yield from _dance(_bare(ask), ask, self._play, _TARGET, self._who, origin(ask.url)[1])
        self._proven = not answer.broken and answer.status != _TARGET.status
        return answer


class AtProxy:
    """Plays asks with NTLM at an http proxy (`host:port`): on the connection to it, or to open a tunnel for https.
    `lines` are the header lines for the proxy alone.
    """

    def __init__(self, who: Credentials, proxy: str, lines: list[bytes]) -> None:
        self._who = who
        self._proxy = proxy
        self._lines = lines
        self._proven = False
        self._tunnels: set[str] = set()

    def play(self, ask: Ask) -> Conversation:
        scheme, target = origin(ask.url)
        if scheme == "https":
            return (yield from self._play_in_tunnel(ask, target))
        if self._proven:
            answer = yield ask
            if answer.status != _PROXY.status:
                return answer
        answer = yield from _dance(_bare(ask), ask, _alone, _PROXY, self._who, self._proxy)
        self._proven = not answer.broken and answer.status != _PROXY.status
        return answer

    def _play_in_tunnel(self, ask: Ask, target: str) -> Conversation:
        inside = msgspec.structs.replace(ask, way="tunnel")
        if target in self._tunnels:
            answer = yield inside
            if answer.broken != pycurl.E_COULDNT_CONNECT:
                return answer
            self._tunnels.discard(target)  # it was closed meanwhile
        answer = yield from self._open(ask, target)
        if answer.broken:
            return answer
        if answer.status not in _LET_THROUGH:
            raise Broken(pycurl.E_RECV_ERROR, f"CONNECT tunnel failed, response {answer.status}")
        self._tunnels.add(target)
        return (yield inside)

    def _open(self, ask: Ask, target: str) -> Conversation:
        lines = [f"Host: {target}".encode(), b"Proxy-Connection: Keep-Alive", b"Accept:", *self._lines]
        first = Ask(ask.url, "CONNECT", lines, way="connect", redirects=ask.redirects)
        opening = msgspec.structs.replace(first, opens=True)
        return (yield from _dance(first, opening, _alone, _PROXY, self._who, self._proxy))


def _alone(ask: Ask) -> Conversation:
    return (yield ask)


def _bare(ask: Ask) -> Ask:
    """The ask without its data, which need not go where the proof is still missing."""
    return msgspec.structs.replace(ask, body=b"") if ask.body else ask


def _dance(first: Ask, full: Ask, play: Play, side: _Side, who: Credentials, host: str) -> Conversation:
    """Proves who asks: `first` brings the challenge, `full` answers it. When the connection was closed in between,
    all is done once more.
    """
    answer = yield from _prove(first, full, play, side, who, host)
    if answer.status == side.status and answer.connects and not answer.broken:
        answer = yield from _prove(first, full, play, side, who, host)
    return answer


def _prove(first: Ask, full: Ask, play: Play, side: _Side, who: Credentials, host: str) -> Conversation:
    context = _context(who, host)
    answer = yield from play(_with(msgspec.structs.replace(first, leads_on=True), side, context.step()))
    if answer.broken:
        return answer
    challenge = _challenge(answer, side)
    if challenge is None:
        if first == full or answer.status == side.status or location(answer) is not None:
            return msgspec.structs.replace(answer, connects=0)  # starting over would bring the same
        return (yield from play(full))  # nobody asks for a proof
    try:
        proof = context.step(binascii.a2b_base64(challenge, strict_mode=True))
    except Exception as error:  # whatever the other side says in its challenge ends that call alone
        raise Broken(_AUTH_ERROR, f"its NTLM challenge makes no sense ({type(error).__name__})") from None
    return (yield from play(_with(msgspec.structs.replace(full, same_connection=True), side, proof)))


def _with(ask: Ask, side: _Side, message: bytes | None) -> Ask:
    line = side.proof + binascii.b2a_base64(message or b"", newline=False)
    if side is _PROXY and ask.way != "connect":
        return msgspec.structs.replace(ask, proxy_lines=[*ask.proxy_lines, line])
    return msgspec.structs.replace(ask, lines=[*ask.lines, line])


def _challenge(answer: Answer, side: _Side) -> bytes | None:
    """The challenge in the answer; None: there is none."""
    if answer.status != side.status:
        return None
    for value in answer.values(side.challenge):
        scheme, _, token = value.partition(b" ")
        if scheme.upper() == _SCHEME and token.strip():
            return token.strip()
    return None


def load() -> None:
    """Loads what makes the messages: some tenths of a second and 13 MiB, which only tasks with NTLM shall cost."""
    import spnego  # noqa: F401


def _context(who: Credentials, host: str) -> Any:
    """What makes the messages; the user's name may be `DOMAIN\\user`."""
    import spnego

    return spnego.client(
        who.username,
        who.password,
        hostname=host.rpartition(":")[0],
        service="HTTP",
        protocol="ntlm",
        options=spnego.NegotiateOptions.use_ntlm,  # never a library of the system's, which may keep credentials
    )
