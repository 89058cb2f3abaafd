"""The process that opens locked keys: what that costs, it costs nobody who is served. Started by an examiner, never by
hand.

    python -P -m tasks_server.engine.certificates.opening FD

FD is the socket to the examiner, with a batch of certificates at a time; its end ends the process.
"""

import ctypes
import os
import resource
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Final

from tasks_server.domain.certificates import Certificates, Examined
from tasks_server.domain.errors import Fault
from tasks_server.engine.certificates import framing
from tasks_server.engine.certificates.contents import Examination
from tasks_server.engine.certificates.derivation import ROUNDS_MAX

_MEMORY_MAX_BYTES: Final = 512 * 1_024 * 1_024
_CPU_SECONDS_MAX: Final = 6
"""For one batch. The examiner loses its patience before; this is for when it is gone."""
_NICENESS: Final = 10
_PR_SET_PDEATHSIG: Final = 1


def examine_all(batch: Sequence[Certificates]) -> list[Examined]:
    """What is to be told of each of a request's certificates, which may ask for `ROUNDS_MAX` rounds together."""
    left, found = ROUNDS_MAX, []
    for asked in batch:
        one = Examination(asked)
        if left < one.rounds <= ROUNDS_MAX:
            field = "config.cert.value" if asked.key is None else "config.key"
            text = f"asks, with the other keys of the request, for more than {ROUNDS_MAX} rounds"
            found.append(Examined([Fault(field, text)]))
            continue
        left -= min(left, one.rounds)
        found.append(one.told())
    return found


def main(fd: int) -> None:
    """Examines what comes until nothing comes any more."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # whoever started it decides
    os.nice(_NICENESS)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # in the middle of a key, too
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_MAX_BYTES, _MEMORY_MAX_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no image of keys on a disk
    link = socket.socket(fileno=fd)
    while True:
        try:
            batch = framing.asked.decode(framing.receive(link))
        except EOFError:
            return
        used = resource.getrusage(resource.RUSAGE_SELF)
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        limit = int(used.ru_utime + used.ru_stime) + _CPU_SECONDS_MAX
        resource.setrlimit(resource.RLIMIT_CPU, (limit if hard < 0 else min(limit, hard), hard))
        framing.send(link, framing.encode(examine_all(batch)))


if __name__ == "__main__":
    main(int(sys.argv[1]))
