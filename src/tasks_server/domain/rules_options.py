"""Rules of the options that few tasks have (`domain.options`): what types cannot say of each, and which of them go
together. Asked only for tasks that have one. Like `rules`, they add what they find to a list of faults.
"""

import base64
import binascii
import ipaddress
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from tasks_server.domain import limits, rules_fetch, shapes, urls
from tasks_server.domain.errors import Fault
from tasks_server.domain.options import (
    ANY_HOST,
    REFERER_AUTO,
    TLS_VERSIONS,
    ConnectionOptions,
    Credentials,
    Proxy,
    RequestOptions,
    option_fields,
)
from tasks_server.domain.request import HttpRequest, TaskConfig
from tasks_server.domain.rules import CONTROL, is_named
from tasks_server.domain.rules_cookies import judge_cookie

_HOST: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?")
_HSTS_LINE: Final = re.compile(r'(\.?)([A-Za-z0-9_][A-Za-z0-9._-]{0,252}) "(\d{8} \d\d:\d\d:\d\d|unlimited)"')
_HSTS_DATE: Final = "%Y%m%d %H:%M:%S"
_PEM_BEGIN: Final = b"-----BEGIN "
_DER_BEGIN: Final = b"\x30"
"""A SEQUENCE: what every certificate, key and P12 file is."""


def judge_options(request: HttpRequest, config: TaskConfig, faults: list[Fault]) -> None:
    """Judges every option of `domain.options`, each by itself and together."""
    for field, text in _texts(request, config):
        if CONTROL.search(text):
            faults.append(Fault(field, "must not contain control characters"))
    judge_cookie(request, faults)
    _judge_authentication(request, config, faults)
    _judge_ntlm(request, config, faults)
    _judge_target(request, config, faults)
    _judge_tls(config, faults)
    _judge_resolve(config, faults)
    _judge_name_servers(config, faults)
    _judge_proxy(config, faults)
    rules_fetch.judge_fetch(request, config, faults)


def file_or_path(text: str) -> bytes | None:
    """The bytes of a certificate or key that is given as base64 of PEM, DER or P12; None when it must be a path.

    >>> file_or_path("MAA=") is None, file_or_path("shop/client.pem") is None, file_or_path("shop") is None
    (False, True, True)
    """
    try:
        content = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    return content if content.startswith(_DER_BEGIN) or _PEM_BEGIN in content else None


class HstsEntry(msgspec.Struct, frozen=True):
    """A host to be called by https only, until `expires` (None: for ever), with or without what is below it."""

    host: str
    expires: datetime | None
    subdomains: bool


def hsts_entries(text: str) -> list[HstsEntry]:
    """The hosts of an HSTS file of curl in base64. Raises `ValueError` saying what is wrong.

    >>> hsts_entries("LnNob3AudGVzdCAidW5saW1pdGVkIgo=")
    [HstsEntry(host='shop.test', expires=None, subdomains=True)]
    """
    try:
        content = base64.b64decode(text, validate=True).decode("ascii")
    except (ValueError, UnicodeError):
        raise ValueError("is not base64 of a text file") from None
    entries = []
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        found = _HSTS_LINE.fullmatch(line.strip())
        if found is None:
            raise ValueError(f'has a line {number} that is not host "YYYYMMDD HH:MM:SS", nor host "unlimited"')
        until = None if found[3] == "unlimited" else datetime.strptime(found[3], _HSTS_DATE).replace(tzinfo=UTC)
        entries.append(HstsEntry(found[2], until, bool(found[1])))
    if not entries:
        raise ValueError("holds no host")
    return entries


def _texts(request: HttpRequest, config: TaskConfig) -> Iterator[tuple[str, str]]:
    """Every text in the options, by dotted path."""
    for prefix, holder, kind in (("httpRequest", request, RequestOptions), ("config", config, ConnectionOptions)):
        for name, wire_name in option_fields(kind).items():
            value = getattr(holder, name)
            if value is not None:
                yield from _inner_texts(f"{prefix}.{wire_name}", msgspec.to_builtins(value))


