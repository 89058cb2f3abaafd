"""Keys are opened in a process of their own: by turns, within bounds, and whatever becomes of that process."""

import asyncio
import base64
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain.certificates import NOTHING_WRONG, Certificates, Examined
from tasks_server.domain.errors import Throttled
from tasks_server.engine.certificates import examiner as examining
from tasks_server.engine.certificates.derivation import ROUNDS_MAX, rounds_of
from tasks_server.engine.certificates.examiner import Examiner
from tests.engine.http.authority import Authority, base64_of

from .test_certificate_contents import many_rounds

ONE = Authority().issue("shop")
LOCKED = Certificates(cert=base64_of(ONE.p12("open")), password="open", cert_type="P12")
TOO_LONG = "takes more than"


@pytest.fixture
def examiner(clock: ManualClock) -> Iterator[Examiner]:
    made = Examiner(clock)
    yield made
    made.close()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list["subprocess.Popen[bytes]"]:
    """The processes that are started from now on."""
    found: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def note(*arguments: object, **more: object) -> "subprocess.Popen[bytes]":
        process = start(*arguments, **more)  # type: ignore[call-overload]  # whatever it is asked with
        found.append(process)
        return process

    monkeypatch.setattr(subprocess, "Popen", note)
    return found


async def told(examiner: Examiner, *asked: Certificates, owner: str = "owner") -> list[Examined]:
    found = await examiner.examine(owner, asked)
    return [found[one] for one in asked]


def faults(found: list[Examined]) -> list[str]:
    return [fault.message for one in found for fault in one.faults]


async def test_a_locked_key_is_opened_elsewhere(
    examiner: Examiner, started: list["subprocess.Popen[bytes]"], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIPHER_KEY", "a secret of the server")
    (found,) = await told(examiner, LOCKED)
    assert found == Examined([], base64_of(ONE.pem), base64_of(ONE.key()))
    (process,) = started
    inherited = Path(f"/proc/{process.pid}/environ").read_bytes()
    assert b"CIPHER_KEY" not in inherited
    await told(examiner, LOCKED)
    assert len(started) == 1, "it stays for the next"
    examiner.close()
    assert process.returncode is not None


async def test_the_keys_of_one_request_are_bounded_together(examiner: Examiner) -> None:
    dear = [
        Certificates(cert=base64_of(many_rounds(rounds)), password="open", cert_type="P12")
        for rounds in (ROUNDS_MAX // 3, ROUNDS_MAX // 3 - 1)
    ]
    assert ROUNDS_MAX // 2 < rounds_of(base64.b64decode(dear[0].cert or "")) < ROUNDS_MAX
    found = await told(examiner, *dear)
    assert faults(found)[-1] == f"asks, with the other keys of the request, for more than {ROUNDS_MAX} rounds"
    assert faults(await told(examiner, LOCKED)) == []


async def test_a_process_that_dies_is_started_anew(
    examiner: Examiner, started: list["subprocess.Popen[bytes]"]
) -> None:
    await told(examiner, LOCKED)
    started[0].send_signal(signal.SIGKILL)
    (message,) = faults(await told(examiner, LOCKED))
    assert message.startswith(TOO_LONG)
    assert faults(await told(examiner, LOCKED, owner="another")) == []
    assert len(started) == 2


async def test_an_owner_whose_keys_took_too_long_sends_none_for_a_minute(
    examiner: Examiner, started: list["subprocess.Popen[bytes]"], clock: ManualClock
) -> None:
    await told(examiner, LOCKED)
    started[0].send_signal(signal.SIGKILL)
    await told(examiner, LOCKED)
    clock.advance(59_000)
    with pytest.raises(Throttled, match="send others in 1 s"):
        await told(examiner, LOCKED)
    clock.advance(1_000)
    assert faults(await told(examiner, LOCKED)) == []


async def test_what_takes_too_long_is_ended(
    examiner: Examiner, started: list["subprocess.Popen[bytes]"], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examining, "_COMMAND", (sys.executable, "-c", "import signal; signal.pause()"))
    monkeypatch.setattr(examining, "_START_SECONDS", 0.05)
    (message,) = faults(await told(examiner, LOCKED))
    assert message.startswith(TOO_LONG)
    assert started[0].returncode == -signal.SIGKILL


async def test_it_ends_with_the_server(tmp_path: Path) -> None:
    """The server is killed, and so is what opens its keys, which nobody can hear of any more."""
    script = tmp_path / "server.py"
    script.write_text(
        "import os, signal, sys\n"
        "from tasks_server.engine.certificates.examiner import _Opener\n"
        "opener = _Opener()\n"
        "opener.examine([])\n"
        "print(opener._process.pid, flush=True)\n"
        "signal.pause()\n"
    )
    server = await asyncio.create_subprocess_exec(sys.executable, str(script), stdout=subprocess.PIPE)
    assert server.stdout is not None
    pid = int(await server.stdout.readline())
    watched = os.pidfd_open(pid)
    try:
        server.kill()
        await server.wait()
        await asyncio.to_thread(_ended, watched)
    finally:
        os.close(watched)


def _ended(watched: int) -> None:
    import select

    poll = select.poll()
    poll.register(watched, select.POLLIN)
    assert poll.poll(20_000), "it is there still"


class Scripted:
    """Opens nothing; goes on when the test lets it."""

    seen: list[str]
    gate: threading.Semaphore

    def examine(self, batch: Sequence[Certificates]) -> list[Examined]:
        self.gate.acquire()
        self.seen.append(str(batch[0].ca))
        return [NOTHING_WRONG for _ in batch]

    def end(self) -> None: ...


async def test_owners_take_turns_and_each_waits_for_itself(examiner: Examiner, monkeypatch: pytest.MonkeyPatch) -> None:
    Scripted.seen, Scripted.gate = [], threading.Semaphore(0)
    monkeypatch.setattr(examining, "_Opener", Scripted)

    def ask(owner: str, name: str) -> "asyncio.Task[list[Examined]]":
        return asyncio.create_task(told(examiner, Certificates(ca=name), owner=owner))

    first = ask("many", "first")
    while not examiner.busy:
        await asyncio.sleep(0)
    waiting = [ask("many", f"many {number}") for number in range(4)]
    await asyncio.sleep(0)
    few = ask("few", "few")
    await asyncio.sleep(0)
    with pytest.raises(Throttled, match="4 requests of this owner wait"):
        await told(examiner, Certificates(ca="too many"), owner="many")
    Scripted.gate.release(6)
    await asyncio.gather(first, few, *waiting)
    assert Scripted.seen == ["first", "many 0", "few", "many 1", "many 2", "many 3"]
