"""What an engine and its runners say to each other: messages in batches, each batch a length and msgpack."""

from collections.abc import Sequence
from typing import Final, Generic, Literal, TypeVar

import msgspec


class Start(msgspec.Struct, array_like=True, tag=1):
    """Engine: what to import, and how to log. The first message."""

    modules: list[str]
    path: str
    """The folder that comes first when modules are looked for."""
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

    name: str
    coroutine: bool
    timeout_ms: int | None
    retries_max: int | None
    retry_interval_ms: int | None
    backoff: Literal["fixed", "linear", "exponential"] | None
    concurrency_max: int | None


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
    status_code: int
    error: str | None = None
    result: bytes | None = None
    wait_ms: int | None = None
    no_retry: bool = False


class Blocked(msgspec.Struct, array_like=True, tag=7):
    """Runner: this call keeps the event loop from going on (0: something that belongs to no call)."""

    token: int


ToRunner = Start | Call | Cancel
ToEngine = Loaded | NotLoaded | Ended | Blocked
_M = TypeVar("_M")
_LENGTH: Final = 4
_ENCODER: Final = msgspec.msgpack.Encoder()


def frame(messages: Sequence[ToRunner] | Sequence[ToEngine]) -> bytes:
    """The bytes of a batch."""
    data = _ENCODER.encode(messages)
    return len(data).to_bytes(_LENGTH, "big") + data


class Frames(Generic[_M]):
    """Puts messages together from what a socket brings."""

    def __init__(self, decoder: "msgspec.msgpack.Decoder[list[_M]]") -> None:
        self._decoder = decoder
        self._received = bytearray()

    def feed(self, data: bytes) -> list[_M]:
        """The messages that are complete now. Raises `msgspec.DecodeError` for what no version of ours wrote."""
        received = self._received
        received += data
        messages: list[_M] = []
        begin = 0
        while len(received) - begin >= _LENGTH:
            end = begin + _LENGTH + int.from_bytes(received[begin : begin + _LENGTH], "big")
            if len(received) < end:
                break
            messages += self._decoder.decode(received[begin + _LENGTH : end])
            begin = end
        del received[:begin]
        return messages


def to_runner() -> Frames[ToRunner]:
    """For the runner's side."""
    return Frames(msgspec.msgpack.Decoder(list[ToRunner]))


def to_engine() -> Frames[ToEngine]:
    """For the engine's side."""
    return Frames(msgspec.msgpack.Decoder(list[ToEngine]))
