"""A child that does what its role says, to see what the supervisor makes of it.

    scripted_child.py PLAN_FOLDER ROLE FD [again]

It counts its starts in a file of its role, so that a test knows how often it was started, and how.
"""

import os
import signal
import socket
import sys
import time
from pathlib import Path


def reread(folder: Path, channel: socket.socket) -> None:
    """Answers what the test has put into a file, once it is there; with none in it, the process just ends."""
    asked = b""
    while asked.count(b"\n") < 2:
        asked += channel.recv(65_536)
    with (folder / "settings.asked").open("ab") as file:
        file.write(asked)
    while not (folder / "answer").exists():
        time.sleep(0.01)
    channel.sendall((folder / "answer").read_bytes())
    sys.exit(0)


def main() -> None:
    folder, role, channel = Path(sys.argv[1]), sys.argv[2], socket.socket(fileno=int(sys.argv[3]))
    starts = folder / f"{role}.starts"
    if role == "settings":
        reread(folder, channel)
    plan = channel.recv(65_536)
    with starts.open("a") as file:
        file.write(f"{os.getpid()} {plan.decode()}")
    with (folder / f"{role}.words").open("a") as file:
        file.write(" ".join(["start", *sys.argv[4:]]) + "\n")
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
    elif role == "hangs":
        channel.sendall(b'{"type":"ready"}\n{"type":"beat"}\n')
        while count > 1:  # the second goes on
            channel.sendall(b'{"type":"beat"}\n')
            time.sleep(0.02)
    elif role == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        channel.sendall(b'{"type":"ready"}\n')
    else:
        channel.sendall(b'{"type":"ready"}\n')
    if role != "stubborn":
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    while True:
        told = channel.recv(65_536)
        if not told:
            os._exit(1)  # the supervisor is gone
        with (folder / f"{role}.told").open("ab") as file:
            file.write(told)


if __name__ == "__main__":
    main()
