"""A child that does what its role says, to see what the supervisor makes of it.

    scripted_child.py PLAN_FOLDER ROLE FD

It counts its starts in a file of its role, so that a test knows how often it was started.
"""

import os
import signal
import socket
import sys
from pathlib import Path


def main() -> None:
    folder, role, channel = Path(sys.argv[1]), sys.argv[2], socket.socket(fileno=int(sys.argv[3]))
    starts = folder / f"{role}.starts"
    plan = channel.recv(65_536)
    with starts.open("a") as file:
        file.write(f"{os.getpid()} {plan.decode()}")
    count = len(starts.read_text().splitlines())
    if role == "refuses":
        channel.sendall(b'{"type":"failed","message":"the store is on fire","exit_code":3}\n')
        sys.exit(3)
    if role == "crashes" or (role == "crashes-twice" and count <= 2):
        os._exit(9)
    if role == "crashes-later":
        channel.sendall(b'{"type":"ready"}\n')
        if count <= 3:
            channel.recv(1) if (folder / "wait").exists() else None
            os._exit(7)
    elif role == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        channel.sendall(b'{"type":"ready"}\n')
    else:
        channel.sendall(b'{"type":"ready"}\n')
    if role != "stubborn":
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    while True:
        if not channel.recv(64):
            os._exit(1)  # the supervisor is gone


if __name__ == "__main__":
    main()
