"""Publishing: a real port that leads to a port of the network."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Final

import trio
from trio.lowlevel import checkpoint, notify_closing, wait_readable

from wasi_sockets import telemetry
from wasi_sockets.network._address import LOOPBACK, IpAddress, SocketAddress
from wasi_sockets.network._policy import canonical_ip
from wasi_sockets.network._ports import ForeignAddress
from wasi_sockets.network._tcp import ConnectAttempt, TcpBacklog, TcpConnection
from wasi_sockets.network._tracing import peer_attributes
from wasi_sockets.network._waiting import wait_for
from wasi_sockets.network.bridges import kernel
from wasi_sockets.network.bridges.kernel import KernelStream
from wasi_sockets.network.bridges.splice import splice

if TYPE_CHECKING:
    from wasi_sockets.network._core import NetworkCore

__all__ = ["publish", "publish_all", "seen_address"]

_logger: Final = logging.getLogger("wasi_sockets.bridges")

#: Connections that a published port carries at a time, held ones included; more wait in the kernel's backlog.
_MAX_CONNECTIONS: Final = 4096
_KERNEL_BACKLOG: Final = 1024

# Accepting fails for want of descriptors or memory: seconds until the next try.
_RETRY_SECONDS: Final = 0.1

# Accepts in a row before others get a turn.
_TURNS: Final = 16


def seen_address(peer: SocketAddress, version: int) -> SocketAddress:
    """How a listener of an IP version sees a real peer: itself, IPv4 mapped to IPv6; there is no way back from IPv6."""
    ip = canonical_ip(peer.ip)
    if ip.version == version:
        return SocketAddress(ip, peer.port)
    if version == 6:
        return SocketAddress(IPv6Address(0xFFFF_0000_0000 | int(ip)), peer.port)
    return SocketAddress(LOOPBACK[4], peer.port)


async def publish(
    network: NetworkCore,
    address: SocketAddress,
    port: int,
    targets: Callable[[], list[IpAddress]],
    ready_within: float,
    task_status: trio.TaskStatus[SocketAddress],
    handler_nursery: trio.Nursery | None = None,
) -> None:
    """See `Network.publish`. The targets are tried in order, those of the peer's IP version first."""
    listening = kernel.listen(address, _KERNEL_BACKLOG)
    try:
        published = _Published(network, port, targets, ready_within)
        async with trio.open_nursery() as nursery:
            task_status.started(kernel.address_of(listening.getsockname()))
            await published.accept(listening, nursery if handler_nursery is None else handler_nursery)
    finally:
        notify_closing(listening)
        listening.close()


