"""What all answers have in common: frozen, and tolerant of what newer servers add."""

import msgspec


class Result(msgspec.Struct, rename="camel", frozen=True):
    """An answer. What newer servers say beyond it is left out."""


class Readable(Result, frozen=True, kw_only=True):
    """An answer about something that is stored. `unreadable`: what of it cannot be read, why, and what to do."""

    unreadable: str | None = None


class Secretive(Result, frozen=True):
    """An answer with a secret, which is not shown where the answer is printed."""

    def __repr__(self) -> str:
        shown = ("***" if name in ("key", "secret") else repr(getattr(self, name)) for name in self.__struct_fields__)
        pairs = ", ".join(f"{name}={value}" for name, value in zip(self.__struct_fields__, shown, strict=True))
        return f"{type(self).__name__}({pairs})"
