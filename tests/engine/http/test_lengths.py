"""Tokens, signed URLs, cookies and credentials as long as real ones arrive whole; what could not is refused."""

import base64
from typing import Any

import pytest

from tasks_server.domain import limits
from tasks_server.domain.errors import InvalidRequest
from tests.engine.http.asking import ask
from tests.engine.http.driver import Driver
from tests.engine.http.target import Target, redirect
from tests.engine.http.test_special_proxy import through

BEARER = "Bearer " + "eyJ0." * 1_600
"""A token with many claims: 8 007 characters."""
SIGNED = f"/bucket/object?X-Amz-Security-Token={'Fwo%2F' * 700}&X-Amz-Signature={'0f' * 32}"
"""As S3 signs for a session: more than 4 200 characters."""
ECR = {"username": "AWS", "password": "eyJw" * 700}
STRIPE = {"username": "sk_live_" + "5" * 99, "password": ""}
AZURE = {"username": "", "password": "p" * 84}


def test_a_long_header(http: Driver, target: Target) -> None:
    longest = "x" * limits.TOKEN_LENGTH_MAX
    assert ask(http, target.url(), headers={"Authorization": BEARER, "X-Longest": longest}).response == b"ok"
    assert (target.last.header("Authorization"), target.last.header("X-Longest")) == (BEARER, longest)


def test_a_token_in_the_query(http: Driver, target: Target) -> None:
    assert ask(http, target.url("/a"), query={"access_token": "t" * 5_000}).response == b"ok"
    assert target.last.path == f"/a?access_token={'t' * 5_000}"


@pytest.mark.parametrize("config", [{}, {"credentials": "include"}], ids=["libcurl follows", "we follow"])
def test_a_signed_url(http: Driver, target: Target, config: dict[str, Any]) -> None:
    target.scripts["/away"] = redirect(302, target.url(SIGNED))
    for url in (target.url(SIGNED), target.url("/away")):
        assert ask(http, url, config).response == b"ok"
        assert target.last.path == SIGNED
    longest = target.url("/" + "p" * (limits.URL_LENGTH_MAX - len(target.url("/"))))
    assert ask(http, longest, config).response == b"ok"
    assert target.last.path == longest.removeprefix(target.url(""))


def test_a_long_referer(http: Driver, target: Target) -> None:
    assert ask(http, target.url(), {"refererUrl": target.url(SIGNED)}, transport="curl").response == b"ok"
    assert target.last.header("Referer") == target.url(SIGNED)


@pytest.mark.parametrize("who", [ECR, STRIPE, AZURE], ids=["ECR", "Stripe", "Azure"])
@pytest.mark.parametrize("way", ["authBasic", "locationTrusted", "proxyAuthBasic"])
def test_a_token_as_credentials(http: Driver, target: Target, who: dict[str, str], way: str) -> None:
    line = "Basic " + base64.b64encode(f"{who['username']}:{who['password']}".encode()).decode()
    if way == "proxyAuthBasic":  # the target stands in for the proxy
        outcome = ask(http, "http://shop.test/", through(target, proxyAuthBasic=who) | {"insecure": False})
        seen = target.last.header("Proxy-Authorization")
    else:
        given = {way: who}
        outcome = ask(
            http, target.url(), *([{}] if way == "authBasic" else [given]), **(given if way == "authBasic" else {})
        )
        seen = target.last.header("Authorization")
    assert outcome.response == b"ok"
    assert seen == line


def test_a_token_for_the_proxy(http: Driver, target: Target) -> None:
    config = through(target, proxyHeaders={"Proxy-Authorization": BEARER}) | {"insecure": False}
    assert ask(http, "http://shop.test/", config).response == b"ok"
    assert target.last.header("Proxy-Authorization") == BEARER


@pytest.mark.parametrize("config", [{}, {"credentials": "include"}], ids=["as a header", "as a jar"])
def test_long_cookies(http: Driver, target: Target, config: dict[str, Any]) -> None:
    """All of them, or none: of what is longer, libcurl would leave out some cookies in silence."""
    longest = limits.COOKIES_LENGTH_MAX - limits.COOKIE_LENGTH_MAX - len("a=; b=")
    cookie = [{"name": "a", "value": "1" * limits.COOKIE_LENGTH_MAX}, {"name": "b", "value": "2" * longest}]
    assert ask(http, target.url(), config, cookie=cookie).response == b"ok"
    sent = sorted((target.last.header("Cookie") or "").split("; "))
    assert sent == [f"{one['name']}={one['value']}" for one in cookie]
    with pytest.raises(InvalidRequest, match="cookie: is too long as it is sent"):
        ask(http, target.url(), config, cookie=[*cookie, {"name": "c", "value": "3"}])


def jar(*lines: str) -> str:
    return base64.b64encode("\n".join(lines).encode()).decode()


def test_long_cookies_of_a_file(http: Driver, target: Target) -> None:
    mine = [f"127.0.0.1\tFALSE\t/\tFALSE\t0\tc{number}\t{'v' * 81}" for number in range(90)]
    others = ["127.0.0.1\tFALSE\t/else\tFALSE\t0\tx\t" + "x" * 5_000, "a.test\tTRUE\t/\tFALSE\t0\tx\t" + "x" * 5_000]
    assert ask(http, target.url("/a"), cookie=jar(*others, *mine)).response == b"ok"
    assert len((target.last.header("Cookie") or "").split("; ")) == len(mine)
    with pytest.raises(InvalidRequest, match="cookie: is too long as it is sent"):
        ask(http, target.url("/a"), cookie=jar(*mine, "127.0.0.1\tFALSE\t/\tFALSE\t0\tc\t" + "v" * 700))
    short = [f"127.0.0.1\tFALSE\t/\tFALSE\t0\tc{number}\tv" for number in range(151)]
    assert ask(http, target.url("/a"), cookie=jar(*short[1:])).response == b"ok"
    assert len((target.last.header("Cookie") or "").split("; ")) == 150
    with pytest.raises(InvalidRequest, match="cookie: holds too many cookies for this URL"):
        ask(http, target.url("/a"), cookie=jar(*short))


def test_a_session_of_amazon(http: Driver, target: Target) -> None:
    given = {
        **{"provider1": "aws", "provider2": "amz", "region": "r" * 64, "service": "s" * 64},
        **{"key": "ASIA" + "X" * 124, "secret": "s" * 256},
    }
    token = "t" * 4_096
    assert ask(http, target.url(), authAwsSigv4=given, headers={"X-Amz-Security-Token": token}).response == b"ok"
    signature = target.last.header("Authorization") or ""
    assert f"/{'r' * 64}/{'s' * 64}/aws4_request, " in signature
    assert "x-amz-security-token" in signature
    assert target.last.header("X-Amz-Security-Token") == token
    with pytest.raises(InvalidRequest, match=r"authAwsSigv4\.region: must be text of 1 to 64 characters"):
        ask(http, target.url(), authAwsSigv4=given | {"region": "r" * 65})


def test_an_empty_field_of_a_form(http: Driver, target: Target) -> None:
    data = [{"name": "policy", "value": "p" * 5_000}, {"name": "note", "value": ""}]
    assert ask(http, target.url(), method="POST", data=data).response == b"ok"
    assert b'name="note"\r\n\r\n\r\n--' in target.last.body
