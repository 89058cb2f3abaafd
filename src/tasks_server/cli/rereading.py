"""What a server reads anew when it gets SIGHUP. The supervisor starts this, nobody by hand:

    python -P -m tasks_server.cli.rereading settings FD

FD is the socket to the supervisor: the plan and what is in force come in as two lines of JSON, and `Reread` or `Failed`
goes out. The flags and the environment are those that the server was started with; the files may have changed.
"""

import hashlib
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from tasks_server import exit_codes, supervisor
from tasks_server.children import Failed, Reread
from tasks_server.domain.errors import TasksServerError
from tasks_server.plans import Plan
from tasks_server.settings import Settings, resolve
from tasks_server.settings.places import Places, cipher_keys, places
from tasks_server.settings.table import extra, plain

_KEYS: Final = "the keys in cipher_key_file"
"""What stands for the contents of the key file, beside the setting that names it."""
_ADMIN_KEYS: Final = frozenset({"admin_key", "admin_key_read_only"})
_DIGEST_CHARACTERS: Final = 16


class InForce(msgspec.Struct, frozen=True):
    """What a server was started with, and a digest of each setting by its name, as it is in force."""

    flags: dict[str, Any]
    config: str | None
    digests: dict[str, str]


def in_force(flags: Mapping[str, Any], config: Path | None, settings: Settings, keys: Sequence[bytes]) -> msgspec.Raw:
    """The JSON that a server keeps of its settings, to tell which of them are changed when it reads them anew."""
    given = {name: str(value) if isinstance(value, Path) else value for name, value in flags.items()}
    return _json(InForce(given, None if config is None else str(config), _digests(settings, keys)))


def command() -> list[str]:
    """The command that runs this module, but for its arguments."""
    return supervisor.python_module(__name__ if __name__ != "__main__" else "tasks_server.cli.rereading")


def reread(plan: Plan, before: InForce) -> Reread:
    """What is in force from now on. Raises `TasksServerError` when the settings, or the keys, cannot be read."""
    config = None if before.config is None else Path(before.config)
    resolved = resolve(before.flags, config)
    settings, where = resolved.settings, places(resolved.settings)
    keys = cipher_keys(settings, where, resolved.warnings, create=False)
    digests = _digests(settings, keys)
    changed = {name for name, digest in digests.items() if before.digests.get(name) != digest}
    live = {name for name in changed & set(Settings.model_fields) if extra(name, "live")}
    if _KEYS in changed and _follows(where, plan):
        live.add(_KEYS)
        plan = replace(plan, cipher_keys=keys)
    admin_keys = {name: plain(getattr(settings, name)) for name in live & _ADMIN_KEYS}
    if admin_keys:
        plan = replace(plan, api=replace(plan.api, **admin_keys))
    if "log_level" in live:
        plan = replace(plan, log=replace(plan.log, level=settings.log_level))
    kept = before.digests | {name: digests[name] for name in live}
    return Reread(
        _json(plan),
        _json(replace(before, digests=kept)),
        plan.log.level,
        _named(live),
        _named(changed - live - ({_KEYS} if "cipher_key_file" in changed else set())),
        resolved.warnings,
    )


def _follows(where: Places, plan: Plan) -> bool:
    """Whether the keys come from the file that the processes of the server follow."""
    return where.key_file is not None and str(where.key_file) == plan.key_file


def _digests(settings: Settings, keys: Sequence[bytes]) -> dict[str, str]:
    values: dict[str, object] = {name: plain(getattr(settings, name)) for name in Settings.model_fields}
    if not settings.cipher_key:
        values[_KEYS] = list(keys)
    return {
        name: hashlib.sha256(repr(value).encode()).hexdigest()[:_DIGEST_CHARACTERS] for name, value in values.items()
    }


def _named(names: set[str]) -> list[str]:
    return sorted(name if name == _KEYS else name.upper() for name in names)


def _json(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def main(arguments: Sequence[str]) -> int:
    """Reads, and answers the supervisor. The exit status."""
    _, descriptor = arguments
    with socket.socket(fileno=int(descriptor)) as channel:
        received = b""
        while received.count(b"\n") < 2:
            part = channel.recv(65_536)
            if not part:
                os._exit(exit_codes.REFUSED)
            received += part
        first, second, _ = received.split(b"\n")
        answer: Reread | Failed
        try:
            answer = reread(msgspec.json.decode(first, type=Plan), msgspec.json.decode(second, type=InForce))
        except TasksServerError as error:
            answer = Failed(error.message, exit_codes.of(error))
        channel.sendall(msgspec.json.encode(answer) + b"\n")
    return exit_codes.OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
