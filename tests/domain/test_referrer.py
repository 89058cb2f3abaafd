"""What the Referer says, for every policy and every way that a request can lead."""

from typing import get_args

import pytest

from tasks_server.domain.referrer import ReferrerPolicy, is_trustworthy, policy_of, referrer

FROM = "https://Shop.test:443/page?q=1#part"
HERE = "https://shop.test/other"
ELSEWHERE = "https://other.test/"
DOWNGRADE = "http://shop.test/other"
MACHINE = "http://localhost:8080/"
WHOLE, ORIGIN = "https://shop.test/page?q=1", "https://shop.test/"

# Policy: the Referer at the same origin, at another one, at another by http, at this machine by http.
TABLE: dict[ReferrerPolicy, tuple[str | None, str | None, str | None, str | None]] = {
    "": (WHOLE, ORIGIN, None, ORIGIN),
    "no-referrer": (None, None, None, None),
    "no-referrer-when-downgrade": (WHOLE, WHOLE, None, WHOLE),
    "same-origin": (WHOLE, None, None, None),
    "origin": (ORIGIN, ORIGIN, ORIGIN, ORIGIN),
    "strict-origin": (ORIGIN, ORIGIN, None, ORIGIN),
    "origin-when-cross-origin": (WHOLE, ORIGIN, ORIGIN, ORIGIN),
    "strict-origin-when-cross-origin": (WHOLE, ORIGIN, None, ORIGIN),
    "unsafe-url": (WHOLE, WHOLE, WHOLE, WHOLE),
}


def test_the_table_has_every_policy() -> None:
    assert set(TABLE) == set(get_args(ReferrerPolicy))


@pytest.mark.parametrize("policy", TABLE)
def test_what_each_policy_tells(policy: ReferrerPolicy) -> None:
    assert tuple(referrer(policy, FROM, url) for url in (HERE, ELSEWHERE, DOWNGRADE, MACHINE)) == TABLE[policy]


@pytest.mark.parametrize("policy", TABLE)
def test_from_http_nothing_is_a_downgrade(policy: ReferrerPolicy) -> None:
    told = referrer(policy, "http://a.test/page", "http://b.test/")
    assert told == {WHOLE: "http://a.test/page", ORIGIN: "http://a.test/", None: None}[TABLE[policy][1]]


@pytest.mark.parametrize(
    ("source", "whole"),
    [
        ("http://a.test", "http://a.test/"),
        ("http://A.test:80?q", "http://a.test/?q"),
        ("http://a.test:8080/x#y", "http://a.test:8080/x"),
        ("http://[::1]:80/x", "http://[::1]/x"),
        ("http://a.test//x", "http://a.test//x"),
        ("http://a.test/" + "x" * 4_082, "http://a.test/" + "x" * 4_082),
        ("http://a.test/" + "x" * 4_083, "http://a.test/"),
    ],
)
def test_the_form_of_a_referer(source: str, whole: str) -> None:
    assert referrer("unsafe-url", source, "http://b.test/") == whole


@pytest.mark.parametrize(
    ("url", "trustworthy"),
    [
        ("HTTPS://a.test/", True), ("http://a.test/", False), ("http://127.9.9.9/", True), ("http://[::1]:8080/", True),
        ("http://LOCALHOST./", True), ("http://a.localhost/", True), ("http://notlocalhost/", False),
        ("http://10.0.0.1/", False),
    ],
)  # fmt: skip
def test_whom_secrets_may_be_told(url: str, trustworthy: bool) -> None:
    assert is_trustworthy(url) is trustworthy


@pytest.mark.parametrize(
    ("values", "policy"),
    [
        ([], "origin"), ([b""], "origin"), ([b"never, always"], "origin"), ([b"no-referrer"], "no-referrer"),
        ([b"No-Referrer ,unsafe-url, later"], "unsafe-url"), ([b"unsafe-url", b"same-origin"], "same-origin"),
        ([b"\xff"], "origin"),
    ],
)  # fmt: skip
def test_the_policy_that_a_redirect_brings(values: list[bytes], policy: str) -> None:
    assert policy_of(values, "origin") == policy
