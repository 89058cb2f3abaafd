"""One line of words for a list of tasks: `state:error lane:mail status:5xx since:2h metadata.order:42`.

The words are those of the query of `GET /v1/queues`, with shorter names for what is typed often.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from tasks_server.api.listing import METADATA_PREFIX
from tasks_server.domain import durations, ids, shapes
from tasks_server.domain.errors import Fault

Words = Mapping[str, tuple[str, str]]
"""Each word, its name in the query, and what it means."""
TASKS: Final[Words] = {
    "state": ("state", "the state: running, paused, success, error, revoked; several with commas"),
    "status": ("statusCode", "the last status: 404, 5xx, 0 for no answer"),
    "lane": ("lane", "the lane"),
    "host": ("host", "calls of this host, with its port or for any"),
    "handler": ("handler", "runs of this handler"),
    "schedule": ("schedule", "the schedule that made it, by its name or id"),
    "created-since": ("createdSince", "registered since then: 2h for two hours ago, or a date"),
    "created-until": ("createdUntil", "registered before"),
    "since": ("endedSince", "ended since then: 2h for two hours ago, or a date"),
    "until": ("endedUntil", "ended before: 30m, or a date"),
}
"""Of a list of tasks."""
LOG: Final[Words] = {
    "state": ("state", "how the attempt ended: success, error, stopped, or an outcome such as timeout"),
    "status": ("statusCode", "its status: 404, 5xx, 0 for no answer; several with commas"),
    "host": ("host", "calls of this host, with its port or for any"),
    "handler": ("handler", "runs of this handler"),
    "lane": ("lane", "the lane"),
    "schedule": ("schedule", "the schedule that made the task, by its name or id"),
    "since": ("since", "ended since then: 2h for two hours ago, or a date"),
    "until": ("until", "ended before: 30m, or a date"),
}
"""Of the execution log."""
BULK: Final[Words] = {
    "state": ("states", "the state: running, paused, success, error, revoked; several with commas"),
    "status": ("statusCode", "the last status: 404, 5xx, 0 for no answer"),
    "error": ("errorContains", "a part of the last error"),
    "host": ("host", "calls of this host, with its port or for any"),
    "handler": ("handler", "runs of this handler"),
    "lane": ("lane", "the lane"),
    "schedule": ("schedule", "the schedule that made it, by its name or id"),
    "created-since": ("createdSince", "registered since then: 2h for two hours ago, or a date"),
    "created-until": ("createdUntil", "registered before"),
    "since": ("endedSince", "ended since then"),
    "until": ("endedUntil", "ended before"),
    "all": ("all", "all:yes for every task that the action is for"),
}
"""Of bulk work."""
_SHORT: Final = {"meta.": METADATA_PREFIX, METADATA_PREFIX: METADATA_PREFIX}
_AGO: Final = ("since", "until", "created-since", "created-until")
LINE_LENGTH_MAX: Final = 1_000


class Line(msgspec.Struct):
    """What a line asks for: a query, or one task by its `id`; and what is wrong with it."""

    query: dict[str, str]
    id: str = ""
    faults: list[Fault] = []


def read_line(text: str, now: int, words: Words = TASKS) -> Line:
    """The query that a line of these words stands for, as of `now` (ms since the epoch). Nothing in it is passed over:
    what is not understood is a fault.
    """
    line = Line({})
    if len(text) > LINE_LENGTH_MAX:
        line.faults.append(Fault("search", f"is longer than {LINE_LENGTH_MAX} characters"))
        return line
    for part in _parts(text):
        word, colon, value = part.partition(":")
        if not colon:
            if ids.is_task_id(part.upper()):
                line.id = part.upper()
            else:
                line.faults.append(Fault("search", "has a word without a colon; write for instance state:error", part))
        else:
            _take(line, word, value, now, words)
    if line.id and line.query:
        line.faults.append(Fault("search", "has an id and conditions; an id stands alone", line.id))
    return line


def written(query: Mapping[str, str], words: Words = TASKS) -> str:
    """A line that stands for a query.

    >>> written({"state": "ERROR", "metadata.a b": "c d"})
    'state:ERROR "metadata.a b:c d"'
    """
    names = {name: word for word, (name, _) in words.items()}
    parts = (f"{names.get(name, name)}:{value}" for name, value in query.items())
    return " ".join(f'"{part}"' if " " in part else part for part in parts)


def _take(line: Line, word: str, value: str, now: int, words: Words) -> None:
    known = word.lower()
    if known == "id":
        line.id = value.upper()
        return
    name = words[known][0] if known in words else _metadata(word) if words is not LOG else None
    if name is None:
        others = ["id"] if words is LOG else ["id", METADATA_PREFIX]
        line.faults.append(shapes.unknown_field("search", word, [*words, *others]))
    elif not value:
        line.faults.append(Fault(f"search.{word}", "has no value behind the colon"))
    elif name in line.query:
        line.faults.append(Fault(f"search.{word}", "is there twice; several states stand with commas", value))
    else:
        line.query[name] = instant(value, now) if known in _AGO else value


def _metadata(word: str) -> str | None:
    for prefix, name in _SHORT.items():
        if word.startswith(prefix) and len(word) > len(prefix):
            return name + word[len(prefix) :]
    return None


def instant(value: str, now: int) -> str:
    """So long ago, in milliseconds since the epoch; anything else as it is."""
    try:
        return value if value.isdigit() else str(max(0, now - durations.duration_ms(value)))
    except ValueError:
        return value


def _parts(text: str) -> Iterator[str]:
    """Words between blanks; within quotes, blanks are text.

    >>> list(_parts('state:error error:"timed out"  "x y:z"'))
    ['state:error', 'error:timed out', 'x y:z']
    """
    part, quoted, begun = "", False, False
    for letter in text:
        if letter == '"':
            quoted, begun = not quoted, True
        elif letter.isspace() and not quoted:
            if part or begun:
                yield part
            part, begun = "", False
        else:
            part += letter
    if part or begun:
        yield part
