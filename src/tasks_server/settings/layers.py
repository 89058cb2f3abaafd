"""Finds the value of every setting and where it came from: flags, environment, file, defaults.

Each layer holds only what was set there; defaults come last, once. All faults are reported together.
"""

import difflib
import os
import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource

from tasks_server.domain import encodings
from tasks_server.domain.errors import SettingsError
from tasks_server.settings.table import (
    CONFIG_ENV,
    ENV_PREFIX,
    PLANNED,
    SHORT_NAMES,
    SYSTEM_CONFIG,
    Settings,
    is_secret,
)
from tasks_server.store.regular import exposed_mode

DEFAULT = "default"
_MISSPELT_LENGTH_MIN: Final = 8
_MISSPELT_LIKENESS: Final = 0.86
_FLAGS: Final = {"worker_max_concurrent_tasks": "--concurrency"}
"""Settings whose flag has another name."""


class Resolved(msgspec.Struct):
    """The settings, the origin of each (`--port`, `PORT`, `file`, `default`), and what the operator should know."""

    settings: Settings
    origins: dict[str, str]
    warnings: list[str]


def resolve(flags: Mapping[str, Any] | None = None, config: Path | None = None) -> Resolved:
    """Looks at every layer. `flags` by setting name, None where not given; `config` names the TOML file.

    Raises `SettingsError` with one message that names every fault and where it was found.
    """
    faults: list[str] = []
    merged: dict[str, Any] = {}
    origins = dict.fromkeys(Settings.model_fields, DEFAULT)
    for layer in (_file(config, faults), _environment(faults), _flags(flags or {})):
        for name, (value, origin) in layer.items():
            merged[name], origins[name] = value, origin
    settings = _validated(merged, origins, faults)
    if faults or settings is None:
        raise SettingsError(_message(faults))
    return Resolved(settings, origins, [*_warnings(), *_misspelt(), *_exposed(origins)])


_Layer = dict[str, tuple[Any, str]]


def _flags(flags: Mapping[str, Any]) -> _Layer:
    return {
        name: (value, _FLAGS.get(name) or "--" + name.replace("_", "-"))
        for name, value in flags.items()
        if value is not None
    }


def _environment(faults: list[str]) -> _Layer:
    """What the environment sets: the short names, and over them those with our prefix."""
    layer: _Layer = {}
    for prefix in ("", ENV_PREFIX):
        for name, value in EnvSettingsSource(Settings, env_prefix=prefix)().items():
            if prefix or name in SHORT_NAMES:
                layer[name] = (value, prefix + name.upper())
                other = encodings.other_than_utf8(os.fsencode(value))
                if other is not None:
                    faults.append(f"{prefix}{name.upper()}: {other}")
    prefixed = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields} | {CONFIG_ENV}
    for variable in sorted(os.environ):
        if variable.startswith(ENV_PREFIX) and variable not in prefixed:
            faults.append(_unknown(variable, prefixed, variable.removeprefix(ENV_PREFIX)))
        elif PLANNED.get(variable) and os.environ[variable]:
            faults.append(f"{variable}: has no effect in this version; take it out of the environment")
    return layer


def secret_variables() -> frozenset[str]:
    """The variables of the environment that hold secrets of the server's. A short name whose setting is given under
    our prefix holds somebody else's.
    """
    found = set()
    for name in filter(is_secret, Settings.model_fields):
        found.add(ours := f"{ENV_PREFIX}{name.upper()}")
        if name in SHORT_NAMES and ours not in os.environ:
            found.add(name.upper())
    return frozenset(found)


def _warnings() -> list[str]:
    set_in_vain = sorted(name for name, refused in PLANNED.items() if not refused and os.environ.get(name))
    return [f"{name} is set, but has no effect in this version" for name in set_in_vain]


