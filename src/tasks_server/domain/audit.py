"""What is done by hand, and by whom: the record of it."""

from typing import Final, Literal

import msgspec

from tasks_server.domain.owner import By

Via = Literal["api", "cli", "ui"]
Kind = Literal["task", "lane", "schedule", "bulk", "owner", "key", "signing"]
KINDS: Final[tuple[Kind, ...]] = ("task", "lane", "schedule", "bulk", "owner", "key", "signing")
ACTIONS: Final = (
    *("register", "create", "put", "edit", "delete", "add", "remove", "rotate"),
    *("pause", "resume", "revoke", "execute", "retry", "run", "cancel"),
)
"""What may be done; not each of it to each kind of thing."""


class Actor(msgspec.Struct, frozen=True):
    """Who acts. `who`: over the API and on the pages the id of an owner's key or the fingerprint of an admin key, on
    the command line the name of the system's user; None: without a key.
    """

    by: By
    via: Via
    who: str | None = None


class Act(msgspec.Struct):
    """One thing done by hand. `owner` is the id of the owner whose thing it is; `subject` names the thing: the id of a
    task, a key or bulk work, the name of a lane or an owner, the id or the name of a schedule.
    """

    at: int
    actor: Actor
    kind: Kind
    action: str
    owner: str | None = None
    subject: str | None = None
    detail: str | None = None
    """What of it, in a few words; nothing that may be a secret."""
