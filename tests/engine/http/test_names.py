"""Names that are looked up at servers of the task's own, seen at those servers and at the target."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.domain.egress import Egress
from tasks_server.domain.request import TaskConfig
from tasks_server.engine.calls import Call
from tasks_server.engine.http import lookups
from tests.engine.http.asking import ask, asked
from tests.engine.http.authority import Authority, base64_of, server_context
from tests.engine.http.driver import Driver, call
from tests.engine.http.hostile_urls import REBINDING
from tests.engine.http.name_servers import DnsServer, DohServer
from tests.engine.http.proxies import HttpProxy, SocksProxy
from tests.engine.http.target import Target, answer, redirect
from tests.engine.http.test_egress import Listener, assert_blocked

ASKS = {"dnsServer": ["127.0.0.1"]}


@pytest.fixture
def names() -> Iterator[DnsServer]:
    with DnsServer(records={("shop.test", "A"): ["127.0.0.1"]}) as running:
        yield running


@pytest.fixture
def http(names: DnsServer) -> Iterator[Driver]:
    with Driver(dns_port=names.port) as running:
        yield running


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def doh(authority: Authority, tmp_path: Path) -> Iterator[DohServer]:
    context = server_context(authority.issue("names", "127.0.0.1"), tmp_path)
    with DohServer(context, records={("shop.test", "A"): ["127.0.0.1"]}) as running:
        yield running


def assert_failed(outcome: Outcome, reason: str) -> None:
    assert (outcome.kind, outcome.status_code, outcome.error) == (OutcomeKind.CONNECTION, 0, reason)


@pytest.mark.option("dnsServer")
def test_names_are_looked_up_at_the_tasks_own_servers(http: Driver, target: Target, names: DnsServer) -> None:
    assert ask(http, target.url("/a", host="shop.test"), ASKS).response == b"ok"
    assert set(names.asked) == {("shop.test", "A"), ("shop.test", "AAAA")}
    assert target.last.header("Host") == f"shop.test:{target.port}"
    # No other call sees these addresses, nor the connection.
    outcome = http.get(target.url(host="shop.test"))
    assert_failed(outcome, f"unknown host shop.test:{target.port}")
    assert target.opened == 1


@pytest.mark.option("dnsServer")
def test_addresses_go_no_way_by_themselves(http: Driver, target: Target, names: DnsServer) -> None:
    for host in ("127.0.0.1", "localhost"):
        assert ask(http, target.url(host=host), ASKS).response == b"ok"
    given = {"resolve": [{"host": "Other.test", "port": target.port, "address": ["127.0.0.1"]}]}
    assert ask(http, target.url(host="other.test"), ASKS | given).response == b"ok"
    assert ask(http, target.url(host="shop.test"), ASKS | given).response == b"ok"
    assert names.names() == {"shop.test"}


def test_what_the_task_gives_is_not_looked_up(http: Driver, target: Target, names: DnsServer) -> None:
    every = {"resolve": [{"host": "*", "port": target.port, "address": ["127.0.0.1"]}]}
    target.scripts["/from"] = redirect(302, target.url("/to", host="b.test"))
    assert ask(http, target.url("/from", host="a.test"), ASKS | every).response == b"ok"
    assert target.last.header("Host") == f"b.test:{target.port}"
    assert names.names() == set()
    # Where the other port of a name is looked up, what is given for this one still holds.
    names.records[("c.test", "A")] = ["127.0.0.9"]
    for host in ("c.test", "*"):
        given = {"resolve": [{"host": host, "port": target.port, "address": ["127.0.0.1"]}], "hsts": True}
        assert ask(http, target.url(host="c.test"), ASKS | given).response == b"ok"
    assert names.names() == {"c.test"}


def test_aliases_are_followed(http: Driver, target: Target, names: DnsServer) -> None:
    names.records |= {("a.test", "CNAME"): ["b.test."], ("b.test", "CNAME"): ["shop.test."]}
    for chases in (True, False):
        names.chases = chases
        assert ask(http, target.url(host="a.test"), ASKS).response == b"ok"
    assert {"a.test", "b.test", "shop.test"} == names.names()
    names.records[("shop.test", "CNAME")] = ["a.test."]
    assert_failed(
        ask(http, target.url(host="a.test"), ASKS),
        "a.test could not be looked up: it is an alias of too many others",
    )


def test_the_version_of_ip_counts(http: Driver, target: Target, names: DnsServer) -> None:
    assert ask(http, target.url(host="shop.test"), ASKS | {"ipVersion": 4}).response == b"ok"
    assert names.asked == [("shop.test", "A")]
    assert_failed(
        ask(http, target.url(host="shop.test"), ASKS | {"ipVersion": 6}),
        "unknown host shop.test: it has no IPv6 address",
    )


def test_long_answers_come_by_tcp(http: Driver, target: Target, names: DnsServer) -> None:
    names.truncates = True
    assert ask(http, target.url(host="shop.test"), ASKS).response == b"ok"
    assert names.by_tcp == 2


def test_servers_are_asked_in_turn(
    http: Driver, target: Target, names: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookups, "_TRY_SECONDS", 0.1)
    with DnsServer("127.0.0.2", names.port, failures={"shop.test": "SERVFAIL"}) as broken:
        servers = {"dnsServer": ["127.0.0.3", "127.0.0.2", "127.0.0.1"]}  # the first does not listen
        assert ask(http, target.url(host="shop.test"), servers).response == b"ok"
    assert broken.names() == names.names() == {"shop.test"}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("NXDOMAIN", "unknown host shop.test"),
        ("SERVFAIL", "shop.test could not be looked up: the DNS server answered SERVFAIL"),
        ("REFUSED", "shop.test could not be looked up: the DNS server answered REFUSED"),
    ],
)
def test_failures_are_reasons(http: Driver, target: Target, names: DnsServer, code: str, reason: str) -> None:
    names.failures["shop.test"] = code
    assert_failed(ask(http, target.url(host="shop.test"), ASKS), reason)
    assert target.opened == 0


def test_servers_that_say_nothing(
    http: Driver, target: Target, names: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookups, "_LOOKUP_SECONDS_MAX", 0.2)
    names.is_silent = True
    outcome = ask(http, target.url(host="shop.test"), ASKS)
    assert_failed(outcome, "shop.test could not be looked up: no answer from the DNS servers")


def test_looking_up_counts_in_the_timeout(http: Driver, target: Target, names: DnsServer) -> None:
    names.is_silent = True
    made = asked(target.url(host="shop.test"), ASKS)
    made.timeout_ms = 200
    outcome = http.run(made)[0]
    assert (outcome.kind, outcome.status_code) == (OutcomeKind.TIMEOUT, 408)
    assert outcome.error == f"no answer from shop.test:{target.port} within 200 ms"


def test_a_call_can_be_dropped_while_it_is_looked_up(http: Driver, target: Target, names: DnsServer) -> None:
    names.is_silent = True
    made = asked(target.url(host="shop.test"), ASKS)
    http.client.send([made])
    assert http.get(target.url()).response == b"ok"
    http.client.abort([made.token])
    names.is_silent = False
    assert ask(http, target.url(host="shop.test"), ASKS).response == b"ok"
    assert made.token not in http.done


def test_answers_are_kept_as_long_as_they_allow(target: Target, names: DnsServer) -> None:
    names.ttl = 60
    clock = ManualClock(1_700_000_000_000)
    with Driver(clock=clock, dns_port=names.port) as http:
        for seconds, times in ((0, 1), (59, 1), (2, 2)):
            clock.advance(seconds * 1_000)
            assert ask(http, target.url(host="shop.test"), ASKS | {"ipVersion": 4}).response == b"ok"
            assert len(names.asked) == times
        with DnsServer("127.0.0.2", names.port, records=names.records) as other:
            there = {"dnsServer": ["127.0.0.2"], "ipVersion": 4}
            assert ask(http, target.url(host="shop.test"), there).response == b"ok"
            assert other.asked, "answers of one server served for another"


def test_redirects_are_looked_up_there_too(http: Driver, target: Target, names: DnsServer) -> None:
    names.records["other.test", "A"] = ["127.0.0.1"]
    target.scripts["/"] = redirect(302, target.url("/b", host="other.test"))
    target.scripts["/b"] = redirect(302, target.url("/c", host="gone.test"))
    outcome = ask(http, target.url(host="shop.test"), ASKS)
    assert_failed(outcome, "unknown host gone.test")
    assert names.names() == {"shop.test", "other.test", "gone.test"}
    assert [(seen.path, seen.header("Host")) for seen in target.received] == [
        ("/", f"shop.test:{target.port}"), ("/b", f"other.test:{target.port}"),
    ]  # fmt: skip


def test_the_way_through_proxies(http: Driver, target: Target, names: DnsServer) -> None:
    names.records["proxy.test", "A"] = ["127.0.0.1"]
    with HttpProxy() as proxy:
        way = {"proxy": {"protocol": "http", "host": "proxy.test", "port": proxy.port}}
        ask(http, target.url("/p", host="localhost"), ASKS | way)
        assert proxy.last.line == f"GET {target.url('/p', host='localhost')} HTTP/1.1"
    assert names.names() == {"proxy.test"}
    with SocksProxy() as proxy:
        way = {"proxy": {"protocol": "socks5", "host": "127.0.0.1", "port": proxy.port}}
        assert ask(http, target.url("/s", host="shop.test"), ASKS | way).response == b"ok"
        assert proxy.asked == [("5", "127.0.0.1", target.port)]


@pytest.mark.option("dohUrl")
def test_names_are_looked_up_over_https(http: Driver, target: Target, doh: DohServer, authority: Authority) -> None:
    config = {"dohUrl": doh.doh_url, "ca": base64_of(authority.pem)}
    assert ask(http, target.url(host="shop.test"), config).response == b"ok"
    assert doh.names() == {"shop.test"}
    assert doh.last.line == "POST /dns-query HTTP/1.1"
    assert doh.last.header("Content-Type") == doh.last.header("Accept") == "application/dns-message"
    assert doh.last.body[:2] == b"\0\0"
    assert_failed(ask(http, target.url(host="gone.test"), config), "unknown host gone.test")
    assert target.opened == 1


@pytest.mark.option("dohInsecure")
def test_the_certificate_of_the_doh_server(http: Driver, target: Target, doh: DohServer) -> None:
    outcome = ask(http, target.url(host="shop.test"), {"dohUrl": doh.doh_url})
    assert outcome.kind is OutcomeKind.CONNECTION
    assert "shop.test could not be looked up by DNS over HTTPS: the certificate of 127.0.0.1" in (outcome.error or "")
    assert doh.received == []
    assert ask(http, target.url(host="shop.test"), {"dohUrl": doh.doh_url, "dohInsecure": True}).response == b"ok"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (answer(500), "the target answered 500"),
        (answer(200, b"hello"), "it did not answer in DNS"),
        (redirect(302, "/other"), "it did not answer what it was asked"),
    ],
)
def test_doh_servers_that_give_no_answer(http: Driver, doh: DohServer, reply: bytes, reason: str) -> None:
    doh.scripts["/dns-query"] = reply
    outcome = ask(http, "http://shop.test/", {"dohUrl": doh.doh_url, "dohInsecure": True})
    assert outcome.kind is OutcomeKind.CONNECTION
    assert (outcome.error or "").startswith("shop.test could not be looked up by DNS over HTTPS: ")
    if b"moved" not in reply:
        assert reason in (outcome.error or "")


# The egress policy


def special(url: str, config: TaskConfig) -> Call:
    """A call as a policy of before let it be registered."""
    return call(url, config=config)


def guarded(names: DnsServer, allow: str = "127.0.0.1") -> Driver:
    return Driver(egress=Egress.parse("public", allow, ""), dns_port=names.port)


def kind_of(address: str) -> str:
    return "AAAA" if ":" in address else "A"


@pytest.mark.parametrize("addresses", REBINDING, ids=" ".join)
def test_no_name_server_of_a_task_leads_to_a_refused_address(names: DnsServer, addresses: list[str]) -> None:
    # Where the server itself listens has to be allowed.
    moved = [re.sub("127.0.0.1$", "127.0.0.2", one).replace("7f00:1", "7f00:2") for one in addresses]
    for one in moved:
        names.records.setdefault(("evil.test", kind_of(one)), []).append(one)
    listener = Listener()
    with guarded(names) as http:
        outcome = ask(http, f"http://evil.test:{listener.port}/", ASKS)
    assert listener.end() == 0
    assert_blocked(outcome, "evil.test is a")
    assert names.names() == {"evil.test"}


def test_a_name_that_moves_between_two_attempts_is_judged_again(names: DnsServer, target: Target) -> None:
    with guarded(names) as http:
        assert ask(http, target.url(host="shop.test"), ASKS).response == b"ok"
        names.records["shop.test", "A"] = ["127.0.0.2"]
        assert_blocked(
            ask(http, target.url(host="shop.test"), ASKS | {"keepAliveDuration": 0}), "shop.test", "loopback"
        )


def test_a_redirect_to_a_name_that_leads_home_is_refused(names: DnsServer, target: Target) -> None:
    listener = Listener()
    names.records["evil.test", "A"] = ["127.0.0.2"]
    target.scripts["/"] = redirect(302, f"http://evil.test:{listener.port}/")
    with guarded(names) as http:
        assert_blocked(ask(http, target.url(host="shop.test"), ASKS), "evil.test is a loopback address")
    assert listener.end() == 0


@pytest.mark.parametrize("others", [{}, {"proxy": {"protocol": "http", "host": "corp.test", "port": 1}}])
def test_trust_in_a_name_is_not_for_foreign_servers(names: DnsServer, others: dict[str, Any]) -> None:
    names.records["corp.test", "A"] = ["127.0.0.2"]
    with guarded(names, "corp.test 127.0.0.1") as http:
        assert_blocked(ask(http, "http://corp.test:1/", ASKS | others), "corp.test is a loopback address")


@pytest.mark.parametrize("server", ["127.0.0.2", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.2"])
def test_refused_name_servers_are_not_asked(names: DnsServer, server: str) -> None:
    with guarded(names) as http:
        outcome = http.run(special("http://shop.test/", TaskConfig(dns_server=["127.0.0.1", server])))[0]
    assert_blocked(outcome, f"the DNS server {server} is a")
    assert names.asked == []


@pytest.mark.parametrize("host", ["127.0.0.2", "0x7f.2", "[::1]", "2130706434"])
def test_refused_doh_servers_are_not_connected(names: DnsServer, host: str) -> None:
    listener = Listener()
    with guarded(names) as http:
        outcome = ask(http, "http://shop.test/", {"dohUrl": f"https://{host}:{listener.port}/q", "dohInsecure": True})
    assert listener.end() == 0
    assert_blocked(outcome)


def test_addresses_of_doh_are_judged(names: DnsServer, doh: DohServer) -> None:
    doh.records["evil.test", "A"] = ["127.0.0.2"]
    listener = Listener()
    with guarded(names) as http:
        config = {"dohUrl": doh.doh_url, "dohInsecure": True}
        assert_blocked(ask(http, f"http://evil.test:{listener.port}/", config), "evil.test is a loopback address")
    assert listener.end() == 0


def test_plain_calls_load_no_dns(target: Target) -> None:
    with Driver() as http:
        assert http.run(call(target.url()))[0].response == b"ok"
        assert not http.client._transfers._names.is_used
