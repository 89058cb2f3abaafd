"""`tasks-server schedule …`. Works on the database itself; a running server is told at once."""

from collections.abc import Awaitable, Callable
from datetime import tzinfo
from typing import Annotated, Any

import msgspec
import typer

from tasks_server.api.schedule_wire import listed_schedule_view, preview_view, schedule_view
from tasks_server.cli import output, submit
from tasks_server.cli.faults import in_options
from tasks_server.cli.options import Config, DataDir, next_command, with_services
from tasks_server.cli.output import Json, task_fields
from tasks_server.domain import ids, limits, masking
from tasks_server.domain.errors import Fault, InvalidRequest
from tasks_server.domain.schedule import Schedule
from tasks_server.domain.task import NewTask
from tasks_server.service.schedules import ScheduleService, Shown
from tasks_server.wiring import Services

app = typer.Typer(no_args_is_help=True)

Key = Annotated[str, typer.Argument(metavar="ID", help="Id of the schedule, or with --owner its name.")]
Owner = Annotated[str | None, typer.Option("--owner", "-o", help="Name of the owner of a schedule that is named.")]
_Name = Annotated[str, typer.Option("--name", help="Its name, one of its kind for each owner.")]
_Cron = Annotated[
    str | None, typer.Option("--cron", help='When to run: "0 9 * * MON-FRI", seconds first if six fields, @daily.')
]
_Every = Annotated[str | None, typer.Option("--every", help="Run again after so long: 30s, 15m, 1d.")]
_Zone = Annotated[str | None, typer.Option("--timezone", help="IANA time zone of --cron.", show_default="the server's")]
_StartAt = Annotated[str | None, typer.Option("--start-at", help="Not before this date.")]
_EndAt = Annotated[str | None, typer.Option("--end-at", help="Not after this date.")]
_MaxRuns = Annotated[int | None, typer.Option("--max-runs", help="So many tasks and no more.")]
_Jitter = Annotated[str | None, typer.Option("--jitter", help="Put each run off by up to so long.", show_default="0")]
_Missed = Annotated[
    str | None,
    typer.Option("--missed", help="What no engine ran for: skip, once, all.", show_default="once"),
]
_Window = Annotated[str | None, typer.Option("--missed-window", help="How far back that goes.", show_default="1d")]
_Overlap = Annotated[
    str | None,
    typer.Option(
        "--overlap", help="While the last task is not final: skip, allow, buffer, cancel.", show_default="allow"
    ),
]


