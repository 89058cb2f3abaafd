"""`tasks-server keys …`: changes the cipher key, also while a server runs."""

import asyncio
import secrets
import sys
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import typer

from tasks_server.cli import output
from tasks_server.cli.options import Config, DataDir, Opened, load, next_command, with_services
from tasks_server.cli.output import Json
from tasks_server.clock import SystemClock
from tasks_server.domain.errors import Refused, SettingsError
from tasks_server.service.resealing import reseal_all
from tasks_server.store.keys import change_keys
from tasks_server.store.sealing import KEY_BYTES, key_id
from tasks_server.wiring import Services

app = typer.Typer(no_args_is_help=True)

_Use = Literal["seals", "opens", "replaced", "to come"]
"""What a key is for: to seal with; to open what it sealed; nothing any more; nothing yet."""

_ROUNDS_MAX: Final = 10
_ROUND_SECONDS: Final = 1.0
QUIET_ROUNDS: Final = 3
"""How many rounds must find nothing sealed with an old key: servers look for new keys every two seconds, and a busy one
may have tasks on their way that it has sealed before.
"""
_SETTLED_MS: Final = 30_000
"""How long ago the key file was changed when every process has surely seen it."""


@app.command("list")
def list_(config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """List the cipher keys by their ids, newest first, and how many values each still seals."""
    keys = load(config, data_dir, create=False).keys
    _tell(keys, with_services(_uses, config, data_dir), json, _command("drop-old", config, data_dir))


@app.command("rotate")
def rotate(config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Make a new cipher key, and seal everything anew with it. A running server goes on meanwhile."""
    opened = load(config, data_dir, create=False)
    path = _key_file(opened)
    _refuse_on_many_machines(opened)
    with_services(_uses, config, data_dir)  # the database opens with the keys that there are
    change_keys(path, lambda keys: [secrets.token_bytes(KEY_BYTES), *keys])
    _reseal(config, data_dir, json)


@app.command("reseal")
def reseal(
    restarted: Annotated[
        bool,
        typer.Option(
            "--restarted", help="With CIPHER_KEY or on PostgreSQL: every server was started anew with these keys."
        ),
    ] = False,
    config: Config = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Seal everything anew that is sealed with an old key: goes on with a `rotate` that was broken off."""
    opened = load(config, data_dir, create=False)
    if not restarted:
        _refuse_on_many_machines(opened)
    if opened.where.key_file is None and not restarted:
        raise Refused(
            "the key comes from CIPHER_KEY: put the new key in front of the old one, separated by a comma, start every "
            "server anew, then say so by --restarted; a server without the new key could not read its tasks"
        )
    _reseal(config, data_dir, json, restarted=restarted)


@app.command("drop-old")
def drop_old(config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Remove all keys but the newest from the key file. Refused while anything is sealed with one of them, and, while
    servers work on the database, for one that has sealed nothing yet.
    """
    opened = load(config, data_dir, create=False)
    path = _key_file(opened)
    if SystemClock().now() - path.stat().st_mtime * 1_000 < _SETTLED_MS:
        raise Refused("the keys were changed a moment ago, a server may not have seen it yet; try again in 30 seconds")
    uses = with_services(_uses, config, data_dir)
    _refuse_needed(opened.keys, uses, _command("reseal", config, data_dir))

    def drop(keys: list[bytes]) -> list[bytes]:
        if keys != opened.keys:
            raise Refused("the keys were changed meanwhile; try again")
        return keys[:1]

    _tell(change_keys(path, drop), uses, json, _command("drop-old", config, data_dir))


class _Uses(msgspec.Struct, frozen=True):
    """How many values each key seals; which keys were replaced by others; the servers that work, in words."""

    values: dict[bytes, int]
    replaced: set[bytes]
    servers: list[str]

    def use_of(self, keys: list[bytes], key: bytes) -> _Use:
        """What a key is for, where `keys` are all that there are."""
        named = key_id(key)
        if key == keys[0]:
            return "seals"
        if self.values.get(named):
            return "opens"
        return "replaced" if named in self.replaced else "to come"


async def _uses(services: Services) -> _Uses:
    servers = [f"{node.host} (pid {node.pid}, {node.role})" for node in await services.cluster.nodes() if node.alive]
    return _Uses(await services.sealed.keys_used(), await services.sealed.keys_replaced(), servers)


def _refuse_needed(keys: list[bytes], uses: _Uses, reseal_command: str) -> None:
    """Raises `Refused` while an old key is needed, or is about to be."""
    count = sum(uses.values.get(key_id(key), 0) for key in keys[1:])
    if count:
        raise Refused(f"{count} values are still sealed with old keys; run `{reseal_command}` first")
    coming = [key_id(key).hex() for key in keys[1:] if uses.use_of(keys, key) == "to come"]
    if coming and uses.servers:
        raise Refused(
            f"the key {coming[0]} has sealed nothing yet: it is to come, and servers work on the database that may "
            f"begin to seal with it: {', '.join(uses.servers[:3])}; put it in front of the old one, or stop them first"
        )


def _key_file(opened: Opened) -> Path:
    if opened.where.key_file is None:
        raise SettingsError(
            "the key comes from CIPHER_KEY, which only you can change: put a new key in front of the old one, with a "
            "comma between, start every server anew, then run `tasks-server keys reseal --restarted`"
        )
    return opened.where.key_file


def _refuse_on_many_machines(opened: Opened) -> None:
    """The key file of this machine is not that of the others."""
    if opened.where.url is not None:
        raise Refused(
            "other machines may work on this database, and one without the new key could not read its tasks: add the "
            "new key behind the old one on every machine, start every server anew, put it in front on every machine, "
            "start every server anew, then run `tasks-server keys reseal --restarted`"
        )


def _reseal(config: Path | None, data_dir: Path | None, json: bool, *, restarted: bool = False) -> None:
    """Goes through everything until nothing is sealed with an old key: what a running server sealed with it before it
    saw the new one is found by the next round. `restarted`: no server knows an old key only.
    """
    keys = load(config, data_dir, create=False).keys
    newest = key_id(keys[0])

    async def work(services: Services) -> _Uses:
        quiet = 0
        for rounds in range(_ROUNDS_MAX):
            await reseal_all(services.sealed, _progress)
            used = await services.sealed.keys_used()
            quiet = quiet + 1 if set(used) == {newest} else 0
            if quiet == (1 if restarted else QUIET_ROUNDS):
                return await _uses(services)
            if rounds + 1 < _ROUNDS_MAX:
                await asyncio.sleep(_ROUND_SECONDS)
        left = sum(count for used_id, count in used.items() if used_id != newest)
        raise Refused(
            f"{left} values are still sealed with old keys: they are damaged, or a server goes on with an old key "
            f"because it cannot read the key file; see to that and run `{_command('reseal', config, data_dir)}`"
        )

    _tell(keys, with_services(work, config, data_dir), json, _command("drop-old", config, data_dir))


def _progress(seen: int, changed: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{seen} values looked at, {changed} sealed anew ")


def _command(name: str, config: Path | None, data_dir: Path | None) -> str:
    return next_command("keys", name, config=config, data_dir=data_dir)


def _tell(keys: list[bytes], uses: _Uses, json: bool, drop_command: str) -> None:
    rows: list[dict[str, Any]] = [
        {
            "id": key_id(key).hex(),
            "newest": index == 0,
            "use": uses.use_of(keys, key),
            "values": uses.values.get(key_id(key), 0),
        }
        for index, key in enumerate(keys)
    ]
    if json:
        output.as_json(rows)
        return
    output.table(("key", "use", "values"), [(row["id"], row["use"], str(row["values"])) for row in rows])
    old = {row["use"] for row in rows[1:]}
    if "to come" in old:
        output.say("A key that is to come has sealed nothing yet: put it in front where it shall, else take it out.")
    elif old == {"replaced"}:
        output.say(f"Nothing needs the old keys any more, and this removes them: {drop_command}")