def _misspelt() -> list[str]:
    """Variables without our prefix that look like a short name of ours: they may be another program's, so that this is
    no fault. Names of few letters look like too much.
    """
    known = [name.upper() for name in SHORT_NAMES if len(name) >= _MISSPELT_LENGTH_MIN]
    ours = {name.upper() for name in SHORT_NAMES} | set(PLANNED)
    told = []
    for variable in sorted(os.environ):
        if variable in ours or variable.startswith(ENV_PREFIX) or not os.environ[variable]:
            continue
        near = difflib.get_close_matches(variable.upper(), known, n=1, cutoff=_MISSPELT_LIKENESS)
        if near:
            told.append(f"{variable} is set, and no setting; did you mean {near[0]}?")
    return told


def _exposed(origins: Mapping[str, str]) -> list[str]:
    """Files of settings that hold secrets and that others can read. Nothing is changed: whoever put it there chose."""
    secret: dict[str, list[str]] = {}
    for name, origin in origins.items():
        if is_secret(name) and origin != DEFAULT and os.path.sep in origin:
            secret.setdefault(origin, []).append(name)
    return [
        f"the settings file {path} holds {', '.join(names)} and has mode {mode:04o}, so that others can "
        f"{'change' if mode & 0o022 else 'read'} it; `chmod 600 {shlex.quote(path)}` closes it"
        for path, names in secret.items()
        if (mode := exposed_mode(Path(path))) is not None
    ]


def _file(config: Path | None, faults: list[str]) -> _Layer:
    """What the TOML file sets. Named by `--config` or the environment; else that of the system, if there is one."""
    named_by = "--config" if config else CONFIG_ENV
    path = config or (Path(os.environ[CONFIG_ENV]) if os.environ.get(CONFIG_ENV) else None)
    if path is None:
        path, named_by = SYSTEM_CONFIG, "the settings of this system"
    try:
        raw = encodings.unmarked(path.read_bytes())
        found = tomllib.loads(raw.decode())
    except OSError as error:
        if path is SYSTEM_CONFIG and isinstance(error, FileNotFoundError):
            return {}
        faults.append(f"{named_by}: cannot read {path}: {error.strerror}")
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        faults.append(f"{named_by}: {path} {encodings.other_than_utf8(raw) or f'is no TOML: {error}'}")
        return {}
    layer: _Layer = {}
    for name, value in found.items():
        if name in Settings.model_fields:
            layer[name] = (value, str(path))
        else:
            faults.append(_unknown(f"{name} in {path}", Settings.model_fields, name))
    return layer


def _unknown(shown: str, known: Mapping[str, Any] | set[str], name: str) -> str:
    if name.upper() in PLANNED:
        return f"{shown}: has no effect in this version; take it out"
    fold = {candidate.removeprefix(ENV_PREFIX).lower(): candidate for candidate in known}
    near = difflib.get_close_matches(name.lower(), fold, n=1)
    return f"{shown}: there is no such setting" + (f"; did you mean {fold[near[0]]}?" if near else "")


def _validated(merged: dict[str, Any], origins: dict[str, str], faults: list[str]) -> Settings | None:
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_context=False):
            name = str(fault["loc"][0])
            text = fault["msg"].removeprefix("Value error, ")
            text = text[0].lower() + text[1:].replace("Input should", "input should")
            given = "" if is_secret(name) else f"; given: {merged[name]!r}"
            faults.append(f"{_shown(name, origins[name])}: {text}{given}")
        return None
    _agreeing(settings, faults)
    return settings


def _agreeing(settings: Settings, faults: list[str]) -> None:
    """Rules that look at more than one setting."""
    if settings.database_url and settings.path_sqlite:
        faults.append("PATH_SQLITE and DATABASE_URL: both name the database; set one of them")
    if settings.cipher_key and settings.cipher_key_file:
        faults.append("CIPHER_KEY and CIPHER_KEY_FILE: both give the key; set one of them")
    if bool(settings.max_throttle_request) != bool(settings.max_throttle_time_window):
        faults.append("MAX_THROTTLE_REQUEST and MAX_THROTTLE_TIME_WINDOW: set both, or neither")


def _shown(name: str, origin: str) -> str:
    return f"{name} in {origin}" if origin.endswith(".toml") or "/" in origin else origin


def _message(faults: list[str]) -> str:
    head = "one setting is wrong:" if len(faults) == 1 else f"{len(faults)} settings are wrong:"
    return "\n".join([head, *(f"  {fault}" for fault in faults)])
