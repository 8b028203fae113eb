"""Which addresses a socket may be bound, connected and send to.

Sources: the "Typical errors" of `start-bind` and `start-connect` in `wasi:sockets/tcp@0.2.12`, those of
`start-bind`, `stream` and `send` in `wasi:sockets/udp@0.2.12`, and
`is_valid_address_family`, `is_valid_unicast_address`, `is_valid_remote_address` in wasmtime's
`crates/wasi/src/sockets/mod.rs`.
"""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from wasi_sockets.network import SocketAddress

__all__ = [
    "AddressFamily",
    "belongs_to_family",
    "is_bindable",
    "is_connectable",
    "is_destination",
    "is_unicast",
]

_IPV4_BROADCAST = 0xFFFF_FFFF


class AddressFamily(StrEnum):
    """`ip-address-family`. The value is the WIT name."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"


_IPV4: Final = (
    AddressFamily.IPV4
)  # reading it through the class takes longer than the rest of `is_connectable`


def belongs_to_family(ip: IPv4Address | IPv6Address, family: AddressFamily) -> bool:
    """Whether a socket of that family may use the address at all.

    An IPv6 socket never speaks IPv4 ("IPV6_V6ONLY is enabled by default and can't be configured
    otherwise"), so addresses that carry an IPv4 one are no IPv6 addresses: mapped ones (`::ffff:1.2.3.4`) by
    the spec, compatible ones (`::1.2.3.4`, deprecated) as in wasmtime.
    """
    if family is AddressFamily.IPV4:
        return isinstance(ip, IPv4Address)
    if not isinstance(ip, IPv6Address):
        return False
    number = int(ip)
    upper = number >> 32
    is_mapped = upper == 0xFFFF
    is_compatible = upper == 0 and number > 1  # `::` and `::1` are addresses of their own
    return not is_mapped and not is_compatible


def is_unicast(ip: IPv4Address | IPv6Address) -> bool:
    """Whether the address names one interface: not multicast, and not IPv4's limited broadcast."""
    number = int(ip)
    if isinstance(ip, IPv6Address):
        if number >> 32 != 0xFFFF:
            return number >> 120 != 0xFF
        number &= 0xFFFF_FFFF
    return number >> 28 != 0xE and number != _IPV4_BROADCAST


def is_bindable(address: SocketAddress, family: AddressFamily) -> bool:
    """Whether `start-bind` takes the address as an argument; `invalid-argument` otherwise."""
    return belongs_to_family(address.ip, family) and is_unicast(address.ip)


def is_connectable(address: SocketAddress, family: AddressFamily) -> bool:
    """Whether `start-connect` takes the address as an argument; `invalid-argument` otherwise.

    Unlike POSIX, where connecting to the unspecified address reaches the loopback on some systems.
    """
    ip, port = address
    if family is _IPV4 and isinstance(ip, IPv4Address):  # the same, in one look
        number = int(ip)
        return port != 0 and number != 0 and number >> 28 != 0xE and number != _IPV4_BROADCAST
    return port != 0 and int(ip) != 0 and is_bindable(address, family)


def is_destination(address: SocketAddress, family: AddressFamily) -> bool:
    """Whether a UDP socket takes the address as a remote one; `invalid-argument` otherwise.

    It need not be unicast: whether it can be reached is the network's matter. (wasmtime, `UdpSocket::connect`)
    """
    return address.port != 0 and int(address.ip) != 0 and belongs_to_family(address.ip, family)
