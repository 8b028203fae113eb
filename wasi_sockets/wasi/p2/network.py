"""`wasi:sockets/network`: the resource `network`, and addresses as 0.2 passes them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final, Literal, TypeAlias

from wasi_sockets.network import SocketAddress

__all__ = [
    "FUNCTIONS",
    "IpAddressValue",
    "IpSocketAddressValue",
    "NetworkResource",
    "from_ip",
    "from_socket_address",
    "to_socket_address",
]

#: The variant `ip-address`: octets of IPv4, 16-bit segments of IPv6.
IpAddressValue: TypeAlias = tuple[Literal["ipv4", "ipv6"], tuple[int, ...]]

#: The variant `ip-socket-address`; its records are dicts as contract 1 of docs/architecture.md has them.
IpSocketAddressValue: TypeAlias = tuple[Literal["ipv4", "ipv6"], dict[str, Any]]

_SEGMENTS: Final = struct.Struct(">8H")


class NetworkResource:
    """The resource `network`: the right to use the functions that want one.

    It carries nothing, as in wasmtime (`crates/wasi/src/p2/network.rs`): a guest has one network, and its
    sockets know it.
    """

    __slots__ = ()

    def close(self) -> None:
        """Nothing is held."""


# Guests use few addresses over and over, and making one takes longer than all else in a connect.
@lru_cache(maxsize=1024)
def _ipv4(octets: tuple[int, ...]) -> IPv4Address:
    return IPv4Address(bytes(octets))


@lru_cache(maxsize=1024)
def _ipv6(segments: tuple[int, ...]) -> IPv6Address:
    return IPv6Address(_SEGMENTS.pack(*segments))


def to_socket_address(value: IpSocketAddressValue) -> SocketAddress:
    """The address behind an `ip-socket-address`.

    Flow information and scope are dropped: they choose routes and interfaces, and a private network has none.
    """
    case, fields = value
    ip = _ipv4(fields["address"]) if case == "ipv4" else _ipv6(fields["address"])
    return SocketAddress(ip, fields["port"])


def from_socket_address(address: SocketAddress) -> IpSocketAddressValue:
    """The `ip-socket-address` for an address."""
    ip, port = address
    if isinstance(ip, IPv4Address):
        return "ipv4", {"port": port, "address": tuple(ip.packed)}
    return "ipv6", {"port": port, "flow-info": 0, "address": _SEGMENTS.unpack(ip.packed), "scope-id": 0}


def from_ip(ip: IPv4Address | IPv6Address) -> IpAddressValue:
    """The `ip-address` for an address."""
    if isinstance(ip, IPv4Address):
        return "ipv4", tuple(ip.packed)
    return "ipv6", _SEGMENTS.unpack(ip.packed)


FUNCTIONS: Final[dict[tuple[str, str], Callable[..., object]]] = {
    ("wasi:sockets/network", "[resource-drop]network"): NetworkResource.close,
}
