"""From values to HTML: the templates, and how instants, durations and JSON are written in all of them."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from functools import cache
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from tasks_server.domain import durations

_SHOWN_MAX: Final = 64 * 1_024
"""Of a body, so much is shown on a page."""
_NONE: Final = Markup("<span class=none>&ndash;</span>")
_DAYS_MS: Final = 86_400_000


@cache
def environment() -> Environment:
    """The templates, loaded once. What a template names and nobody gave is an error."""
    made = Environment(
        loader=PackageLoader("tasks_server.web"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters["duration"] = duration
    made.filters["pretty"] = pretty
    made.filters["body"] = body
    made.filters["short"] = short
    return made


def render(template: str, values: Mapping[str, Any]) -> bytes:
    return environment().get_template(template).render(values).encode()


class Times:
    """Writes instants in one zone, as of one moment."""

    def __init__(self, zone: tzinfo, now: int) -> None:
        self._zone = zone
        self.now = now
        self.zone_name = zone.key if isinstance(zone, ZoneInfo) else "UTC"

    def exact(self, at: int) -> str:
        """To the millisecond, with the zone's own name.

        >>> Times(UTC, 0).exact(1_700_000_000_123)
        '2023-11-14 22:13:20.123 UTC'
        """
        moment = datetime.fromtimestamp(at / 1_000, self._zone)
        return f"{moment:%Y-%m-%d %H:%M:%S}.{at % 1_000:03} {moment:%Z}"

    def __call__(self, at: int | None) -> Markup:
        """How long ago or ahead it is, with the exact instant at hand; a dash for none."""
        if not at:
            return _NONE
        gap = at - self.now
        told = "now" if abs(gap) < 1_000 else f"in {short(gap)}" if gap > 0 else f"{short(-gap)} ago"
        return self._marked(at, told)

    def full(self, at: int | None) -> Markup:
        """The instant itself, to the second."""
        if not at:
            return _NONE
        return self._marked(at, f"{datetime.fromtimestamp(at / 1_000, self._zone):%Y-%m-%d %H:%M:%S}")

    def clock(self, at: int) -> Markup:
        """The time of day, to the millisecond; with the day, unless it is near."""
        moment = datetime.fromtimestamp(at / 1_000, self._zone)
        form = "%H:%M:%S" if abs(at - self.now) < _DAYS_MS // 2 else "%Y-%m-%d %H:%M:%S"
        return self._marked(at, f"{moment:{form}}.{at % 1_000:03}")

    def _marked(self, at: int, told: str) -> Markup:
        universal = datetime.fromtimestamp(at / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return Markup('<time datetime="{}" title="{}">{}</time>').format(universal, self.exact(at), told)


def short(ms: int) -> str:
    """A duration in its two largest units, never negative.

    >>> [short(ms) for ms in (-5, 450, 1_500, 61_000, 3_600_000, 100_000_000)]
    ['0 ms', '450 ms', '1.5 s', '1 m 1 s', '1 h', '1 d 3 h']
    """
    ms = max(0, ms)
    if ms < 1_000:
        return f"{ms} ms"
    if ms < 10_000:
        return f"{ms / 1_000:.1f}".removesuffix(".0") + " s"
    seconds = ms // 1_000
    parts: list[str] = []
    for name, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {name}")
        elif parts:
            break
        if len(parts) == 2:
            break
    return " ".join(parts)


def duration(ms: int | None) -> str:
    """A duration that is a setting: exact."""
    return "none" if ms is None else durations.shown(ms)


def pretty(value: Any) -> str:
    """JSON for people. Numbers stay as they were written."""
    encoded = bytes(value) if isinstance(value, msgspec.Raw) else msgspec.json.encode(value)
    return msgspec.json.format(encoded, indent=2).decode()


class Body(msgspec.Struct, frozen=True):
    """What is shown of the bytes of an answer: as text, or as the digits of its bytes."""

    text: str
    kind: str
    size: int
    cut: bool


def body(data: bytes) -> Body:
    """Text or JSON where it is that, else a hex dump. It is never taken for HTML."""
    seen = data[:_SHOWN_MAX]
    cut = len(data) > len(seen)
    try:
        text = seen.decode("utf-8", "strict" if not cut else "ignore")
    except UnicodeDecodeError:
        return Body(_hex(seen[:2_048]), "bytes", len(data), len(data) > 2_048)
    if any(ord(letter) < 32 and letter not in "\t\n\r" for letter in text):
        return Body(_hex(seen[:2_048]), "bytes", len(data), len(data) > 2_048)
    if not cut and text[:1] in "{[":
        try:
            return Body(msgspec.json.format(seen, indent=2).decode(), "JSON", len(data), False)
        except msgspec.DecodeError:
            pass
    return Body(text, "text", len(data), cut)


def _hex(data: bytes) -> str:
    lines = []
    for start in range(0, len(data), 16):
        part = data[start : start + 16]
        letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"{start:06x}  {part.hex(' '):<47}  {letters}")
    return "\n".join(lines)


Asset = Callable[[str], str]
