"""`tasks-server nodes`: the processes that work on the database."""

from datetime import tzinfo

import msgspec

from tasks_server.cli import output
from tasks_server.cli.options import Config, DataDir, with_services
from tasks_server.cli.output import Json
from tasks_server.domain.engines import Engine, EngineFacts
from tasks_server.store.clustering import Node
from tasks_server.wiring import Services


def nodes(config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """List the processes that work on the database: on PostgreSQL all of them, on SQLite the engines."""

    async def work(services: Services) -> tuple[list[Node], dict[int, Engine], tzinfo]:
        engines = {engine.number: engine for engine in await services.engines.engines()}
        return await services.cluster.nodes(), engines, services.tasks.zone

    found, engines, zone = with_services(work, config, data_dir)
    if json:
        output.as_json([_as_dict(node, engines.get(node.number)) for node in found])
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
                *_work(engines.get(node.number)),
            )
            for node in found
        ]
        output.table(("node", "host", "pid", "role", "version", "started", "last seen", "alive", "runs", "takes"), rows)


def _work(engine: Engine | None) -> tuple[str, str]:
    """How many tasks an engine runs, of how many, and which ones it takes."""
    if engine is None:
        return "-", "-"
    return f"{engine.facts.in_flight} of {engine.facts.slots}", _takes(engine.facts)


def _takes(facts: EngineFacts) -> str:
    """Which tasks an engine takes, in words."""
    if facts.stopped_at:
        return "nothing more: it stops"
    handlers = [known.name for known in facts.repertoire.handlers]
    taken = ", ".join((["HTTP"] if facts.repertoire.http else []) + handlers) or "nothing"
    trouble = facts.handlers_trouble
    return taken if trouble is None else f"{taken}; handlers cannot be imported: {trouble.error}"


def _as_dict(node: Node, engine: Engine | None) -> dict[str, object]:
    given = msgspec.structs.asdict(node)
    told = {{"started_at": "startedAt", "seen_at": "seenAt"}.get(name, name): value for name, value in given.items()}
    return told | {"engine": None if engine is None else engine.facts}
