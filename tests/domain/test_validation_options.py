"""Which options of a request are refused, by themselves and together, and that the rest is accepted."""

import base64
from datetime import UTC
from typing import Any, get_args

import msgspec
import pytest

from tasks_server.domain import asked, json_text, validation
from tasks_server.domain.errors import InvalidRequest
from tasks_server.domain.forms import decode_spec
from tasks_server.domain.referrer import ReferrerPolicy

NOW = 1_700_000_000_000
JOE = {"username": "joe", "password": "secret"}
NOBODY = {"username": "", "password": ""}
HTTP_PROXY = {"protocol": "http", "host": "proxy.test", "port": 3128}
HTTPS_PROXY = {"protocol": "https", "host": "[::1]"}
SOCKS4 = {"protocol": "socks4", "host": "proxy.test"}
SOCKS5 = {"protocol": "socks5", "host": "10.0.0.1"}
CERT = {"value": "client.pem"}
AWS = {"provider1": "aws", "provider2": "amz", "region": "r-1", "service": "s3", "key": "k", "secret": "s"}


CURL = {"transport": "curl"}


def read(raw: object) -> validation.Draft:
    return validation.read(json_text.opened(msgspec.json.encode(raw), asked.KEPT), NOW, UTC)


def faults(request: dict[str, Any], config: dict[str, Any]) -> list[str]:
    raw = {"httpRequest": {"url": "https://target.test/", "method": "GET", **request}, "config": config}
    try:
        spec = decode_spec(read(raw).spec)
    except InvalidRequest as refused:
        found = refused.faults
    else:
        assert spec.special
        return []
    assert JOE["password"] not in str(found)
    return sorted({fault.field for fault in found})


@pytest.mark.parametrize(
    ("request_fields", "config"),
    [
        ({"cookie": [{"name": "a", "value": "1"}]}, {}),
        ({"cookie": base64.b64encode(b"h.test\tTRUE\t/\tFALSE\t0\ta\tb\n").decode()}, {}),
        ({"authBasic": JOE}, {}),
        ({"authDigest": {"username": "a:b", "password": "secret"}}, {}),
        ({"authAwsSigv4": AWS}, {}),
        ({"authNtlm": {"username": "SHOP\\joe", "password": "secret"}}, {"hsts": True}),
        ({"authNtlm": JOE}, {"proxy": HTTP_PROXY, "proxyAuthNtlm": JOE, "proxyHttpVersion": "1.1"}),
        ({"transport": "curl"}, {"refererUrl": "AUTO"}),
        ({}, {"refererUrl": "http://from.test/page"}),
        ({}, {"keepAliveDuration": 259_200}),
        ({}, {"proto": "https", "protoRedirect": "http"}),
        ({}, {"ipVersion": 6}),
        ({}, {"hsts": True}),
        ({}, {"hsts": base64.b64encode(b'# comment\n.shop.test "20301231 00:00:00"\n').decode()}),
        ({}, {"resolve": [{"host": "a.test", "port": 443, "address": ["::1", "127.0.0.1"]}]}),
        ({}, {"dnsServer": ["9.9.9.9", "2620:fe::fe", "10.0.0.1", "1.1.1.1"]}),
        ({}, {"dohUrl": "https://dns.test/dns-query", "dohInsecure": True}),
        ({}, {"tlsVersion": "1.2", "tlsMaxVersion": "1.2"}),
        ({}, {"cert": CERT, "key": "client.key", "ca": "ca.pem"}),
        ({}, {"cert": {**CERT, "password": "secret"}, "certType": "P12"}),
        ({}, {"proxy": HTTPS_PROXY, "proxyHttpVersion": "2", "proxyInsecure": True, "proxyAuthDigest": JOE}),
        ({}, {"proxy": HTTP_PROXY, "proxyHttpVersion": "1.0", "proxyHeaders": {"X-A": "1"}}),
        ({}, {"proxy": SOCKS5, "proxyAuthBasic": JOE}),
        ({}, {"haProxyProtocol": True, "haProxyClientIp": "2001:db8::1"}),
        ({}, {"credentials": "omit"}),
        ({"authBasic": JOE, "cookie": [{"name": "a", "value": "1"}]}, {"credentials": "omit"}),
        ({"headers": {"Cookie": "a=1"}}, {"credentials": "omit"}),
        ({"transport": None}, {"credentials": "include", "locationTrusted": JOE}),
        *(({}, {"referrerPolicy": policy}) for policy in get_args(ReferrerPolicy)),
        ({}, {"mode": "cors", "location": False}),
        ({}, {"mode": "same-origin"}),
        ({"headers": {"accept": "text/*;q=0.1", "Content-Language": "de-AT, de;q=0.5"}}, {"mode": "no-cors"}),
        ({"method": "POST", "data": "text"}, {"mode": "no-cors"}),
        ({"method": "POST", "data": [{"name": "a", "value": "b"}]}, {"mode": "no-cors"}),
        ({"method": "POST", "data": {"a": 1}, "headers": {"Content-Type": "text/plain;a=b"}}, {"mode": "no-cors"}),
    ],
)
def test_what_is_accepted(request_fields: dict[str, Any], config: dict[str, Any]) -> None:
    assert faults(request_fields, config) == []


