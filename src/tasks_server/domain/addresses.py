"""What an IP address stands for: which ones no call from the outside world should reach, and in which disguises they
come. Pure tables and arithmetic; who refuses what is in `egress`.

Sources: the IANA special-purpose address registries for IPv4 and IPv6 (RFC 6890 and followers), the IANA lists of
multicast and of IPv6 address space, and the clouds' own documentation. Python's `is_global` is not used: that of 3.11
calls multicast, site-local, 3fff::/20, 64:ff9b:1::/48 and loopback in its NAT64 and 6to4 forms global.
"""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, NamedTuple

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Special(NamedTuple):
    """A block that is not globally routable. `unfit`: it is this machine, its link, many or no machines; else it is a
    network that an operator may have of his own.
    """

    network: Network
    what: str
    unfit: bool


_UNFIT: Final = {
    "an unspecified address": ("0.0.0.0/8", "::/128"),
    "a loopback address": ("127.0.0.0/8", "::1/128"),
    "a link-local address": ("169.254.0.0/16", "fe80::/10"),
    "a multicast address": ("224.0.0.0/4", "ff00::/8"),
    "a broadcast address": ("255.255.255.255/32",),
    "a reserved address": ("240.0.0.0/4", "192.88.99.0/24", "::/96", "::ffff:0:0:0/96", "100::/64", "100:0:0:1::/64"),
    "a translated address (local NAT64)": ("64:ff9b:1::/48",),
}
_OWN: Final = {
    "a private address": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10"),
    "a shared address (carrier-grade NAT)": ("100.64.0.0/10",),
    # The few anycast addresses in these two that are global serve no HTTP.
    "an address of the IETF's protocol assignments": ("192.0.0.0/24", "2001::/23"),
    "an address for benchmarks": ("198.18.0.0/15",),
    "an address for documentation": ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"),
    "a segment routing address": ("5f00::/16",),
}


def _rows(blocks: dict[str, tuple[str, ...]], unfit: bool) -> list[Special]:
    return [Special(ip_network(text), what, unfit) for what, texts in blocks.items() for text in texts]


_SPECIAL: Final = sorted((*_rows(_UNFIT, True), *_rows(_OWN, False)), key=lambda row: -row.network.prefixlen)
_SPECIAL_4: Final = [row for row in _SPECIAL if row.network.version == 4]
_SPECIAL_6: Final = [row for row in _SPECIAL if row.network.version == 6]
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_NAT64_LOCAL: Final = IPv6Network("64:ff9b:1::/48")
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
_TEREDO: Final = IPv6Network("2001::/32")
_6TO4: Final = IPv6Network("2002::/16")
# Forms that hold an IPv4 address in their last 32 bits: IPv4-compatible, SIIT, NAT64.
_LAST_32_BITS: Final = (IPv6Network("::/96"), IPv6Network("::ffff:0:0:0/96"), _NAT64)
_ISATAP: Final = (0x0000_5EFE, 0x0200_5EFE)
_NOT_GLOBAL: Final = Special(IPv6Network("::/0"), "an address outside the global unicast space", True)
_MASK_32: Final = 0xFFFF_FFFF

METADATA: Final = frozenset(
    map(
        ip_address,
        (
            *("169.254.169.254", "fe80::a9fe:a9fe"),  # nearly every cloud, OpenStack
            *("fd00:ec2::254", "169.254.170.2", "169.254.170.23", "fd00:ec2::23"),  # AWS: EC2, ECS and EKS
            "fd20:ce::254",  # Google Cloud
            "168.63.129.16",  # Azure
            "100.100.100.200",  # Alibaba Cloud
            "192.0.0.192",  # Oracle Cloud, classic
            *("169.254.42.42", "fd00:42::42"),  # Scaleway
            "fd00:a9fe:a9fe::1",  # Akamai
            "169.254.0.23",  # Tencent Cloud
        ),
    )
)
"""Addresses where clouds hand out credentials to whoever asks from the inside."""
METADATA_NAMES: Final = (
    *("metadata.google.internal", "metadata.goog", "metadata", "instance-data", "instance-data.ec2.internal"),
    *("metadata.azure.internal", "metadata.tencentyun.com", "api.metadata.cloud.ibm.com"),
)


