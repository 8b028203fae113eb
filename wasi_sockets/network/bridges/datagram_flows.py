"""Forwarded and published UDP ports: as in a router that translates addresses, each peer has a flow of its own.

A flow ends when nothing has gone through it for a while. Datagrams that find no room, or nobody, are lost.
"""

from __future__ import annotations

import logging
import socket
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import trio
from trio.lowlevel import checkpoint, notify_closing, wait_readable

from wasi_sockets.network._address import IpAddress, SocketAddress, is_loopback
from wasi_sockets.network._border import Border
from wasi_sockets.network._policy import canonical_ip
from wasi_sockets.network._ports import EPHEMERAL_PORTS, PortReservation, PortTable
from wasi_sockets.network._udp import DEFAULT_RECEIVE_BUFFER, UdpEndpoint
from wasi_sockets.network._waiting import wait_for
from wasi_sockets.network.bridges import kernel
from wasi_sockets.network.bridges.publish import seen_address

if TYPE_CHECKING:
    from wasi_sockets.network._core import NetworkCore

__all__ = ["forward_udp", "publish_udp"]

_logger: Final = logging.getLogger("wasi_sockets.bridges")

#: Seconds after which a flow is forgotten: RFC 4787, REQ-5, for a port whose purpose is not known.
_IDLE_SECONDS: Final = 300.0

#: Flows of one bridge at a time; the one not used for longest makes room.
_MAX_FLOWS: Final = 1024

#: Datagrams that wait while a forward's name is looked up.
_MAX_WAITING: Final = 16

_MAX_DATAGRAM: Final = 65_535

# Datagrams in a row before others get a turn.
_TURNS: Final = 64


class _FlowOut:
    """What one virtual sender sends through a forward: a real socket, once its name is looked up."""

    __slots__ = ("connected", "scope", "waiting")

    def __init__(self) -> None:
        self.scope: Final = trio.CancelScope()
        self.connected: socket.socket | None = None
        self.waiting: Final[deque[bytes]] = deque(maxlen=_MAX_WAITING)

    def send(self, data: bytes) -> None:
        self.scope.deadline = trio.current_time() + _IDLE_SECONDS
        if self.connected is None:
            self.waiting.append(data)
            return
        try:
            self.connected.send(data)
        except OSError as error:  # no room, or an earlier one found nobody
            _logger.debug("a datagram was not forwarded: %s", error)


async def forward_udp(
    network: NetworkCore,
    listen: SocketAddress,
    to: tuple[str | IpAddress, int],
    task_status: trio.TaskStatus[SocketAddress],
) -> None:
    """See `Network.forward`."""
    endpoint = network.start_udp(network.reserve("udp", listen, bridge=True))
    flows: OrderedDict[SocketAddress, _FlowOut] = OrderedDict()
    try:
        async with trio.open_nursery() as nursery:
            task_status.started(endpoint.bound_address)
            while not endpoint.closed:
                datagram = endpoint.try_receive()
                if datagram is None:
                    await wait_for(endpoint.receivable)
                    continue
                source = datagram.source
                flow = flows.get(source)
                if flow is None:
                    if len(flows) >= _MAX_FLOWS:
                        flows.popitem(last=False)[1].scope.cancel()
                    flow = flows[source] = _FlowOut()
                    nursery.start_soon(_answer, flow, endpoint, source, to, flows)
                else:
                    flows.move_to_end(source)
                flow.send(datagram.data)
            nursery.cancel_scope.cancel()
    finally:
        endpoint.close()


async def _answer(
    flow: _FlowOut,
    endpoint: UdpEndpoint,
    source: SocketAddress,
    to: tuple[str | IpAddress, int],
    flows: OrderedDict[SocketAddress, _FlowOut],
) -> None:
    try:
        with flow.scope:
            ip = (await kernel.resolve(str(to[0])))[0]
            with kernel.connect_udp(SocketAddress(ip, to[1])) as connected:
                try:
                    flow.connected = connected
                    while flow.waiting:
                        flow.send(flow.waiting.popleft())
                    await _receive(connected, lambda data, _: _deliver(flow, endpoint, data, source))
                finally:
                    flow.connected = None
                    notify_closing(connected)
    except (OSError, IndexError) as error:
        _logger.warning("datagrams to %s port %d cannot be forwarded: %s", *to, error)
    finally:
        if flows.get(source) is flow:
            del flows[source]


def _deliver(flow: _FlowOut, endpoint: UdpEndpoint, data: bytes, source: SocketAddress) -> None:
    flow.scope.deadline = trio.current_time() + _IDLE_SECONDS
    endpoint.send(data, source)


async def _receive(bound: socket.socket, take: Callable[[bytes, tuple[object, ...]], None]) -> None:
    """Give each datagram of a real socket to `take`, whose OSErrors are of no interest."""
    turns = 0
    while True:
        try:
            data, sockaddr = bound.recvfrom(_MAX_DATAGRAM)
            take(data, sockaddr)
        except BlockingIOError:
            turns = 0
            await wait_readable(bound)
            continue
        except OSError as error:
            _logger.debug("a datagram was lost: %s", error)
        turns += 1
        if turns >= _TURNS:
            turns = 0
            await checkpoint()