@pytest.mark.parametrize(
    ("request_fields", "config", "fields"),
    [
        ({"cookie": []}, {}, ["httpRequest.cookie"]),
        ({"cookie": "!"}, {}, ["httpRequest.cookie"]),
        ({"cookie": base64.b64encode(b"one line").decode()}, {}, ["httpRequest.cookie"]),
        ({"cookie": base64.b64encode(b"# nothing").decode()}, {}, ["httpRequest.cookie"]),
        ({"cookie": [{"name": "a b", "value": "1"}]}, {}, ["httpRequest.cookie.0.name"]),
        ({"cookie": [{"name": "a", "value": "1; b=2"}]}, {}, ["httpRequest.cookie.0.value"]),
        ({"cookie": [{"name": "a", "value": "1\r\nX: y"}]}, {}, ["httpRequest.cookie.0.value"]),
        ({"cookie": [{"name": "a", "value": "1"}], "headers": {"Cookie": "b=2"}}, {}, ["httpRequest.cookie"]),
        ({"authBasic": JOE, "authDigest": JOE}, {}, ["httpRequest.authBasic", "httpRequest.authDigest"]),
        ({"authNtlm": JOE, "authDigest": JOE}, {}, ["httpRequest.authDigest", "httpRequest.authNtlm"]),
        ({"authNtlm": JOE}, {"locationTrusted": JOE}, ["config.locationTrusted", "httpRequest.authNtlm"]),
        ({"authNtlm": JOE, "headers": {"authorization": "x"}}, {}, ["httpRequest.authNtlm"]),
        ({"authNtlm": JOE}, {"httpVersion": "2"}, ["httpRequest.authNtlm"]),
        ({"authNtlm": JOE}, {"httpVersion": "1.0"}, ["httpRequest.authNtlm"]),
        ({"authNtlm": {"username": "SHOP\\", "password": "secret"}}, {}, ["httpRequest.authNtlm.username"]),
        ({}, {"proxyAuthNtlm": JOE}, ["config.proxyAuthNtlm"]),
        ({}, {"proxyAuthNtlm": JOE, "proxy": HTTPS_PROXY}, ["config.proxyAuthNtlm"]),
        ({}, {"proxyAuthNtlm": JOE, "proxy": SOCKS5}, ["config.proxyAuthNtlm"]),
        ({}, {"proxyAuthNtlm": JOE, "proxy": HTTP_PROXY, "httpVersion": "3"}, ["config.proxyAuthNtlm"]),
        ({}, {"proxyAuthNtlm": JOE, "proxy": HTTP_PROXY, "proxyHttpVersion": "1.0"}, ["config.proxyAuthNtlm"]),
        ({}, {"proxyAuthNtlm": JOE, "proxy": HTTP_PROXY, "hsts": True}, ["config.proxyAuthNtlm"]),
        ({}, {"proxyAuthNtlm": JOE, "proxy": HTTP_PROXY, "proxyHeaders": {"Proxy-Authorization": "x"}},
         ["config.proxyAuthNtlm"]),
        ({}, {"proxyAuthNtlm": JOE, "proxyAuthBasic": JOE, "proxy": HTTP_PROXY}, ["config.proxyAuthNtlm"]),
        ({"authBasic": JOE}, {"locationTrusted": JOE}, ["config.locationTrusted", "httpRequest.authBasic"]),
        ({"authBasic": {"username": "a:b", "password": "secret"}}, {}, ["httpRequest.authBasic.username"]),
        ({"authBasic": {"username": "a\n", "password": "secret"}}, {}, ["httpRequest.authBasic.username"]),
        ({"authBasic": {"username": "a"}}, {}, ["httpRequest.authBasic.password"]),
        ({"authBasic": JOE, "headers": {"authorization": "x"}}, {}, ["httpRequest.authBasic"]),
        ({"authAwsSigv4": {**AWS, "region": "a:b"}}, {}, ["httpRequest.authAwsSigv4.region"]),
        ({}, {"refererUrl": "AUTO"}, ["config.refererUrl"]),
        ({}, {"refererUrl": "page"}, ["config.refererUrl"]),
        ({"headers": {"Referer": "x"}}, {"refererUrl": "http://a.test"}, ["config.refererUrl"]),
        ({}, {"keepAliveDuration": 259_201}, ["config.keepAliveDuration"]),
        ({}, {"proto": "http"}, ["config.proto"]),
        ({}, {"proto": "ftp"}, ["config.proto"]),
        ({"url": "http://127.0.0.1/"}, {"ipVersion": 6}, ["config.ipVersion"]),
        ({"url": "http://[::1]/"}, {"ipVersion": 4}, ["config.ipVersion"]),
        ({}, {"resolve": [{"host": "a", "port": 1, "address": ["x"]}]},
         ["config.resolve.0.address.0"]),
        ({}, {"resolve": [{"host": "a b", "port": 1, "address": ["::1"]}]}, ["config.resolve.0.host"]),
        ({}, {"resolve": [{"host": "℀.test", "port": 1, "address": ["::1"]}]}, ["config.resolve.0.host"]),
        ({}, {"proxy": {"protocol": "http", "host": "a／b.test"}}, ["config.proxy.host"]),  # noqa: RUF001
        ({}, {"refererUrl": "http://℀.test/"}, ["config.refererUrl"]),
        ({}, {"dnsServer": ["9.9.9.9", "dns.test", "fe80::1%lo", "127.1"]},
         ["config.dnsServer.1", "config.dnsServer.2", "config.dnsServer.3"]),
        ({}, {"dnsServer": ["9.9.9.9"] * 5}, ["config.dnsServer"]),
        ({}, {"dnsServer": []}, ["config.dnsServer"]),
        ({}, {"dohUrl": "http://dns.test/dns-query"}, ["config.dohUrl"]),
        ({}, {"dohUrl": "https://℀.test/dns-query"}, ["config.dohUrl"]),
        ({}, {"dohUrl": "dns.test"}, ["config.dohUrl"]),
        ({}, {"dohUrl": "https://dns.test/", "dnsServer": ["9.9.9.9"]}, ["config.dohUrl"]),
        ({}, {"dohInsecure": True}, ["config.dohInsecure"]),
        ({}, {"resolve": [{"host": "a", "port": 0, "address": []}]},
         ["config.resolve.0.address", "config.resolve.0.port"]),
        ({}, {"tlsVersion": "1.3", "tlsMaxVersion": "1.2"}, ["config.tlsMaxVersion"]),
        ({}, {"hsts": "!"}, ["config.hsts"]),
        ({}, {"hsts": base64.b64encode(b'shop.test "soon"').decode()}, ["config.hsts"]),
        ({}, {"hsts": base64.b64encode(b'shop.test "20301331 00:00:00"').decode()}, ["config.hsts"]),
        ({}, {"key": "k"}, ["config.key"]),
        ({}, {"keyType": "DER", "certType": "DER"}, ["config.certType", "config.keyType"]),
        ({}, {"cert": CERT, "certType": "DER"}, ["config.key"]),
        ({}, {"cert": CERT, "certType": "P12", "key": "k"}, ["config.key"]),
        ({}, {"cert": "client.pem"}, ["config.cert"]),
        ({}, {"insecure": True, "certStatus": True}, ["config.certStatus"]),
        ({}, {"proxyAuthBasic": JOE, "proxyInsecure": True}, ["config.proxyAuthBasic", "config.proxyInsecure"]),
        ({}, {"proxy": {"protocol": "http", "host": "a/b"}}, ["config.proxy.host"]),
        ({}, {"proxy": {"protocol": "http", "host": "u@h"}}, ["config.proxy.host"]),
        ({}, {"proxy": {"protocol": "http", "host": "1::2::3"}}, ["config.proxy.host"]),
        ({}, {"proxy": HTTP_PROXY, "proxyInsecure": True}, ["config.proxyInsecure"]),
        ({}, {"proxy": HTTP_PROXY, "proxyHttpVersion": "2"}, ["config.proxyHttpVersion"]),
        ({}, {"proxy": HTTPS_PROXY, "proxyHttpVersion": "1.0"}, ["config.proxyHttpVersion"]),
        ({}, {"proxy": HTTP_PROXY, "proxyAuthBasic": JOE, "proxyAuthDigest": JOE}, ["config.proxyAuthDigest"]),
        ({}, {"proxy": HTTP_PROXY, "proxyHeaders": {"Host": "x"}}, ["config.proxyHeaders.Host"]),
        ({}, {"proxy": HTTP_PROXY, "proxyHeaders": {"A": "x\r\nB: y"}}, ["config.proxyHeaders.A"]),
        ({}, {"proxy": SOCKS4, "proxyAuthBasic": JOE}, ["config.proxyAuthBasic"]),
        ({}, {"proxy": SOCKS5, "proxyAuthBasic": {"username": "", "password": "p" * 256}},
         ["config.proxyAuthBasic.password", "config.proxyAuthBasic.username"]),
        ({}, {"proxy": HTTP_PROXY, "proxyAuthBasic": NOBODY}, ["config.proxyAuthBasic"]),
        ({}, {"proxy": HTTP_PROXY, "proxyAuthBasic": JOE | {"username": "a:b"}}, ["config.proxyAuthBasic.username"]),
        ({}, {"proxy": HTTP_PROXY, "proxyAuthDigest": NOBODY}, ["config.proxyAuthDigest.username"]),
        ({}, {"proxy": HTTP_PROXY, "proxyAuthNtlm": NOBODY}, ["config.proxyAuthNtlm.username"]),
        ({"authBasic": NOBODY}, {}, ["httpRequest.authBasic"]),
        ({"authDigest": NOBODY}, {}, ["httpRequest.authDigest.username"]),
        ({"authNtlm": NOBODY}, {}, ["httpRequest.authNtlm.username"]),
        ({}, {"locationTrusted": NOBODY}, ["config.locationTrusted"]),
        ({}, {"proxy": SOCKS5, "proxyHeaders": {"A": "x"}}, ["config.proxyHeaders"]),
        ({}, {"proxy": HTTP_PROXY, "haProxyProtocol": True}, ["config.haProxyProtocol"]),
        ({}, {"haProxyClientIp": "::1"}, ["config.haProxyClientIp"]),
        ({}, {"haProxyProtocol": True, "haProxyClientIp": "localhost"}, ["config.haProxyClientIp"]),
        (CURL, {"credentials": "omit"}, ["config.credentials"]),
        (CURL, {"mode": "cors", "referrerPolicy": ""}, ["config.mode", "config.referrerPolicy"]),
        ({}, {"credentials": "everywhere"}, ["config.credentials"]),
        ({}, {"mode": "navigate"}, ["config.mode"]),
        ({}, {"referrerPolicy": "none"}, ["config.referrerPolicy"]),
        ({"headers": {"Referer": "http://a.test/"}}, {"referrerPolicy": "origin"}, ["config.referrerPolicy"]),
        ({"headers": {"Cookie": "a=1"}}, {"credentials": "include"}, ["config.credentials"]),
        ({}, {"credentials": "same-origin", "locationTrusted": JOE}, ["config.locationTrusted"]),
        ({}, {"credentials": "omit", "locationTrusted": JOE}, ["config.locationTrusted"]),
        ({"headers": {"sec-fetch-mode": "cors"}}, {"mode": "cors"}, ["config.mode"]),
        ({"method": "PUT"}, {"mode": "no-cors"}, ["httpRequest.method"]),
        ({}, {"mode": "no-cors", "location": False}, ["config.location"]),
        ({}, {"mode": "no-cors", "redirectAttempts": 0}, ["config.redirectAttempts"]),
        ({"headers": {"Authorization": "x"}}, {"mode": "no-cors"}, ["httpRequest.headers.Authorization"]),
        ({"headers": {"Accept": "a" * 129}}, {"mode": "no-cors"}, ["httpRequest.headers.Accept"]),
        ({"headers": {"Accept": "<b>"}}, {"mode": "no-cors"}, ["httpRequest.headers.Accept"]),
        ({"headers": {"accept-language": "a_b"}}, {"mode": "no-cors"}, ["httpRequest.headers.accept-language"]),
        (
            {"method": "POST", "data": {}, "headers": {"Content-Type": "application/json"}}, {"mode": "no-cors"},
            ["httpRequest.headers.Content-Type"],
        ),
        ({"method": "POST", "data": {}}, {"mode": "no-cors"}, ["httpRequest.data"]),
        ({"method": "POST", "dataBase64": "AAAA"}, {"mode": "no-cors"}, ["httpRequest.dataBase64"]),
    ],
)  # fmt: skip
def test_what_is_refused(request_fields: dict[str, Any], config: dict[str, Any], fields: list[str]) -> None:
    assert faults(request_fields, config) == fields


