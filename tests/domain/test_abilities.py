"""What the engine cannot do is a fault of the field that asks for it."""

import base64
from datetime import UTC
from typing import Any

import msgspec
import pytest

from tasks_server.domain import validation
from tasks_server.domain.abilities import FEATURES, Abilities
from tasks_server.domain.errors import Fault, InvalidRequest
from tasks_server.domain.validation import Registration

NOW = 1_700_000_000_000
CREDENTIALS = {"username": "joe", "password": "hidden"}
CERTIFICATE = base64.b64encode(b"-----BEGIN CERTIFICATE-----").decode()
PROXY = {"protocol": "https", "host": "proxy.test"}
SIGNED = {"provider1": "aws", "provider2": "amz", "region": "eu", "service": "s3", "key": "a", "secret": "hidden"}

ASKING: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("AWS signatures", "httpRequest.authAwsSigv4", {"authAwsSigv4": SIGNED}, {}),
    ("certificates in memory", "config.ca", {}, {"ca": CERTIFICATE}),
    ("certificates in memory", "config.cert.value", {}, {"cert": {"value": CERTIFICATE}}),
    ("certificate status", "config.certStatus", {}, {"certStatus": True}),
    ("cookies", "httpRequest.cookie", {"cookie": [{"name": "a", "value": "hidden"}]}, {}),
    ("Digest authentication", "httpRequest.authDigest", {"authDigest": CREDENTIALS}, {}),
    ("Digest authentication", "config.proxyAuthDigest", {}, {"proxy": PROXY, "proxyAuthDigest": CREDENTIALS}),
    ("HAProxy's protocol", "config.haProxyProtocol", {}, {"haProxyProtocol": True}),
    ("HAProxy's client address", "config.haProxyClientIp", {}, {"haProxyProtocol": True, "haProxyClientIp": "8.8.8.8"}),
    ("HSTS", "config.hsts", {}, {"hsts": True}),
    ("HTTP/2", "config.httpVersion", {}, {"httpVersion": "2"}),
    ("HTTP/2", "config.httpVersion", {}, {"httpVersion": "2-prior-knowledge"}),
    ("HTTP/2", "config.proxyHttpVersion", {}, {"proxy": PROXY, "proxyHttpVersion": "2"}),
    ("HTTP/3", "config.httpVersion", {}, {"httpVersion": "3"}),
    ("HTTPS", "httpRequest.url", {"url": "https://target.test/"}, {}),
    ("HTTPS proxies", "config.proxy.protocol", {}, {"proxy": PROXY}),
    ("IPv6", "config.ipVersion", {}, {"ipVersion": 6}),
    ("P12 files", "config.certType", {}, {"cert": {"value": CERTIFICATE}, "certType": "P12"}),
    ("proxies", "config.proxy", {}, {"proxy": PROXY}),
]


def raw(request: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    return {"httpRequest": {"url": "http://target.test/", "method": "GET"} | request, "config": config}


def faults(given: dict[str, Any], abilities: Abilities) -> list[Fault]:
    """The faults, which are the same whichever way the request is read."""
    found = []
    for judged in (
        lambda: validation.read(given, NOW, UTC, abilities=abilities),
        lambda: validation.judge(msgspec.convert(given, Registration), NOW, abilities=abilities),
    ):
        try:
            judged()
            found.append([])
        except InvalidRequest as error:
            found.append(list(error.faults))
    assert found[0] == found[1]
    return found[0]


def test_every_feature_is_asked_for_by_some_option() -> None:
    assert {feature for feature, *_ in ASKING} == FEATURES


@pytest.mark.parametrize(("feature", "field", "request_", "config"), ASKING)
def test_what_the_library_lacks_is_refused(
    feature: str, field: str, request_: dict[str, Any], config: dict[str, Any]
) -> None:
    given = raw(request_, config)
    assert faults(given, Abilities(FEATURES - {feature})) != faults(given, Abilities(FEATURES))
    (fault,) = faults(given, Abilities(frozenset({feature})))
    assert fault.field == field
    assert fault.message == f"is not possible here: this server's libcurl was built without {feature}"
    assert fault.allowed
    assert "hidden" not in repr(fault)
    assert faults(given, Abilities()) == []


def test_a_plain_request_needs_nothing() -> None:
    assert faults(raw({}, {"httpVersion": "1.0", "hsts": False}), Abilities(FEATURES)) == []


def test_the_versions_left_are_named() -> None:
    (fault,) = faults(raw({}, {"httpVersion": "3"}), Abilities(frozenset({"HTTP/3"})))
    assert (fault.given, fault.allowed) == ("3", "0.9, 1.0, 1.1, 2, 2-prior-knowledge")


def _missing(path: str) -> str | None:
    return None if path == "there.pem" else "no file has this path"


@pytest.mark.parametrize(
    ("config", "field", "given"),
    [
        ({"ca": "gone.pem"}, "config.ca", "gone.pem"),
        ({"cert": {"value": "shop/gone.crt"}}, "config.cert.value", "shop/gone.crt"),
        ({"cert": {"value": "there.pem"}, "key": "gone.key"}, "config.key", "gone.key"),
        ({"cert": {"value": "there.pem"}, "key": "c2VjcmV0IGtleQ=="}, "config.key", "***"),
    ],
)
def test_a_path_is_judged_and_what_may_be_a_key_is_not_shown(config: dict[str, Any], field: str, given: str) -> None:
    (fault,) = faults(raw({}, config), Abilities(path_fault=_missing))
    assert (fault.field, fault.given) == (field, given)
    assert fault.message == "is not base64 of PEM, DER or P12, and no file has this path"
    assert "path" in str(fault.allowed)
    (fault,) = faults(raw({}, config), Abilities(paths=False, path_fault=_missing))
    assert fault.allowed == "base64 of PEM, DER or P12"


def test_what_is_there_is_taken() -> None:
    config = {"ca": "there.pem", "cert": {"value": CERTIFICATE}, "key": CERTIFICATE}
    assert faults(raw({}, config), Abilities(path_fault=_missing)) == []
