"""Datagrams that leave the network: a real UDP socket for each that sends outside."""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import trio
from trio.lowlevel import checkpoint, notify_closing, wait_readable

from wasi_sockets.network._address import WILDCARD, SocketAddress
from wasi_sockets.network._policy import canonical_ip
from wasi_sockets.network._udp import Datagram, UdpEndpoint
from wasi_sockets.network.bridges import kernel

if TYPE_CHECKING:
    from wasi_sockets.network._core import NetworkCore
    from wasi_sockets.network._gate import Gate

__all__ = ["DatagramsOut"]

_logger: Final = logging.getLogger("wasi_sockets.bridges")

#: Real sockets at a time; further endpoints' datagrams are lost, as datagrams may be.
_MAX_SOCKETS: Final = 4096

#: Peers of one endpoint whose answers are let in; the one not sent to for longest is forgotten.
_MAX_PEERS: Final = 1024

#: Bytes of the largest datagram there is.
_MAX_DATAGRAM: Final = 65_535

# Datagrams in a row before others get a turn.
_TURNS: Final = 64


class DatagramsOut:
    """Sends for endpoints, and lets in what comes back."""

    __slots__ = ("_network", "_nursery", "_sockets")

    def __init__(self, network: NetworkCore, nursery: trio.Nursery) -> None:
        self._network: Final = network
        self._nursery: Final = nursery
        self._sockets: Final[dict[UdpEndpoint, _SocketOut]] = {}

    def send(self, endpoint: UdpEndpoint, data: bytes, remote: SocketAddress) -> None:
        """Send to an address that the policy allows. What the kernel does not take now is lost.

        Raises:
            OSError: ENETUNREACH for an IPv4-mapped address: an IPv6 socket speaks IPv6 only.
        """
        if canonical_ip(remote.ip) is not remote.ip:
            raise OSError(errno.ENETUNREACH, f"{os.strerror(errno.ENETUNREACH)}: {remote.ip}")
        out = self._sockets.get(endpoint)
        if out is None:
            gate = self._network._border.gate
            if gate is None or len(self._sockets) >= _MAX_SOCKETS:
                return
            try:
                made = kernel.open_udp(SocketAddress(WILDCARD[remote.ip.version], 0))
            except OSError as error:
                _logger.warning("no UDP socket for %s: %s", endpoint.local_address, error)
                return
            out = self._sockets[endpoint] = _SocketOut(endpoint, made, gate)
            endpoint.closing = out.scope.cancel
            self._nursery.start_soon(self._receive, out)
        out.send(data, remote)

    async def _receive(self, out: _SocketOut) -> None:
        try:
            with out.scope:
                await out.receive()
        finally:
            del self._sockets[out.endpoint]
            out.close()


class _SocketOut:
    """The real socket of one endpoint.

    Attributes:
        endpoint: whose.
        scope: ends it.
    """

    __slots__ = ("_gate", "_peers", "_socket", "endpoint", "scope")

    def __init__(self, endpoint: UdpEndpoint, bound: socket.socket, gate: Gate) -> None:
        self.endpoint: Final = endpoint
        self.scope: Final = trio.CancelScope()
        self._socket: Final = bound
        self._gate: Final = gate
        self._peers: Final[OrderedDict[SocketAddress, None]] = OrderedDict()

    def send(self, data: bytes, remote: SocketAddress) -> None:
        peers = self._peers
        peers[remote] = None
        peers.move_to_end(remote)
        if len(peers) > _MAX_PEERS:
            peers.popitem(last=False)
        try:
            self._socket.sendto(data, remote.sockaddr())
        except BlockingIOError:
            pass  # no room: lost, as in a router
        except OSError as error:
            _logger.debug("a datagram to %s was not sent: %s", remote, error)

    async def receive(self) -> None:
        """Let in what the peers answer."""
        turns = 0
        while True:
            try:
                data, sockaddr = self._socket.recvfrom(_MAX_DATAGRAM)
            except BlockingIOError:
                turns = 0
                await wait_readable(self._socket)
                continue
            except OSError as error:
                _logger.debug("receiving for %s: %s", self.endpoint.local_address, error)
                await checkpoint()
                continue
            self._let_in(Datagram(data, kernel.address_of(sockaddr)))
            turns += 1
            if turns >= _TURNS:
                turns = 0
                await checkpoint()

    def _let_in(self, datagram: Datagram) -> None:
        endpoint = self.endpoint
        source = datagram.source
        known = source in self._peers
        if endpoint.remote_address not in (None, source):
            return
        if self._gate.permits(
            "receive", source, port=endpoint.bound_address.port, leaves=not known, owner=endpoint.owner
        ):
            endpoint.deliver(datagram)

    def close(self) -> None:
        """Close the socket."""
        self.endpoint.closing = None
        notify_closing(self._socket)
        self._socket.close()
