"""`tasks-server task submit`: options of the command line become a task, a request or a handler to run."""

from datetime import tzinfo
from typing import Annotated, Any, Final

import msgspec
import typer
from msgspec import Raw

from tasks_server.api.wire import read_json
from tasks_server.cli import output
from tasks_server.cli.faults import in_options
from tasks_server.cli.options import Config, DataDir, next_command, with_services
from tasks_server.cli.output import Json, task_fields
from tasks_server.domain import shapes, validation
from tasks_server.domain.abilities import Abilities
from tasks_server.domain.errors import Fault, InvalidRequest
from tasks_server.domain.json_text import AS_IT_CAME, text_of
from tasks_server.domain.json_text import value as value_of
from tasks_server.domain.task import NewTask, Task
from tasks_server.domain.validation import Draft
from tasks_server.wiring import Services

_RENAMED: Final = {
    "url": "URL",
    "name": "--handler",
    "headers": "--header",
    "executionDelay": "--delay",
    "executeAt": "--at",
}
"""Fields of the request whose option has another name."""
_OPTIONS: Final = {
    "method": "method",
    "header": "headers",
    "query": "query",
    "data": "data",
    "json_data": "jsonData",
}
"""Of each option of `Sent`, the field that it becomes."""

Url = Annotated[
    str | None, typer.Argument(help="What to call: an http or https URL; or --handler.", show_default=False)
]
Handler = Annotated[
    str | None, typer.Option("--handler", metavar="NAME", help="Run this handler instead of calling a URL.")
]
Payload = Annotated[str | None, typer.Option("--payload", metavar="JSON", help="What the handler gets.")]
Owner = Annotated[str, typer.Option("--owner", "-o", help="Name of the owner the task is for.")]
Method = Annotated[
    str | None, typer.Option("--method", "-X", help="HTTP method. Default: GET, with data POST.", show_default=False)
]
Header = Annotated[
    list[str] | None, typer.Option("--header", "-H", metavar="NAME: VALUE", help="A header to send; repeatable.")
]
Query = Annotated[
    list[str] | None, typer.Option("--query", metavar="NAME=VALUE", help="Joined to the URL's query; repeatable.")
]
Data = Annotated[str | None, typer.Option("--data", "-d", help="Text to send, literally; not by GET, HEAD, DELETE.")]
JsonData = Annotated[str | None, typer.Option("--json-data", help="A JSON object to send; not by GET, HEAD, DELETE.")]
_Delay = Annotated[str | None, typer.Option("--delay", help="Wait this long first: 500ms, 90s, 5m, 2h, 3d5h.")]
_At = Annotated[
    str | None, typer.Option("--at", help="Wait until this date: 2030-01-31T08:00:00+01:00, or with [Europe/Berlin].")
]
_Timezone = Annotated[
    str | None,
    typer.Option("--timezone", help="Zone of dates that name none: Europe/Berlin.", show_default="TZ of the server"),
]
Retry = Annotated[int | None, typer.Option("--retry", help="Retries after a failure.", show_default="0")]
RetryInterval = Annotated[
    str | None, typer.Option("--retry-interval", help="Wait before a retry: 10s.", show_default="1s")
]
RetryBackoff = Annotated[
    str | None,
    typer.Option(
        "--retry-backoff",
        help="fixed, linear or exponential.",
        show_default="exponential; with --retry-interval, linear",
    ),
]
Timeout = Annotated[str | None, typer.Option("--timeout", help="How long one attempt may take.", show_default="30s")]
_ExpireAt = Annotated[str | None, typer.Option("--expire-at", help="Not started after this date.")]
Priority = Annotated[int | None, typer.Option("--priority", help="0 to 9; higher runs first.", show_default="0")]
Lane = Annotated[str | None, typer.Option("--lane", help="Named line of the owner.", show_default="default")]
FailureCallback = Annotated[
    str | None,
    typer.Option("--failure-callback", metavar="URL", help="Called when it has ended as ERROR; false: nothing."),
]
SuccessCallback = Annotated[
    str | None,
    typer.Option("--success-callback", metavar="URL", help="Called when it has ended as SUCCESS; false: nothing."),
]
Metadata = Annotated[
    list[str] | None, typer.Option("--metadata", metavar="NAME=VALUE", help="Kept with the task; repeatable.")
]


