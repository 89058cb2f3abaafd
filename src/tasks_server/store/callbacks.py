"""Between stored callbacks and the types of the domain, for all adapters: each records
ends, reads what is known of those that may be told of (`ended_find`), and keeps what `telling` makes of it with them.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from tasks_server.domain.callback import NO_CALLBACKS, Callbacks, decode_callbacks, encode_callbacks
from tasks_server.domain.callback_making import End, Ended, asks_itself, end_of_attempt, end_of_expiry, told
from tasks_server.domain.stored import OTHER_VERSION, unreadable
from tasks_server.domain.task import NewTask, Task
from tasks_server.store.rows import Loaded, metadata_of
from tasks_server.store.sealing import Sealer, callbacks_context, spec_context
from tasks_server.store.settling import Report

_FACTS: Final = msgspec.json.Encoder().encode


class Ending(msgspec.Struct, frozen=True):
    """The end of the task of this handle. `own`: it asks for a callback itself."""

    ref: int
    own: bool
    end: End


class Telling(msgspec.Struct):
    """What is to be kept with the ends: callbacks, their specs sealed, by their owner's handle; rows of events."""

    tasks: list[tuple[int, NewTask]] = []
    events: list[tuple[int, int, str, str | None, str]] = []


def ending_of(report: Report) -> Ending | None:
    """The end that a report brings; None: it brings none that may be told of."""
    if report.tells is False or report.attempt is None:
        return None
    end = end_of_attempt(report.settlement.state, report.settlement.failures, report.attempt)
    return Ending(report.ref, bool(report.tells), end)


def ending_of_expiry(loaded: Loaded, expired: Task, sealer: Sealer) -> Ending:
    """The end of a task that may not start any more."""
    spec = sealer.look(loaded.sealed_spec, spec_context(expired.id))[0]
    return Ending(loaded.ref, asks_itself(spec, expired.state), end_of_expiry(expired))


def sealed_callbacks(sealer: Sealer, callbacks: Callbacks, owner_id: str, lane: str = "") -> bytes | None:
    """What is stored of what a lane, or an owner without one, asks for."""
    plain = encode_callbacks(callbacks)
    return None if plain is None else sealer.seal(plain, callbacks_context(owner_id, lane))


def opened_callbacks(sealer: Sealer, sealed: bytes | None, owner_id: str, lane: str = "") -> Callbacks:
    """What a lane or an owner asks for; where it cannot be read, it tells of that."""
    if sealed is None:
        return NO_CALLBACKS
    plain, why = sealer.look(sealed, callbacks_context(owner_id, lane))
    if why is not None:
        return Callbacks(unreadable=why)
    try:
        return decode_callbacks(plain)
    except msgspec.DecodeError as error:
        mend = f"{OTHER_VERSION}, or set them anew"
        return Callbacks(unreadable=unreadable("the callbacks", f"another version stored them ({error})", mend))


def telling(sealer: Sealer, endings: Sequence[Ending], rows: Sequence[Sequence[Any]]) -> Telling:
    """What comes of these ends. `rows`: of `ended_find`."""
    made = Telling()
    by_ref = {ending.ref: ending for ending in endings}
    for ref, owner, *columns in rows:
        found = told(_ended_of(sealer, columns), by_ref[ref].end)
        if found is None:
            continue
        if found.task is not None:
            spec = sealer.seal(found.task.spec, spec_context(found.task.id))
            made.tasks.append((owner, replace(found.task, spec=spec)))
        event = found.event
        made.events.append((ref, event.at, event.kind, event.detail, _FACTS(event.facts).decode()))
    return made


def _ended_of(sealer: Sealer, columns: Sequence[Any]) -> Ended:
    task_id, owner, lane, created_at, metadata, schedule, fire_at, source, spec, of_lane, of_owner = columns
    return Ended(
        task_id,
        owner,
        lane,
        created_at,
        metadata_of(metadata),
        schedule,
        fire_at,
        source,
        sealer.look(spec, spec_context(task_id))[0],
        opened_callbacks(sealer, of_lane, owner, lane),
        opened_callbacks(sealer, of_owner, owner),
    )
