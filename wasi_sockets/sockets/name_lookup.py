"""Looking up names, and the stream of addresses that a lookup gives.

`resolve-addresses` refuses what cannot be a name; that a name means nothing is for `resolve-next-address` to say
("Typical errors" of both in `wasi:sockets/ip-name-lookup@0.2.12`). wasmtime may give either error in either place,
depending on timing. Until a real resolver has answered, `resolve-next-address` gives `would-block`; a name of the
network is decided at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address

from wasi_sockets.network import Lookup
from wasi_sockets.sockets.context import SocketContext
from wasi_sockets.sockets.error_codes import ErrorCode, from_os_error
from wasi_sockets.sockets.host_names import DomainName, parse_host

__all__ = ["ResolveAddressStream", "resolve_addresses"]


class ResolveAddressStream:
    """The addresses of one name, given out one at a time, best first; or why there are none."""

    __slots__ = ("_addresses", "_lookup")

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._addresses: Iterator[IPv4Address | IPv6Address] | None = None

    def next_address(self) -> IPv4Address | IPv6Address | ErrorCode | None:
        """Return the next address, `None` after the last; a failed lookup's error. Both again and again.

        Returns `WOULD_BLOCK` until the lookup is decided.
        """
        addresses = self._addresses
        if addresses is None:
            lookup = self._lookup
            if lookup.addresses is None:
                return ErrorCode.WOULD_BLOCK if lookup.error is None else from_os_error(lookup.error)
            addresses = self._addresses = iter(tuple(lookup.addresses))
        return next(addresses, None)

    def ready(self) -> bool:
        """Whether the lookup is decided."""
        return not self._lookup.pending

    def add_waiter(self, wake: Callable[[], None]) -> None:
        """Have `wake` called once, when `ready` may have changed."""
        self._lookup.done.add(wake)

    def remove_waiter(self, wake: Callable[[], None]) -> None:
        """Forget `wake`; an unknown one is ignored."""
        self._lookup.done.discard(wake)

    def close(self) -> None:
        """Drop the stream, and give up what is not decided. Idempotent."""
        self._lookup.cancel()


def resolve_addresses(context: SocketContext, name: str) -> ResolveAddressStream | ErrorCode:
    """Look `name` up in the guest's network: an address literal is itself, a name what the network knows.

    Returns `INVALID_ARGUMENT` for what is no host (see `host_names.py`), and `PERMANENT_RESOLVER_FAILURE`
    whatever the name is when lookups are denied. The stream of an unknown name gives `NAME_UNRESOLVABLE`, that of
    one which the network's policy denies `PERMANENT_RESOLVER_FAILURE`. With as many lookups undecided as the guest may
    have, a name gives `TEMPORARY_RESOLVER_FAILURE`, as a resolver that is too busy.
    """
    if not context.name_lookup:
        return ErrorCode.PERMANENT_RESOLVER_FAILURE
    host = parse_host(name)
    if host is None:
        return ErrorCode.INVALID_ARGUMENT
    if not isinstance(host, DomainName):
        return ResolveAddressStream(context.network.start_lookup(str(host), owner=context.owner))
    if context.max_lookups is not None and context.lookups >= context.max_lookups:
        return ErrorCode.TEMPORARY_RESOLVER_FAILURE
    lookup = context.network.start_lookup(host.text, owner=context.owner)
    if lookup.pending:
        context.lookups += 1
        lookup.done.add(context.lookup_decided)
    return ResolveAddressStream(lookup)