def test_plain_tasks_are_not_special() -> None:
    raw = {"httpRequest": {"url": "https://target.test/", "method": "POST", "data": "x"}, "config": {"retry": 3}}
    draft = read(raw)
    assert not decode_spec(draft.spec).special
    assert b"special" not in draft.spec


def test_what_fetch_allows_is_said() -> None:
    raw = {"httpRequest": {"url": "https://target.test/", "method": "GET"}, "config": {"mode": "navigate"}}
    with pytest.raises(InvalidRequest) as refused:
        validation.read(raw, NOW, UTC)
    (fault,) = refused.value.faults
    assert (fault.field, fault.given, fault.allowed) == ("config.mode", "navigate", ["cors", "no-cors", "same-origin"])


def test_hosts_in_other_scripts_are_settled_once() -> None:
    raw = {
        "httpRequest": {"url": "https://BÜCHER.test/ü", "method": "GET"},
        "config": {
            "proxy": {"protocol": "http", "host": "pröxy.test"},
            "resolve": [{"host": "straße.test", "port": 443, "address": ["::1"]}],
            "dohUrl": "https://１２７。1/dns-query",  # noqa: RUF001
            "refererUrl": "http://中文.test/",
        },
    }
    spec = decode_spec(validation.read(raw, NOW, UTC).spec)
    config = spec.config
    assert config.proxy is not None
    assert config.resolve is not None
    assert spec.request.url == "https://xn--bcher-kva.test/%C3%BC"
    assert config.proxy.host == "xn--prxy-6qa.test"
    assert config.resolve[0].host == "xn--strae-oqa.test"
    assert config.doh_url == "https://127.1/dns-query"
    assert config.referer_url == "http://xn--fiq228c.test/"


