"""What these settings mean for who reaches the API: under which names, and who may register owners."""

import socket
from typing import Literal

from tasks_server.settings.table import Settings


def registration(settings: Settings, loopback: bool) -> Literal["closed", "loopback", "open"]:
    """Who may register owners without the admin key. `loopback`: only this machine can reach the server."""
    if settings.registration == "auto":
        return "loopback" if loopback else "closed"
    return settings.registration


def own_hosts(settings: Settings) -> list[str]:
    """The names of this server: those that the operator gave it, the one it listens at, the machine's own."""
    machine = socket.gethostname()
    return [*settings.own_hosts, settings.host, machine, machine.partition(".")[0]]
