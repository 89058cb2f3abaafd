"""What the installed libcurl can do, found out by asking it. Registrations that need more are refused.

Where libcurl has a bit for a feature, the bit says; else a handle is told to use it, and refuses.
"""

from collections.abc import Callable
from typing import Any, Final

import pycurl

from tasks_server.domain.abilities import Feature

# Each feature by the name of its bit in the version of libcurl ...
_BITS: Final[dict[Feature, str]] = {
    "HSTS": "HSTS",
    "HTTP/2": "HTTP2",
    "HTTP/3": "HTTP3",
    "HTTPS": "SSL",
    "HTTPS proxies": "HTTPS_PROXY",
    "IPv6": "IPV6",
}
# ... or by an option that it needs, and a value for it. Options by name: an older pycurl may not have them.
_OPTIONS: Final[dict[Feature, tuple[str, Any]]] = {
    "AWS signatures": ("AWS_SIGV4", "aws:amz"),
    "certificate status": ("SSL_VERIFYSTATUS", 1),
    "certificates in memory": ("CAINFO_BLOB", b"-"),
    "cookies": ("COOKIELIST", "ALL"),
    "Digest authentication": ("HTTPAUTH", pycurl.HTTPAUTH_DIGEST),
    "HAProxy's protocol": ("HAPROXYPROTOCOL", 1),
    "HAProxy's client address": ("HAPROXY_CLIENT_IP", "127.0.0.1"),
    "proxies": ("PROXY", "http://127.0.0.1:1"),
}
_P12_BACKENDS: Final = ("OpenSSL", "LibreSSL", "BoringSSL", "AWS-LC", "quictls")
"""Those that take a P12 file from memory."""


def lacking() -> frozenset[Feature]:
    """The features that the installed libcurl lacks."""
    version = pycurl.version_info()
    found = {feature for feature, bit in _BITS.items() if not version[4] & getattr(pycurl, f"VERSION_{bit}", 0)}
    curl = pycurl.Curl()
    try:
        found |= {feature for feature, (option, value) in _OPTIONS.items() if not _takes(curl.setopt, option, value)}
    finally:
        curl.close()
    if not str(version[5]).startswith(_P12_BACKENDS):
        found.add("P12 files")
    return frozenset(found)


def _takes(setopt: Callable[[int, Any], None], option: str, value: Any) -> bool:
    number = getattr(pycurl, option, None)
    if number is None:
        return False
    try:
        setopt(number, value)
    except pycurl.error:
        return False
    return True
