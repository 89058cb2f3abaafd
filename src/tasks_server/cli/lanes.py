"""`tasks-server lane …`. Works on the database itself; engines keep to it from their next look on."""

from collections.abc import Awaitable, Callable
from datetime import tzinfo
from typing import Annotated, Any, Final

import msgspec
import typer

from tasks_server.api.lane_wire import lane_view
from tasks_server.cli import bulks, output
from tasks_server.cli.bulks import Wait
from tasks_server.cli.callbacks import shown_callbacks
from tasks_server.cli.faults import in_options
from tasks_server.cli.options import Config, DataDir, with_services
from tasks_server.cli.output import Json, Yes
from tasks_server.cli.submit import callback
from tasks_server.domain import limits
from tasks_server.domain.bulk import Action, Bulk, in_queue_of
from tasks_server.domain.errors import InvalidRequest, NotFound
from tasks_server.domain.lane import Lane, LaneLimits, burst_of
from tasks_server.domain.owner import Owner as OwnerFacts
from tasks_server.domain.task import FINAL, State
from tasks_server.service.lanes import LaneService
from tasks_server.wiring import Services

app = typer.Typer(no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the lane.", show_default=False)]
Owner = Annotated[str, typer.Option("--owner", "-o", help="Name of the owner whose lane it is.", show_default=False)]
_MaxConcurrent = Annotated[
    str | None, typer.Option("--max-concurrent", metavar="NUMBER", help="So many of its tasks run at once.")
]
_Rate = Annotated[str | None, typer.Option("--rate", metavar="NUMBER", help="So many start in a second, such as 0.5.")]
_Burst = Annotated[
    str | None, typer.Option("--burst", metavar="NUMBER", help="So many start at once, after a while without any.")
]
_Failure = Annotated[
    str | None,
    typer.Option("--failure-callback", metavar="URL", help="Called when one has ended as ERROR; false: nothing."),
]
_Success = Annotated[
    str | None,
    typer.Option("--success-callback", metavar="URL", help="Called when one has ended as SUCCESS; false: nothing."),
]
_NONE: Final = "none"
_OPTIONS: Final = {
    "maxConcurrent": "--max-concurrent",
    "ratePerSecond": "--rate",
    "burst": "--burst",
    "name": "NAME",
    "failureCallback": "--failure-callback",
    "successCallback": "--success-callback",
}


@app.command("list")
def list_(
    owner: Annotated[str | None, typer.Option("--owner", "-o", help="Name of the owner. Default: of all.")] = None,
    config: Config = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """List lanes, by owner and name."""

    async def work(services: Services) -> list[tuple[str, Lane]]:
        if owner is not None:
            asked = [await services.owners.by_name(owner)]
        else:
            asked = await _owners(services)
        return [(one.name, lane) for one in asked for lane in await _lanes(services, one.id)]

    found = with_services(work, config, data_dir)
    if json:
        output.as_json([{"owner": name} | msgspec.to_builtins(lane_view(lane)) for name, lane in found])
    elif not found:
        output.say("No task has used a lane yet." if owner is None else "No task of this owner has used a lane yet.")
    else:
        rows = [(name, lane.name, *_limits(lane.facts.limits), _state(lane), *_counts(lane)) for name, lane in found]
        counts = ("waiting", "due", "running", "paused")
        output.table(("owner", "lane", "at once", "per second", "burst", "state", *counts), rows)


async def _owners(services: Services) -> list[OwnerFacts]:
    found = page = await services.owners.page()
    while page:
        page = await services.owners.page(page[-1].name)
        found = found + page
    return found


async def _lanes(services: Services, owner_id: str) -> list[Lane]:
    found: list[Lane] = []
    after: str | None = ""
    while after is not None:
        page = await services.lanes.page(owner_id, after, limits.PAGE_SIZE_MAX)
        found += page.lanes
        after = page.next
    return found


@app.command("show")
def show(name: Name, owner: Owner, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Show a lane: what it may do, and its tasks in queue."""
    lane, zone = _asked(lambda service, owner_id: service.show(owner_id, name), owner, (config, data_dir))
    if json:
        output.as_json(lane_view(lane))
        return
    chosen = lane.facts.limits
    at_once, rate, burst = _limits(chosen)
    waiting, due, running, paused = _counts(lane)
    facts = {
        "name": lane.name,
        "state": _state(lane),
        "at once": at_once,
        "per second, burst": f"{rate}, {burst}",
        "waiting, due": f"{waiting}, {due}",
        "running": running,
        "paused one by one": paused,
        "callbacks": shown_callbacks(lane.callbacks),
    }
    if chosen.paused_at is not None:
        facts["paused"] = f"by the {chosen.paused_by}, {output.instant(chosen.paused_at, zone)}"
    output.table(("", ""), list(facts.items()))


@app.command("set")
def set_(
    name: Name,
    owner: Owner,
    max_concurrent: _MaxConcurrent = None,
    rate: _Rate = None,
    burst: _Burst = None,
    failure_callback: _Failure = None,
    success_callback: _Success = None,
    config: Config = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Set what a lane may do, and make it when it is not there. What is not named stays; "none" takes a limit away."""
    asked = {"maxConcurrent": max_concurrent, "ratePerSecond": rate, "burst": burst}
    patch: dict[str, Any] = {field: _number(text) for field, text in asked.items() if text is not None}
    told = {"failureCallback": failure_callback, "successCallback": success_callback}
    patch |= {field: _callback(text) for field, text in told.items() if text is not None}
    lane, _ = _asked(lambda service, owner_id: _set(service, owner_id, name, patch), owner, (config, data_dir))
    at_once, per_second, most = _limits(lane.facts.limits)
    _told(lane, f"at once {at_once}, per second {per_second}, burst {most}", json)


async def _set(service: LaneService, owner_id: str, name: str, patch: dict[str, Any]) -> Lane:
    """The lane, changed or made; faults are told by the options that brought them."""
    try:
        try:
            return await service.edit(owner_id, name, patch, "operator")
        except NotFound:
            return (await service.put(owner_id, name, patch, "operator"))[0]
    except InvalidRequest as error:
        raise in_options(error, lambda field: _OPTIONS.get(field, field)) from None


def _callback(text: str) -> str | bool | None:
    """A URL; none takes it away, false switches the owner's off.

    >>> [_callback(text) for text in ("https://ops.example/", "none", "false")]
    ['https://ops.example/', None, False]
    """
    return None if text.lower() == _NONE else callback(text)


def _number(text: str) -> int | float | str | None:
    """What was typed: a number, none, or else what no lane takes.

    >>> [_number(text) for text in ("5", "0.5", "none", "many")]
    [5, 0.5, None, 'many']
    """
    if text.lower() == _NONE:
        return None
    try:
        return int(text) if text.isascii() and text.isdigit() else float(text)
    except ValueError:
        return text


@app.command("pause")
def pause(name: Name, owner: Owner, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Let no more tasks of a lane start until it is resumed. Those that run go on."""
    lane, _ = _asked(lambda service, owner_id: service.pause(owner_id, name, "operator"), owner, (config, data_dir))
    _told(lane, "is paused", json)


@app.command("resume")
def resume(name: Name, owner: Owner, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Let the tasks of a paused lane start again."""
    lane, _ = _asked(lambda service, owner_id: service.resume(owner_id, name, "operator"), owner, (config, data_dir))
    _told(lane, "goes on", json)


@app.command("purge")
def purge(
    name: Name,
    owner: Owner,
    yes: Yes = False,
    wait: Wait = False,
    config: Config = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Delete all tasks of a lane that are in queue, running ones too, for good. The engines of a running server do it.
    Asks first, where a terminal can answer; elsewhere it wants --yes.
    """
    if not yes:
        lane, _ = _asked(lambda service, owner_id: service.show(owner_id, name), owner, (config, data_dir))
        in_queue = sum(count for state, count in lane.counts.items() if state not in FINAL)
        output.confirm(f"Delete the {in_queue} tasks of {owner} that are in queue in the lane {lane.name}, for good?")

    async def create(services: Services) -> Bulk:
        owner_id = (await services.owners.by_name(owner)).id
        await services.lanes.show(owner_id, name)
        return await services.bulks.create(owner_id, Action.DELETE, in_queue_of(name), "operator")

    bulks.run(create, wait=wait, json=json, options=(config, data_dir))


def _asked(
    act: Callable[[LaneService, str], Awaitable[Lane]], owner: str, options: tuple[Any, Any]
) -> tuple[Lane, tzinfo]:
    """What the service answers about a lane of the owner of this name; and the time zone."""

    async def work(services: Services) -> tuple[Lane, tzinfo]:
        return await act(services.lanes, (await services.owners.by_name(owner)).id), services.schedules.zone

    return with_services(work, *options)


def _limits(chosen: LaneLimits) -> tuple[str, str, str]:
    """How many at once, how many a second, the burst."""
    at_once = "-" if chosen.concurrent_max is None else str(chosen.concurrent_max)
    return (at_once, "-", "-") if chosen.rate is None else (at_once, f"{chosen.rate:g}", str(burst_of(chosen)))


def _state(lane: Lane) -> str:
    return "open" if lane.facts.limits.paused_at is None else "paused"


def _counts(lane: Lane) -> tuple[str, str, str, str]:
    """How many tasks wait for their time, are due, run, are paused one by one."""
    count = lane.counts.get
    waiting = count(State.SCHEDULED, 0) + count(State.RETRYABLE, 0)
    return str(waiting), str(count(State.AVAILABLE, 0)), str(count(State.RUNNING, 0)), str(count(State.PAUSED, 0))


def _told(lane: Lane, done: str, json: bool) -> None:
    if json:
        output.as_json(lane_view(lane))
    else:
        output.say(f"Lane {lane.name}: {done}.")
