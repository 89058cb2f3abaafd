"""The client as a whole: threads, time, aborting, stopping, many connections, and faults of our own."""

import gc
import os
import resource
import threading
from collections.abc import Iterator

import pycurl
import pytest

from tasks_server.clock import ManualClock, SystemClock
from tasks_server.domain.attempt import OutcomeKind
from tasks_server.engine.calls import Done
from tasks_server.engine.http.client import HttpClient
from tests.engine.http.driver import Driver, call
from tests.engine.http.target import DEADLINE_SECONDS, Connection, Received, Target, hang


def descriptors() -> set[str]:
    """What this process has open. The directory is read by one of its own, which is gone afterwards."""
    return {f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}" for fd in os.listdir("/proc/self/fd") if exists(fd)}


def exists(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


def test_many_calls_end_exactly_once_each(http: Driver, target: Target) -> None:
    calls = [call(target.url(f"/{number}")) for number in range(500)]
    outcomes = http.run(*calls)
    assert {outcome.kind for outcome in outcomes} == {OutcomeKind.SUCCESS}
    assert sorted(received.path for received in target.received) == sorted(f"/{number}" for number in range(500))
    assert len(http.done) == 500


def test_calls_come_from_many_threads(http: Driver, target: Target) -> None:
    batches = [[call(target.url(f"/{thread}/{number}")) for number in range(50)] for thread in range(8)]

    def send(batch: list) -> None:
        for one in batch:
            http.client.send([one])

    threads = [threading.Thread(target=send, args=(batch,)) for batch in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    http.wait([one.token for batch in batches for one in batch])
    assert len(target.received) == 400


def test_ends_come_in_batches_on_the_clients_own_thread(target: Target) -> None:
    seen: list[tuple[str, int]] = []
    ended = threading.Event()

    def on_done(batch: list[Done]) -> None:
        seen.append((threading.current_thread().name, len(batch)))
        if sum(count for _, count in seen) == 3:
            ended.set()

    client = HttpClient(clock=SystemClock(), user_agent="a", response_max_bytes=10, connections_max=1)
    # Sent before the start: all are there at the first turn. These cannot be sent, so they end together.
    client.send([call("ftp://x/") for _ in range(3)])
    client.start(on_done)
    assert ended.wait(DEADLINE_SECONDS)
    client.stop()
    assert seen == [("http", 3)]


def test_no_call_starts_before_its_time(target: Target) -> None:
    clock = ManualClock(1_000)
    with Driver(clock) as http:
        late, early = call(target.url("/late"), start_at=1_500), call(target.url("/early"), start_at=1_200)
        now = call(target.url("/now"), start_at=1_000)
        http.client.send([late, early, now])
        http.wait([now.token])
        clock.advance(199)
        assert http.get(target.url("/before")).kind is OutcomeKind.SUCCESS
        clock.advance(1)
        http.client.send([])
        http.wait([early.token])
        assert [received.path for received in target.received] == ["/now", "/before", "/early"]
        clock.advance(300)
        http.client.send([])
        assert http.wait([late.token])[0].started_at == 1_500
    assert [received.path for received in target.received][3:] == ["/late"]


def test_by_the_systems_clock_calls_start_in_their_order_and_never_early(http: Driver, target: Target) -> None:
    now = http.clock.now()
    calls = [call(target.url(f"/{delay}"), start_at=now + delay) for delay in (40, 10, 30, 0, 20)]
    http.client.send(calls)
    for one, done in zip(calls, http.wait([one.token for one in calls]), strict=True):
        assert done.started_at >= one.start_at


def test_waiting_calls_of_one_instant_start_together(target: Target) -> None:
    clock = ManualClock(1_000)
    with Driver(clock) as http:
        calls = [call(target.url(), start_at=1_100) for _ in range(20)]
        http.client.send(calls)
        clock.advance(100)
        http.client.send([])
        assert {done.started_at for done in http.wait([one.token for one in calls])} == {1_100}


def test_an_aborted_call_is_dropped_at_once_and_ends_in_nothing(http: Driver, target: Target) -> None:
    target.scripts["/hang"] = lambda connection, _request: connection.reader.read()
    dropped = call(target.url("/hang"))
    http.client.send([dropped])
    target.wait(lambda seen: len(seen.received) == 1)
    http.client.abort([dropped.token, 10**9])
    target.wait(lambda seen: seen.closed == 1)
    assert http.get(target.url("/after")).kind is OutcomeKind.SUCCESS
    assert dropped.token not in http.done


def test_a_waiting_call_is_aborted_too(target: Target) -> None:
    clock = ManualClock(1_000)
    with Driver(clock) as http:
        dropped, kept = (call(target.url(path), start_at=2_000) for path in ("/dropped", "/kept"))
        http.client.send([dropped, kept])
        http.client.abort({dropped.token})
        clock.advance(1_000)
        http.client.send([])
        http.wait([kept.token])
        assert http.get(target.url("/after")).kind is OutcomeKind.SUCCESS
        assert dropped.token not in http.done
    assert "/dropped" not in [received.path for received in target.received]


def test_a_call_that_ended_before_its_abort_was_read_is_not_told_of(target: Target) -> None:
    told: list[int] = []
    client = HttpClient(clock=SystemClock(), user_agent="a", response_max_bytes=10, connections_max=1)
    ended = threading.Event()

    def on_done(batch: list[Done]) -> None:
        told.extend(done.token for done in batch)
        ended.set()

    bad, good = call("ftp://x/"), call(target.url())
    client.send([bad, good])
    client.abort([bad.token])
    client.start(on_done)
    assert ended.wait(DEADLINE_SECONDS)
    client.stop()
    assert told == [good.token]


@pytest.mark.parametrize("in_flight", [0, 20])
def test_stop_leaves_no_thread_and_no_descriptor(target: Target, in_flight: int) -> None:
    target.scripts["/hang"] = hang
    gc.collect()
    Driver().client.stop()
    before = descriptors()
    with Driver(ManualClock()) as http:
        http.run(*[call(target.url(f"/{number}")) for number in range(20)], call("http://name.invalid/"))
        http.client.send([call(target.url("/hang")) for _ in range(in_flight)])
        http.client.send([call(target.url(), start_at=http.clock.now() + 1_000)])
        target.wait(lambda seen: sum(one.path == "/hang" for one in seen.received) == in_flight)
    ended = len(http.done)
    assert ended == 21
    target.release()
    target.wait(lambda seen: seen.closed == seen.opened)
    # The target's own ends are closed by its loop, a moment after it noted the end of the connection.
    target.settle()
    assert descriptors() == before
    assert not [thread for thread in threading.enumerate() if thread.name == "http"]


def test_stop_may_come_twice_and_before_a_start() -> None:
    client = HttpClient(clock=SystemClock(), user_agent="a", response_max_bytes=10, connections_max=1)
    client.stop()
    client.stop()
    with pytest.raises(RuntimeError, match="has ended"):
        client.send([])
    client.abort([1])
    with Driver() as http:
        http.client.stop()
        http.client.stop()


def test_it_starts_once(http: Driver) -> None:
    with pytest.raises(RuntimeError, match="started before"):
        http.client.start(lambda _done: None)


def test_idle_connections_are_bounded(target: Target) -> None:
    async def together(connection: Connection, request: Received) -> None:
        await connection.target.meet(5)
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    target.scripts["/"] = together
    with Driver(connections_max=2) as http:
        http.run(*[call(target.url()) for _ in range(5)])
        http.get(target.url("/next"))
        target.wait(lambda seen: seen.opened - seen.closed <= 2)


def test_idle_connections_are_closed_after_a_while(target: Target) -> None:
    with Driver(idle_seconds=1) as http:
        http.get(target.url())
        target.wait(lambda seen: seen.closed == 1)
        assert http.get(target.url()).kind is OutcomeKind.SUCCESS
        assert target.opened == 2


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8_192
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"this machine allows {hard} descriptors only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_descriptors")
def test_more_than_1024_connections_at_once(target: Target) -> None:
    target.scripts["/"] = hang
    with Driver(connections_max=2_000) as http:
        calls = [call(target.url()) for _ in range(1_500)]
        http.client.send(calls)
        target.wait(lambda seen: len(seen.received) == 1_500)
        assert target.opened == 1_500
        assert max(int(fd) for fd in os.listdir("/proc/self/fd")) > 3_000
        target.release()
        assert {done.outcome.kind for done in http.wait([one.token for one in calls])} == {OutcomeKind.SUCCESS}


def test_names_are_looked_up_beside_the_loop(target: Target) -> None:
    assert pycurl.version_info()[4] & pycurl.VERSION_ASYNCHDNS
    with Driver() as http:
        unknown = call("http://name.invalid/")
        http.client.send([unknown])
        assert http.get(target.url()).kind is OutcomeKind.SUCCESS
        assert http.wait([unknown.token])[0].outcome.kind is OutcomeKind.CONNECTION


def test_a_fault_of_ours_ends_every_call_and_is_told(monkeypatch: pytest.MonkeyPatch, target: Target) -> None:
    told: list[BaseException | None] = []
    hooked = threading.Event()

    def hook(arguments: threading.ExceptHookArgs) -> None:
        told.append(arguments.exc_value)
        hooked.set()

    monkeypatch.setattr(threading, "excepthook", hook)
    clock = ManualClock(1_000)
    target.scripts["/hang"] = hang
    with Driver(clock) as http:
        flying, waiting = call(target.url("/hang")), call(target.url(), start_at=9_000)
        http.client.send([flying, waiting])
        target.wait(lambda seen: len(seen.received) == 1)
        monkeypatch.setattr(http.client._transfers, "turn", lambda _timeout: 1 / 0)
        late = call(target.url())
        http.client.send([late])
        outcomes = [done.outcome for done in http.wait([flying.token, waiting.token])]
        assert {outcome.kind for outcome in outcomes} == {OutcomeKind.INTERRUPTED}
        assert hooked.wait(DEADLINE_SECONDS)
        assert isinstance(told[0], ZeroDivisionError)
        http.wait([late.token])
        with pytest.raises(RuntimeError, match="has ended"):
            http.client.send([call(target.url())])


def test_a_fault_in_watching_sockets_is_not_swallowed(monkeypatch: pytest.MonkeyPatch, target: Target) -> None:
    hooked = threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda _arguments: hooked.set())

    class Full:
        def __init__(self, inner: object) -> None:
            self._inner = inner

        def register(self, *_: object) -> None:
            raise OSError("no space left for another watch")

        def __getattr__(self, name: str) -> object:
            return getattr(self._inner, name)

    http = Driver()
    monkeypatch.setattr(http.client._transfers._sockets, "_epoll", Full(http.client._transfers._sockets._epoll))
    with http:
        assert http.get(target.url()).kind is OutcomeKind.INTERRUPTED
        assert hooked.wait(DEADLINE_SECONDS)


def test_what_is_held_until_its_time_is_given_back_when_the_clock_is_set_back(target: Target) -> None:
    """It would hold its slot for as long as the clock was set back."""
    clock = ManualClock()
    with Driver(clock) as http:
        held = call(target.url("/held"), start_at=clock.now() + 1_000)
        http.client.send([held])
        http.run(call(target.url("/first")))
        clock.set(-3_600_000)
        http.client.send([call(target.url("/wakes"))])
        (done,) = http.wait([held.token])
        assert (done.outcome.kind, done.ended_at) == (OutcomeKind.INTERRUPTED, clock.now())
        assert "the clock was set back" in (done.outcome.error or "")
    assert "/held" not in [one.path for one in target.received]
