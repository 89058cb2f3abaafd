"""Which addresses and hosts each policy refuses, in every spelling and disguise."""

import ipaddress
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks_server.domain import rules_egress
from tasks_server.domain.addresses import METADATA, METADATA_NAMES, Address, forms, literal
from tasks_server.domain.egress import Egress, Policy, parse_rules
from tasks_server.domain.errors import Fault
from tasks_server.domain.options import Proxy, Resolve
from tasks_server.domain.request import TaskConfig

OPEN, PRIVATE, PUBLIC = (Egress(policy) for policy in Policy)

UNFIT = [
    *("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4", "192.88.99.0/24"),
    *("::/128", "::1/128", "fe80::/10", "ff00::/8", "100::/64", "64:ff9b:1::/48", "::ffff:0:0:0/96", "::/96"),
]
OWN = [
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24"),
    *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
    *("fc00::/7", "fec0::/10", "2001:2::/48", "2001:20::/28", "2001:db8::/32", "3fff::/20", "5f00::/16"),
]
GLOBAL = [
    *(
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
    ),
    *("169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0"),
    *("198.17.255.255", "198.20.0.0", "223.255.255.255", "168.63.129.15", "192.31.196.1", "192.175.48.1"),
    *("2000::1", "2001:200::1", "2001:4860:4860::8888", "2606:4700:4700::1111", "2620:4f:8000::1", "3ffe:ffff::1"),
    *("::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1", "2001:0:808:808::f7f7:f7f7", "2600::5efe:8.8.8.8"),
]


def inside(network: str) -> st.SearchStrategy[Address]:
    block = ipaddress.ip_network(network)
    return st.integers(int(block.network_address), int(block.broadcast_address)).map(
        IPv4Address if block.version == 4 else IPv6Address
    )


def spellings(address: IPv4Address) -> list[str]:
    """What inet_aton takes for this address, and IPv6 addresses that hold it."""
    number = int(address)
    a, b, c, d = address.packed
    low, quads = number & 0xFFFF, f"{number >> 16:x}:{number & 0xFFFF:x}"
    return [
        *(f"{a}.{b}.{c}.{d}", f"{a}.{b}.{low}", f"{a}.{number & 0xFFFFFF}", f"{number}", f"{a}.{b}.{c}.{d}."),
        *(f"0{a:o}.0{b:o}.0{c:o}.0{d:o}", f"0{number:o}", f"000{a:o}.{b}.0x{c:x}.{d}", f"0x{a:x}.0{b:o}.{low}"),
        *(f"0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}", f"0X{number:08X}", f"0x{a:x}.{number & 0xFFFFFF}", f"0x000{number:x}"),
        *(f"[::ffff:{address}]", f"[::FFFF:{quads}]", f"[0:0:0:0:0:ffff:{quads}]", f"[::{address}]"),
        *(f"[64:ff9b::{address}]", f"[64:ff9b::{quads}]", f"[64:ff9b:1::{quads}]", f"[2002:{quads}::1]"),
        *(f"[2001:0:{quads}::]", f"[2001::{~number >> 16 & 0xFFFF:x}:{~number & 0xFFFF:x}]"),
        *(f"[2600::5efe:{quads}]", f"[2600::200:5efe:{quads}]", f"[::ffff:0:{quads}]"),
    ]


@pytest.mark.parametrize("network", [*UNFIT, *OWN])
@given(data=st.data())
def test_refused_ranges_are_refused_in_every_spelling(network: str, data: st.DataObject) -> None:
    address = data.draw(inside(network))
    spelled = spellings(address) if isinstance(address, IPv4Address) else [f"[{address}]", f"[{address.exploded}]"]
    for host in spelled:
        found = literal(host)
        assert found is not None, host
        assert PUBLIC.refusal(found) is not None, host
        assert PUBLIC.refusal_of_host(host) == PUBLIC.refusal(found)
        if network in UNFIT:
            assert PRIVATE.refusal_of_host(host) is not None, host


@pytest.mark.parametrize("address", GLOBAL)
def test_global_addresses_are_called_by_every_policy(address: str) -> None:
    assert [egress.refusal(address) for egress in (OPEN, PRIVATE, PUBLIC)] == [None, None, None]


@pytest.mark.parametrize("network", [network for network in OWN if ":" not in network] + ["fc00::/7"])
def test_private_calls_networks_of_the_operator(network: str) -> None:
    first = ipaddress.ip_network(network)[1]
    assert (OPEN.refusal(first), PRIVATE.refusal(first)) == (None, None)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "0.0.0.0", "10.0.0.1", "fe80::1", "255.255.255.255"])
