"""The certificates and keys that a configuration brings in base64, as something to be examined. To open a locked key
may take long, and nobody else is served meanwhile: so it is done elsewhere, once, before the task is taken in, and the
task is kept with the key as it is without its lock.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import msgspec

from tasks_server.domain.errors import Conflict, Fault
from tasks_server.domain.options import Certificate
from tasks_server.domain.request import TaskConfig
from tasks_server.domain.rules_options import file_or_path


class Certificates(msgspec.Struct, frozen=True):
    """What is given in base64, as it is given; None: nothing, or a path."""

    ca: str | None = None
    cert: str | None = None
    password: str | None = None
    cert_type: Literal["DER", "PEM", "P12"] = "PEM"
    key: str | None = None
    key_type: Literal["DER", "PEM"] = "PEM"
    key_elsewhere: bool = False
    """Whether `key` is a path."""


class Examined(msgspec.Struct, frozen=True):
    """What is wrong with them and, if they were locked, what to keep in their place: base64 of PEM, each."""

    faults: list[Fault] = []
    cert: str | None = None
    key: str | None = None


NOTHING_WRONG: Final = Examined()
Examine = Callable[[Certificates], Examined]


class Unexamined(Conflict):
    """They have to be examined first, elsewhere: `asked`. Whoever takes tasks in sees to it and asks again."""

    code = "certificates_unexamined"

    def __init__(self, *asked: Certificates) -> None:
        super().__init__("the certificates were changed while they were looked into; send the request again")
        self.asked = asked


class Asking:
    """Asks for the certificates of several tasks, one after the other: those that have to be examined first are named
    together, by `settle`.
    """

    def __init__(self, examine: Examine) -> None:
        self._examine = examine
        self._unexamined: dict[Certificates, None] = {}

    def __call__(self, asked: Certificates) -> Examined:
        try:
            return self._examine(asked)
        except Unexamined:
            self._unexamined[asked] = None
            return NOTHING_WRONG

    def settle(self) -> None:
        """Raises `Unexamined` when there are such."""
        if self._unexamined:
            raise Unexamined(*self._unexamined)


def leave_unexamined(asked: Certificates) -> Examined:
    """An `Examine` for where it would take too long: raises `Unexamined`."""
    raise Unexamined(asked)


def certificates_of(config: TaskConfig) -> Certificates | None:
    """What there is to examine; None: nothing."""
    ca, cert, key = _in_base64(config.ca), config.cert, _in_base64(config.key)
    shown = None if cert is None else _in_base64(cert.value)
    if ca is None and shown is None and key is None:
        return None
    return Certificates(
        ca,
        shown,
        None if cert is None else cert.password,
        config.cert_type,
        key if cert is not None else None,
        config.key_type,
        key_elsewhere=config.key is not None and key is None,
    )


def _in_base64(text: str | None) -> str | None:
    return None if text is None or file_or_path(text) is None else text


def make_way(asked: Mapping[str, Any], patch: object) -> None:
    """A P12 file that a patch brings takes the place of the key beside the certificate, which may be one that was
    opened before.
    """
    brought = patch.get("config") if isinstance(patch, dict) else None
    kept = asked.get("config")
    if isinstance(brought, dict) and str(brought.get("certType")).upper() == "P12" and "key" not in brought and kept:
        kept.pop("key", None)
        kept.pop("keyType", None)


def take_opened(config: TaskConfig, found: Examined) -> None:
    """Puts what was opened in the place of what was locked."""
    if found.cert is not None:
        config.cert, config.cert_type = Certificate(found.cert), "PEM"
    if found.key is not None:
        config.key, config.key_type = found.key, "PEM"
        if config.cert is not None and config.cert_type != "P12":
            config.cert = Certificate(config.cert.value)  # the password has done its work
