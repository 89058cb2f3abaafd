"""A new task or schedule by a form: what, when, how often. What it will send is shown as JSON and curl before it is
sent.
"""

import hashlib
import secrets
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import msgspec

from tasks_server.api import wire
from tasks_server.api.exchange import Answer
from tasks_server.api.routes import Route
from tasks_server.api.wire import spec_view
from tasks_server.domain.errors import Fault, InvalidRequest, TasksServerError
from tasks_server.service.schedules import ScheduleService
from tasks_server.service.tasks import Idempotency, TaskService
from tasks_server.web import curl
from tasks_server.web.frame import Frame
from tasks_server.web.owner_choice import OwnerChoice
from tasks_server.web.pasted import read_curl
from tasks_server.web.task_page import server_of
from tasks_server.web.visit import Form, Visit, see_other

PATH: Final = "/ui/new"
_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
_KEY_PREFIX: Final = "page-"
_WHOLE: Final = ("retry", "priority", "maxRuns")
_CONFIG: Final = ("executionDelay", "executeAt", "timezone", "retry", "retryInterval", "timeout", "lane", "priority")
_RULE: Final = ("cron", "every", "timezone", "startAt", "endAt", "maxRuns", "overlap", "missed")
_FIELDS: Final = (
    *("kind", "url", "method", "headers", "data", "handler", "payload", "metadata", "more", "name"),
    *dict.fromkeys((*_CONFIG, *_RULE)),
)
_FIELD_OF: Final = {
    "httpRequest.url": "url",
    "httpRequest.method": "method",
    "httpRequest.headers": "headers",
    "httpRequest.data": "data",
    "handler.name": "handler",
    "handler.payload": "payload",
    "metadata": "metadata",
    **{f"config.{name}": name for name in _CONFIG},
    **{name: name for name in _RULE},
    "name": "name",
}
"""Which field of the form shows the fault of a field of the request."""


class NewPage:
    """The form, and what comes of it."""

    def __init__(self, tasks: TaskService, schedules: ScheduleService, choice: OwnerChoice) -> None:
        self._tasks = tasks
        self._schedules = schedules
        self._choice = choice

    def table(self, frame: Frame) -> list[Route]:
        of = self._choice.of
        return [
            frame.shows(PATH, of(self.form, "New task"), "Show the form of a new task"),
            frame.does(PATH, of(self.send, "New task"), "Send the form of a new task"),
        ]

    async def form(self, visit: Visit, owner: str) -> Answer:
        """The empty form; or one that is filled from a task, or from a command that was pasted."""
        query = dict(visit.pairs())
        values = {name: query[name] for name in _FIELDS if name in query}
        notes: list[str] = []
        if "from" in query:
            values |= await self._like(visit, query["from"])
            notes.append("Secrets are masked as ***: give them again.")
        return self._page(visit, values, notes=notes)

    async def send(self, visit: Visit, owner: str) -> Answer:
        """Stores what the form asks for, once however often it is sent; or only shows what that is."""
        form = await visit.form()
        values = {name: form.one(name).strip() for name in _FIELDS}
        if form.one("do") == "paste":
            return self._pasted(visit, form, values)
        try:
            body = _body(values)
            if form.one("do") == "look":
                await self._judge(visit, owner, values, body)
                return self._page(visit, values, body=body, notes=["It can be sent like this."])
            if values["kind"] == "schedule":
                shown = await self._schedules.create(owner, body)
                return see_other(
                    visit.link(f"/ui/schedules/{shown.schedule.name}"), {"done": "The schedule is stored."}
                )
            task = await self._submit(owner, body, form.one("once"))
        except InvalidRequest as error:
            return self._page(visit, values, faults=error.faults)
        except TasksServerError as error:
            return self._page(visit, values, notes=[error.message], status=422)
        return see_other(f"/ui/tasks/{task.id}", {"done": "The task is stored."})

    async def _submit(self, owner: str, body: dict[str, Any], once: str) -> Any:
        raw = msgspec.json.encode(body)
        draft = await self._draft(owner, raw)
        key = Idempotency(_KEY_PREFIX + once, hashlib.sha256(raw).digest()) if once.isalnum() else None
        return await self._tasks.submit(owner, draft, key)

    async def _draft(self, owner: str, raw: bytes) -> Any:
        read = partial(wire.read_draft, raw, self._tasks.now(), self._tasks.zone, self._tasks.egress)

        async def reading(abilities: Any) -> Any:
            return read(abilities)

        return await self._tasks.examining(owner, reading)

    async def _judge(self, visit: Visit, owner: str, values: Mapping[str, str], body: dict[str, Any]) -> None:
        if values["kind"] != "schedule":
            await self._draft(owner, msgspec.json.encode(body))
        else:
            await self._schedules.judge(owner, body)

    async def _like(self, visit: Visit, task_id: str) -> dict[str, str]:
        """The form of a task like this one."""
        try:
            task = await self._tasks.task(visit.scope, task_id, response=False)
            spec = await self._tasks.spec(visit.scope, task_id)
        except TasksServerError:
            return {}
        view = spec_view(spec, task.metadata)
        values = {"metadata": _lines(view.metadata or {}), "lane": task.lane if task.lane != "default" else ""}
        if view.handler is not None:
            return values | {"handler": view.handler["name"], "payload": _json(view.handler["payload"])}
        request = {name: value for name, value in (view.http_request or {}).items() if value is not None}
        values |= {"url": request.pop("url"), "method": request.pop("method")}
        values |= {"headers": _lines(request.pop("headers", {}), ": ")}
        if "data" in request:
            data = request.pop("data")
            values["data"] = data if isinstance(data, str) else _json(data)
        request.pop("transport", None)
        return values | ({"more": _json({"httpRequest": request})} if request else {})

    def _pasted(self, visit: Visit, form: Form, values: dict[str, str]) -> Answer:
        try:
            pasted = read_curl(form.one("curl"))
        except ValueError as error:
            return self._page(visit, values, faults=[Fault("curl", str(error))])
        request = pasted.request
        values |= {"url": request["url"], "method": request["method"], "data": request.get("data", "")}
        values |= {"headers": _lines(request.get("headers", {}), ": ")}
        if "authBasic" in request:
            values["more"] = _json({"httpRequest": {"authBasic": request["authBasic"]}})
        notes = [f"Left out: {', '.join(pasted.left_out)}"] if pasted.left_out else []
        return self._page(visit, values, notes=notes)

    def _page(
        self,
        visit: Visit,
        values: Mapping[str, str],
        *,
        faults: Any = (),
        notes: list[str] | None = None,
        body: dict[str, Any] | None = None,
        status: int = 200,
    ) -> Answer:
        told = {_place(fault): f"{fault.message}{_given(fault)}" for fault in faults}
        return visit.page(
            "new.html",
            "New schedule" if values.get("kind") == "schedule" else "New task",
            status=400 if faults else status,
            values={name: values.get(name, "") for name in _FIELDS} | {"kind": values.get("kind") or "task"},
            faults=told,
            other_faults=[
                f"{fault.field} {fault.message}{_given(fault)}" for fault in faults if _place(fault) not in _SHOWN
            ],
            notes=notes or [],
            methods=_METHODS,
            body=body,
            command=curl.registration(server_of(visit), body) if body is not None else "",
            once=secrets.token_hex(12),
            zone=visit.time.zone_name,
            live=0,
        )


