"""Puts the options that few tasks have on a handle, which is made for that call and thrown away after it: nothing of
them has to be undone, and no cookie or credential of one task is ever near another.

TLS is in `tls`, the way to the target in `proxy`; here are credentials, cookies, the Referer and keep-alive, and the
`identity` by which connections are kept apart.
"""

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
import pycurl

from tasks_server.domain import urls
from tasks_server.domain.options import MULTIPLEXED, REFERER_AUTO
from tasks_server.domain.request import HttpRequest, TaskConfig
from tasks_server.domain.rules_cookies import SECURE_COOKIES, cookie_lines
from tasks_server.domain.rules_options import hsts_entries
from tasks_server.engine.calls import Call
from tasks_server.engine.http import proxy, tls

SCHEMES: Final = {"http": pycurl.PROTO_HTTP, "https": pycurl.PROTO_HTTPS}
_KEEP_IDLE_MAX_SECONDS: Final = 32_767
"""The most that Linux takes for TCP_KEEPIDLE."""
_encode: Final = msgspec.msgpack.Encoder(order="deterministic").encode

# What makes a connection another one. The rest of the options is about requests on it.
_OF_CONNECTIONS: Final = (
    *("http_version", "ip_version", "resolve", "dns_server", "doh_url", "doh_insecure"),
    *("tls_version", "tls_max_version", "insecure", "cert_status", "ca", "cert", "cert_type"),
    *("key", "key_type", "session_id", "proxy", "proxy_http_version", "proxy_auth_basic", "proxy_auth_digest"),
    *("proxy_headers", "proxy_insecure", "ha_proxy_protocol", "ha_proxy_client_ip"),
)
_DEFAULTS: Final = TaskConfig()


def put_special(curl: "pycurl.Curl", call: Call, directory: Path | None) -> bytes | None:
    """Puts the special options of a call on a fresh handle that has all others. The call's identity: connections,
    TLS sessions and addresses may be shared only with calls of the same one; None: with plain calls.

    Raises `Unsendable` for certificates that cannot be had from `directory`.
    """
    config = call.config
    has = tls.read_material(config, directory)
    tls.set_tls(curl, config, has)
    proxy.set_way(curl, config)
    put_credentials(curl, call.request, config)
    _set_cookie_jar(curl, call.request, config)
    _set_following(curl, config)
    _set_hsts(curl, config)
    _set_keep_alive(curl, config)
    if config.http_version in MULTIPLEXED:
        curl.setopt(pycurl.PIPEWAIT, 1)  # rather wait for a connection that is being made than make another
    return identity(config, has)


def identity(config: TaskConfig, has: tls.Material) -> bytes | None:
    """Equal for configurations whose connections are interchangeable. A digest: it holds no secret."""
    chosen = {name: value for name in _OF_CONNECTIONS if (value := getattr(config, name)) != getattr(_DEFAULTS, name)}
    if not chosen:
        return None
    # By what the files hold now: a renewed certificate makes connections of its own.
    return hashlib.sha256(_encode([chosen, has])).digest()


def put_credentials(curl: "pycurl.Curl", request: HttpRequest, config: TaskConfig) -> None:
    """What libcurl sends to the first host by itself: credentials, and cookies by name."""
    if config.credentials is None and isinstance(request.cookie, list):
        curl.setopt(pycurl.COOKIE, "; ".join(f"{one.name}={one.value}" for one in request.cookie).encode())
    credentials = request.auth_basic or request.auth_digest or config.location_trusted
    if credentials is not None:
        curl.setopt(pycurl.HTTPAUTH, pycurl.HTTPAUTH_DIGEST if request.auth_digest else pycurl.HTTPAUTH_BASIC)
        curl.setopt(pycurl.USERNAME, credentials.username.encode())
        curl.setopt(pycurl.PASSWORD, credentials.password.encode())
    signed = request.auth_aws_sigv4
    if signed is not None:
        curl.setopt(pycurl.PATH_AS_IS, 0)  # libcurl signs no path that it has not normalized
        curl.setopt(pycurl.AWS_SIGV4, f"{signed.provider1}:{signed.provider2}:{signed.region}:{signed.service}")
        curl.setopt(pycurl.USERNAME, signed.key.encode())
        curl.setopt(pycurl.PASSWORD, signed.secret.encode())


def take_credentials(curl: "pycurl.Curl") -> None:
    """Undoes `put_credentials`."""
    curl.setopt(pycurl.HTTPAUTH, pycurl.HTTPAUTH_BASIC)
    curl.setopt(pycurl.PATH_AS_IS, 1)
    for option in (pycurl.USERNAME, pycurl.PASSWORD, pycurl.COOKIE):
        curl.unsetopt(option)


def take_traces(curl: "pycurl.Curl") -> None:
    """Forgets every cookie and the client certificate."""
    curl.setopt(pycurl.COOKIELIST, "ALL")
    for option in (pycurl.SSLCERT_BLOB, pycurl.SSLKEY_BLOB):
        curl.unsetopt(option)


def _set_cookie_jar(curl: "pycurl.Curl", request: HttpRequest, config: TaskConfig) -> None:
    if request.cookie is None and config.credentials in (None, "omit"):
        return
    curl.setopt(pycurl.COOKIEFILE, "")  # turns cookies on, in memory
    if isinstance(request.cookie, str):
        for line in cookie_lines(request.cookie):
            curl.setopt(pycurl.COOKIELIST, line.encode())
    elif request.cookie is not None and config.credentials is not None:
        host = urls.read_url(request.url)[1].rpartition(":")[0].strip("[]")
        for one in request.cookie:
            # libcurl takes these names for secure cookies only, as browsers do.
            secure = "TRUE" if one.name.lower().startswith(SECURE_COOKIES) else "FALSE"
            curl.setopt(pycurl.COOKIELIST, f"{host}\tFALSE\t/\t{secure}\t0\t{one.name}\t{one.value}".encode())


def _set_following(curl: "pycurl.Curl", config: TaskConfig) -> None:
    if config.proto is not None:
        curl.setopt(pycurl.PROTOCOLS, SCHEMES[config.proto])
    # Under a policy it differs between requests, or is missing, which libcurl cannot be told (see `fetching`).
    if config.referer_url is not None and config.referer_url != REFERER_AUTO and config.referrer_policy is None:
        curl.setopt(pycurl.REFERER, urls.read_url(config.referer_url)[0].encode())


def _set_hsts(curl: "pycurl.Curl", config: TaskConfig) -> None:
    if not config.hsts:
        return
    curl.setopt(pycurl.HSTS_CTRL, pycurl.CURLHSTS_ENABLE)
    if isinstance(config.hsts, str):
        entries = iter(hsts_entries(config.hsts))

        def read() -> tuple[str, datetime | None, bool] | None:
            one = next(entries, None)
            return None if one is None else (one.host, one.expires, one.subdomains)

        curl.setopt(pycurl.HSTSREADFUNCTION, read)


def _set_keep_alive(curl: "pycurl.Curl", config: TaskConfig) -> None:
    seconds = config.keep_alive_duration
    if seconds is None:
        return
    if seconds == 0:
        curl.setopt(pycurl.TCP_KEEPALIVE, 0)
        curl.setopt(pycurl.FRESH_CONNECT, 1)
        curl.setopt(pycurl.FORBID_REUSE, 1)
        return
    curl.setopt(pycurl.MAXAGE_CONN, seconds)
    curl.setopt(pycurl.TCP_KEEPIDLE, min(seconds, _KEEP_IDLE_MAX_SECONDS))
