"""What tasks and schedules are made of, from what is stored of it; or why that cannot be read, and what to do."""

import msgspec

from tasks_server.domain.errors import Unreadable
from tasks_server.domain.firing import Template, decode_template
from tasks_server.domain.forms import decode_spec
from tasks_server.domain.request import TaskSpec
from tasks_server.domain.stored import OTHER_VERSION, unreadable


def opened_spec(stored: bytes, told: str | None = None) -> TaskSpec:
    """The spec of a task. `told`: why there is none, when it is empty. Raises `Unreadable`."""
    if not stored and told:
        raise Unreadable(told)
    try:
        return decode_spec(stored)
    except msgspec.DecodeError as error:
        raise Unreadable(undecodable_spec(error)) from error


def undecodable_spec(error: msgspec.DecodeError) -> str:
    """What is told of a spec that is no longer understood."""
    why = f"it is damaged, or of another version ({error})"
    mend = f"{OTHER_VERSION}, or delete the task and register it anew"
    return unreadable("the stored request of the task", why, mend)


def opened_template(stored: bytes, told: str | None = None) -> Template:
    """What a schedule makes its tasks from. `told`: why there is nothing, when it is empty. Raises `Unreadable`."""
    if not stored and told:
        raise Unreadable(told)
    try:
        return decode_template(stored)
    except msgspec.DecodeError as error:
        why = f"it is damaged, or of another version ({error})"
        mend = f"{OTHER_VERSION}, or PUT the schedule anew"
        raise Unreadable(unreadable("what the schedule makes its tasks from", why, mend)) from error
