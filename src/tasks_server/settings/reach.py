"""What these settings mean for who reaches the API: under which names, by how many connections, to register whom."""

import socket
from typing import Final, Literal

from tasks_server.plans import ConnectionsPlan
from tasks_server.settings.table import Settings

_FEW: Final = 1_024
"""Where the system allows no more connections than this, it should be told, also to who chose no number."""


def registration(settings: Settings, loopback: bool) -> Literal["closed", "loopback", "open"]:
    """Who may register owners without the admin key. `loopback`: only this machine can reach the server."""
    if settings.registration == "auto":
        return "loopback" if loopback else "closed"
    return settings.registration


def ui(settings: Settings, loopback: bool) -> Literal["on", "read-only", "off"]:
    """Whether there is a dashboard. `loopback`: only this machine can reach the server."""
    if settings.ui == "auto":
        return "on" if loopback else "off"
    return settings.ui


def own_hosts(settings: Settings) -> list[str]:
    """The names of this server: those that the operator gave it, the one it listens at, the machine's own."""
    machine = socket.gethostname()
    return [*settings.own_hosts, settings.host, machine, machine.partition(".")[0]]


def connections_plan(settings: Settings) -> ConnectionsPlan:
    """How many connections there may be, and how long they may be silent."""
    chosen = "max_connections" in settings.model_fields_set
    return ConnectionsPlan(
        connections_max=settings.max_connections,
        per_address_max=settings.max_connections_per_address,
        connections_min=settings.max_connections if chosen else min(settings.max_connections, _FEW),
        timeout_seconds=settings.client_timeout_seconds,
    )
