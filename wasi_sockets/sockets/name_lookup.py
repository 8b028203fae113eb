"""Looking up names, and the stream of addresses that a lookup gives.

A lookup in memory is decided at once, so the stream is always ready, and a failure is the result of
`resolve-addresses` itself, as early ones are in wasmtime (`crates/wasi/src/p2/ip_name_lookup.rs`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address

from wasi_sockets.network import Network
from wasi_sockets.sockets.error_codes import ErrorCode, from_os_error
from wasi_sockets.sockets.host_names import DomainName, parse_host

__all__ = ["ResolveAddressStream", "resolve_addresses"]


class ResolveAddressStream:
    """The addresses of one name, given out one at a time, best first."""

    __slots__ = ("_addresses",)

    def __init__(self, addresses: Iterable[IPv4Address | IPv6Address]) -> None:
        self._addresses = iter(tuple(addresses))

    def next_address(self) -> IPv4Address | IPv6Address | None:
        """Return the next address, `None` after the last, again and again."""
        return next(self._addresses, None)

    def ready(self) -> bool:
        """Always: the answer is here."""
        return True

    def add_waiter(self, wake: Callable[[], None]) -> None:
        """Nothing will change."""

    def remove_waiter(self, wake: Callable[[], None]) -> None:
        """Nothing was added."""

    def close(self) -> None:
        """Nothing is held."""


def resolve_addresses(network: Network, name: str) -> ResolveAddressStream | ErrorCode:
    """Look `name` up in `network`: an address literal is itself, a name what the network knows.

    Returns `INVALID_ARGUMENT` for what is no host (see `host_names.py`), `NAME_UNRESOLVABLE` for an unknown
    name.
    """
    host = parse_host(name)
    if host is None:
        return ErrorCode.INVALID_ARGUMENT
    if not isinstance(host, DomainName):
        return ResolveAddressStream((host,))
    try:
        found = network.resolve(host.text)
    except OSError as error:
        return from_os_error(error)
    return ResolveAddressStream(map(_canonical, found))


def _canonical(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """An IPv4-mapped address as the IPv4 one, since no IPv6 socket may use it. (wasmtime: `to_canonical`)"""
    return ip.ipv4_mapped or ip if isinstance(ip, IPv6Address) else ip