def _inner_texts(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, item in value.items():
            if CONTROL.search(name):
                yield f"{path}.{name.strip()}", name
            yield from _inner_texts(f"{path}.{name}", item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _inner_texts(f"{path}.{index}", item)


def _judge_authentication(request: HttpRequest, config: TaskConfig, faults: list[Fault]) -> None:
    ways = {
        "httpRequest.authBasic": request.auth_basic,
        "httpRequest.authDigest": request.auth_digest,
        "httpRequest.authNtlm": request.auth_ntlm,
        "httpRequest.authAwsSigv4": request.auth_aws_sigv4,
        "config.locationTrusted": config.location_trusted,
    }
    given = [name for name, value in ways.items() if value is not None]
    if len(given) > 1:
        faults.extend(Fault(name, "is one of several ways to authenticate", allowed="one of them") for name in given)
    if given and is_named(request, "authorization"):
        faults.append(Fault(given[0], "cannot be given together with an Authorization header", allowed="one of both"))
    if request.auth_aws_sigv4 is not None and urls.has_dot_segments(request.url):
        what = "has a segment . or .. in its path, which cannot be signed as it is"
        faults.append(Fault("httpRequest.url", what, allowed="a path without them, with authAwsSigv4"))
    for name in ("httpRequest.authBasic", "config.locationTrusted"):
        credentials: Any = ways[name]
        if credentials is not None:
            _judge_basic(name, credentials, faults)
    if request.auth_digest is not None:
        _judge_username("httpRequest.authDigest", request.auth_digest, faults)


def _judge_basic(field: str, who: Credentials, faults: list[Fault]) -> None:
    if ":" in who.username:
        faults.append(Fault(f"{field}.username", "must not hold a colon: Basic authentication ends it there"))
    if not who.username and not who.password:
        faults.append(Fault(field, "must have a username or a password: both are empty"))


def _judge_username(field: str, who: Credentials, faults: list[Fault]) -> None:
    if not who.username:
        faults.append(Fault(f"{field}.username", "must not be empty: it goes into what proves who asks"))


def _judge_ntlm(request: HttpRequest, config: TaskConfig, faults: list[Fault]) -> None:
    """NTLM proves who asks to a connection, so that has to stay, and to be one that we see through."""
    for field, who in (("httpRequest.authNtlm", request.auth_ntlm), ("config.proxyAuthNtlm", config.proxy_auth_ntlm)):
        if who is None:
            continue
        if config.http_version != "1.1":
            faults.append(Fault(field, f"needs HTTP/1.1, but httpVersion is {config.http_version}"))
        _judge_username(field, who, faults)
        if who.username.endswith("\\"):
            faults.append(Fault(f"{field}.username", "must not end with its domain"))
    if config.proxy_auth_ntlm is None or config.proxy is None:
        return
    field = "config.proxyAuthNtlm"
    if config.proxy.protocol == "https":
        faults.append(Fault(field, "needs an http proxy: it cannot be used at an https proxy"))
    if config.proxy_http_version not in (None, "1.1"):
        faults.append(Fault(field, f"needs HTTP/1.1, but proxyHttpVersion is {config.proxy_http_version}"))
    if config.hsts:
        faults.append(Fault(field, "cannot be given together with hsts"))
    if any(name.lower() == "proxy-authorization" for name in config.proxy_headers or ()):
        faults.append(Fault(field, "cannot be given together with a Proxy-Authorization header", allowed="one of both"))


def _judge_target(request: HttpRequest, config: TaskConfig, faults: list[Fault]) -> None:
    scheme = request.url.partition(":")[0].lower()
    if config.proto is not None and scheme in ("http", "https") and scheme != config.proto:
        faults.append(Fault("config.proto", f"does not allow the URL, which is {scheme}", config.proto))
    literal = _literal(request.url)
    if literal is not None and config.ip_version not in (None, literal):
        faults.append(Fault("config.ipVersion", f"does not allow the URL's address, which is IPv{literal}"))
    referer = config.referer_url
    if referer is None:
        return
    if is_named(request, "referer"):
        faults.append(Fault("config.refererUrl", "cannot be given together with a Referer header"))
    if referer == REFERER_AUTO and request.transport != "curl":
        faults.append(Fault("config.refererUrl", "can be AUTO with transport curl only", allowed="a URL"))


def _literal(url: str) -> int | None:
    """The IP version of the URL's host, when that is an address."""
    try:
        return ipaddress.ip_address(urlsplit(url).hostname or "").version
    except ValueError:
        return None


def _judge_tls(config: TaskConfig, faults: list[Fault]) -> None:
    low, high = config.tls_version, config.tls_max_version
    if low is not None and high is not None and TLS_VERSIONS.index(low) > TLS_VERSIONS.index(high):
        faults.append(Fault("config.tlsMaxVersion", f"is below tlsVersion, which is {low}", high))
    if config.cert is None:
        for name, given in (("key", config.key is not None), ("certType", config.cert_type != "PEM")):
            if given:
                faults.append(Fault(f"config.{name}", "has no meaning without cert"))
    elif config.key is None and config.cert_type == "DER":
        faults.append(Fault("config.key", "is required: a certificate in DER form brings no key"))
    elif config.key is not None and config.cert_type == "P12":
        faults.append(Fault("config.key", "has no meaning beside a P12 file, which brings its own"))
    if config.key is None and config.key_type != "PEM":
        faults.append(Fault("config.keyType", "has no meaning without key"))
    if isinstance(config.hsts, str):
        try:
            hsts_entries(config.hsts)
        except ValueError as error:
            faults.append(Fault("config.hsts", str(error), allowed="true, false, or base64 of an HSTS file of curl"))
    if config.insecure and config.cert_status:
        faults.append(Fault("config.certStatus", "has no meaning together with insecure"))


def _judge_resolve(config: TaskConfig, faults: list[Fault]) -> None:
    for index, entry in enumerate(config.resolve or ()):
        field = f"config.resolve.{index}"
        if entry.host != ANY_HOST and not _HOST.fullmatch(entry.host):
            faults.append(Fault(f"{field}.host", f"is not a host name, nor {ANY_HOST}", shapes.shown(entry.host)))
        for place, address in enumerate(entry.address):
            _judge_ip(f"{field}.address.{place}", address, faults)


def _judge_name_servers(config: TaskConfig, faults: list[Fault]) -> None:
    for index, address in enumerate(config.dns_server or ()):
        _judge_ip(f"config.dnsServer.{index}", address, faults)
    url = config.doh_url
    if url is None:
        if config.doh_insecure:
            faults.append(Fault("config.dohInsecure", "has no meaning without dohUrl"))
        return
    if config.dns_server is not None:
        faults.append(Fault("config.dohUrl", "cannot be given together with dnsServer", allowed="one of both"))
    if url.partition(":")[0].lower() != "https" and urls.is_url(url):
        faults.append(Fault("config.dohUrl", "must be https", allowed="an https URL"))


def _judge_ip(field: str, text: str, faults: list[Fault]) -> None:
    try:
        ipaddress.ip_address("" if "%" in text else text)
    except ValueError:
        faults.append(Fault(field, "is not an IP address", shapes.shown(text)))


def _judge_proxy(config: TaskConfig, faults: list[Fault]) -> None:
    if config.ha_proxy_client_ip is not None:
        _judge_ip("config.haProxyClientIp", config.ha_proxy_client_ip, faults)
        if not config.ha_proxy_protocol:
            faults.append(Fault("config.haProxyClientIp", "has no meaning without haProxyProtocol"))
    given = {
        "proxyHttpVersion": config.proxy_http_version is not None,
        "proxyAuthBasic": config.proxy_auth_basic is not None,
        "proxyAuthDigest": config.proxy_auth_digest is not None,
        "proxyAuthNtlm": config.proxy_auth_ntlm is not None,
        "proxyHeaders": config.proxy_headers is not None,
        "proxyInsecure": config.proxy_insecure,
    }
    named = [name for name, is_given in given.items() if is_given]
    proxy = config.proxy
    if proxy is None:
        faults.extend(Fault(f"config.{name}", "has no meaning without proxy") for name in named)
        return
    if config.ha_proxy_protocol:
        faults.append(Fault("config.haProxyProtocol", "cannot be given together with proxy"))
    _judge_proxy_host(proxy.host, faults)
    _judge_proxy_credentials(proxy, config, faults)
    if proxy.protocol.startswith("socks"):
        unfit = [name for name in named if not name.startswith("proxyAuthBasic")]
        faults.extend(Fault(f"config.{name}", "needs an http or https proxy") for name in unfit)
    elif config.proxy_insecure and proxy.protocol != "https":
        faults.append(Fault("config.proxyInsecure", "has no meaning: the proxy is not https"))
    if (config.proxy_http_version == "2" and proxy.protocol != "https") or (
        config.proxy_http_version == "1.0" and proxy.protocol != "http"
    ):
        wanted = "https" if config.proxy_http_version == "2" else "http"
        faults.append(Fault("config.proxyHttpVersion", f"needs an {wanted} proxy", config.proxy_http_version))
    first, *others = [name for name in named if name.startswith("proxyAuth")] or [""]
    faults.extend(Fault(f"config.{name}", f"cannot be given together with {first}") for name in others)
    _judge_proxy_headers(config.proxy_headers or {}, faults)


def _judge_proxy_credentials(proxy: Proxy, config: TaskConfig, faults: list[Fault]) -> None:
    if config.proxy_auth_digest is not None:
        _judge_username("config.proxyAuthDigest", config.proxy_auth_digest, faults)
    if config.proxy_auth_basic is not None and proxy.protocol.startswith("socks"):
        _judge_socks(proxy, config.proxy_auth_basic, faults)
    elif config.proxy_auth_basic is not None:
        _judge_basic("config.proxyAuthBasic", config.proxy_auth_basic, faults)


def _judge_socks(proxy: Proxy, who: Credentials, faults: list[Fault]) -> None:
    field = "config.proxyAuthBasic"
    if proxy.protocol.startswith("socks4"):
        faults.append(Fault(field, "is not possible: SOCKS 4 knows no passwords"))
        return
    for name, text in (("username", who.username), ("password", who.password)):
        length = len(text.encode())
        if not 1 <= length <= limits.SOCKS_CREDENTIAL_BYTES_MAX:
            allowed = f"1 to {limits.SOCKS_CREDENTIAL_BYTES_MAX} bytes (RFC 1929)"
            faults.append(Fault(f"{field}.{name}", "does not fit SOCKS 5", f"{length} bytes", allowed))


def _judge_proxy_host(host: str, faults: list[Fault]) -> None:
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if ":" in bare:
        _judge_ip("config.proxy.host", bare, faults)
    elif not _HOST.fullmatch(host):
        faults.append(Fault("config.proxy.host", "is not a host name in ASCII, nor an address", shapes.shown(host)))


def _judge_proxy_headers(headers: dict[str, str], faults: list[Fault]) -> None:
    for name in headers:
        if name.lower() in ("host", "connection", "transfer-encoding", "content-length", "upgrade"):
            faults.append(Fault(f"config.proxyHeaders.{name}", "cannot be set: it belongs to the connection"))
