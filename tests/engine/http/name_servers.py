"""Name servers for tests, on loopback: one of plain DNS by UDP and TCP, and one of DNS over HTTPS."""

import socket
import ssl
import threading
from dataclasses import dataclass, field

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from tests.engine.http.target import DEADLINE_SECONDS, Connection, Received, Target


@dataclass
class Zone:
    """What a server knows, as `{(name, kind): values}` or `{name: response code}`, and what it was asked.

    A CNAME is answered for every kind, with what is behind it where `chases`.
    """

    records: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    ttl: int = 0
    chases: bool = True
    asked: list[tuple[str, str]] = field(default_factory=list)

    def answer(self, wire: bytes) -> dns.message.Message:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        response = dns.message.make_response(query)
        code = self._fill(response, name, kind)
        response.set_rcode(dns.rcode.from_text(code))
        return response

    def _fill(self, response: dns.message.Message, name: str, kind: str) -> str:
        for _ in range(20):
            if name in self.failures:
                return self.failures[name]
            if alias := self.records.get((name, "CNAME")):
                self._add(response, name, "CNAME", alias)
                if not self.chases:
                    return "NOERROR"
                name = alias[0].rstrip(".")
                continue
            if values := self.records.get((name, kind)):
                self._add(response, name, kind, values)
            return "NOERROR" if any(known == name for known, _ in self.records) else "NXDOMAIN"
        return "NOERROR"

    def _add(self, response: dns.message.Message, name: str, kind: str, values: list[str]) -> None:
        response.answer.append(dns.rrset.from_text_list(f"{name}.", self.ttl, "IN", kind, values))

    def names(self) -> set[str]:
        return {name for name, _ in self.asked}


class DnsServer(Zone):
    """Answers by UDP and TCP on one port of 127.0.0.1 (or `host`). `truncates`: by UDP it says to come by TCP;
    `is_silent`: it answers nothing.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, **zone: object) -> None:
        super().__init__(**zone)  # type: ignore[arg-type]  # the fields of a zone
        self.truncates = self.is_silent = False
        self.by_tcp = 0
        self._tcp = socket.create_server((host, port))
        self.host, self.port = self._tcp.getsockname()[:2]
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((self.host, self.port))
        self._threads = [threading.Thread(target=work) for work in (self._serve_udp, self._serve_tcp)]

    def __enter__(self) -> "DnsServer":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
            ours.sendto(b"end", (self.host, self.port))
        with socket.create_connection((self.host, self.port)) as ours:
            ours.sendall(b"\0\0")
        for thread in self._threads:
            thread.join(DEADLINE_SECONDS)
        self._udp.close()
        self._tcp.close()

    def _serve_udp(self) -> None:
        while (got := self._udp.recvfrom(4_096))[0] != b"end":
            response = self.answer(got[0])
            if self.truncates:
                response.answer.clear()
                response.flags |= dns.flags.TC
            if not self.is_silent:
                self._udp.sendto(response.to_wire(), got[1])

    def _serve_tcp(self) -> None:
        while True:
            connection, _ = self._tcp.accept()
            with connection, connection.makefile("rb") as incoming:
                connection.settimeout(DEADLINE_SECONDS)
                length = int.from_bytes(incoming.read(2))
                if length == 0:
                    return
                self.by_tcp += 1
                wire = self.answer(incoming.read(length)).to_wire()
                connection.sendall(len(wire).to_bytes(2) + wire)


class DohServer(Zone, Target):
    """Answers POSTs to /dns-query by HTTP/1.1."""

    def __init__(self, tls: ssl.SSLContext, **zone: object) -> None:
        Zone.__init__(self, **zone)  # type: ignore[arg-type]  # the fields of a zone
        Target.__init__(self, tls=tls)
        self.scripts["/dns-query"] = self._reply

    async def _reply(self, connection: Connection, request: Received) -> None:
        wire = self.answer(request.body).to_wire()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/dns-message\r\nContent-Length: {len(wire)}\r\n\r\n"
        await connection.send(head.encode() + wire)

    @property
    def doh_url(self) -> str:
        return self.url("/dns-query")