async def publish_udp(
    network: NetworkCore,
    address: SocketAddress,
    port: int,
    targets: Callable[[], list[IpAddress]],
    task_status: trio.TaskStatus[SocketAddress],
) -> None:
    """See `Network.publish`."""
    with kernel.open_udp(address) as bound:
        published = _Published(network, bound, port, targets)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(published.sweep)
                task_status.started(kernel.address_of(bound.getsockname()))
                await _receive(bound, published.take)
        finally:
            published.close()
            notify_closing(bound)


class _FlowIn:
    """A real peer in the network: an endpoint with its address."""

    __slots__ = ("_bound", "_sockaddr", "endpoint", "used")

    def __init__(self, endpoint: UdpEndpoint, bound: socket.socket, sockaddr: tuple[object, ...]) -> None:
        self.endpoint: Final = endpoint
        self.used = 0.0
        self._bound: Final = bound
        self._sockaddr: Final = sockaddr
        endpoint.receivable.add(self.answer)

    def send(self, data: bytes) -> None:
        self.used = trio.current_time()
        try:
            self.endpoint.send(data)
        except ConnectionRefusedError:  # an earlier one found nobody; this one may
            self.endpoint.send(data)

    def answer(self) -> None:
        """Send on what the service has sent; called in the operation that sent it."""
        endpoint = self.endpoint
        while endpoint.ready() and not endpoint.closed:
            try:
                datagram = endpoint.try_receive()
                if datagram is not None:
                    self.used = trio.current_time()
                    self._bound.sendto(datagram.data, self._sockaddr)
            except OSError as error:
                _logger.debug("a datagram was lost: %s", error)
        if not endpoint.closed:
            endpoint.receivable.add(self.answer)


class _Published:
    """One published UDP port."""

    def __init__(
        self, network: NetworkCore, bound: socket.socket, port: int, targets: Callable[[], list[IpAddress]]
    ) -> None:
        self._network: Final = network
        self._bound: Final = bound
        self._port: Final = port
        self._targets: Final = targets
        self._flows: Final[OrderedDict[tuple[object, ...], _FlowIn]] = OrderedDict()
        # Of the bridge itself nothing is asked: the operator made it.
        self._border: Final = Border(None, trio.current_time)

    def take(self, data: bytes, sockaddr: tuple[object, ...]) -> None:
        """A datagram from a real peer."""
        flow = self._flows.get(sockaddr)
        if flow is None or flow.endpoint.closed:
            flow = self._open(sockaddr)
            if flow is None:
                return
        else:
            self._flows.move_to_end(sockaddr)
        flow.send(data)

    async def sweep(self) -> None:
        """Forget flows that are not used."""
        while True:
            await trio.sleep(_IDLE_SECONDS / 4)
            limit = trio.current_time() - _IDLE_SECONDS
            for sockaddr, flow in list(self._flows.items()):
                if flow.used <= limit:
                    del self._flows[sockaddr]
                    flow.endpoint.close()

    def close(self) -> None:
        """Forget all flows."""
        for flow in self._flows.values():
            flow.endpoint.close()
        self._flows.clear()

    def _open(self, sockaddr: tuple[object, ...]) -> _FlowIn | None:
        peer = kernel.address_of(sockaddr)
        version = canonical_ip(peer.ip).version
        network = self._network
        for ip in sorted(self._targets(), key=lambda ip: ip.version != version):
            ports = network._ports["udp", ip.version]
            found = ports.find(ip, self._port)
            if found is None or found.endpoint is None:
                continue
            if not network._border.permits("receive", peer, self._port, found.owner):
                return None
            reservation = _as_peer(ports, seen_address(peer, ip.version))
            endpoint = UdpEndpoint(
                network._registry, ports, reservation, DEFAULT_RECEIVE_BUFFER, self._border
            )
            endpoint.connect(SocketAddress(ip, self._port))
            if len(self._flows) >= _MAX_FLOWS:
                self._flows.popitem(last=False)[1].endpoint.close()
            flow = self._flows[sockaddr] = _FlowIn(endpoint, self._bound, sockaddr)
            return flow
        return None


def _as_peer(ports: PortTable, seen: SocketAddress) -> PortReservation:
    """The address under which a peer is in the network: its own, with another port if that is taken."""
    if is_loopback(seen.ip):
        # It may be an address of somebody here too.
        try:
            return ports.reserve(seen.ip, seen.port, None)
        except OSError:
            return ports.reserve(seen.ip, 0, None)
    for port in (seen.port, *EPHEMERAL_PORTS):
        if ports.find_foreign(seen.ip, port) is None:
            return ports.reserve_foreign(seen.ip, port, None)
    return ports.reserve_foreign(seen.ip, seen.port, None)  # raises
