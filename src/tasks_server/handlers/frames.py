"""What an engine and its runners say to each other: messages in batches, each batch a length and msgpack.

Each message is packed by itself, before it joins a batch: one that cannot be packed takes no other with it. A runner's
process belongs to users' code, which may write anything into its socket: what the engine takes is bounded.
"""

from collections.abc import Sequence
from typing import Annotated, Final, Generic, Literal, TypeVar

import msgspec

from tasks_server.domain import limits, notes

_Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]
_Text = Annotated[str, msgspec.Meta(max_length=notes.TEXT_LENGTH_MAX)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=limits.NAME_LENGTH_MAX, pattern=limits.KEY_PATTERN)]


class Start(msgspec.Struct, array_like=True, tag=1):
    """Engine: what to import, and how to log. The first message."""

    modules: list[str]
    path: bytes
    """The folder that comes first when modules are looked for, as the system writes it."""
    result_bytes_max: int
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] = "console"
    colored: bool = False


class Call(msgspec.Struct, array_like=True, tag=2):
    """Engine: run this. `payload` is JSON; instants are ms since the epoch."""

    token: int
    name: str
    payload: bytes
    task_id: str
    attempt: int
    failures: int
    created_at: int
    due_at: int
    timeout_ms: int
    keep_result: bool
    metadata: dict[str, str] | None = None


class Cancel(msgspec.Struct, array_like=True, tag=3):
    """Engine: stop this call; it is to end at once."""

    token: int


class Announced(msgspec.Struct, array_like=True):
    """A handler of a runner."""

    name: _Name
    coroutine: bool
    timeout_ms: Annotated[int, msgspec.Meta(ge=1, le=limits.TIMEOUT_MAX_MS)] | None
    retries_max: Annotated[int, msgspec.Meta(ge=0, le=limits.RETRY_MAX)] | None
    retry_interval_ms: Annotated[int, msgspec.Meta(ge=1, le=limits.TEN_YEARS_MS)] | None
    backoff: Literal["fixed", "linear", "exponential"] | None
    concurrency_max: Annotated[int, msgspec.Meta(ge=1, le=limits.INT31_MAX)] | None


class Loaded(msgspec.Struct, array_like=True, tag=4):
    """Runner: everything is imported; these are the handlers."""

    handlers: list[Announced]


class NotLoaded(msgspec.Struct, array_like=True, tag=5):
    """Runner: something could not be imported. It ends itself."""

    message: str
    trace: str


class Ended(msgspec.Struct, array_like=True, tag=6):
    """Runner: a call is over. `result` is JSON; an `error` beside a success says why its result is not kept."""

    token: int
    how: Literal["success", "failure", "cancelled"]
    status_code: Annotated[int, msgspec.Meta(ge=0, le=599)]
    error: str | None = None
    result: bytes | None = None
    wait_ms: _Count | None = None
    no_retry: bool = False


class Blocked(msgspec.Struct, array_like=True, tag=7):
    """Runner: this call keeps the event loop from going on (0: something that belongs to no call)."""

    token: int


class Relog(msgspec.Struct, array_like=True, tag=8):
    """Engine: log at this level from now on; the terminal may have gone."""

    log_level: Literal["debug", "info", "warning", "error"]


class Noted(msgspec.Struct, array_like=True, tag=9):
    """Runner: what a call has noted since it told last."""

    token: int
    at: _Count
    progress: Annotated[float, msgspec.Meta(ge=0, le=1)] | None
    message: _Text | None
    lines: Annotated[list[tuple[_Count, _Text]], msgspec.Meta(max_length=notes.LINES_MAX)]
    dropped: _Count


ToRunner = Start | Call | Cancel | Relog
ToEngine = Loaded | NotLoaded | Ended | Blocked | Noted
_M = TypeVar("_M")
_LENGTH: Final = 4
_ENCODER: Final = msgspec.msgpack.Encoder()
_OTHERS_BYTES_MAX: Final = 16_777_216
"""Of what comes with a result in one batch, and of the list of all handlers."""
_ARRAY: Final = b"\xdd"
"""How msgpack begins an array whose length has four bytes."""


def pack(message: ToRunner | ToEngine) -> bytes:
    """The bytes of one message."""
    return _ENCODER.encode(message)


def frame(packed: Sequence[bytes]) -> bytes:
    """The bytes of a batch of messages that are packed."""
    body = b"".join(packed)
    length = len(_ARRAY) + _LENGTH + len(body)
    return b"".join([length.to_bytes(_LENGTH, "big"), _ARRAY, len(packed).to_bytes(_LENGTH, "big"), body])


class Frames(Generic[_M]):
    """Puts messages together from what a socket brings. Batches are not longer than `bytes_max`."""

    def __init__(self, decoder: "msgspec.msgpack.Decoder[list[_M]]", bytes_max: int) -> None:
        self._decoder = decoder
        self._bytes_max = bytes_max
        self._received = bytearray()
        self.broken: str | None = None
        """Why nothing more can be understood: something came that no version of ours wrote."""

    def feed(self, data: bytes) -> list[_M]:
        """The messages that are complete now; none once it is `broken`."""
        received = self._received
        received += data
        messages: list[_M] = []
        begin = 0
        while self.broken is None and len(received) - begin >= _LENGTH:
            length = int.from_bytes(received[begin : begin + _LENGTH], "big")
            end = begin + _LENGTH + length
            if length > self._bytes_max:
                self.broken = f"a message of {length} bytes"
            elif len(received) < end:
                break
            else:
                messages += self._decoded(received[begin + _LENGTH : end])
                begin = end
        del received[: begin if self.broken is None else None]
        return messages

    def _decoded(self, data: bytearray) -> list[_M]:
        try:
            return self._decoder.decode(data)
        except Exception as error:  # malformed, nested without end, text that is no UTF-8
            self.broken = f"{type(error).__name__}: {error}"
            return []


def to_runner() -> Frames[ToRunner]:
    """For the runner's side."""
    return Frames(msgspec.msgpack.Decoder(list[ToRunner]), 1 << 32)


def to_engine(result_bytes_max: int) -> Frames[ToEngine]:
    """For the engine's side. No result is longer than `result_bytes_max`."""
    return Frames(msgspec.msgpack.Decoder(list[ToEngine]), result_bytes_max + _OTHERS_BYTES_MAX)
