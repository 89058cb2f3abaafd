"""`tasks-server db …`: brings the schema of the database to what this version needs."""

from typing import Annotated

import typer

from tasks_server import exit_codes, wiring
from tasks_server.cli import output
from tasks_server.cli.options import Config, DataDir, next_command
from tasks_server.cli.output import Json
from tasks_server.settings import marker, resolve
from tasks_server.settings.places import Places, cipher_keys, create_key, places
from tasks_server.store.migrate import Migration, needed

app = typer.Typer(no_args_is_help=True)

Check = Annotated[
    bool,
    typer.Option("--check", help="Change nothing; status 1 when this version cannot start before an upgrade."),
]
Post = Annotated[
    bool,
    typer.Option("--post", help="Take away what only older versions needed, once no node runs one any more."),
]


@app.command("upgrade")
def upgrade(
    check: Check = False, post: Post = False, config: Config = None, data_dir: DataDir = None, json: Json = False
) -> None:
    """Make or upgrade the schema of a database on PostgreSQL. Servers of the release before may go on meanwhile."""
    resolved = resolve({"data_dir": data_dir}, config)
    where = places(resolved.settings)
    if where.url is None:
        marker.refuse_other(resolved, where)
        _tell([], [], json, "A SQLite database upgrades itself when it is opened; there is nothing to do.")
        return
    url = where.url.get_secret_value()
    if check:
        _check(wiring.pending_migrations(url), json)
        return
    fresh = not wiring.is_made(url)
    if fresh:
        create_key(where)
    applied = wiring.upgrade_database(url, post=post)
    if fresh:
        wiring.prove_key(where, cipher_keys(resolved.settings, where, resolved.warnings, create=False))
    for warning in resolved.warnings:
        output.warn(warning)
    marker.leave_first(where)
    left = wiring.pending_migrations(url)
    post_command = next_command("db", "upgrade", "--post", config=config, data_dir=data_dir)
    _tell(applied, left, json, _told(where, applied, left, post_command))


def _told(where: Places, applied: list[str], left: list[Migration], post_command: str) -> str:
    lines = [f"Applied {name}." for name in applied] or ["Nothing was to apply."]
    if left:
        lines.append(f"{left[0].name} waits for `{post_command}`, {_when(left[0])}.")
    lines.append(f"{where.shown} is ready.")
    return "\n".join(lines)


def _when(migration: Migration) -> str:
    return f"once every node runs version {migration.after} or newer"


def _check(left: list[Migration], json: bool) -> None:
    lines = [
        f"{step.name}: to apply" if step.after is None else f"{step.name}: to apply by --post, {_when(step)}"
        for step in left
    ]
    _tell([], left, json, "\n".join(lines) or "Nothing is to apply.")
    if needed(left):
        raise typer.Exit(exit_codes.REFUSED)


def _tell(applied: list[str], left: list[Migration], json: bool, text: str) -> None:
    if json:
        waiting = [step.name for step in left if step.after is not None]
        output.as_json({"applied": applied, "pending": [step.name for step in needed(left)], "pendingPost": waiting})
    else:
        output.say(text)
