"""`tasks-server nodes`: the processes that work on the database."""

from datetime import tzinfo

import msgspec

from tasks_server.cli import output
from tasks_server.cli.options import Config, DataDir, with_services
from tasks_server.cli.output import Json
from tasks_server.store.ports import Node
from tasks_server.wiring import Services


def nodes(config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """List the processes that work on the database: on PostgreSQL all of them, on SQLite the engines."""

    async def work(services: Services) -> tuple[list[Node], tzinfo]:
        return await services.cluster.nodes(), services.tasks.zone

    found, zone = with_services(work, config, data_dir)
    if json:
        output.as_json([_as_dict(node) for node in found])
    elif not found:
        output.say("No process works on the database.")
    else:
        rows = [
            (
                str(node.number),
                node.host,
                "-" if node.pid is None else str(node.pid),
                node.role,
                node.version or "-",
                output.instant(node.started_at or 0, zone),
                output.instant(node.seen_at or 0, zone),
                "yes" if node.alive else "no",
            )
            for node in found
        ]
        output.table(("node", "host", "pid", "role", "version", "started", "last seen", "alive"), rows)


def _as_dict(node: Node) -> dict[str, object]:
    given = msgspec.structs.asdict(node)
    return {{"started_at": "startedAt", "seen_at": "seenAt"}.get(name, name): value for name, value in given.items()}