def special(address: Address) -> Special | None:
    """The narrowest block that makes an address not globally routable; None for one that is, taken by itself.

    >>> special(ip_address("10.1.2.3")).what, special(ip_address("8.8.8.8"))
    ('a private address', None)
    """
    if isinstance(address, IPv4Address):
        return next((row for row in _SPECIAL_4 if address in row.network), None)
    if address in _MAPPED or address in _NAT64 or address in _TEREDO or address in _6TO4:
        return None  # they are what they embed
    found = next((row for row in _SPECIAL_6 if address in row.network), None)
    return found or (None if address in _GLOBAL_UNICAST else _NOT_GLOBAL)


def forms(address: Address) -> tuple[Address, ...]:
    """Every address that a packet to this one may end at: itself, and the IPv4 addresses that it embeds.

    >>> [str(form) for form in forms(ip_address("::ffff:127.0.0.1"))]
    ['127.0.0.1']
    >>> [str(form) for form in forms(ip_address("2002:7f00:1::"))]
    ['2002:7f00:1::', '127.0.0.1']
    """
    if isinstance(address, IPv4Address):
        return (address,)
    number = int(address)
    last = IPv4Address(number & _MASK_32)
    if address in _MAPPED:
        return (last,)  # the system itself speaks IPv4 to it
    found: list[Address] = [address]
    if address in _6TO4:
        found.append(IPv4Address((number >> 80) & _MASK_32))
    elif address in _TEREDO:
        # The server it leans on, and the client, which is written inverted.
        found += (IPv4Address((number >> 64) & _MASK_32), IPv4Address(~number & _MASK_32))
    elif address in _NAT64_LOCAL:
        # RFC 6052: where the prefix ends is the operator's choice; bits 64 to 71 are left out.
        for prefix in (48, 56, 64):
            high = (number >> 64) & ((1 << (64 - prefix)) - 1)
            rest = 32 - (64 - prefix)
            found.append(IPv4Address((high << rest) | ((number >> (56 - rest)) & ((1 << rest) - 1))))
        found.append(last)
    elif (any(address in network for network in _LAST_32_BITS) and number > 1) or _is_isatap(number):
        found.append(last)
    return tuple(found)


def _is_isatap(number: int) -> bool:
    return (number >> 32) & _MASK_32 in _ISATAP


_NUMBER: Final = re.compile(r"0[xX]([0-9a-fA-F]*)|(0[0-7]*)|([1-9][0-9]*)")


def literal(host: str) -> Address | None:
    """The address that a URL's host spells, in any spelling that resolvers take for one; None for a name.

    >>> [str(literal(host)) for host in ("0x7f.1", "017700000001", "[::ffff:7f00:1]", "1.2.3.4.")]
    ['127.0.0.1', '127.0.0.1', '::ffff:7f00:1', '1.2.3.4']
    >>> literal("example.com")
    """
    if ":" in host:
        try:
            return IPv6Address(host.removeprefix("[").removesuffix("]").partition("%")[0])
        except ValueError:
            return None
    parts = host.rstrip(".").split(".")
    if len(parts) > 4:
        return None
    numbers = []
    for part in parts:
        found = _NUMBER.fullmatch(part)
        if found is None:
            return None
        hexadecimal, octal, decimal = found.groups()
        if decimal:
            numbers.append(int(decimal))
        else:
            numbers.append(int(octal, 8) if octal else int(hexadecimal or "0", 16))
    *front, end = numbers
    if any(number > 255 for number in front) or end >= 256 ** (5 - len(numbers)):
        return None
    value = end
    for index, number in enumerate(front):
        value |= number << (24 - 8 * index)
    return IPv4Address(value)
