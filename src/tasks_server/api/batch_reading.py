"""Bodies of batches. Small ones are taken apart at once, which is fastest; large ones a task at a time, so that whoever
else has something to do in this process gets a turn in between.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import tzinfo
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw

from tasks_server.api.wire import UNFIT, read_draft, read_json, why_not_json
from tasks_server.domain import asked, encodings, limits, shapes, validation
from tasks_server.domain.abilities import Abilities
from tasks_server.domain.certificates import Asking
from tasks_server.domain.egress import Egress
from tasks_server.domain.errors import Fault, InvalidRequest
from tasks_server.domain.handler_reading import HandlerRegistration
from tasks_server.domain.json_text import Kept
from tasks_server.domain.validation import Draft, Registration

LARGE_BYTES: Final = 131_072
"""From here on a batch is read a task at a time."""
TASK_MAX_BYTES: Final = limits.BODY_TASKS_MAX_BYTES
"""One task of such a batch may have so much, or as much as one that is registered alone."""


class Batch(msgspec.Struct, forbid_unknown_fields=True):
    """Tasks to register together: all of them or none."""

    tasks: Annotated[list[Registration], Meta(min_length=1, max_length=limits.BATCH_TASKS_MAX)]


class HandlerBatch(msgspec.Struct, forbid_unknown_fields=True):
    """The same, when each of them runs a handler."""

    tasks: Annotated[list[HandlerRegistration], Meta(min_length=1, max_length=limits.BATCH_TASKS_MAX)]


_BATCH: Final = msgspec.json.Decoder(Batch)
_HANDLER_BATCH: Final = msgspec.json.Decoder(HandlerBatch)
_FIELDS: Final = msgspec.json.Decoder(dict[str, Raw])
_TASKS: Final = msgspec.json.Decoder(list[Raw])
_KEPT_OF_BATCH: Final[Kept] = {"tasks": [asked.KEPT]}


def read_batch(
    body: bytes,
    now: int,
    zone: tzinfo,
    egress: Egress,
    abilities: Abilities,
    *,
    task_max_bytes: int = TASK_MAX_BYTES,
) -> list[Draft]:
    """The tasks that a body asks for; of a large one, none may be over `task_max_bytes`. Raises `InvalidRequest` with
    every fault of every task, or `Unexamined` with the certificates and keys of all.
    """
    asking = Asking(abilities.examine) if abilities.examine is not None else None
    if asking is not None:
        abilities = msgspec.structs.replace(abilities, examine=asking)
    try:
        if len(body) <= LARGE_BYTES:
            return _read_whole(body, now, zone, egress, abilities)
        # While one value is taken apart, nobody else in the process does anything: no more at once than one task.
        tasks = _parts(body)

        def read(index: int) -> Draft:
            field = f"tasks.{index}"
            return _read_one(bytes(tasks[index]), field, now, zone, egress, abilities, task_max_bytes)

        return _each(len(tasks), read)
    finally:
        if asking is not None:
            asking.settle()


def _read_whole(body: bytes, now: int, zone: tzinfo, egress: Egress, abilities: Abilities) -> list[Draft]:
    try:
        return [validation.judge(registration, now, egress, abilities) for registration in _BATCH.decode(body).tasks]
    except (*UNFIT, InvalidRequest):
        pass
    try:
        return [
            validation.judge_handler(registration, now, egress) for registration in _HANDLER_BATCH.decode(body).tasks
        ]
    except (*UNFIT, InvalidRequest):
        raw = read_json(body, _KEPT_OF_BATCH)
    if faults := list(_batch_faults(raw)):
        raise InvalidRequest(faults)
    tasks = raw["tasks"]
    return _each(
        len(tasks), lambda index: validation.read(tasks[index], now, zone, f"tasks.{index}", egress, abilities)
    )


def _each(count: int, read: Callable[[int], Draft]) -> list[Draft]:
    """What `read` makes of each task. Raises `InvalidRequest` with the faults of all, or of as many as are told."""
    drafts: list[Draft] = []
    faults: list[Fault] = []
    for index in range(count):
        try:
            drafts.append(read(index))
        except InvalidRequest as error:
            faults += error.faults
            if len(faults) >= limits.FAULTS_MAX:
                raise InvalidRequest(faults, unread=count - index - 1) from None
    if faults:
        raise InvalidRequest(faults)
    return drafts


def _parts(body: bytes) -> Sequence[Raw]:
    """The tasks, not taken apart. Raises `InvalidRequest` for a frame around them that is not right."""
    body = encodings.unmarked(body)
    try:
        fields = _FIELDS.decode(body)
    except msgspec.ValidationError:
        raise InvalidRequest([Fault("body", "must be a JSON object", allowed="an object")]) from None
    except RecursionError:
        raise _malformed("is nested too deep") from None
    except UNFIT as error:
        raise _malformed(why_not_json(body, error)) from None
    frame: dict[str, Any] = dict(fields)
    try:
        tasks = frame["tasks"] = _TASKS.decode(fields["tasks"]) if "tasks" in fields else []
    except UNFIT:
        tasks, frame["tasks"] = [], None
    if "tasks" not in fields:
        del frame["tasks"]
    if faults := list(_batch_faults(frame)):
        raise InvalidRequest(faults)
    return tasks


def _malformed(text: str) -> InvalidRequest:
    return InvalidRequest([Fault("body", text)], code="malformed_json")


def _read_one(
    task: bytes, field: str, now: int, zone: tzinfo, egress: Egress, abilities: Abilities, max_bytes: int
) -> Draft:
    if len(task) > max_bytes:
        text = f"has {len(task)} bytes; a task of a batch may have {max_bytes}"
        raise InvalidRequest([Fault(field, text, allowed=f"at most {max_bytes} bytes")])
    try:
        return read_draft(task, now, zone, egress, abilities, field)
    except InvalidRequest as error:
        if error.code == "malformed_json":
            raise InvalidRequest([Fault(field, fault.message) for fault in error.faults], code=error.code) from None
        raise


def _batch_faults(raw: object) -> Iterable[Fault]:
    """What is wrong with the frame around the tasks."""
    allowed = f"an array of 1 to {limits.BATCH_TASKS_MAX} tasks"
    if not isinstance(raw, dict):
        yield Fault("body", "must be a JSON object", shapes.shown(raw), "an object")
        return
    yield from shapes.unknown_fields("", raw, ["tasks"])
    tasks = raw.get("tasks")
    if not isinstance(tasks, list) or not 1 <= len(tasks) <= limits.BATCH_TASKS_MAX:
        what = "must be" if "tasks" in raw else "is required:"
        yield Fault("tasks", f"{what} {allowed}", shapes.shown(tasks), allowed)
