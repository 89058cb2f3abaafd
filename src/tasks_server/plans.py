"""What the processes that serve have to know, as plain values that are handed down to them."""

from functools import partial
from pathlib import Path
from typing import Literal

import msgspec

from tasks_server.domain.abilities import Abilities
from tasks_server.domain.certificates import leave_unexamined
from tasks_server.domain.egress import Egress
from tasks_server.telemetry import Format
from tasks_server.telemetry.events import Level


class LogPlan(msgspec.Struct, frozen=True):
    """How events become lines."""

    level: Level
    form: Format
    colored: bool


class EgressPlan(msgspec.Struct, frozen=True):
    """What tasks may call: a policy and its exceptions, as the settings write them."""

    policy: Literal["open", "private", "public"]
    allow: str
    deny: str

    def build(self) -> Egress:
        return Egress.parse(self.policy, self.allow, self.deny)


class AbilitiesPlan(msgspec.Struct, frozen=True):
    """What the engine can do: the features that libcurl lacks, and the folder of certificates."""

    lacking: list[str]
    certificates_dir: str | None

    def build(self) -> Abilities:
        from tasks_server.engine.certificates.paths import path_fault

        folder = Path(self.certificates_dir) if self.certificates_dir else None
        return Abilities(frozenset(self.lacking), folder is not None, partial(path_fault, folder), leave_unexamined)


class ConnectionsPlan(msgspec.Struct, frozen=True):
    """How many connections an API process has: in all, of one address (0: half of all), and so few that somebody should
    know; how long they may be silent.
    """

    connections_max: int
    per_address_max: int
    connections_min: int
    timeout_seconds: float


class ApiPlan(msgspec.Struct, frozen=True):
    """What the operator chose for the API. `zone` names a time zone; no request limit is None; `hosts` are names of
    this server, `loopback`: only this machine can reach it.
    """

    admin_key: str | None
    admin_key_read_only: str | None
    registration: Literal["closed", "loopback", "open"]
    hosts: list[str]
    loopback: bool
    zone: str
    docs: bool
    ui: Literal["on", "read-only", "off"]
    ui_name: str
    body_max_bytes: int
    batch_max_bytes: int
    tasks_max_bytes: int
    bodies_max_bytes: int
    connections: ConnectionsPlan
    retry_base_ms: int
    default_owner: str | None
    queue_limit: int
    throttle_requests_max: int | None
    throttle_window_ms: int


class HandlersPlan(msgspec.Struct, frozen=True):
    """Users' handlers: the modules to import, the folder that is searched first, and the processes in which they run.
    No limit of calls is None.
    """

    modules: list[str]
    folder: bytes
    """As the system writes it, which need not be UTF-8."""
    processes: int
    isolation: Literal["shared", "task"]
    calls_max: int | None
    withheld: list[str]
    """Variables of the environment that they do not get."""


class EnginePlan(msgspec.Struct, frozen=True):
    """What the operator chose for the engine."""

    concurrency_max: int
    per_target_max: int
    retention_ms: int
    audit_ms: int
    response_max_bytes: int
    look_again_ms: int
    http: bool
    handlers: HandlersPlan | None


class Plan(msgspec.Struct, frozen=True):
    """What a process that serves has to know. `database`: a path, or the URL of one on PostgreSQL."""

    database: str
    cipher_keys: list[bytes]
    key_file: str | None
    """Where the keys come from, to follow its changes; None: they stay."""
    database_wait_seconds: float
    """How long a start waits for a database elsewhere."""
    grace_seconds: float
    log: LogPlan
    listen_fd: int
    egress: EgressPlan
    abilities: AbilitiesPlan
    api: ApiPlan
    engine: EnginePlan
