"""Looking up names, and the stream of addresses that a lookup gives.

A lookup in memory is decided at once, so the stream is always ready. `resolve-addresses` refuses what cannot be a
name; that a name means nothing is for `resolve-next-address` to say ("Typical errors" of both in
`wasi:sockets/ip-name-lookup@0.2.12`). wasmtime may give either error in either place, depending on timing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address

from wasi_sockets.sockets.context import SocketContext
from wasi_sockets.sockets.error_codes import ErrorCode, from_os_error
from wasi_sockets.sockets.host_names import DomainName, parse_host

__all__ = ["ResolveAddressStream", "resolve_addresses"]


class ResolveAddressStream:
    """The addresses of one name, given out one at a time, best first; or why there are none."""

    __slots__ = ("_addresses", "_failure")

    def __init__(
        self, addresses: Iterable[IPv4Address | IPv6Address], failure: ErrorCode | None = None
    ) -> None:
        self._addresses = iter(tuple(addresses))
        self._failure = failure

    def next_address(self) -> IPv4Address | IPv6Address | ErrorCode | None:
        """Return the next address, `None` after the last; a failed lookup's error. Both again and again."""
        return self._failure or next(self._addresses, None)

    def ready(self) -> bool:
        """Always: the answer is here."""
        return True

    def add_waiter(self, wake: Callable[[], None]) -> None:
        """Nothing will change."""

    def remove_waiter(self, wake: Callable[[], None]) -> None:
        """Nothing was added."""

    def close(self) -> None:
        """Nothing is held."""


def resolve_addresses(context: SocketContext, name: str) -> ResolveAddressStream | ErrorCode:
    """Look `name` up in the guest's network: an address literal is itself, a name what the network knows.

    Returns `INVALID_ARGUMENT` for what is no host (see `host_names.py`), and `PERMANENT_RESOLVER_FAILURE`
    whatever the name is when lookups are denied. The stream of an unknown name gives `NAME_UNRESOLVABLE`.
    """
    if not context.name_lookup:
        return ErrorCode.PERMANENT_RESOLVER_FAILURE
    host = parse_host(name)
    if host is None:
        return ErrorCode.INVALID_ARGUMENT
    if not isinstance(host, DomainName):
        return ResolveAddressStream((host,))
    try:
        found = context.network.resolve(host.text)
    except OSError as error:
        return ResolveAddressStream((), from_os_error(error))
    return ResolveAddressStream(map(_canonical, found))


def _canonical(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """An IPv4-mapped address as the IPv4 one, since no IPv6 socket may use it. (wasmtime: `to_canonical`)"""
    return ip.ipv4_mapped or ip if isinstance(ip, IPv6Address) else ip
