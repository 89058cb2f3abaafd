"""What owners ask to be called when their tasks have ended; of lanes that is among their settings (`service.lanes`)."""

from typing import TypeVar

import msgspec

from tasks_server.domain import reading, shapes
from tasks_server.domain.callback import Asked, Callbacks
from tasks_server.domain.errors import Fault, InvalidRequest, NotFound
from tasks_server.domain.masking import callback_mask_faults, told_settings
from tasks_server.domain.owner import Owner
from tasks_server.domain.rules_callbacks import asked_callbacks, callbacks_of
from tasks_server.domain.rules_pairs import make_room_of_callbacks
from tasks_server.service.acting import about, deed
from tasks_server.service.ground import Ground
from tasks_server.service.owners import OWNER_NOT_FOUND

_T = TypeVar("_T")


class OwnerCallbacks(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What an owner asks for, as it is asked for."""

    failure_callback: Asked = None
    success_callback: Asked = None


class CallbackService:
    """What may be done with the callbacks of an owner."""

    def __init__(self, ground: Ground) -> None:
        self._store = ground.store
        self._clock = ground.clock
        self._egress = ground.egress

    async def show(self, owner: Owner) -> Callbacks:
        """Raises `NotFound`."""
        return _found(await self._store.owner_callbacks(owner.id))

    @deed("owner", "edit")
    async def edit(self, owner: Owner, patch: object) -> Callbacks:
        """What is called from now on, under a JSON merge patch (RFC 7396). Raises `InvalidRequest` with every fault,
        `NotFound`.
        """
        about(owner=owner.id, subject=owner.name, detail=told_settings(patch) if isinstance(patch, dict) else None)

        def decide(before: Callbacks) -> Callbacks:
            stands = asked_callbacks(before)
            make_room_of_callbacks(stands, patch)
            return self._read(reading.merge(stands, patch))

        return _found(await self._store.change_owner_callbacks(owner.id, decide))

    def _read(self, asked: object) -> Callbacks:
        if not isinstance(asked, dict):
            raise InvalidRequest([Fault("body", "must be a JSON object", shapes.shown(asked), "an object")])
        faults: list[Fault] = [*shapes.struct_faults(OwnerCallbacks, asked, ""), *callback_mask_faults(asked)]
        if not faults:
            body = msgspec.convert(asked, OwnerCallbacks)
            found = callbacks_of(body.failure_callback, body.success_callback, self._egress, faults)
        if faults:
            raise InvalidRequest(faults)
        return found


def _found(thing: _T | None) -> _T:
    if thing is None:
        raise NotFound("the owner has just been removed", code=OWNER_NOT_FOUND)
    return thing
