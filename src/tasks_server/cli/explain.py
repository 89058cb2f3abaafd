"""`tasks-server task explain`: why a task has not run."""

from datetime import tzinfo
from typing import Annotated

import typer

from tasks_server.api.explain_routes import explanation_view
from tasks_server.cli import output
from tasks_server.cli.options import Config, DataDir, with_services
from tasks_server.cli.output import Json
from tasks_server.service.explain import Explanation
from tasks_server.wiring import Services


def explain(
    task_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the task.")],
    config: Config = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Tell why a task has not run: what holds it, and until when."""

    async def work(services: Services) -> tuple[Explanation, tzinfo]:
        return await services.explain.explain(None, task_id), services.tasks.zone

    explained, zone = with_services(work, config, data_dir)
    if json:
        output.as_json(explanation_view(explained))
        return
    output.say(output.printable(explained.summary))
    if explained.estimate_at is not None:
        output.say(f"Earliest start: {output.instant(explained.estimate_at, zone)}")
    rows = [
        ("closed" if gate.closed else "open", gate.gate, gate.text, output.instant(gate.until or 0, zone))
        for gate in explained.gates
    ]
    output.table(("", "gate", "why", "until"), rows)
