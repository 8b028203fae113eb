"""Socket addresses, and which addresses of a private network are its own."""

from __future__ import annotations

import socket
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple, TypeAlias

__all__ = [
    "LOOPBACK",
    "WILDCARD",
    "IpAddress",
    "IpVersion",
    "SocketAddress",
    "address_family",
    "is_loopback",
    "is_loopback_number",
    "parse_ip",
]

IpAddress: TypeAlias = IPv4Address | IPv6Address

#: 4 or 6, as in `IpAddress.version`. Ports of the two are apart: IPV6_V6ONLY is always on.
IpVersion: TypeAlias = int

LOOPBACK: Final[dict[IpVersion, IpAddress]] = {4: IPv4Address("127.0.0.1"), 6: IPv6Address("::1")}
WILDCARD: Final[dict[IpVersion, IpAddress]] = {4: IPv4Address("0.0.0.0"), 6: IPv6Address("::")}

#: Characters of eight groups of four digits, the last two written as an IPv4 address.
_LONGEST_LITERAL: Final = 45


class SocketAddress(NamedTuple):
    """An IP address and a port."""

    ip: IpAddress
    port: int

    def __str__(self) -> str:
        return f"[{self.ip}]:{self.port}" if self.ip.version == 6 else f"{self.ip}:{self.port}"

    def sockaddr(self) -> tuple[str, int] | tuple[str, int, int, int]:
        """The tuple that `socket.socket.getsockname` would give for this address."""
        if self.ip.version == 6:
            return (str(self.ip), self.port, 0, 0)
        return (str(self.ip), self.port)


def address_family(ip: IpAddress) -> socket.AddressFamily:
    """`AF_INET` or `AF_INET6`."""
    return socket.AF_INET6 if ip.version == 6 else socket.AF_INET


def is_loopback(ip: IpAddress) -> bool:
    """Whether `ip` is in 127.0.0.0/8 or is ::1.

    `ip.is_loopback` says the same but costs ten times as much, on the path of every connect.
    """
    return is_loopback_number(int(ip), ip.version)


def is_loopback_number(number: int, version: IpVersion) -> bool:
    """As `is_loopback`, for an address as a number."""
    return number == 1 if version == 6 else number >> 24 == 127


def parse_ip(text: str) -> IpAddress | None:
    """The address that `text` is a literal of, or None if it is none.

    Scoped IPv6 addresses (``fe80::1%eth0``) are no literals here: a private network has no interfaces.
    """
    return _parsed(text) if len(text) <= _LONGEST_LITERAL else None


# Programs connect to few addresses over and over, and reading one takes longer than half of what connecting does.
@lru_cache(maxsize=1024)
def _parsed(text: str) -> IpAddress | None:
    try:
        return IPv4Address(text)
    except ValueError:
        pass
    if "%" in text:
        return None
    try:
        return IPv6Address(text)
    except ValueError:
        return None
