"""A target and a proxy that ask for NTLM, each connection for itself. Their side of it is pyspnego's, which knows the
users of the file that NTLM_USER_FILE names.
"""

import base64
from typing import Any

import spnego

from tests.engine.http.proxies import HttpProxy
from tests.engine.http.target import Connection, Received, Target, answer


class Guard:
    """Lets a connection pass once it has proven who it is."""

    def __init__(self, status: int = 401, ask: str = "WWW-Authenticate", proof: str = "Authorization") -> None:
        self._status = status
        self._ask = ask
        self._proof = proof
        self._contexts: dict[int, Any] = {}
        self.users: dict[int, str] = {}
        """Who each connection belongs to."""
        self.refused = 0
        self.close_after_challenge = 0
        """So many connections are closed once they have got their challenge."""

    async def lets_pass(self, connection: Connection, request: Received) -> bool:
        if connection.number in self.users:
            return True
        scheme, _, token = (request.header(self._proof) or "").partition(" ")
        if scheme != "NTLM":
            await self._turn_away(connection, "NTLM")
            return False
        message = base64.b64decode(token)
        is_first = message[8] == 1
        if is_first:
            self._contexts[connection.number] = spnego.server(
                hostname="127.0.0.1", service="HTTP", protocol="ntlm", options=spnego.NegotiateOptions.use_ntlm
            )
        context = self._contexts.pop(connection.number, None)
        try:
            challenge = context.step(message)
        except Exception:
            self.refused += 1
            await self._turn_away(connection, "NTLM")
            return False
        if is_first:
            self._contexts[connection.number] = context
            closing = self.close_after_challenge > 0
            self.close_after_challenge -= closing
            await self._turn_away(connection, f"NTLM {base64.b64encode(challenge).decode()}", closing)
            return False
        assert context.complete
        self.users[connection.number] = context.client_principal
        return True

    async def _turn_away(self, connection: Connection, line: str, closing: bool = False) -> None:
        headers = {self._ask: line} | ({"Connection": "close"} if closing else {})
        await connection.send(answer(self._status, b"who are you?", **headers))
        if closing:
            await connection.close()
            raise ConnectionError


class NtlmTarget(Target):
    """Answers what is scripted to those who have proven who they are."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.guard = Guard()
        self.served: list[tuple[str, str, str, bytes]] = []
        """User, method, path and body of each request that was let through."""

    def guarded(self, after: bytes | None = None) -> Any:
        async def script(connection: Connection, request: Received) -> None:
            if await self.guard.lets_pass(connection, request):
                user = self.guard.users[connection.number]
                self.served.append((user, request.method, request.path, request.body))
                await connection.send(after or answer())

        return script


class NtlmProxy(HttpProxy):
    """Serves those who have proven who they are."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.guard: Guard | None = Guard(407, "Proxy-Authenticate", "Proxy-Authorization")

    async def _serve_one(self, connection: Connection, request: Received) -> None:
        if self.guard is None or await self.guard.lets_pass(connection, request):
            await super()._serve_one(connection, request)
