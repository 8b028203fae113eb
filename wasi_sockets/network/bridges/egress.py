"""Egress: addresses outside that a policy allows are connected, sent to and looked up for real."""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeAlias

import trio

from wasi_sockets.network._address import WILDCARD, IpAddress, SocketAddress
from wasi_sockets.network._policy import canonical_ip
from wasi_sockets.network._udp import UdpEndpoint
from wasi_sockets.network.bridges import kernel
from wasi_sockets.network.bridges.datagrams import DatagramsOut
from wasi_sockets.network.bridges.gateway import Gateway
from wasi_sockets.network.bridges.splice import RealStream

if TYPE_CHECKING:
    from wasi_sockets.network._core import NetworkCore

__all__ = ["Resolver", "egress"]

Resolver: TypeAlias = Callable[[str], Awaitable[list[IpAddress]]]

_logger: Final = logging.getLogger("wasi_sockets.bridges")

#: Lookups that may be under way at a time, and those that may wait for their turn; more fail with EAI_AGAIN.
_MAX_ASKING: Final = 16
_MAX_LOOKUPS: Final = 1024


async def egress(network: NetworkCore, resolver: Resolver | None, task_status: trio.TaskStatus[None]) -> None:
    """See `Network.egress`."""
    border = network._border
    if border.gate is None:
        raise ValueError("a network without a policy has nothing outside: Network(policy=Policy([Allow...]))")
    if border.way_out is not None:
        raise RuntimeError(f"the egress of {network} is running already")
    async with trio.open_nursery() as nursery:
        way_out = _WayOut(network, resolver or kernel.resolve, nursery)
        border.way_out = way_out
        try:
            task_status.started()
            await trio.sleep_forever()
        finally:
            border.way_out = None
            way_out.close()


class _WayOut:
    """What `Border.way_out` is while egress runs."""

    def __init__(self, network: NetworkCore, resolver: Resolver, nursery: trio.Nursery) -> None:
        self._resolver: Final = resolver
        self._nursery: Final = nursery
        self._asking: Final = trio.CapacityLimiter(_MAX_ASKING)
        self._lookups: Final[set[trio.CancelScope]] = set()
        self._connects: Final = Gateway(
            network._registry, None, SocketAddress(WILDCARD[4], 0), network._buffer_size, nursery, _connect
        )
        self._datagrams: Final = DatagramsOut(network, nursery)

    @property
    def connects(self) -> Gateway:
        return self._connects

    def close(self) -> None:
        self._connects.close()

    def resolve(
        self, name: str, owner: object, resolved: Callable[[list[IpAddress] | OSError], None]
    ) -> Callable[[], None]:
        scope = trio.CancelScope()
        if len(self._lookups) >= _MAX_LOOKUPS:
            resolved(socket.gaierror(socket.EAI_AGAIN, "too many lookups at a time"))
        else:
            self._lookups.add(scope)
            self._nursery.start_soon(self._ask, name, resolved, scope)
        return scope.cancel

    async def _ask(
        self, name: str, resolved: Callable[[list[IpAddress] | OSError], None], scope: trio.CancelScope
    ) -> None:
        answer: list[IpAddress] | OSError = socket.gaierror(socket.EAI_AGAIN, "the lookup was cancelled")
        try:
            with scope:
                async with self._asking:
                    try:
                        answer = await self._resolver(name)
                    except OSError as error:
                        answer = error
                    except Exception:
                        # One lookup of a guest must not end the egress of all.
                        _logger.exception("the resolver failed for %s", name)
                        answer = socket.gaierror(socket.EAI_FAIL, "the resolver failed")
        finally:
            self._lookups.discard(scope)
            resolved(answer)

    def send(self, endpoint: UdpEndpoint, data: bytes, remote: SocketAddress) -> None:
        self._datagrams.send(endpoint, data, remote)


async def _connect(remote: SocketAddress) -> RealStream:
    return await kernel.connect(SocketAddress(canonical_ip(remote.ip), remote.port))
