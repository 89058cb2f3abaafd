"""The way from a client to its server, as the environment has it: through which proxy, and whose certificates are
trusted. httpx would look at both by itself, but for every address there is, and fail at what a client never uses.
"""

import contextlib
import ipaddress
import os
import re
import ssl
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

SOCKS_ERRORS: tuple[type[Exception], ...] = ()
"""What comes up when a SOCKS proxy speaks something else; httpx passes it on. Empty where httpx can use none."""
with contextlib.suppress(ImportError):
    from socksio import SOCKSError

    SOCKS_ERRORS = (SOCKSError,)
_SCHEMES: Final = ("http", "https", "socks5", "socks5h")
_PORTS: Final = {"http": 80, "https": 443}
_CREDENTIALS: Final = re.compile(r"//[^/]*@")


def way_to(url: str) -> dict[str, Any]:
    """What an HTTP client of httpx is to be made with, to reach the server of this URL. Raises `ValueError` that names
    the variable of the environment that cannot be used.
    """
    parts = urlsplit(url)
    trusted = _trusted() if parts.scheme == "https" else False  # without TLS, there is nothing to trust
    return {"proxy": _proxy(parts.scheme, parts.hostname or "", parts.port), "verify": trusted, "trust_env": False}


def _proxy(scheme: str, host: str, port: int | None) -> httpx.Proxy | None:
    """The proxy on the way. None leads to this very machine: a key that goes there goes nowhere else."""
    proxies = getproxies()
    name = scheme if proxies.get(scheme) else "all"
    url = proxies.get(name)
    if not url or _is_here(host) or _goes_around(proxies.get("no"), host, port or _PORTS[scheme]):
        return None
    variable = f"{name}_proxy".upper()
    if "://" not in url:
        url = f"http://{url}"
    shown = _CREDENTIALS.sub("//…@", url)
    kind = url.partition("://")[0].lower()
    if kind not in _SCHEMES:
        raise ValueError(f"{variable} is {shown}: the client can use proxies of {', '.join(_SCHEMES)}")
    if kind.startswith("socks") and not SOCKS_ERRORS:
        raise ValueError(
            f"{variable} is {shown}: for SOCKS proxies, install tasks-server[socks]; or name {host} in NO_PROXY, to "
            "reach it without a proxy"
        )
    try:
        return httpx.Proxy(url, ssl_context=_trusted() if kind == "https" else None)
    except (httpx.InvalidURL, ValueError) as error:
        raise ValueError(f"{variable} is {shown}, which is no URL of a proxy") from error


def _is_here(host: str) -> bool:
    """Whether a host is this machine, by a name or an address that never leads elsewhere."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def _goes_around(exceptions: str | None, host: str, port: int) -> bool:
    """Whether a host is one that NO_PROXY names: by its name or one that it lies below, its address or a network, with
    a port or without; `*` is every host.

    >>> [_goes_around(text, "a.corp.test", 80) for text in (None, "corp.test", ".corp.test:80, x", "*.test", "p.test")]
    [False, True, True, True, False]
    >>> [_goes_around(text, "10.1.2.3", 9420) for text in ("10.0.0.0/8", "10.1.2.3:9420", "10.1.2.3:80", "10.1.2")]
    [True, True, False, False]
    """
    if exceptions is None:
        return bool(proxy_bypass(host))  # what the system says, where it has settings of its own
    address = _address(host)
    for exception in re.split(r"[\s,]+", exceptions.lower().strip()):
        name, its_port = _split(exception)
        if its_port is not None and its_port != port:
            continue
        if name == "*":
            return True
        if address is not None:
            with contextlib.suppress(ValueError):  # the name of a host
                if address in ipaddress.ip_network(name, strict=False):
                    return True
        below = name.removeprefix("*").lstrip(".")
        if below and (host == below or host.endswith(f".{below}")):
            return True
    return False


def _split(exception: str) -> tuple[str, int | None]:
    """The name and the port of an entry of NO_PROXY; `[::1]:80` and `::1` are both written."""
    found = re.fullmatch(r"\[([^\]]*)\](?:/\d+)?(?::(\d+))?|([^:]*):(\d+)", exception)
    if found is None:
        return exception, None
    name, port = (found[1], found[2]) if found[1] is not None else (found[3], found[4])
    return name, None if port is None else int(port)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    inner = address.ipv4_mapped if address.version == 6 else None
    return inner or address


def _trusted() -> ssl.SSLContext:
    """Whose certificates count: those that SSL_CERT_FILE and SSL_CERT_DIR name, as for OpenSSL, else those of certifi.
    Raises `ValueError`.
    """
    file, folders = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if folders and not any(Path(folder).is_dir() for folder in folders.split(os.pathsep)):
        raise ValueError(f"SSL_CERT_DIR is {folders}: there is no such folder of certificates")
    try:
        if not file and not folders:
            return httpx.create_ssl_context(trust_env=False)
        return ssl.create_default_context(cafile=file or None, capath=folders or None)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        named = [f"{name} is {value}" for name, value in _told(file, folders) if value]
        raise ValueError(f"{', '.join(named)}: the certificates to trust cannot be loaded ({_why(error)})") from error


def _told(file: str | None, folders: str | None) -> list[tuple[str, str | None]]:
    """What has a part in loading certificates."""
    return [("SSL_CERT_FILE", file), ("SSL_CERT_DIR", folders), ("SSLKEYLOGFILE", os.environ.get("SSLKEYLOGFILE"))]


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"it holds none in PEM form: {error.reason or error}"
    return str(getattr(error, "strerror", None) or error)