def submit(
    owner: Owner,
    url: Url = None,
    handler: Handler = None,
    payload: Payload = None,
    method: Method = None,
    header: Header = None,
    query: Query = None,
    data: Data = None,
    json_data: JsonData = None,
    delay: _Delay = None,
    at: _At = None,
    timezone: _Timezone = None,
    retry: Retry = None,
    retry_interval: RetryInterval = None,
    retry_backoff: RetryBackoff = None,
    timeout: Timeout = None,
    expire_at: _ExpireAt = None,
    priority: Priority = None,
    lane: Lane = None,
    failure_callback: FailureCallback = None,
    success_callback: SuccessCallback = None,
    metadata: Metadata = None,
    config: Config = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Store a task: an HTTP request or a handler, when to do it, how often to try."""
    timing = {"executionDelay": delay, "executeAt": at, "timezone": timezone, "timeout": timeout, "expireAt": expire_at}
    retrying = {"retry": retry, "retryInterval": retry_interval, "retryBackoff": retry_backoff}
    faults: list[Fault] = []
    raw = what(url, handler, payload, Sent(method, header, query, data, json_data), faults)
    told = {"failureCallback": callback(failure_callback), "successCallback": callback(success_callback)}
    raw["config"] = given(timing | retrying | {"priority": priority, "lane": lane} | told)
    if (entries := pairs(metadata, "=", "--metadata", faults)) is not None:
        raw["metadata"] = entries
    if faults:
        raise InvalidRequest(faults)
    task, zone, hint = with_services(lambda services: _submit(services, owner, raw), config, data_dir)
    if json:
        output.as_json(task_fields(task) | ({} if hint is None else {"hint": hint}))
    else:
        output.say(f"Task {task.id} is stored, due {output.instant(task.due_at, zone)}.")
        command = next_command("task", "show", task.id, config=config, data_dir=data_dir)
        output.say(f"See what becomes of it: {command}")
        if hint is not None:
            output.say(f"Note: {hint}")


async def _submit(
    services: Services, owner_name: str, raw: dict[str, Any]
) -> tuple[NewTask | Task, tzinfo, str | None]:
    owner = await services.owners.by_name(owner_name)
    zone = services.tasks.zone

    async def read(abilities: Abilities) -> Draft:
        return validation.read(raw, services.clock.now(), zone, egress=services.tasks.egress, abilities=abilities)

    try:
        draft = await services.tasks.examining(owner.id, read)
    except InvalidRequest as error:
        raise in_options(error, option_of) from None
    task = await services.tasks.submit(owner.id, draft)
    hints = await services.tasks.hints([task]) if isinstance(task, NewTask) else {}
    return task, zone, next(iter(hints.values()), None)


class Sent(msgspec.Struct, frozen=True):
    """What options say of a request beside its URL."""

    method: str | None
    header: list[str] | None
    query: list[str] | None
    data: str | None
    json_data: str | None


def what(
    url: str | None, handler: str | None, payload: str | None, sent: Sent, faults: list[Fault]
) -> dict[str, dict[str, Any]]:
    """The request or the handler that the options ask for."""
    if handler is None:
        if payload is not None:
            faults.append(Fault("--payload", "is for a handler; name it with --handler"))
        elif url is None:
            faults.append(Fault("URL", "is required, or --handler in its place"))
        bodiless = sent.data is None and sent.json_data is None
        request = {
            "url": url,
            "method": sent.method or ("GET" if bodiless else "POST"),
            "headers": pairs(sent.header, ":", "--header", faults),
            "query": pairs(sent.query, "=", "--query", faults),
            "data": body_of(sent.data, sent.json_data, faults),
        }
        return {"httpRequest": given(request)}
    alien = ["URL"] if url is not None else []
    alien += [option_of(f"httpRequest.{_OPTIONS[name]}") for name in given(msgspec.structs.asdict(sent))]
    faults += [Fault(option, "belongs to a request; with --handler, leave it out") for option in alien]
    call: dict[str, Any] = {"name": handler}
    if payload is not None:
        call["payload"] = _json("--payload", payload, faults)
    return {"handler": call}


def option_of(field: str) -> str:
    """The option that brought a field of the request.

    >>> [option_of(field) for field in ("httpRequest.url", "config.retryInterval", "httpRequest.headers.Host")]
    ['URL', '--retry-interval', '--header Host']
    """
    _, _, name = field.partition(".")
    name, _, entry = name.partition(".")
    if field.startswith("metadata"):
        name, entry = "metadata", field.partition(".")[2]
    if name in _RENAMED:
        return f"{_RENAMED[name]} {entry}".rstrip()
    return "--" + "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name)


def callback(text: str | None) -> str | bool | None:
    """A callback as it was typed: a URL, or false for none.

    >>> callback("https://ops.example/"), callback("False"), callback(None)
    ('https://ops.example/', False, None)
    """
    return False if text is not None and text.lower() == "false" else text


def given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def pairs(items: list[str] | None, separator: str, option: str, faults: list[Fault]) -> dict[str, str] | None:
    """Options of the form NAME=VALUE as a map, or None when there are none."""
    if not items:
        return None
    pairs: dict[str, str] = {}
    for item in items:
        name, found, value = item.partition(separator)
        if not found:
            faults.append(Fault(option, f"must be a name and a value with {separator!r} between them", item))
        elif name.strip() in pairs:
            faults.append(Fault(option, "names this twice; a task has one value for each name", name.strip()))
        pairs[name.strip()] = value.strip() if separator == ":" else value
    return pairs


def body_of(data: str | None, json_data: str | None, faults: list[Fault]) -> Raw | None:
    """The data as JSON."""
    if json_data is None:
        return None if data is None else text_of(data)
    if data is not None:
        faults.append(Fault("--json-data", "cannot be joined with --data; give one of them"))
    body = _json("--json-data", json_data, faults)
    if body is not None and not bytes(body).startswith(b"{"):
        faults.append(Fault("--json-data", "must be a JSON object; --data sends text", shapes.shown(value_of(body))))
    return body


def _json(option: str, text: str, faults: list[Fault]) -> Raw | None:
    """The JSON of an option, as it came; where it is none, a fault."""
    try:
        raw: Raw = read_json(text.encode(), AS_IT_CAME)
        return raw
    except UnicodeError:
        faults.append(Fault(option, "is no text in UTF-8"))
    except InvalidRequest as error:
        faults += [msgspec.structs.replace(fault, field=option) for fault in error.faults]
    return None