def test_open_calls_everything_else(address: str) -> None:
    assert OPEN.refusal(address) is None


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
@example(IPv4Address("192.0.0.9"))
def test_what_python_calls_not_global_is_refused_in_ipv4(address: IPv4Address) -> None:
    if not address.is_global or address.is_multicast or address.is_reserved:
        assert PUBLIC.refusal(address) is not None


@given(st.one_of(st.integers(0, 2**128 - 1), st.integers(2**125, 2**126 - 1), st.integers(0, 2**48)).map(IPv6Address))
def test_what_python_calls_not_global_is_refused_in_ipv6(address: IPv6Address) -> None:
    if address.ipv4_mapped or address.sixtofour or address.teredo or address in IPv6Network("64:ff9b::/96"):
        assert len(forms(address)) > 1 or address.ipv4_mapped
    elif not address.is_global or address.is_multicast or address.is_reserved or address.is_site_local:
        assert PUBLIC.refusal(address) is not None


@given(st.text("0123456789abcdefxX.", min_size=1, max_size=24))
@example("0x7f.1")
@example("0177.0.0.1")
def test_every_spelling_that_the_system_takes_for_an_address_is_one_here(text: str) -> None:
    try:
        packed = socket.inet_aton(text)
    except OSError:
        return
    assert literal(text) == IPv4Address(packed)


@given(st.text("0123456789abcdef:.", min_size=2, max_size=40))
@example("::ffff:127.0.0.1")
def test_every_ipv6_address_of_the_system_is_one_here(text: str) -> None:
    try:
        packed = socket.inet_pton(socket.AF_INET6, text)
    except OSError:
        return
    assert literal(f"[{text}]") == IPv6Address(packed)


@pytest.mark.parametrize(
    "name", ["example.com", "a", "1.2.3.4.5", "0x7g", "256.1.1.1", "08", "-", "1..2", "4294967296"]
)
def test_names_are_no_addresses(name: str) -> None:
    assert literal(name) is None


@pytest.mark.parametrize("address", sorted(METADATA, key=str), ids=str)
@pytest.mark.parametrize("policy", Policy)
def test_metadata_addresses_have_to_be_listed_themselves(address: Address, policy: Policy) -> None:
    around = (
        ipaddress.ip_network((int(address) & ~1, address.max_prefixlen - 1)) if address.version == 4 else "fc00::/7"
    )
    for allow in ("", "shop.test", str(around), "0.0.0.0/0 ::/0"):
        refusal = Egress(policy, parse_rules(allow)).refusal(address, "shop.test")
        assert refusal == "a cloud metadata address, which no egress policy lets through"
    assert Egress(policy, parse_rules(str(address))).refusal(address) is None


@pytest.mark.parametrize("name", METADATA_NAMES)
def test_metadata_names(name: str) -> None:
    for host in (name, name.upper() + ".", f"a.{name}"):
        assert OPEN.refusal_of_host(host) == "a cloud metadata service, which no egress policy lets through"
    assert Egress(Policy.PUBLIC, parse_rules(name)).refusal_of_host(name) is None
    assert OPEN.refusal_of_host(f"x{name}") is None


def test_allowed_and_denied() -> None:
    egress = Egress.parse("public", "10.1.0.0/16, 127.0.0.1 corp.test", "10.1.2.0/24,9.9.9.9 bad.corp.test")
    assert egress.refusal("10.1.1.1") is None
    assert egress.refusal("::ffff:10.1.1.1") is None
    assert egress.refusal("64:ff9b::10.1.1.1") is None
    assert egress.refusal("10.2.1.1") == "a private address, which the egress policy (public) refuses"
    for denied in ("10.1.2.3", "9.9.9.9", "::ffff:9.9.9.9", "2002:909:909::1", "64:ff9b::9.9.9.9"):
        assert egress.refusal(denied) == "an address that EGRESS_DENY lists"
        assert egress.refusal(denied, "corp.test") == "an address that EGRESS_DENY lists"
    assert egress.refusal("10.9.9.9", "a.corp.test.") is None
    assert egress.refusal("10.9.9.9", "acorp.test") is not None
    assert egress.refusal_of_host("BAD.corp.test.") == "a host that EGRESS_DENY lists"
    assert egress.refusal_of_host("x.bad.corp.test") == "a host that EGRESS_DENY lists"
    assert egress.refusal_of_host("corp.test") is None
    assert egress.refusal_of_host("localhost") is None, "127.0.0.1 is allowed"
    assert Egress.parse("open", "", "10.0.0.0/8").refusal("10.1.1.1") == "an address that EGRESS_DENY lists"


