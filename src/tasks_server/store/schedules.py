"""Between stored schedules and the types of the domain, as far as all adapters do it alike."""

from typing import Final

import msgspec

from tasks_server.domain.errors import Corrupt
from tasks_server.domain.schedule import Schedule
from tasks_server.store.sealing import Sealer, template_context

_DECODER: Final = msgspec.json.Decoder(Schedule)
_ENCODER: Final = msgspec.json.Encoder()


def facts_of(schedule: Schedule) -> str:
    """A schedule as it is stored; only what differs from the defaults takes room."""
    return _ENCODER.encode(schedule).decode()


def schedule_of(facts: str) -> Schedule:
    """The schedule of a stored form. Raises `Corrupt`."""
    try:
        return _DECODER.decode(facts)
    except msgspec.MsgspecError as error:
        raise Corrupt("what is stored of a schedule is damaged") from error


def opened_template(sealer: Sealer, schedule: Schedule, sealed: bytes) -> bytes:
    """The template; empty when it is damaged, which must not hold up other schedules."""
    try:
        return sealer.open(sealed, template_context(schedule.id))
    except Corrupt:
        return b""
