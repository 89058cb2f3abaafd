"""What engines tell of themselves every few seconds, so that whoever asks why a task waits can be told."""

from typing import Final

import msgspec

from tasks_server.domain.slots import Reach, Slots
from tasks_server.domain.task import handler_target

REPORT_SECONDS: Final = 5.0
SILENT_MS: Final = 15_000
"""An engine that has told nothing for so long counts as gone."""
LATE_MS: Final = 10_000
"""One that has told nothing for so long has missed a report: worth a word, not yet gone."""
TARGETS_TOLD_MAX: Final = 100
TROUBLES_TOLD_MAX: Final = 10


class KnownHandler(msgspec.Struct, frozen=True, rename="camel"):
    """A handler that an engine can run. None: what its task or the server says."""

    name: str
    timeout_ms: int | None = None
    retries_max: int | None = None
    concurrency_max: int | None = None
    """How many runs of it may be in flight in this engine; None: as many as calls to one target."""


class Repertoire(msgspec.Struct, frozen=True, rename="camel"):
    """Which tasks an engine takes: whether those that send HTTP requests, and those of these handlers."""

    http: bool
    handlers: tuple[KnownHandler, ...]


class Trouble(msgspec.Struct, frozen=True, rename="camel"):
    """The store could not do something: what, and the code of the error."""

    doing: str
    code: str


class HandlersTrouble(msgspec.Struct, frozen=True, rename="camel"):
    """Why an engine cannot import the modules with its handlers, and since when. It goes on trying."""

    since: int
    error: str


class EngineFacts(msgspec.Struct, frozen=True, rename="camel"):
    """An engine at one instant. `slots` are the tasks that it runs at once at most, `owner_max` and `target_max` those
    of one owner and those to one target host.
    """

    host: str
    pid: int
    version: str
    slots: int
    owner_max: int
    target_max: int
    repertoire: Repertoire
    runs_max: int | None = None
    """The runs of handlers at once at most, but for the built-in ones; None: as many as each allows."""
    in_flight: int = 0
    looked_at: int = 0
    """When it last looked for due tasks without trouble; 0: never."""
    trouble: Trouble | None = None
    """What the store did not do when it was asked last."""
    handlers_trouble: HandlersTrouble | None = None
    """Why handlers cannot be imported, if they cannot. Those that are in `repertoire` run all the same."""
    targets_full: dict[str, int] = {}
    """Hosts that get no more calls now, with how many run; at most `TARGETS_TOLD_MAX` of them."""
    troubles: tuple[Trouble, ...] = ()
    """What the store could not do, as far as it does not work again; at most `TROUBLES_TOLD_MAX`."""
    clock_ahead_ms: int = 0
    """How far the clock by which tasks are due is ahead of that of its machine."""
    failed_attempts: int = 0
    """How many attempts failed since it started."""
    failing_targets: int = 0
    """To how many targets attempts failed in the last minutes."""
    stopped_at: int = 0
    """Since when it takes no more tasks, because it was asked to stop; 0: it does."""

    def limits(self) -> Slots:
        """Its slots, as it counts them itself."""
        known = self.repertoire.handlers
        maxes = {handler_target(one.name): one.concurrency_max for one in known if one.concurrency_max is not None}
        return Slots(self.slots, self.owner_max, self.target_max, maxes, self.runs_max)

    def reach(self) -> Reach:
        """Which tasks are for it."""
        return Reach(self.repertoire.http, frozenset(handler_target(one.name) for one in self.repertoire.handlers))


class EngineReport(msgspec.Struct, frozen=True):
    """What an engine tells."""

    started_at: int
    seen_at: int
    facts: EngineFacts


class Engine(msgspec.Struct, frozen=True):
    """An engine as the store knows it. `lives`: its process is known to be there."""

    number: int
    started_at: int
    seen_at: int
    lives: bool
    facts: EngineFacts

    def alive(self, now: int) -> bool:
        """Whether it takes tasks: its process is there, told of itself lately and was not asked to stop. What it told
        at an instant far ahead, it told before the clock was set back.
        """
        return self.lives and abs(now - self.seen_at) <= SILENT_MS and not self.facts.stopped_at

    def silent(self, now: int, after_ms: int = SILENT_MS) -> bool:
        """Whether its process is there, as far as is known, was not asked to stop, and tells nothing all the same."""
        return self.lives and not self.facts.stopped_at and abs(now - self.seen_at) > after_ms


_ENCODE: Final = msgspec.json.Encoder().encode
_DECODER: Final = msgspec.json.Decoder(EngineFacts)


def encode_facts(facts: EngineFacts) -> str:
    """The facts as they are stored."""
    return _ENCODE(facts).decode()


def decode_facts(text: str) -> EngineFacts:
    """The facts of a stored form; what a newer version added is passed over. Raises `msgspec.MsgspecError`."""
    return _DECODER.decode(text)
