"""Proxies for tests, each a real one: they record what they are asked for and carry bytes to where it says."""

import asyncio
import socket
import struct
from typing import Any

from tests.engine.http.target import Connection, Received, Target, answer


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def join(connection: Connection, host: str, port: int) -> None:
    """Carries bytes both ways until one side has enough."""
    reader, writer = await asyncio.open_connection(host, port)
    connection.target.writers.append(writer)
    await asyncio.gather(carry(connection.reader, writer), carry(reader, connection.writer), return_exceptions=True)


class HttpProxy(Target):
    """Forwards requests for absolute URLs, makes tunnels on CONNECT. With `login` (the whole value of a
    Proxy-Authorization header) it turns everybody else away; `challenge` goes with the refusal. `let_through` is how it
    says yes to CONNECT.
    """

    login: str | None = None
    challenge = 'Basic realm="proxy"'
    let_through = b"HTTP/1.1 200 OK\r\n\r\n"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.scripts = _Everything(self._serve_one)

    async def _serve_one(self, connection: Connection, request: Received) -> None:
        if self.login is not None and not (request.header("Proxy-Authorization") or "").startswith(self.login):
            await connection.send(answer(407, b"", Proxy_Authenticate=self.challenge))
            return
        if request.method == "CONNECT":
            host, _, port = request.path.rpartition(":")
            await connection.send(self.let_through)
            await join(connection, host, int(port))
            raise ConnectionError
        host, _, port = request.path.removeprefix("http://").partition("/")[0].partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        self.writers.append(writer)
        path = "/" + request.path.removeprefix("http://").partition("/")[2]
        head = request.head.replace(request.path.encode(), path.encode(), 1)
        writer.write(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + request.body)
        await connection.send(await reader.readuntil(b"ok"))
        writer.close()


class _Everything(dict[str, Any]):
    """One script for every path."""

    def __init__(self, script: Any) -> None:
        self.script = script

    def get(self, _key: str, _default: Any = None) -> Any:
        return self.script


class SocksProxy(Target):
    """SOCKS 4, 4a and 5 (RFC 1928, 1929). Records the version and where it was asked to go, and the login."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.asked: list[tuple[str, str, int]] = []
        self.logins: list[tuple[str, str]] = []

    async def _talk(self, connection: Connection) -> None:
        reader = connection.reader
        if (await reader.readexactly(1)) == b"\x04":
            await self._four(connection)
            return
        methods = await reader.readexactly((await reader.readexactly(1))[0])
        if 2 in methods:
            await connection.send(b"\x05\x02")
            await reader.readexactly(1)
            username = await reader.readexactly((await reader.readexactly(1))[0])
            password = await reader.readexactly((await reader.readexactly(1))[0])
            self.logins.append((username.decode(), password.decode()))
            await connection.send(b"\x01\x00")
        else:
            await connection.send(b"\x05\x00")
        kind = (await reader.readexactly(4))[3]
        if kind == 1:
            host, form = socket.inet_ntoa(await reader.readexactly(4)), "5"
        else:
            host, form = (await reader.readexactly((await reader.readexactly(1))[0])).decode(), "5h"
        (port,) = struct.unpack("!H", await reader.readexactly(2))
        self.asked.append((form, host, port))
        await connection.send(b"\x05\x00\x00\x01" + bytes(6))
        await join(connection, host, port)

    async def _four(self, connection: Connection) -> None:
        reader = connection.reader
        _, port, address = struct.unpack("!BH4s", await reader.readexactly(7))
        await reader.readuntil(b"\0")
        host, form = socket.inet_ntoa(address), "4"
        if address[:3] == b"\0\0\0":
            host, form = (await reader.readuntil(b"\0"))[:-1].decode(), "4a"
        self.asked.append((form, host, port))
        await connection.send(b"\x00\x5a" + bytes(6))
        await join(connection, host, port)