def test_urls() -> None:
    assert PUBLIC.refusal_of_url("http://0x7f.1:80/x") == "a loopback address, which the egress policy (public) refuses"
    assert PUBLIC.refusal_of_url("https://shop.test/") is None
    assert OPEN.refusal_of_url("http://u@shop.test/") == "a URL whose host cannot be told surely"
    assert PUBLIC.refusal("no address") == "no IP address"


def test_a_request_is_judged_wherever_it_names_an_address() -> None:
    faults: list[Fault] = []
    resolve = [Resolve("a.test", 80, ["8.8.8.8", "10.0.0.1"])]
    config = TaskConfig(proxy=Proxy("http", "0x7f.1", 3128), resolve=resolve)
    rules_egress.judge_egress("[::1]:80", config, PUBLIC, faults)
    assert [fault.field for fault in faults] == ["httpRequest.url", "config.proxy.host", "config.resolve.0.address.1"]
    assert faults[0].message == "leads to a loopback address, which the egress policy (public) refuses"
    assert [fault.given for fault in faults] == ["[::1]:80", "0x7f.1", "10.0.0.1"]


@pytest.mark.parametrize(
    ("config", "field"),
    [
        (TaskConfig(dns_server=["8.8.8.8", "::ffff:10.0.0.1"]), "config.dnsServer.1"),
        (TaskConfig(doh_url="https://127.1/dns-query"), "config.dohUrl"),
        (TaskConfig(doh_url="https://metadata.goog/dns-query"), "config.dohUrl"),
    ],
)
def test_name_servers_are_judged(config: TaskConfig, field: str) -> None:
    faults: list[Fault] = []
    rules_egress.judge_egress("shop.test:80", config, PUBLIC, faults)
    assert [fault.field for fault in faults] == [field]


def test_name_servers_may_be_public_or_names() -> None:
    faults: list[Fault] = []
    for config in (TaskConfig(dns_server=["8.8.8.8"]), TaskConfig(doh_url="https://dns.test/dns-query")):
        rules_egress.judge_egress("shop.test:80", config, PUBLIC, faults)
    assert faults == []


@pytest.mark.parametrize(
    ("text", "part", "why"),
    [
        ("10.0.0.0/8, 10.0.0.1/8", "'10.0.0.1/8'", "bits set beyond its prefix"),
        ("a.test 10.0.0.0/33", "'10.0.0.0/33'", "no address or network"),
        ("010.0.0.1", "'010.0.0.1'", "no address or network"),
        ("127.1", "'127.1'", "no address or network"),
        ("1.2.3.4:80", "'1.2.3.4:80'", "no address or network"),
        ("shop.test:80", "'shop.test:80'", "no address or network"),
        ("::ffff:10.0.0.0/104", "'::ffff:10.0.0.0/104'", "write it as IPv4"),
        ("256.1.1.1", "'256.1.1.1'", "no address, network or host name"),
        ("a..b", "'a..b'", "no address, network or host name"),
        ("https://a.test", "'https://a.test'", "no address or network"),
        ("b\u00fccher.test", "'b\u00fccher.test'", "no address, network or host name"),
        ("*", "'*'", "no address, network or host name"),
        ("u@a.test", "'u@a.test'", "no address, network or host name"),
    ],
)
def test_bad_rules_name_the_bad_part(text: str, part: str, why: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_rules(text)
    assert part in str(caught.value)
    assert why in str(caught.value)


def test_rules_in_every_form() -> None:
    rules = parse_rules(" 10.0.0.0/8,fd00::/8  ::1\n.A.test, *.b.test c.test. ")
    assert [str(network) for network in rules.networks] == ["10.0.0.0/8", "fd00::/8", "::1/128"]
    assert rules.hosts == ("a.test", "b.test", "c.test")
    assert parse_rules("") == parse_rules(" , ")


def test_the_documentation_names_every_metadata_service() -> None:
    page = (Path(__file__).parents[2] / "docs" / "egress.md").read_text().partition("that are known")[2]
    assert [each for each in (*map(str, METADATA), *METADATA_NAMES) if each not in page] == []
