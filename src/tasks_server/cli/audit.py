"""`tasks-server audit`: what was done by hand, and by whom, from the database itself."""

from datetime import tzinfo
from typing import Annotated

import typer
from msgspec.structs import replace

from tasks_server.api.audit_routes import entry_view, read_query
from tasks_server.cli import output
from tasks_server.cli.faults import in_options
from tasks_server.cli.logs import dated
from tasks_server.cli.options import Config, DataDir, with_services
from tasks_server.cli.output import Json
from tasks_server.domain import limits
from tasks_server.domain.audit import ACTIONS, KINDS
from tasks_server.domain.errors import InvalidRequest
from tasks_server.store.auditing import Entry
from tasks_server.wiring import Services

_Owner = Annotated[
    str | None, typer.Option("--owner", "-o", help="Only what was done to what is this owner's, by its name.")
]
_By = Annotated[str | None, typer.Option("--by", help="Only what the owner, or the operator, has done.")]
_Kinds = Annotated[
    list[str] | None, typer.Option("--kind", help=f"Only what was done to: {', '.join(KINDS)}; repeatable.")
]
_Actions = Annotated[list[str] | None, typer.Option("--action", help=f"Only this: {', '.join(ACTIONS)}; repeatable.")]
_Since = Annotated[str | None, typer.Option("--since", help="Only since this date, or so long ago: 2h.")]
_Until = Annotated[str | None, typer.Option("--until", help="Only before this date, or so long ago.")]


def audit(
    owner: _Owner = None,
    by: _By = None,
    kind: _Kinds = None,
    action: _Actions = None,
    subject: Annotated[str | None, typer.Option("--subject", help="Only the thing of this id or name.")] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="Only what was done with this key, or by this user of the system.")
    ] = None,
    since: _Since = None,
    until: _Until = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=limits.PAGE_SIZE_MAX, help="The newest so many.")
    ] = 20,
    config: Config = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Show what was done by hand, by owners and by the operator, newest first."""
    given = {
        "by": by,
        "kind": ",".join(kind or ()),
        "action": ",".join(action or ()),
        "subject": subject,
        "key": key,
        "since": since,
        "until": until,
        "limit": str(limit),
    }

    async def work(services: Services) -> tuple[list[Entry], tzinfo]:
        asked = {name: value for name, value in given.items() if value}
        try:
            return await _read(services, owner, asked, limit), services.audit.zone
        except InvalidRequest as error:
            raise in_options(error, lambda field: f"--{field.removeprefix('query.')}") from None

    found, zone = with_services(work, config, data_dir)
    if json:
        output.as_json([entry_view(entry) for entry in found])
    elif not found:
        output.say("There is nothing of this that was done by hand.")
    else:
        output.table(("at", "by", "with", "owner", "what", "of", "detail"), [_row(entry, zone) for entry in found])


async def _read(services: Services, owner: str | None, asked: dict[str, str], limit: int) -> list[Entry]:
    """The newest entries: pages are followed until there are enough of them, or the record ends."""
    owner_id = (await services.owners.by_name(owner)).id if owner else None
    now, zone = services.clock.now(), services.audit.zone
    query = read_query(owner_id, {name: dated(name, value, now) for name, value in asked.items()}, zone)
    found: list[Entry] = []
    while True:
        page = await services.audit.page(query)
        found += page.entries
        if page.next is None or len(found) >= limit:
            return found[:limit]
        query = replace(query, before=page.next)


def _row(entry: Entry, zone: tzinfo) -> tuple[str, ...]:
    act, actor = entry.act, entry.act.actor
    way = "user" if actor.via == "cli" else "key"
    return (
        output.instant(act.at, zone),
        actor.by,
        f"{way} {actor.who}" if actor.who else "no key",
        entry.owner_name or act.owner or "-",
        f"{act.kind} {act.action}",
        act.subject or "-",
        act.detail or "",
    )
