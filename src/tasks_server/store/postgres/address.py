"""The URL of a database: whether it can be one, and what of it may be shown. Knows nothing of the driver."""

import re
from typing import Final
from urllib.parse import parse_qs

_SCHEMES: Final = ("postgresql://", "postgres://")
_URL: Final = re.compile(r"[a-z]+://(?:([^@/?#]*)@)?([^@/?#]*)(/[^/?#]*)?(?:\?([^#]*))?\Z", re.DOTALL)
_HOST: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^:\[\]%\s]*)(?::([0-9]{1,5}))?\Z")
_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")


def is_postgres(url: str) -> bool:
    """Whether the URL names a database of PostgreSQL."""
    return url.lower().startswith(_SCHEMES)


def check(url: str) -> None:
    """Raises `ValueError` for what libpq would not take, or would take apart in another place than was meant: then
    its complaint would show a part of the password.
    """
    found = _URL.match(url)
    if not is_postgres(url) or found is None or any(character.isspace() for character in url):
        raise ValueError(
            "must be postgresql://USER:PASSWORD@HOST:PORT/DATABASE; in the user and the password, "
            "write @ as %40, / as %2F, : as %3A, ? as %3F, # as %23"
        )
    user, hosts, _, options = found.groups()
    if (user or "").count(":") > 1 or _ESCAPE.search(url):
        raise ValueError("in the user and the password, write : as %3A and % as %25")
    for host in hosts.split(","):
        fits = _HOST.match(host)
        if fits is None or (fits[1] and not 0 < int(fits[1]) <= 65_535):
            raise ValueError("the host must be a name or an address, with a port of 1 to 65535 behind a colon")
    if options and not all(re.match(r"[a-z_]+=", part) for part in options.split("&")):
        raise ValueError("what stands behind the ? must be name=value, several separated by &")


def shown(url: str) -> str:
    """The database for messages: neither user nor password, nor anything else behind the `?` but where it is."""
    found = _URL.match(url)
    if found is None:
        return "postgresql://"
    _, hosts, database, options = found.groups()
    place = hosts or ",".join(parse_qs(options or "").get("host", []))
    return f"postgresql://{place}{database or ''}"
