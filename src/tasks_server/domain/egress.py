"""The egress policy: which hosts and addresses tasks may call. Pure; what addresses are is in `addresses`, and the
check of each connection in `engine.http.egress`.

An address is refused when any form of it is; a name is judged for itself, and what it leads to when it is connected.
"""

from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Final

import msgspec

from tasks_server.domain import urls
from tasks_server.domain.addresses import METADATA, METADATA_NAMES, Address, Network, forms, literal, special

_CACHED_TARGETS: Final = 4_096
_LOOPBACKS: Final = (IPv4Address("127.0.0.1"), IPv6Address("::1"))


class Policy(StrEnum):
    """What is refused, beside cloud metadata services and what the operator denies."""

    OPEN = "open"
    """Nothing more."""
    PRIVATE = "private"
    """This machine (loopback), its link, multicast, reserved and unspecified addresses."""
    PUBLIC = "public"
    """Everything that is not globally routable."""


class Rules(msgspec.Struct, frozen=True):
    """What one list of the operator's holds: networks, and hosts with all names below them."""

    networks: tuple[Network, ...] = ()
    hosts: tuple[str, ...] = ()

    def covers(self, address: Address) -> bool:
        """Whether a network of the list holds the address."""
        return any(address in network for network in self.networks)

    def lists(self, address: Address) -> bool:
        """Whether the list holds this very address, not only a network around it."""
        return any(address == network.network_address and network.num_addresses == 1 for network in self.networks)

    def covers_host(self, host: str) -> bool:
        return _below(host, self.hosts)


def parse_rules(text: str) -> Rules:
    """The rules of a text such as `10.0.0.0/8, fd00::1, corp.example`, separated by commas or spaces.

    Raises `ValueError` that names all parts that are wrong.

    >>> parse_rules("10.1.0.0/16 *.Corp.example").hosts
    ('corp.example',)
    """
    networks: list[Network] = []
    hosts: list[str] = []
    faults: list[str] = []
    for part in text.replace(",", " ").split():
        try:
            if "/" in part or ":" in part or literal(part) is not None:
                networks.append(_network(part))
            else:
                hosts.append(_host(part))
        except ValueError as error:
            faults.append(str(error))
    if faults:
        raise ValueError("; ".join(faults))
    return Rules(tuple(networks), tuple(hosts))


def _network(part: str) -> Network:
    try:
        network = ip_network(part)
    except ValueError as error:
        bits = "has host bits set" in str(error)
        why = "has bits set beyond its prefix" if bits else "is no address or network such as 10.0.0.0/8 or fd00::/8"
        raise ValueError(f"{part!r} {why}") from None
    if network.version == 6 and getattr(network.network_address, "ipv4_mapped", None) is not None:
        raise ValueError(f"{part!r} is an IPv4 address written as IPv6; write it as IPv4")
    return network


def _host(part: str) -> str:
    name = part.removeprefix("*").removeprefix(".").removesuffix(".").lower()
    try:
        _, target = urls.read_url(f"http://{name}/")
    except ValueError:
        target = ""
    if target != f"{name}:80" or name.rpartition(".")[2].isdigit():
        raise ValueError(f"{part!r} is no address, network or host name; a port is not part of a rule")
    return name


def _below(host: str, suffixes: tuple[str, ...]) -> bool:
    return f".{host}".endswith(_dotted(suffixes))


@lru_cache(16)
def _dotted(suffixes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f".{suffix}" for suffix in suffixes)


class Egress:
    """A policy with its exceptions. What `deny` names is refused always; what `allow` names is called whatever the
    policy says, but a metadata address only when `allow` names it itself, not a network around it.

    The answers are noun phrases such as "a loopback address, …", made for `X is …` or `X leads to …`; None: may be
    called. They never tell the address that a name has.
    """

    def __init__(self, policy: Policy = Policy.OPEN, allow: Rules | None = None, deny: Rules | None = None) -> None:
        self.policy = policy
        self.allow = allow or Rules()
        self.deny = deny or Rules()
        self.refusal_of_target = lru_cache(_CACHED_TARGETS)(self._refusal_of_target)

    @classmethod
    def parse(cls, policy: str, allow: str, deny: str) -> "Egress":
        """The policy of three settings. Raises `ValueError` that names the wrong parts."""
        return cls(Policy(policy), parse_rules(allow), parse_rules(deny))

    def refusal(self, address: Address | str, host: str | None = None) -> str | None:
        """Why this address may not be called. `host` is the name that led to it; where `allow` holds the name, the
        policy does not count. Only pass a name that was resolved by our own means.
        """
        if isinstance(address, str):
            read = literal(address)
            if read is None:
                return "no IP address"
            address = read
        every_form = forms(address)
        if any(self.deny.covers(form) for form in (address, *every_form)):
            return "an address that EGRESS_DENY lists"
        trusted = host is not None and self.allow.covers_host(_plain(host))
        listed = self.allow.covers(address)
        for form in every_form:
            if form in METADATA and not (self.allow.lists(form) or self.allow.lists(address)):
                return "a cloud metadata address, which no egress policy lets through"
            if trusted or listed or self.allow.covers(form):
                continue
            found = special(form)
            if found is None or self.policy is Policy.OPEN or (self.policy is Policy.PRIVATE and not found.unfit):
                continue
            return f"{found.what}, which the egress policy ({self.policy.value}) refuses"
        return None

    def refusal_of_host(self, host: str) -> str | None:
        """Why this host of a URL may not be called, as far as it shows: an address in any spelling, or a name."""
        address = literal(host)
        if address is not None:
            return self.refusal(address)
        name = _plain(host)
        if self.deny.covers_host(name):
            return "a host that EGRESS_DENY lists"
        if self.allow.covers_host(name):
            return None
        if _below(name, METADATA_NAMES):
            return "a cloud metadata service, which no egress policy lets through"
        if _below(name, ("localhost",)) and all(self.refusal(address) for address in _LOOPBACKS):
            return f"a name of this machine, which the egress policy ({self.policy.value}) refuses"
        return None

    def _refusal_of_target(self, target: str) -> str | None:
        """The same of `host:port`, as `urls.read_url` gives it. Remembers its answers."""
        return self.refusal_of_host(target.rpartition(":")[0])

    def refusal_of_url(self, url: str) -> str | None:
        """The same of a URL's host. A URL that cannot be read strictly is refused."""
        try:
            return self.refusal_of_target(urls.read_url(url)[1])
        except ValueError:
            return "a URL whose host cannot be told surely"


def _plain(host: str) -> str:
    return host.rstrip(".").lower()


OPEN: Final = Egress()
"""The policy where nobody chose one."""
