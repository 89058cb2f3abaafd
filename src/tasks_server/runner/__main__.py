"""Where a runner begins: it learns what to import, says which handlers it has, and runs calls until the engine is gone.

    python -P -m tasks_server.runner FD

FD is the socket to the engine.
"""

import asyncio
import gc
import os
import signal
import sys
import threading
from typing import Final

import uvloop

from tasks_server.clock import SystemClock
from tasks_server.handlers.frames import Loaded, NotLoaded
from tasks_server.runner.link import Link
from tasks_server.runner.loading import announced, load, where_it_failed
from tasks_server.runner.logs import listen
from tasks_server.runner.work import Work
from tasks_server.telemetry import Telemetry

_SWITCH_SECONDS: Final = 0.001
"""The reading thread asks for the interpreter lock while handlers are busy; Python's default lets it wait 5 ms."""
_NOT_LOADED: Final = 1


def main(fd: int) -> int:
    """The exit status, when the handlers cannot be imported; else it never returns."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # the engine decides; what handlers start is not touched by this
    sys.setswitchinterval(_SWITCH_SECONDS)
    link = Link(fd)
    start = link.start()
    clock = SystemClock()
    told = Telemetry(clock, start.log_level, start.log_format, colored=start.colored)
    listen(told)
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    work = Work(loop, link, clock, told, start.result_bytes_max)
    threading.Thread(target=work.read, name="engine", daemon=True).start()
    sys.path.insert(0, start.path)
    try:
        work.handlers = load(start.modules)
    except BaseException as error:
        where = f" (modules are looked for in {start.path} first)" if isinstance(error, ModuleNotFoundError) else ""
        link.post(NotLoaded(f"{type(error).__name__}: {error}{where}", where_it_failed(error)))
        return _NOT_LOADED
    gc.collect()
    gc.freeze()
    link.post(Loaded([announced(handler.registration) for handler in work.handlers.values()]))
    loop.run_forever()
    return 0


if __name__ == "__main__":
    status = main(int(sys.argv[1]))
    sys.stdout.flush()
    os._exit(status)