@app.command("create")
def create(
    owner: Annotated[str, typer.Option("--owner", "-o", help="Name of the owner the schedule is for.")],
    name: _Name,
    url: submit.Url = None,
    handler: submit.Handler = None,
    payload: submit.Payload = None,
    cron: _Cron = None,
    every: _Every = None,
    timezone: _Zone = None,
    start_at: _StartAt = None,
    end_at: _EndAt = None,
    max_runs: _MaxRuns = None,
    jitter: _Jitter = None,
    missed: _Missed = None,
    missed_window: _Window = None,
    overlap: _Overlap = None,
    method: submit.Method = None,
    header: submit.Header = None,
    query: submit.Query = None,
    data: submit.Data = None,
    json_data: submit.JsonData = None,
    retry: submit.Retry = None,
    retry_interval: submit.RetryInterval = None,
    retry_backoff: submit.RetryBackoff = None,
    timeout: submit.Timeout = None,
    priority: submit.Priority = None,
    lane: submit.Lane = None,
    failure_callback: submit.FailureCallback = None,
    success_callback: submit.SuccessCallback = None,
    metadata: submit.Metadata = None,
    config: Config = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Make a schedule: when to run, and the HTTP request or the handler that each of its tasks is."""
    faults: list[Fault] = []
    tried = {"retry": retry, "retryInterval": retry_interval, "retryBackoff": retry_backoff, "timeout": timeout}
    placed: dict[str, Any] = {"priority": priority, "lane": lane}
    placed["failureCallback"] = submit.callback(failure_callback)
    placed["successCallback"] = submit.callback(success_callback)
    task: dict[str, Any] = {
        **submit.what(url, handler, payload, submit.Sent(method, header, query, data, json_data), faults),
        "config": submit.given(tried | placed),
        "metadata": submit.pairs(metadata, "=", "--metadata", faults),
    }
    when = {"cron": cron, "every": every, "timezone": timezone, "startAt": start_at, "endAt": end_at}
    rules = {"maxRuns": max_runs, "jitter": jitter, "missed": missed, "missedWindow": missed_window}
    if faults:
        raise InvalidRequest(faults)
    raw = {"name": name, **submit.given(when | rules | {"overlap": overlap}), "task": submit.given(task)}

    async def work(services: Services) -> tuple[Shown, tzinfo]:
        return await _create(services, owner, raw), services.schedules.zone

    shown, zone = with_services(work, config, data_dir)
    if json:
        output.as_json(schedule_view(shown))
        return
    output.say(f"Schedule {shown.schedule.id} is stored, its first run {_instant(shown.schedule.next_fire_at, zone)}.")
    command = next_command("schedule", "preview", shown.schedule.id, config=config, data_dir=data_dir)
    output.say(f"See when it runs: {command}")


async def _create(services: Services, owner_name: str, raw: dict[str, Any]) -> Shown:
    """The schedule, made; faults are told by the options that brought them."""
    owner = await services.owners.by_name(owner_name)
    try:
        return await services.schedules.create(owner.id, raw)
    except InvalidRequest as error:
        raise in_options(error, _option_of) from None


def _option_of(field: str) -> str:
    """The option that brought a field of the schedule.

    >>> [_option_of(field) for field in ("missedWindow", "cron", "task.httpRequest.url", "task.config.retryInterval")]
    ['--missed-window', '--cron', 'URL', '--retry-interval']
    """
    return submit.option_of(field.removeprefix("task.") if field.startswith("task.") else f"schedule.{field}")


@app.command("list")
def list_(
    owner: Annotated[str | None, typer.Option("--owner", "-o", help="Name of the owner. Default: of all.")] = None,
    config: Config = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """List schedules, in the order of their making."""

    async def work(services: Services) -> tuple[list[Schedule], dict[str, str], tzinfo]:
        owner_id = (await services.owners.by_name(owner)).id if owner else None
        found: list[Schedule] = []
        while page := await services.schedules.page(owner_id, found[-1].id if found else "", limits.PAGE_SIZE_MAX):
            found += page
        names = {}
        for known in {schedule.owner for schedule in found}:
            one = await services.owners.by_id(known)
            names[known] = one.name if one else known
        return found, names, services.schedules.zone

    found, names, zone = with_services(work, config, data_dir)
    if json:
        output.as_json([_listed(schedule) | {"owner_name": names[schedule.owner]} for schedule in found])
    elif not found:
        output.say("There are no schedules.")
    else:
        rows = [
            (one.id, names[one.owner], one.name, one.standing, _when(one), _instant(one.next_fire_at, zone))
            for one in found
        ]
        output.table(("id", "owner", "name", "state", "when", "next run"), rows)
    output.warn_of((one.id, one.unreadable) for one in found)


def _listed(schedule: Schedule) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(listed_schedule_view(schedule))
    return fields


def _when(schedule: Schedule) -> str:
    rule = schedule.rule
    if schedule.lost:
        return "-"
    return f"{rule.cron} ({rule.timezone})" if rule.cron is not None else f"every {(rule.every_ms or 0) / 1_000:g} s"


def _instant(at: int | None, zone: tzinfo) -> str:
    return output.instant(at or 0, zone)


@app.command("show")
def show(key: Key, owner: Owner = None, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Show a schedule and what its tasks call."""
    shown, zone = _asked(lambda service, scope: service.show(scope, key), key, owner, (config, data_dir))
    if json:
        output.as_json(schedule_view(shown))
        return
    schedule, template = shown.schedule, shown.template
    rule, missed = schedule.rule, schedule.missed
    facts = {
        "id": schedule.id,
        "name": schedule.name,
        "state": schedule.standing,
        "when": _when(schedule),
        "from, until": f"{_instant(rule.start_at, zone)}, {_instant(rule.end_at, zone)}",
        "next run": _instant(schedule.next_fire_at, zone),
        "last run": _instant(schedule.fired_at, zone),
        "runs": str(schedule.runs) + (f" of {rule.runs_max}" if rule.runs_max is not None else ""),
        "last task": schedule.last_task or "-",
        "missed, overlap": f"{rule.missed}, {rule.overlap}",
        "without a task": f"{_instant(missed.last_at, zone)}: {missed.why}" if missed else "-",
        "request": masking.shown_what(template.spec),
    }
    output.table(("", ""), list(facts.items()))


@app.command("pause")
def pause(key: Key, owner: Owner = None, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Let a schedule make no more tasks until it is resumed."""
    shown, _ = _asked(lambda service, scope: service.pause(scope, key), key, owner, (config, data_dir))
    _told(shown, "is paused", json)


@app.command("resume")
def resume(key: Key, owner: Owner = None, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Let a paused schedule go on from now."""
    shown, zone = _asked(lambda service, scope: service.resume(scope, key), key, owner, (config, data_dir))
    _told(shown, f"goes on, its next run {_instant(shown.schedule.next_fire_at, zone)}", json)


@app.command("run")
def run(key: Key, owner: Owner = None, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Make one task of a schedule now, beside those of its times."""
    task: NewTask
    task, _ = _asked(lambda service, scope: service.run(scope, key), key, owner, (config, data_dir))
    if json:
        output.as_json(task_fields(task))
    else:
        output.say(f"Task {task.id} is due now.")


@app.command("preview")
def preview(
    key: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID]", help="Id of the schedule, or with --owner its name; none with --cron or --every."
        ),
    ] = None,
    owner: Owner = None,
    cron: _Cron = None,
    every: _Every = None,
    timezone: _Zone = None,
    start_at: _StartAt = None,
    end_at: _EndAt = None,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, max=limits.PREVIEW_MAX, help="So many.")
    ] = limits.PREVIEW_DEFAULT,
    config: Config = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Show when a schedule runs next, by its rule; or when one of this rule would, without storing it."""
    rule = submit.given({"cron": cron, "every": every, "timezone": timezone, "startAt": start_at, "endAt": end_at})
    if (key is None) == (not rule):
        raise InvalidRequest([Fault("ID", "is to be given, or --cron or --every in its place")])
    if key is None:
        schedule, times = with_services(lambda services: _preview_of(services, rule, count), config, data_dir)
    else:
        options = (config, data_dir)
        (schedule, times), _ = _asked(lambda service, scope: service.preview(scope, key, count), key, owner, options)
    view = preview_view(schedule, times)
    if json:
        output.as_json(view)
    elif not times:
        output.say("It does not run any more.")
    for shown in view.times if not json else ():
        output.say(shown.local)


async def _preview_of(services: Services, rule: dict[str, Any], count: int) -> tuple[Schedule, list[int]]:
    try:
        return await services.schedules.preview_of(rule, count)
    except InvalidRequest as error:
        raise in_options(error, _option_of) from None


@app.command("delete")
def delete(key: Key, owner: Owner = None, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Remove a schedule. The tasks that it made stay."""
    _asked(lambda service, scope: service.delete(scope, key), key, owner, (config, data_dir))
    if json:
        output.as_json({"id": key, "error": None})
    else:
        output.say(f"Schedule {key} is deleted.")


def _asked(
    act: Callable[[ScheduleService, str | None], Awaitable[Any]],
    key: str,
    owner: str | None,
    options: tuple[Any, Any],
) -> tuple[Any, tzinfo]:
    """What the service answers about one schedule, given by its id, or by its name and owner; and the time zone."""
    if owner is None and not ids.is_task_id(key):
        raise InvalidRequest(
            [Fault("--owner", "is required to find a schedule by its name", allowed="an owner's name")]
        )

    async def work(services: Services) -> tuple[Any, tzinfo]:
        scope = (await services.owners.by_name(owner)).id if owner else None
        return await act(services.schedules, scope), services.schedules.zone

    return with_services(work, *options)


def _told(shown: Shown, done: str, json: bool) -> None:
    if json:
        output.as_json(schedule_view(shown))
    else:
        output.say(f"Schedule {shown.schedule.name} {done}.")
