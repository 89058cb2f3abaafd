"""The OpenAPI 3.1 document, made from the table of routes and from the types that are decoded and encoded."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, get_origin

import msgspec
from msgspec import UNSET

from tasks_server import __version__
from tasks_server.api.problems import CODES, Problem
from tasks_server.api.routes import Route, Success
from tasks_server.domain import cron, dates, durations, limits, reading, schedule_reading
from tasks_server.domain.handler_reading import HandlerRegistration
from tasks_server.domain.request import METHODS, FormPart, TaskConfig
from tasks_server.domain.schedule_reading import HandlerTemplate, NamedTemplate, TaskTemplate
from tasks_server.domain.validation import Registration

_EFFECTIVE: Final = TaskConfig().effective()
_REF: Final = "#/components/schemas/{name}"
_HARMLESS_URL: Final = "http://127.0.0.1:9420/status"
"""The page of the API begins with it: whoever just presses Send calls this server, and nobody else."""
_EVERYWHERE: Final = ("host_invalid", "internal_error", "store_error", "store_corrupt", "store_schema_out_of_date")
_STORE: Final = (
    "stored_unreadable",
    "store_unavailable",
    "store_gone",
    "store_read_only",
    "store_outcome_unknown",
    "store_busy",
    "throttled",
)
_KEYED: Final = ("key_invalid", "credentials_missing", "credentials_malformed", "owner_unknown", "owner_suspended")
_ACCESS: Final[Mapping[str, Sequence[str]]] = {
    "owner": _KEYED,
    "admin": (*_KEYED, "admin_required"),
}
_QUERY: Final = "invalid_request"
_TASKS_OF_SCHEDULES: Final = (TaskTemplate, HandlerTemplate, NamedTemplate)
_PRETTY: Final = {
    "name": "pretty",
    "in": "query",
    "description": "Indents the answer, whatever its value",
    "schema": {"type": "string"},
}
_OWNER_HEADER: Final = {
    "name": "X-Tasks-Owner-Id",
    "in": "header",
    "description": "The owner's id. The key alone is enough; the admin key names by it for whom it acts.",
    "schema": {"type": "string", "pattern": "^[0-9A-HJKMNP-TV-Z]{26}$"},
}
_IDEMPOTENCY_HEADER: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same key and body within 24 hours answer the first task instead of making a second one.",
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": limits.IDEMPOTENCY_KEY_LENGTH_MAX,
        "pattern": "^[!-~]([ -~]*[!-~])?$",
    },
}


def openapi(table: Sequence[Route]) -> dict[str, Any]:
    """The document of every route that is not hidden."""
    shown = [route for route in table if not route.hidden]
    paths: dict[str, dict[str, Any]] = {}
    for route in shown:
        operation = _operation(route)
        paths.setdefault(route.path, {})[route.method.lower()] = operation
        if route.also is not None:
            also = {**operation, "operationId": f"{operation['operationId']}_by_{route.also.lower()}"}
            also["description"] = f"The same as {route.method}. {operation.get('description', '')}".rstrip()
            paths[route.path][route.also.lower()] = also
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tasks Server",
            "version": __version__,
            "license": {"name": "MIT", "identifier": "MIT"},
            "description": "POST a task; it is stored durably and executed on time, at least once, with retries.",
        },
        "paths": paths,
        "components": {"schemas": _schemas(shown), "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
        "x-error-codes": {
            code: {"status": known.status, "title": known.title, "meaning": known.meaning}
            for code, known in CODES.items()
        },
    }


def codes_of(route: Route) -> list[str]:
    """Every error code that a route may answer with."""
    codes = [*route.errors, *_ACCESS.get(route.access, ()), _QUERY, *_EVERYWHERE]
    if route.access in _ACCESS and route.method != "GET":
        codes.append("key_read_only")
    if route.body is not None:
        codes += ("body_timeout", "bodies_full")
    if route.access not in _ACCESS or route.guests:
        codes += ("host_unknown", "cross_site")
    if route.access != "none":
        codes += _STORE
        codes += ("search_too_long",) if route.method == "GET" else ()
    elif route.path != "/status":
        codes.append("throttled")
    return sorted(set(codes), key=lambda code: (CODES[code].status, code))


def bodies_of(route: Route) -> list[Any]:
    """What the body of a route may be made of."""
    if route.body is None:
        return []
    return list(route.body) if isinstance(route.body, tuple) else [route.body]


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.action.lower().replace("'", "").replace(" ", "_"),
        "summary": route.action,
        "tags": [_tag(route.path)],
        "parameters": _parameters(route),
        "responses": _responses(route),
    }
    if route.description:
        operation["description"] = route.description
    if route.body is not None:
        schemas = [_schema(wanted) for wanted in bodies_of(route)]
        content = {"application/json": {"schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas}}}
        operation["requestBody"] = {"required": route.body_required, "content": content}
    if route.access in _ACCESS:
        operation["security"] = [{"key": []}]
    elif route.access == "open":
        operation["security"] = [{}, {"key": []}]
    return operation


def _tag(path: str) -> str:
    if path.startswith("/tasks"):
        return "Handlers"
    tags = {"owners": "Owners", "queues": "Tasks", "schedules": "Schedules", "lanes": "Lanes", "logs": "Log"}
    return tags.get(path.split("/")[2] if path.startswith("/v1/") else "", "Server")


def _parameters(route: Route) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in route.path.split("/") if part.startswith("{")]
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}} for name in names
    ]
    parameters += [
        {"name": query.name, "in": "query", "description": query.description, "schema": query.schema}
        for query in route.query
    ]
    parameters.append(_PRETTY)
    if route.access in _ACCESS:
        parameters.append(_OWNER_HEADER)
    if route.idempotency:
        parameters.append(_IDEMPOTENCY_HEADER)
    return parameters


def _responses(route: Route) -> dict[str, Any]:
    responses: dict[str, Any] = {str(success.status): _success(success) for success in route.success}
    by_status: dict[int, list[str]] = {}
    for code in codes_of(route):
        by_status.setdefault(CODES[code].status, []).append(code)
    for status, codes in by_status.items():
        response: dict[str, Any] = {
            "description": f"{HTTPStatus(status).phrase}: {', '.join(codes)}",
            "content": {"application/problem+json": {"schema": _schema(Problem)}},
        }
        if status in (429, 503):
            seconds = {"type": "integer", "minimum": 1}
            response["headers"] = {"Retry-After": {"description": "Seconds to wait", "schema": seconds}}
        responses[str(status)] = response
    return responses


def _success(success: Success) -> dict[str, Any]:
    response: dict[str, Any] = {"description": success.description}
    if success.status == HTTPStatus.NO_CONTENT:
        pass
    elif success.body is None:
        response["content"] = {"text/plain": {"schema": {"type": "string"}}}
    else:
        response["content"] = {"application/json": {"schema": _schema(success.body)}}
    if success.headers:
        response["headers"] = {
            name: {"description": meaning, "schema": {"type": "string"}} for name, meaning in success.headers.items()
        }
    return response


def _schema(wanted: Any) -> dict[str, Any]:
    """A type as it stands in an operation: by reference where it has a name."""
    (schema,), _ = msgspec.json.schema_components([wanted], ref_template=_REF)
    return schema


def _schemas(table: Sequence[Route]) -> dict[str, Any]:
    types: list[Any] = [Problem, FormPart, *_TASKS_OF_SCHEDULES]
    for route in table:
        types += [success.body for success in route.success if success.body is not None]
        types += bodies_of(route)
    named = [wanted for wanted in types if get_origin(wanted) is not dict]
    _, components = msgspec.json.schema_components(named, ref_template=_REF)
    _loosen(components)
    return dict(sorted(components.items()))


def _loosen(components: dict[str, Any]) -> None:
    """What is read beside the canonical form that is stored: dates and durations as text, methods in any case."""
    for field in msgspec.structs.fields(TaskConfig):
        if field.default is UNSET:
            default = getattr(_EFFECTIVE, field.name)
            components["TaskConfig"]["properties"][field.encode_name]["default"] = default
    _loosen_times(components["TaskConfig"]["properties"], reading.DATES, reading.DURATIONS)
    _loosen_times(components["HandlerConfig"]["properties"], reading.DATES, reading.DURATIONS)
    components["Batch"]["properties"]["tasks"]["items"] = _any_of(Registration, HandlerRegistration)
    for name in ("ScheduleBody", "NamedScheduleBody"):
        schedule = components[name]["properties"]
        schedule["task"] = _any_of(*_TASKS_OF_SCHEDULES)
        _loosen_times(schedule, schedule_reading.DATES, schedule_reading.DURATIONS)
        schedule["cron"] |= {"description": cron.FORMS, "examples": ["0 9 * * MON-FRI"]}
        schedule["every"] |= {"examples": ["15m"]}
    request = components["HttpRequest"]["properties"]
    request["url"] |= {"pattern": "^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@\\\\]+", "examples": [_HARMLESS_URL]}
    components["OwnerPatch"]["minProperties"] = 1
    components["OwnerRegistration"]["properties"]["name"] |= {
        "minLength": limits.OWNER_NAME_LENGTH_MIN,
        "maxLength": limits.OWNER_NAME_LENGTH_MAX,
        "pattern": "^[a-z]([a-z0-9]|-[a-z0-9])*$",
        "examples": ["small-shop"],
    }
    request["method"] = {
        "type": "string",
        "examples": ["GET", *sorted(METHODS - {"GET"})],
        "description": "In any case",
    }


def _any_of(*kinds: type) -> dict[str, Any]:
    return {"anyOf": [{"$ref": _REF.format(name=kind.__name__)} for kind in kinds]}


def _loosen_times(fields: dict[str, Any], instants: frozenset[str], spans: frozenset[str]) -> None:
    for name in instants:
        instant = {"type": "integer", "minimum": 0, "maximum": dates.DATE_MAX_MS}
        text = {"type": "string", "maxLength": 64, "examples": ["2030-01-31T12:00:00+01:00"]}
        fields[name] = {"anyOf": [instant, text, {"type": "null"}], "default": None, "description": dates.FORMS}
    for name in spans:
        bounds = fields[name]
        nullable = [{"type": "null"}] if "anyOf" in bounds else []
        known = bounds["anyOf"][0] if nullable else bounds
        number = {"type": "number", "minimum": known["minimum"], "maximum": known["maximum"]}
        text = {"type": "string", "maxLength": 64, "examples": ["90s", "3d5h"]}
        forms = [number, text, *nullable]
        default = {"default": bounds["default"]} if "default" in bounds else {}
        fields[name] = {"anyOf": forms, **default, "description": durations.FORMS}
