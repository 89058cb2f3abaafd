"""Where sealed values are, for all adapters: the statements that find and change them, and what each is bound to."""

from collections.abc import Callable
from typing import Final

import msgspec

from tasks_server.store.idempotency import name_anew
from tasks_server.store.sealing import (
    Sealer,
    callbacks_context,
    error_context,
    facts_context,
    idempotency_context,
    notes_context,
    response_context,
    secret_context,
    spec_context,
    template_context,
)


class Place(msgspec.Struct, frozen=True):
    """Where sealed values are: how to find the next ones, to change some, and what each is bound to (by its second
    number, the id of its task or owner, its own name).
    """

    find: str
    change: str
    context: Callable[[int, str, str], bytes]
    renamed: Callable[[str, bytes, Sealer], str] | None = None
    """The name that it has under the present key, given what it is bound to and what was sealed; None: it stays."""


PLACES: Final = (
    Place("reseal_requests", "reseal_request", lambda _, task_id, __: spec_context(task_id)),
    Place("reseal_responses", "reseal_response", lambda number, task_id, _: response_context(task_id, number)),
    Place("reseal_secrets", "reseal_secret", lambda _, owner_id, name: secret_context(owner_id, name)),
    Place("reseal_schedules", "reseal_schedule", lambda _, schedule_id, __: template_context(schedule_id)),
    Place("reseal_notes", "reseal_note", lambda number, task_id, _: notes_context(task_id, number)),
    Place("reseal_facts", "reseal_fact", lambda number, task_id, _: facts_context(task_id, number)),
    Place("reseal_errors", "reseal_error", lambda _, task_id, __: error_context(task_id)),
    Place(
        "reseal_idempotencies", "reseal_idempotency", lambda _, owner_id, __: idempotency_context(owner_id), name_anew
    ),
    Place("reseal_owners", "reseal_owner", lambda _, owner_id, __: callbacks_context(owner_id, "")),
    Place("reseal_lanes", "reseal_lane", lambda _, owner_id, lane: callbacks_context(owner_id, lane)),
)
