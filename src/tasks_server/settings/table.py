"""The table of settings: name, type, default, help, secret or not. Nothing here looks anything up.

A setting `max_things` is `TASKS_SERVER_MAX_THINGS` in the environment and `max_things` in the TOML file; those marked
`short` are also `MAX_THINGS`, without the prefix. Names of the contract that have no effect in this version are in
`PLANNED`, so that nobody relies on them unknowingly.
"""

import zoneinfo
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from tasks_server.domain import egress, limits
from tasks_server.domain.own_hosts import allowed_host_fault
from tasks_server.domain.owner import name_fault
from tasks_server.store.postgres import address

ENV_PREFIX: Final = "TASKS_SERVER_"
CONFIG_ENV: Final = "TASKS_SERVER_CONFIG"
SYSTEM_CONFIG: Final = Path("/etc/tasks-server.toml")
"""Where servers and commands find their settings when nobody names a file."""
_HUNG_SECONDS_MIN: Final = 10
MIB: Final = 1_048_576


def _setting(
    default: Any, help_text: str, *, short: bool = False, unit: str = "", live: bool = False, **bounds: Any
) -> Any:
    """A field of the table. `short`: the environment knows it without our prefix, too. `live`: a running server takes
    over a change when it is told to read its settings anew.
    """
    about: Any = {"short": short, "unit": unit, "live": live}
    return Field(default=default, description=help_text, json_schema_extra=about, **bounds)


def _lowered(value: object) -> object:
    """Words are accepted in any case; `warn` is what the world calls `warning`."""
    if not isinstance(value, str):
        return value
    lowered = value.strip().lower()
    return "warning" if lowered == "warn" else lowered


def _parts(value: str | None) -> list[str]:
    """What stands between the commas, each once."""
    return list(dict.fromkeys(part.strip() for part in (value or "").split(",") if part.strip()))


