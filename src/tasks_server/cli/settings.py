"""`tasks-server settings`: the value of each setting and where it came from. Secrets stay hidden."""

from typing import Any

from tasks_server.cli import output
from tasks_server.cli.options import Config, DataDir
from tasks_server.cli.output import Json
from tasks_server.settings import resolve
from tasks_server.settings.egress import egress_policy
from tasks_server.settings.layers import DEFAULT
from tasks_server.settings.places import places
from tasks_server.settings.table import is_secret

_HIDDEN = "(hidden)"


def show(config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Show every setting, its value, and where the value came from."""
    resolved = resolve({"data_dir": data_dir}, config)
    where = places(resolved.settings)
    effective = {
        "data_dir": where.data_dir,
        "path_sqlite": where.database,  # none with PostgreSQL
        "cipher_key_file": where.key_file,
        "egress_policy": egress_policy(resolved.settings),
    }
    shown: dict[str, dict[str, Any]] = {}
    for name, origin in resolved.origins.items():
        value = getattr(resolved.settings, name)
        if value is None and effective.get(name) is not None:
            value = effective[name]
        if is_secret(name) and value is not None:
            value = _HIDDEN
        plain = value if value is None or isinstance(value, bool | int | float) else str(value)
        shown[name] = {"value": plain, "from": origin}
    if json:
        output.as_json(shown)
        return
    rows = [(name, _as_text(entry["value"]), entry["from"]) for name, entry in shown.items()]
    output.table(("setting", "value", "from"), rows)
    changed = sum(origin != DEFAULT for origin in resolved.origins.values())
    output.say(
        f"{changed} of {len(rows)} settings differ from their defaults. `tasks-server docs settings` explains each."
    )
    for warning in resolved.warnings:
        output.warn(warning)


def _as_text(value: Any) -> str:
    if value is None:
        return "-"
    return str(value).lower() if isinstance(value, bool) else str(value)