@pytest.mark.parametrize(
    ("url", "name", "is_taken"),
    [
        ("http://target.test/", "__Secure-a", False),
        ("http://target.test/", "__HOST-a", False),
        ("http://target.test/", "a__Secure-", True),
        ("https://target.test/", "__Host-a", True),
        ("http://127.0.0.1/", "__Secure-a", True),  # nobody listens on the way to this machine
    ],
)
def test_cookies_for_https_alone(url: str, name: str, is_taken: bool) -> None:
    found = faults({"url": url, "cookie": [{"name": "b", "value": "1"}, {"name": name, "value": "1"}]}, {})
    assert found == ([] if is_taken else ["httpRequest.cookie.1.name"])


@pytest.mark.parametrize("given", ["all", 5])
def test_a_value_is_shown_where_only_its_name_looks_secret(given: object) -> None:
    raw = {
        "httpRequest": {"url": "https://target.test/", "method": "GET", "headers": {"Authorization": 6}},
        "config": {"credentials": given, "locationTrusted": 7},
    }
    with pytest.raises(InvalidRequest) as refused:
        validation.read(raw, NOW, UTC)
    shown = {fault.field: fault.given for fault in refused.value.faults}
    assert shown == {
        "config.credentials": given, "config.locationTrusted": "***", "httpRequest.headers.Authorization": "***",
    }  # fmt: skip
