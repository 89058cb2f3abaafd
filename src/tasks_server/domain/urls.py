"""URLs that may be called: absolute http and https, read strictly, so that what is checked here is what is called."""

import ipaddress
import re
from typing import Final
from urllib.parse import quote

from tasks_server.domain import limits
from tasks_server.domain.hosts import ascii_host

# What nearly every URL looks like; the rest goes the long way, which ends in the same text or in a fault.
_PLAIN: Final = re.compile(
    r"(https?)://([a-z0-9_](?:[a-z0-9._-]{0,61}[a-z0-9])?)(?::([0-9]{1,5}))?(?:[/?#][!-~]*)?", re.IGNORECASE
)
_SCHEME: Final = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):")
_AUTHORITY: Final = re.compile(r"//([^/?#]*)")
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)
_DOTS: Final = re.compile(r"[^:/?#]+://[^/?#]*(?:/[^/?#]*)*?/(?:\.|%2e){1,2}(?=[/?#]|\Z)", re.IGNORECASE)
_FORBIDDEN: Final = re.compile(r"[\x00-\x20\x7f\u0080-\u00a0\u2028\u2029]")
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
_HOST_LENGTH_MAX: Final = 253
_PRINTABLE: Final = "".join(map(chr, range(0x21, 0x7F)))

FORMS: Final = f"an absolute http or https URL of at most {limits.URL_LENGTH_MAX} characters"


def read_url(text: str) -> tuple[str, str]:
    """The URL as it will be called, and its target: lower-case `host:port`, with the default port filled in.

    Raises `ValueError` saying what is wrong; the message never repeats the URL, which may hold secrets.

    >>> read_url("HTTPS://Example.com")
    ('HTTPS://Example.com', 'example.com:443')
    >>> read_url("http://b\u00fccher.example:8080/\u00fc?q=1")
    ('http://xn--bcher-kva.example:8080/%C3%BC?q=1', 'xn--bcher-kva.example:8080')
    """
    plain = _PLAIN.fullmatch(text)
    if plain is not None:
        scheme, host, port = plain.groups()
        if ".." not in host and ".-" not in host and "-." not in host and (port is None or 0 < int(port) < 65_536):
            target = f"{host.lower()}:{int(port)}" if port else f"{host.lower()}:{_DEFAULT_PORTS[scheme.lower()]}"
            return text, target
    return _read_slowly(text)


def origin(url: str) -> tuple[str, str]:
    """The scheme of a URL and its target: two URLs of one origin have both in common. Raises `ValueError` as
    `read_url` does.

    >>> origin("HTTP://Example.com/x") == origin("http://example.com:80")
    True
    """
    text, target = read_url(url)
    return text.partition(":")[0].lower(), target


def is_url(text: str) -> bool:
    """Whether `read_url` takes it."""
    try:
        read_url(text)
    except ValueError:
        return False
    return True


def has_dot_segments(url: str) -> bool:
    """Whether the path has a segment `.` or `..`, which some would take out of it.

    >>> has_dot_segments("http://a.test/b/%2E./c"), has_dot_segments("http://a.test/b..c/.d?e=/../f")
    (True, False)
    """
    return _DOTS.match(url) is not None


def _read_slowly(text: str) -> tuple[str, str]:
    if _FORBIDDEN.search(text):
        raise ValueError("must not contain spaces or control characters; percent-encode them")
    scheme = _SCHEME.match(text)
    if scheme is None:
        raise ValueError("must be absolute, beginning with http:// or https://")
    name = scheme[1].lower()
    if name not in _DEFAULT_PORTS:
        raise ValueError(f"has the scheme {name[:32]}, only http and https are supported")
    authority = _AUTHORITY.match(text, scheme.end())
    if authority is None:
        raise ValueError(f"must have two slashes after {name}:")
    host, port = _host_and_port(authority[1])
    rest = quote(text[authority.end() :], safe=_PRINTABLE)
    url = f"{text[: scheme.end()]}//{host}{f':{port}' if port else ''}{rest}"
    if len(url) > limits.URL_LENGTH_MAX:
        raise ValueError(f"is longer than {limits.URL_LENGTH_MAX} characters once it is encoded")
    return url, f"{host.lower()}:{port or _DEFAULT_PORTS[name]}"


def _host_and_port(authority: str) -> tuple[str, int | None]:
    if "@" in authority:
        raise ValueError("must not hold credentials (user:password@); send them in an Authorization header")
    if "\\" in authority:
        raise ValueError("must not have a backslash before the path")
    if authority.startswith("["):
        inner, bracket, tail = authority[1:].partition("]")
        try:
            host = f"[{ipaddress.IPv6Address(inner if bracket and '%' not in inner else '').compressed}]"
        except ValueError:
            raise ValueError("has a host in brackets that is not an IPv6 address") from None
        if tail and not tail.startswith(":"):
            raise ValueError("has something between its host and its port")
        return host, _port(tail[1:]) if tail else None
    name, colon, port = authority.partition(":")
    if not name:
        raise ValueError("has no host")
    return _host(name), _port(port) if colon else None


def _port(digits: str) -> int:
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5 and 0 < int(digits) < 65_536):
        raise ValueError("has a port that is not a number from 1 to 65535")
    return int(digits)


def _host(name: str) -> str:
    """The host in ASCII. Numbers and dots pass as names do: what they resolve to is judged when it is called."""
    name = ascii_host(name)
    labels = name.removesuffix(".").split(".")
    if len(name) > _HOST_LENGTH_MAX or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("has a host that is no valid name")
    return name