def _names_a_module(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


Lowered = BeforeValidator(_lowered)


class Settings(BaseSettings):
    """Validated values. How they are collected is in `layers`; this class looks nothing up by itself."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, env_prefix=ENV_PREFIX, env_ignore_empty=True
    )

    # Where it listens
    host: str = _setting(
        "127.0.0.1", "Address to listen on. `0.0.0.0` is every IPv4 interface.", short=True, min_length=1
    )
    port: int = _setting(9_420, "Port to listen on. 0 lets the system pick a free one.", short=True, ge=0, le=65_535)

    max_connections: int = _setting(
        16_384,
        "Connections of clients to one API process. When there are more, idle ones are closed "
        "([limits](limits.md#connections)). Fewer where the system allows too few open files.",
        short=True,
        ge=16,
        le=1_000_000,
    )
    max_connections_per_address: int = _setting(
        0,
        "How many of them one address may have. 0: half of all. A proxy is one address.",
        short=True,
        ge=0,
        le=1_000_000,
    )
    client_timeout_seconds: float = _setting(
        60.0,
        "How long the head of a request may take, and how long a client may be silent in the middle of a body or "
        "between requests; then its connection is closed ([limits](limits.md#connections)).",
        unit="s",
        ge=1,
        le=3_600,
    )

    # Processes
    role: Annotated[Literal["all", "api", "engine"], Lowered] = _setting(
        "all", "What `serve` runs: the API, the engine that executes tasks, or both."
    )
    api_workers: int = _setting(1, "API processes. More than one helps only where cores are idle.", ge=1, le=64)
    grace_seconds: float = _setting(
        8.0,
        "How long a stop waits for calls in flight before it cuts them off; they are sent again after the next start. "
        "The default fits into the ten seconds that `docker stop` gives.",
        unit="s",
        ge=0,
        le=3_600,
    )

    hung_seconds: float = _setting(
        60.0,
        "How long a process of the server may give no sign of life before it is ended and started again, 10 at least; "
        "0: for ever. One that was stopped by a signal, or is looked at with a debugger, is left alone "
        "([probes](probes.md)).",
        unit="s",
        ge=0,
        le=86_400,
    )

    # Storage
    data_dir: Path | None = _setting(
        None,
        "Folder of the database and the generated key. Default: `tasks-server` in `$XDG_DATA_HOME`, "
        "which is `~/.local/share` when unset.",
    )
    path_sqlite: Path | None = _setting(
        None, "The SQLite database file. Default: `tasks.sqlite` in the data folder.", short=True
    )
    database_url: SecretStr | None = _setting(
        None,
        "The database on PostgreSQL, `postgresql://user:password@host:port/name` ([PostgreSQL](postgresql.md)); "
        "or another way to name a SQLite file: `sqlite:////absolute/path`, `sqlite:///relative/path`.",
        short=True,
    )
    database_wait_seconds: float = _setting(
        60.0,
        "How long a start waits for a database on PostgreSQL that cannot be reached, before it ends with status 3.",
        unit="s",
        ge=0,
        le=86_400,
    )
    cipher_key: SecretStr | None = _setting(
        None,
        "Key that encrypts requests and responses at rest: 64 hexadecimal digits, or base64 of 32 bytes, or a "
        "passphrase of at least 32 characters. Several of the first two forms, separated by commas: the first "
        "encrypts, all decrypt (docs/keys.md).",
        short=True,
    )
    cipher_key_file: Path | None = _setting(
        None,
        "File with the cipher key, in the same forms. Default: `cipher.key` in the data folder, made at the first "
        "start with mode 0600.",
        short=True,
    )
    retention_days: float = _setting(
        limits.RETENTION_DAYS_DEFAULT,
        "How long finished tasks and their attempts are kept.",
        short=True,
        unit="days",
        ge=0.001,
        le=36_500,
    )
    audit_days: float = _setting(
        limits.AUDIT_DAYS_DEFAULT,
        "How long it is kept who did what by hand ([the record](owners.md#who-did-what)).",
        short=True,
        unit="days",
        ge=0.001,
        le=36_500,
    )

    certificates_dir: Path | None = _setting(
        None,
        "Folder below which the certificates and keys lie that tasks name by path. Every owner may name every file "
        "in it. Default: none, tasks bring theirs as base64.",
        short=True,
    )

    # Who may do what
    admin_key: SecretStr | None = _setting(
        None,
        "Key that may act for every owner and register owners. At least 16 visible ASCII characters. Several are "
        "separated by commas, so that keys can be [changed without a pause](owners.md#the-keys-of-the-operator). "
        "Default: there is no such key.",
        short=True,
        live=True,
    )
    admin_key_read_only: SecretStr | None = _setting(
        None,
        "Key that sees what the admin key sees, and may change nothing: for monitoring. In the same form; several are "
        "separated by commas. Default: there is no such key.",
        short=True,
        live=True,
    )
    registration: Annotated[Literal["auto", "open", "closed"], Lowered] = _setting(
        "auto",
        "Who may register owners over the API: everybody (`open`), only the admin key (`closed`), or everybody on this "
        "machine as long as the server listens on loopback (`auto`; what a proxy passes on takes the admin key).",
    )
    allowed_hosts: str | None = _setting(
        None,
        "Names under which requests without a key are served, separated by commas, beside `localhost`, the loopback's "
        "addresses and the machine's own name: `tasks.example.com, *.corp.example`. `*` is any name: then "
        "every web page is let in that makes its name lead here ([limits](limits.md#requests-without-a-key)).",
        short=True,
    )
    default_owner: str | None = _setting(
        None,
        "Name of the owner for whom requests to `/tasks` and `/monitor` without a key act; it is made when it is not "
        "there. Only while the server listens on loopback. Default: there is none, every request needs a key.",
        short=True,
    )
    queue_limit: int = _setting(
        limits.TASKS_IN_QUEUE_MAX_DEFAULT,
        "How many tasks an owner may have in queue, due or not, that is made from now on. Those that there are keep "
        "theirs; `tasks-server owner set-limit NAME N` changes it ([limits](limits.md#the-queue)).",
        short=True,
        ge=0,
        le=limits.TASKS_IN_QUEUE_MAX_MAX,
    )
    max_throttle_request: int = _setting(
        0, "Requests an owner may send in each time window. 0: no limit.", short=True, ge=0, le=limits.INT31_MAX
    )
    max_throttle_time_window: int = _setting(
        0, "Length of that time window. 0: no limit.", short=True, unit="ms", ge=0, le=limits.DAY_MS
    )

    # Sizes
    max_size_body_request: int = _setting(
        limits.BODY_REQUEST_MAX_BYTES,
        "Largest body of a request for one task.",
        short=True,
        unit="bytes",
        ge=1_024,
        le=64 * MIB,
    )
    max_size_body_batch: int = _setting(
        8 * MIB, "Largest body of a request that brings many tasks.", unit="bytes", ge=1_024, le=1_024 * MIB
    )
    max_size_body_tasks: int = _setting(
        limits.BODY_TASKS_MAX_BYTES,
        "Largest body of a request to `/tasks`.",
        unit="bytes",
        ge=1_024,
        le=64 * MIB,
    )
    max_size_bodies: int = _setting(
        64 * MIB,
        "What the bodies of all requests at work may hold together, in each API process ([limits](limits.md#bodies)). "
        "Never less than the largest single body may have.",
        unit="bytes",
        ge=MIB,
        le=65_536 * MIB,
    )
    max_size_data_response: int = _setting(
        limits.BODY_RESPONSE_MAX_BYTES,
        "Most that is kept of a target's answer, whose rest is not read; and of a handler's result, kept whole or not.",
        short=True,
        unit="bytes",
        ge=0,
        le=64 * MIB,
    )

    # Work
    worker_max_concurrent_tasks: int = _setting(
        1_024, "Tasks in execution at once, in one engine process.", short=True, ge=1, le=100_000
    )
    max_concurrent_per_host: int = _setting(
        256, "Tasks in execution at once for one target host, in one engine process.", ge=1, le=100_000
    )

    worker_polling_interval_ms: int = _setting(
        5_000,
        "How long an engine goes without looking for due tasks when nothing tells it of any. It is told of all that "
        "is registered, so this counts only where hints are lost.",
        short=True,
        unit="ms",
        ge=10,
        le=3_600_000,
    )

    # Handlers
    handlers: str | None = _setting(
        None,
        "Modules with handlers that engines import, separated by commas: `myapp.tasks,myapp.reports` "
        "([handlers](handlers.md)). Default: engines have the built-in handlers alone.",
    )
    handlers_only: bool = _setting(False, "Whether engines run handlers only and leave HTTP tasks to other engines.")
    handler_processes: int = _setting(1, "Processes in which the handlers of an engine run.", ge=1, le=256)
    handler_isolation: Annotated[Literal["shared", "task"], Lowered] = _setting(
        "shared",
        "Whether runs of handlers share these processes, or each has one run at a time (`task`): then a crash, or the "
        "end of one that takes too long, touches no other run.",
    )
    handler_calls_max: int = _setting(
        0,
        "Runs after which a process for handlers is replaced, against leaks of memory. 0: never.",
        ge=0,
        le=limits.INT31_MAX,
    )

    retry_base_delay_ms: int = _setting(
        limits.HANDLER_RETRY_BASE_MS,
        "Wait before the first retry of a handler, where neither the task nor what the handler is registered with says "
        "another; it doubles with each further one.",
        short=True,
        unit="ms",
        ge=1,
        le=limits.DAY_MS,
    )

    # What tasks may call
    egress_policy: Annotated[Literal["open", "private", "public"], Lowered] | None = _setting(
        None,
        "What tasks may call: everything (`open`), everything but this machine and its link (`private`), or only "
        "what is globally routable (`public`); see [egress](egress.md). Cloud metadata services are refused by all "
        "three. Default: `open` while the server listens on loopback, else `public`.",
        short=True,
    )
    egress_allow: str | None = _setting(
        None,
        "Addresses, networks and hosts (with all names below them) that tasks may call whatever the policy says, "
        "separated by commas: `10.1.0.0/16, corp.example`.",
        short=True,
    )
    egress_deny: str | None = _setting(
        None, "The same for what tasks may never call. It wins over all else.", short=True
    )

    # The rest
    tz: str = _setting(
        "UTC", "Time zone of dates that name none, as in the IANA database (`Europe/Berlin`).", short=True
    )
    ui: Annotated[Literal["auto", "on", "read-only", "off"], Lowered] = _setting(
        "auto",
        "The dashboard at `/ui`: `on`, `read-only` (nothing can be changed there), `off`; `auto` is `on` while the "
        "server listens on loopback only, else `off`.",
    )
    ui_name: str = _setting(
        "", "A name that every page of the dashboard shows, to tell servers apart: `staging`.", max_length=40
    )
    swagger_ui: bool = _setting(True, "Whether `/docs` shows the page to read and try the API.", short=True)
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Lowered] = _setting(
        "info", "The least important kind of event that is logged.", short=True, live=True
    )
    log_format: Annotated[Literal["auto", "console", "json"], Lowered] = _setting(
        "auto", "Log lines for people, for machines, or for whoever reads the error output (`auto`)."
    )

    @field_validator("hung_seconds")
    @classmethod
    def _longer_than_beats(cls, value: float) -> float:
        if 0 < value < _HUNG_SECONDS_MIN:
            raise ValueError(f"must be 0 or at least {_HUNG_SECONDS_MIN}: signs of life come every two seconds")
        return value

    @field_validator("tz")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        name = value.removeprefix(":")
        try:
            zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("must be a name of the IANA time zone database, such as UTC or Europe/Berlin") from None
        return name

    @field_validator("handlers")
    @classmethod
    def _names_of_modules(cls, value: str | None) -> str | None:
        for name in _parts(value):
            *folders, last = name.removeprefix("./").removesuffix(".py").split("/")
            meant = ".".join([*folders, last])
            if name.endswith(".py") and _names_a_module(meant):
                raise ValueError(f"{name!r} is a file; the name of its module is wanted: write {meant}")
            if not _names_a_module(name):
                raise ValueError(f"{name!r} is no name of a module; it is written as in Python, such as myapp.tasks")
        return value

    @property
    def handler_modules(self) -> list[str]:
        """The names in `handlers`, each once."""
        return _parts(self.handlers)

    @field_validator("default_owner")
    @classmethod
    def _usable_as_a_name(cls, value: str | None) -> str | None:
        if value is not None and (fault := name_fault(value)):
            raise ValueError(fault)
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _names_of_hosts(cls, value: str | None) -> str | None:
        for name in _parts(value):
            if fault := allowed_host_fault(name):
                raise ValueError(fault)
        return value

    @property
    def own_hosts(self) -> list[str]:
        """The names in `allowed_hosts`, each once."""
        return _parts(self.allowed_hosts)

    @field_validator("egress_allow", "egress_deny")
    @classmethod
    def _known_rules(cls, value: str | None) -> str | None:
        egress.parse_rules(value or "")
        return value

    @field_validator("admin_key", "admin_key_read_only")
    @classmethod
    def _usable_in_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        keys = [] if value is None else [key.strip() for key in value.get_secret_value().split(",")]
        if not all(len(key) >= 16 and all("!" <= character <= "~" for character in key) for key in keys):
            raise ValueError(
                "must be at least 16 visible ASCII characters without spaces, or several such keys with commas between"
            )
        return value

    @field_validator("admin_key_read_only")
    @classmethod
    def _only_one_of_both(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        full, looking = (_parts(plain(key)) for key in (info.data.get("admin_key"), value))
        if set(full) & set(looking):
            raise ValueError("has a key that ADMIN_KEY has, too: one that may do everything cannot be read-only")
        return value

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: SecretStr | None) -> SecretStr | None:
        url = value.get_secret_value() if value else ""
        if address.is_postgres(url):
            address.check(url)
        elif value and not (url.startswith("sqlite:///") and len(url) > len("sqlite:///")):
            raise ValueError(
                "must be postgresql://USER:PASSWORD@HOST:PORT/DATABASE, "
                "sqlite:///relative/path or sqlite:////absolute/path"
            )
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Values come in by the constructor alone: `layers` merges the sources, as it must know where each is from."""
        return (init_settings,)


def extra(name: str, key: str) -> Any:
    """What the table says of a setting beside its type: `short`, `unit` or `live`."""
    described = Settings.model_fields[name].json_schema_extra
    assert isinstance(described, dict)  # `_setting` made it
    return described[key]


def plain(value: Any) -> Any:
    """The value, also of a secret, in the clear."""
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def is_secret(name: str) -> bool:
    """Whether the value may never be shown."""
    return SecretStr in getattr(Settings.model_fields[name].annotation, "__args__", ())


SHORT_NAMES: Final = frozenset(name for name in Settings.model_fields if extra(name, "short"))

PLANNED: Final[dict[str, bool]] = {
    "API_PORT": False,
    "WORKER_PORT": False,
    "WORKER_ID": False,
    "CONNECTIVITY_HOSTNAME": False,
    "CONNECTIVITY_CHECK_INTERVAL": False,
    "CLUSTER_MODE": False,
    "MAX_INSTANCES": False,
    "BACKUP_METHOD_SQLITE": True,
    "BACKUP_PATH_DIR_SQLITE": True,
    "BACKUP_OBJECT_STORAGE_ENDPOINT": True,
    "BACKUP_OBJECT_STORAGE_ACCESS_KEY": True,
    "BACKUP_OBJECT_STORAGE_SECRET_KEY": True,
    "BACKUP_OBJECT_STORAGE_BUCKET_NAME": True,
    "BACKUP_OBJECT_STORAGE_PATH": True,
    "BACKUP_CRON_PATTERN_SQLITE": True,
    "BACKUP_CRON_TZ_SQLITE": True,
    "PATH_TLS_CA": True,
    "PATH_TLS_KEY": True,
    "PATH_TLS_CERT": True,
}
"""Documented names without an effect in this version. True: whoever sets one counts on protection (backups, TLS)
that he would not get, so the server refuses to start. False: it says so and goes on. With our prefix, or in the
file, every one of them is refused.
"""
