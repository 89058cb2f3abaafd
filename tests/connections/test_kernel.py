"""What the kernel says of real connections, and closing them."""

import contextlib
import os
import socket
from collections.abc import Iterator

import pytest

from tasks_server.clock import ManualClock
from tasks_server.connections.keeper import Doorkeeper, Watched
from tasks_server.connections.kernel import Connection, Sockets
from tasks_server.connections.rules import Places
from tasks_server.telemetry import Telemetry


class Line:
    """Connections over loopback, both ends of them in this process."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.sockets = Sockets(self.port)
        self._ends: list[socket.socket] = [self.listener]

    def connect(self, address: str = "127.0.0.1") -> tuple[socket.socket, socket.socket]:
        client = socket.create_connection(("127.0.0.1", self.port), 30, (address, 0))
        server, _ = self.listener.accept()
        server.settimeout(30)
        self._ends += [client, server]
        return client, server

    def found(self) -> dict[tuple[str, int], Connection]:
        """By the address of the client."""
        return {(one.peer.address, int(one.peer.port)): one for one in self.sockets.connections()}

    def close(self) -> None:
        for end in self._ends:
            end.close()


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.close()


def test_the_connections_of_the_port_are_found_and_nothing_else(line: Line) -> None:
    first, _ = line.connect()
    second, _ = line.connect("127.0.0.2")
    with socket.create_server(("127.0.0.1", 0)) as other, socket.create_connection(other.getsockname()):
        assert set(line.found()) == {first.getsockname(), second.getsockname()}
    assert line.found()[second.getsockname()].peer.net == bytes([127, 0, 0, 2])


def test_what_came_and_went_is_known(line: Line) -> None:
    client, server = line.connect()
    name = client.getsockname()
    assert (line.found()[name].brought, line.found()[name].taken) == (0, 0)
    client.sendall(b"x" * 100)
    assert server.recv(100) == b"x" * 100
    server.sendall(b"y" * 50)
    assert client.recv(50) == b"y" * 50
    while line.found()[name].taken < 50:  # until the kernel has the acknowledgement
        pass
    assert (line.found()[name].brought, line.found()[name].unsent) == (100, 0)
    server.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while server.send(b"z" * 65_536):
            pass
    assert line.found()[name].unsent > 0


def test_one_is_closed_and_both_ends_notice(line: Line) -> None:
    (client, server), (other, its_server) = line.connect(), line.connect()
    assert line.sockets.close(line.found()[client.getsockname()])
    assert server.recv(1) == b""
    with pytest.raises(BrokenPipeError):
        server.send(b"x")
    server.close()
    assert client.recv(1) == b""
    other.sendall(b"still here")
    assert its_server.recv(10) == b"still here"


def test_a_number_that_is_another_files_by_now_is_left_alone(line: Line) -> None:
    client, server = line.connect()
    seen = line.found()[client.getsockname()]
    fd = server.detach()
    other, its_server = line.connect()
    os.dup2(its_server.fileno(), fd)
    try:
        assert not line.sockets.close(seen)
        other.sendall(b"still here")
        assert its_server.recv(10) == b"still here"
        assert line.found()[other.getsockname()].inode != seen.inode
    finally:
        os.close(fd)
    assert not line.sockets.close(seen)


def test_six_is_found_as_four_is() -> None:
    try:
        listener = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    except OSError:
        pytest.skip("there is no IPv6 here")
    sockets = Sockets(listener.getsockname()[1])
    with listener, socket.create_connection(("127.0.0.1", listener.getsockname()[1])) as four, listener.accept()[0]:
        (mapped,) = sockets.connections()
        assert (mapped.peer.address, mapped.peer.net) == ("::ffff:127.0.0.1", bytes([127, 0, 0, 1]))
        assert mapped.peer.port == str(four.getsockname()[1])
        try:
            six = socket.create_connection(("::1", listener.getsockname()[1]))
        except OSError:
            pytest.skip("there is no ::1 here")
        with six, listener.accept()[0]:
            found = {one.peer.address: one.peer.net for one in sockets.connections()}
            assert found["::1"] == bytes(8)


def test_open_files_are_counted() -> None:
    before = Sockets.files()
    with socket.socket(), socket.socket():
        assert Sockets.files() == before + 2


# The doorkeeper


class Watch:
    """A doorkeeper over real connections, whose time the test moves."""

    def __init__(self, line: Line, bounds: Places) -> None:
        self.clock = ManualClock()
        self.logged: list[bytes] = []
        self.at_work: set[tuple[str, str] | None] = set()
        self.with_requests: set[tuple[str, str] | None] = set()
        self.glances = 0
        self.sockets = line.sockets
        told = Telemetry(self.clock, form="json", write=self.logged.append)
        watched = Watched(self.sockets, self._peers, self._glance)
        self.keeper = Doorkeeper(watched, bounds, 60.0, self.clock, told)

    def _peers(self, *, awaited: bool) -> set[tuple[str, str] | None]:
        return self.at_work if not awaited else self.with_requests

    def _glance(self) -> None:
        self.glances += 1


def test_the_doorkeeper_makes_room_and_says_so_once(line: Line) -> None:
    watch = Watch(line, Places(connections=6, per_address=4, accepted=8))
    ends = [line.connect("127.0.0.5") for _ in range(6)]
    busy = ends[0][0].getsockname()
    watch.at_work = {(busy[0], str(busy[1]))}
    watch.keeper.look()
    closed = [number for number, (_, server) in enumerate(ends) if _is_over(server)]
    assert len(closed) == 2
    assert 0 not in closed
    (line_told,) = watch.logged
    assert b'"event":"connections_dropped","count":2,"places":6,"most_of":"127.0.0.5"' in line_told
    for client, server in ends:
        client.close()
        server.close()
    more = [line.connect("127.0.0.5") for _ in range(6)]
    watch.keeper.look()
    assert sum(_is_over(server) for _, server in more) == 2
    assert len(watch.logged) == 1


def _is_over(server: socket.socket) -> bool:
    server.setblocking(False)
    try:
        return server.recv(1) == b""
    except BlockingIOError:
        return False


def test_a_glance_looks_closer_when_it_is_time_or_many_are_there(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(line, Places(connections=1_000, per_address=500, accepted=1_250))
    looks = []
    monkeypatch.setattr(watch.keeper, "look", lambda: looks.append(watch.clock.monotonic()))
    watch.keeper.glance()
    watch.keeper.glance()
    assert (watch.glances, len(looks)) == (2, 1)
    watch.clock.advance(5_000)
    watch.keeper.glance()
    assert len(looks) == 2
    monkeypatch.setattr(watch.sockets, "files", lambda: 501)
    watch.keeper.glance()
    assert (watch.glances, len(looks)) == (4, 3)