class _Published:
    """One published port."""

    def __init__(
        self, network: NetworkCore, port: int, targets: Callable[[], list[IpAddress]], ready_within: float
    ) -> None:
        self._network: Final = network
        self._port: Final = port
        self._targets: Final = targets
        self._ready_within: Final = ready_within
        self._room: Final = trio.Semaphore(_MAX_CONNECTIONS)

    async def accept(self, listening: socket.socket, nursery: trio.Nursery) -> None:
        turns = 0
        while True:
            await self._room.acquire()
            while True:
                try:
                    connected, sockaddr = listening.accept()
                    break
                except BlockingIOError:
                    turns = 0
                    await wait_readable(listening)
                except OSError as error:
                    # Of the connection, which is gone; or of the system, for which it waits.
                    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                        _logger.warning("port %d: cannot accept: %s", self._port, error)
                        await trio.sleep(_RETRY_SECONDS)
                    else:
                        await checkpoint()
            nursery.start_soon(self._carry, connected, sockaddr)
            turns += 1
            if turns >= _TURNS:
                turns = 0
                await checkpoint()

    async def _carry(self, connected: socket.socket, sockaddr: tuple[object, ...]) -> None:
        try:
            with connected:
                try:
                    real = KernelStream(connected)
                    peer = kernel.address_of(sockaddr)
                except OSError:
                    return  # it is gone already
                try:
                    await self._carry_through(peer, real)
                finally:
                    real.abort()
        finally:
            self._room.release()

    async def _carry_through(self, peer: SocketAddress, real: KernelStream) -> None:
        if telemetry.tracing:
            telemetry.attach_nothing()  # whoever comes from outside begins a trace, not whoever published the port
        attributes = {
            "wasi_sockets.bridge": "publish",
            **peer_attributes(peer),
            "client.address": str(peer.ip),
            "client.port": peer.port,
        }
        with telemetry.span("socket.bridge", attributes) as span:
            connection = await self._connect(peer)
            if connection is None:
                telemetry.fail(span, "connection_refused")
                return
            failure = await splice(connection, real)
            if failure is not None:
                telemetry.fail(span, failure)

    async def _connect(self, peer: SocketAddress) -> TcpConnection | None:
        """A connection to whoever listens, or does so in time; None if nobody does, or the policy denies it."""
        changed = self._network._registry.listeners_changed
        deadline = trio.current_time() + self._ready_within
        while True:
            attempt = self._attempt(peer)
            if attempt is not None:
                if attempt.state == "pending":
                    # The backlog is full. As with a kernel's, whoever connects waits for as long as that takes.
                    try:
                        await wait_for(attempt.done)
                    except BaseException:
                        attempt.cancel()
                        raise
                if attempt.connection is not None:
                    return attempt.connection
            with trio.move_on_at(deadline) as limit:
                await wait_for(changed)
            if limit.cancelled_caught or self._network.closed:
                return None

    def _attempt(self, peer: SocketAddress) -> ConnectAttempt | None:
        """A connect in the peer's name to the first target where somebody listens; None if that is nowhere."""
        network = self._network
        version = canonical_ip(peer.ip).version
        for ip in sorted(self._targets(), key=lambda ip: ip.version != version):
            ports = network._ports["tcp", ip.version]
            found = ports.find(ip, self._port)
            if found is None or found.listener is None:
                continue
            if not network._border.permits("accept", peer, self._port, found.owner):
                return None
            source = ForeignAddress(ports, network._registry, seen_address(peer, ip.version), None)
            return ConnectAttempt(
                network._registry, None, source, SocketAddress(ip, self._port), found.listener
            )
        return None


async def publish_all(
    network: NetworkCore,
    host: IpAddress,
    ready_within: float,
    task_status: trio.TaskStatus[None],
    handler_nursery: trio.Nursery | None = None,
) -> None:
    """See `Network.publish_all`."""
    changed = network._registry.listeners_changed
    running: dict[int, trio.CancelScope] = {}
    async with trio.open_nursery() as nursery:
        task_status.started()
        while True:
            listening = {each.address.port for each in network._registry if isinstance(each, TcpBacklog)}
            for port in listening - running.keys():
                running[port] = scope = trio.CancelScope()
                nursery.start_soon(
                    _publish_one, network, host, port, ready_within, scope, running, handler_nursery
                )
            for port, scope in running.items():
                # The real port outlives the virtual one, in case that the service only restarts.
                if port in listening:
                    scope.deadline = float("inf")
                else:
                    scope.deadline = min(scope.deadline, trio.current_time() + ready_within)
            await wait_for(changed)


async def _publish_one(
    network: NetworkCore,
    host: IpAddress,
    port: int,
    ready_within: float,
    scope: trio.CancelScope,
    running: dict[int, trio.CancelScope],
    handler_nursery: trio.Nursery | None,
) -> None:
    def targets() -> list[IpAddress]:
        own = [
            each.address.ip
            for each in network._registry
            if isinstance(each, TcpBacklog) and each.address.port == port
        ]
        # A wildcard address is found under any.
        return sorted(
            (ip if int(ip) else LOOPBACK[ip.version] for ip in own), key=lambda ip: (ip.version, int(ip))
        )

    address = SocketAddress(host, port)
    try:
        with scope:
            try:
                await publish(
                    network, address, port, targets, ready_within, trio.TASK_STATUS_IGNORED, handler_nursery
                )
            except OSError as error:
                _logger.warning("port %d cannot be published: %s", port, error)
                await trio.sleep_forever()  # until nobody listens: for who listens next it is tried again
    finally:
        del running[port]
        # Who began to listen while this one ended was taken to be published already.
        network._registry.listeners_changed.wake_all()
