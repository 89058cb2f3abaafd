"""What the engine of this installation can do, as a rule of registrations: what it cannot do is refused before the task
is taken in, not found out when the task is due.

The engine says which features its HTTP library lacks (`engine.http.abilities`), and what is wrong with a path of a
certificate (`engine.certificates.paths`); neither is known here.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Literal, get_args

import msgspec

from tasks_server.domain import shapes
from tasks_server.domain.certificates import Examine, certificates_of, take_opened
from tasks_server.domain.errors import Fault
from tasks_server.domain.request import HttpRequest, TaskConfig
from tasks_server.domain.rules_options import file_or_path

Feature = Literal[
    "AWS signatures", "certificates in memory", "certificate status", "cookies", "Digest authentication",
    "HAProxy's protocol", "HAProxy's client address", "HSTS", "HTTP/2", "HTTP/3", "HTTPS", "HTTPS proxies", "IPv6",
    "P12 files", "proxies",
]  # fmt: skip
FEATURES: Final[frozenset[str]] = frozenset(get_args(Feature))

_BASE64: Final = "base64 of PEM, DER or P12"
_CERTAINLY_A_PATH: Final = re.compile(r"[\w./ -]{1,250}\.(?:pem|crt|cer|der|key|p12|pfx)")
"""What is not: it may be a key that was pasted in a wrong form, and is not shown again."""


class Abilities(msgspec.Struct, frozen=True):
    """The features that the HTTP library lacks, whether certificates may be `paths`, and what is wrong with a path
    (None: nothing), which is asked for each. `examine` is asked for what is in certificates and keys that are no paths.
    By default all is possible, and both are judged when the task runs.
    """

    lacking: frozenset[str] = frozenset()
    paths: bool = True
    path_fault: Callable[[str], str | None] | None = None
    examine: Examine | None = None


ALL: Final = Abilities()


class _Need(msgspec.Struct, frozen=True):
    """The feature that a field's value needs; `allowed` is what may be given instead."""

    feature: Feature
    field: str
    given: str | None
    allowed: str


def judge_features(request: HttpRequest, config: TaskConfig, abilities: Abilities, faults: list[Fault]) -> None:
    """Judges every option against the features that are lacking."""
    for need in _needs(request, config, abilities.lacking):
        if need.feature in abilities.lacking:
            message = f"is not possible here: this server's libcurl was built without {need.feature}"
            faults.append(Fault(need.field, message, need.given, need.allowed))


def judge_certificates(config: TaskConfig, abilities: Abilities, faults: list[Fault]) -> None:
    """Judges each certificate and key: whether it is there, where it is a path, else what is in it. One that was locked
    is in the configuration without its lock then. Raises `Unexamined`.
    """
    if config.ca is None and config.cert is None:
        return
    if abilities.examine is not None and (asked := certificates_of(config)) is not None:
        found = abilities.examine(asked)
        faults += found.faults
        take_opened(config, found)
    if abilities.path_fault is None:
        return
    for field, text in _materials(config):
        if file_or_path(text) is None and (fault := abilities.path_fault(text)) is not None:
            is_public = field == "config.ca" or _CERTAINLY_A_PATH.fullmatch(text)
            given = shapes.shown(text) if is_public else shapes.MASK
            allowed = f"{_BASE64}, or the path of a file below CERTIFICATES_DIR" if abilities.paths else _BASE64
            faults.append(Fault(field, f"is not {_BASE64}, and {fault}", given, allowed))


def _materials(config: TaskConfig) -> Iterator[tuple[str, str]]:
    if config.ca is not None:
        yield "config.ca", config.ca
    if config.cert is not None:
        yield "config.cert.value", config.cert.value
    if config.key is not None:
        yield "config.key", config.key


def _needs(request: HttpRequest, config: TaskConfig, lacking: frozenset[str]) -> Iterable[_Need]:
    """What the request needs beyond plain HTTP, field by field."""
    version = config.http_version
    if version in ("2", "2-prior-knowledge", "3"):
        spoken = [known for known in ("2", "2-prior-knowledge", "3") if f"HTTP/{known[0]}" not in lacking]
        yield _Need("HTTP/3" if version == "3" else "HTTP/2", "config.httpVersion", version,
                    ", ".join(["0.9", "1.0", "1.1", *spoken]))  # fmt: skip
    if request.url[:8].lower() == "https://":
        yield _Need("HTTPS", "httpRequest.url", None, "a URL that is http")
    out = "leave it out"
    if request.auth_digest is not None:
        yield _Need("Digest authentication", "httpRequest.authDigest", None, out)
    if request.auth_aws_sigv4 is not None:
        yield _Need("AWS signatures", "httpRequest.authAwsSigv4", None, out)
    if request.cookie is not None:
        yield _Need("cookies", "httpRequest.cookie", None, f"{out}; a header Cookie does the same")
    if config.ip_version == 6:
        yield _Need("IPv6", "config.ipVersion", "6", "4")
    if config.hsts:
        yield _Need("HSTS", "config.hsts", None, "false")
    yield from _needs_of_tls(config)
    yield from _needs_of_the_way(config)


def _needs_of_tls(config: TaskConfig) -> Iterable[_Need]:
    out = "leave it out"
    if config.cert_status:
        yield _Need("certificate status", "config.certStatus", "true", "false")
    for field, _ in _materials(config):
        yield _Need("certificates in memory", field, None, out)
    if config.cert_type == "P12":
        yield _Need("P12 files", "config.certType", "P12", "PEM, DER")


def _needs_of_the_way(config: TaskConfig) -> Iterable[_Need]:
    out = "leave it out"
    if config.ha_proxy_protocol:
        yield _Need("HAProxy's protocol", "config.haProxyProtocol", "true", "false")
    if config.ha_proxy_client_ip is not None:
        yield _Need("HAProxy's client address", "config.haProxyClientIp", config.ha_proxy_client_ip, out)
    if config.proxy is None:
        return
    yield _Need("proxies", "config.proxy", None, out)
    if config.proxy.protocol == "https":
        yield _Need("HTTPS proxies", "config.proxy.protocol", "https", "http, socks4, socks4a, socks5, socks5h")
    if config.proxy_http_version == "2":
        yield _Need("HTTP/2", "config.proxyHttpVersion", "2", "1.1")
    if config.proxy_auth_digest is not None:
        yield _Need("Digest authentication", "config.proxyAuthDigest", None, out)
