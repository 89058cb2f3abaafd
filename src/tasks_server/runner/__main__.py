"""Where a runner begins: it learns what to import, says which handlers it has, and runs calls until the engine is gone.

    python -P -m tasks_server.runner FD

FD is the socket to the engine.
"""

import asyncio
import contextlib
import gc
import os
import signal
import sys
import threading
from typing import Final

import uvloop

from tasks_server import traces
from tasks_server.clock import SystemClock
from tasks_server.domain import texts
from tasks_server.handlers.frames import Loaded
from tasks_server.runner.link import Link
from tasks_server.runner.loading import announced, load, why_it_failed
from tasks_server.runner.logs import listen
from tasks_server.runner.work import Work
from tasks_server.telemetry import Telemetry, write_to
from tasks_server.telemetry.events import VALUE_LENGTH_MAX, LoopDisturbed

_SWITCH_SECONDS: Final = 0.001
"""The reading thread asks for the interpreter lock while handlers are busy; Python's default lets it wait 5 ms."""
_NOT_LOADED: Final = 1
_NO_LOOP: Final = 2


def main(fd: int) -> int:
    """The exit status, when the handlers cannot be imported; else it never returns."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, lambda *_: None)  # the engine decides; what handlers start is not touched by this
    sys.setswitchinterval(_SWITCH_SECONDS)
    link = Link(fd)
    start = link.start()
    clock = SystemClock()
    told = Telemetry(clock, start.log_level, start.log_format, write_to(_log()), colored=start.colored)
    listen(told)
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    work = Work(loop, link, clock, told, start.result_bytes_max)
    threading.Thread(target=work.read, name="engine", daemon=True).start()
    folder = os.fsdecode(start.path)
    sys.path.insert(0, folder)
    try:
        work.handlers = load(start.modules)
    except BaseException as error:
        link.post(why_it_failed(error, folder))
        return _NOT_LOADED
    gc.collect()
    gc.freeze()
    link.post(Loaded([announced(handler.registration) for handler in work.handlers.values()]))
    run_for_ever(loop, told)
    return _NO_LOOP


def _log() -> int:
    """The log, under a number of its own: users' code may close or replace the error output, and a file that they open
    next would get its number, and our lines.
    """
    try:
        return os.dup(2)
    except OSError:  # there is none
        return -1


def run_for_ever(loop: asyncio.AbstractEventLoop, told: Telemetry) -> None:
    """Runs the event loop, also when users' code stops it, or raises in it what ends a program elsewhere. Returns when
    it has been closed.
    """
    while not loop.is_closed():
        how, trace = "it was stopped", ""
        try:
            loop.run_forever()
        except BaseException as error:
            how, trace = texts.described(error, VALUE_LENGTH_MAX), traces.traced(error)
        told.emit(LoopDisturbed(how=how, trace=trace))


if __name__ == "__main__":
    status = main(int(sys.argv[1]))
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    os._exit(status)