_SHOWN: Final = frozenset(_FIELDS) | {"curl"}


def _place(fault: Fault) -> str:
    """The field of the form that a fault belongs to."""
    field = fault.field.removeprefix("task.")
    if field in _FIELD_OF:
        return _FIELD_OF[field]
    parent = next((name for known, name in _FIELD_OF.items() if field.startswith(f"{known}.")), None)
    return parent or field


def _given(fault: Fault) -> str:
    return f" ({fault.given})" if fault.given is not None else ""


def _body(values: Mapping[str, str]) -> dict[str, Any]:
    """The request that the form stands for. Raises `InvalidRequest` for lines and JSON that cannot be read."""
    faults: list[Fault] = []
    recurring = values["kind"] == "schedule"
    body: dict[str, Any] = {}
    if values["handler"]:
        body["handler"] = {"name": values["handler"]}
        if values["payload"]:
            body["handler"]["payload"] = _read_json("payload", values["payload"], faults)
    else:
        request: dict[str, Any] = {"url": values["url"], "method": values["method"] or "GET"}
        if values["headers"]:
            request["headers"] = _read_lines("headers", values["headers"], ":", faults)
        if values["data"]:
            request["data"] = _read_data(values["data"])
        body["httpRequest"] = request
    names = [name for name in _CONFIG if not (recurring and name in (*_RULE, "executionDelay", "executeAt"))]
    config = {name: _number(name, values[name]) for name in names if values[name]}
    if config:
        body["config"] = config
    if values["metadata"]:
        body["metadata"] = _read_lines("metadata", values["metadata"], "=", faults)
    more = _read_json("more", values["more"], faults) if values["more"] else {}
    if not isinstance(more, dict):
        faults.append(Fault("more", 'must be a JSON object, as {"config": {…}}'))
        more = {}
    if faults:
        raise InvalidRequest(faults)
    body = _merged(body, more)
    if not recurring:
        return body
    rule = {name: _number(name, values[name]) for name in _RULE if values[name]}
    return {"name": values["name"], **rule, "task": body}


def _merged(body: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    both = dict(body)
    for name, value in more.items():
        before = both.get(name)
        both[name] = before | value if isinstance(before, dict) and isinstance(value, dict) else value
    return both


def _number(name: str, text: str) -> Any:
    return int(text) if name in _WHOLE and text.isdecimal() else text


def _read_data(text: str) -> Any:
    """JSON objects go as JSON, all else as the text that it is."""
    if text[:1] == "{":
        try:
            msgspec.json.decode(text)
            return msgspec.Raw(text.encode())
        except msgspec.DecodeError:
            return text
    return text


def _read_json(field: str, text: str, faults: list[Fault]) -> Any:
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        faults.append(Fault(field, f"is not JSON: {error}"))
        return {}
    return value if field == "more" else msgspec.Raw(text.encode())


def _read_lines(field: str, text: str, between: str, faults: list[Fault]) -> dict[str, str]:
    found = {}
    for line in text.splitlines():
        name, there, value = line.partition(between)
        if line.strip() and not there:
            faults.append(Fault(field, f"has a line without {between}", line[:100]))
        elif line.strip():
            found[name.strip()] = value.strip()
    return found


def _lines(entries: Mapping[str, str], between: str = "=") -> str:
    return "\n".join(f"{name}{between}{value}" for name, value in entries.items())


def _json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
