"""UDP sockets for trio programs: a thin layer that adds waiting and names to the synchronous core."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import trio

from wasi_sockets.network._address import IpAddress, SocketAddress
from wasi_sockets.network._udp import Datagram, UdpEndpoint

__all__ = ["UdpSocket"]

#: A host, which may be a name, and a port.
Destination: TypeAlias = SocketAddress | tuple[str | IpAddress, int]


class UdpSocket(trio.abc.AsyncResource):
    """A UDP socket, made by `Network.open_udp`. Close it: an open one holds its port.

    When connected, `receive` and `send` raise ConnectionRefusedError once after a datagram found nobody at the
    peer, as on Linux.

    Attributes:
        endpoint: the synchronous core, for those who need more.
    """

    __slots__ = ("_lookup", "_resolve", "endpoint")

    def __init__(
        self,
        endpoint: UdpEndpoint,
        resolve: Callable[[str], list[IpAddress]],
        lookup: Callable[[str], Awaitable[list[IpAddress]]],
    ) -> None:
        self.endpoint: Final = endpoint
        self._resolve: Final = resolve
        self._lookup: Final = lookup

    def __repr__(self) -> str:
        return f"<UdpSocket {self.local_address}{', closed' if self.endpoint.closed else ''}>"

    @property
    def local_address(self) -> SocketAddress:
        """The own address, with the actual port; a wildcard address is reported as such unless connected."""
        return self.endpoint.local_address

    @property
    def remote_address(self) -> SocketAddress | None:
        """The peer it is connected to, None when it is not."""
        return self.endpoint.remote_address

    async def receive(self) -> Datagram:
        """Wait for a datagram: ``data, address = await socket.receive()``. When cancelled, none is lost.

        Raises:
            trio.ClosedResourceError: if it was closed.
            ConnectionRefusedError: see the class.
        """
        endpoint = self.endpoint
        # One checkpoint at least, and before anything is taken.
        if endpoint.ready():
            await trio.lowlevel.checkpoint()
        while True:
            if endpoint.closed:
                raise trio.ClosedResourceError("this socket was closed")
            datagram = endpoint.try_receive()
            if datagram is not None:
                return datagram
            changed = trio.Event()
            endpoint.receivable.add(changed.set)
            try:
                await changed.wait()
            finally:
                endpoint.receivable.discard(changed.set)

    async def send(self, data: bytes | bytearray | memoryview, address: Destination | None = None) -> None:
        """Send a datagram to `address`, or to the peer it is connected to. It waits only for a name of the outside.

        Raises:
            trio.ClosedResourceError: if it was closed.
            ConnectionRefusedError: see the class; this datagram was not sent.
            OSError: as from `UdpEndpoint.send`.
            socket.gaierror: if the address is a name that is not known, or has none of the socket's IP version; as
                from `Network.lookup`.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        remote: SocketAddress | None = None
        if address is not None:
            host, port = address
            if isinstance(host, str):
                remote = self._pick(host, await self._lookup(host), port)
            else:
                remote = SocketAddress(host, port)
        if self.endpoint.closed:
            raise trio.ClosedResourceError("this socket was closed")
        # Sent, then yielded: whoever receives it runs in the same turn of the loop.
        self.endpoint.send(bytes(data), remote)
        await trio.lowlevel.cancel_shielded_checkpoint()

    def connect(self, address: Destination) -> None:
        """Send to `address` from now on, and receive from there only; what others had sent is dropped.

        Nothing is sent, so nothing has to be waited for, and nobody need be there. A name is one of this network; look
        others up with `Network.lookup`.

        Raises:
            trio.ClosedResourceError: if it was closed.
            OSError: as from `UdpEndpoint.connect`.
            socket.gaierror: if the address is a name that this network does not know, or has none of the socket's IP
                version.
        """
        if self.endpoint.closed:
            raise trio.ClosedResourceError("this socket was closed")
        host, port = address
        if isinstance(host, str):
            self.endpoint.connect(self._pick(host, self._resolve(host), port))
        else:
            self.endpoint.connect(SocketAddress(host, port))

    def disconnect(self) -> None:
        """Receive from everybody again."""
        self.endpoint.disconnect()

    async def aclose(self) -> None:
        """Free the port; closes also when cancelled. What was not received is lost. Idempotent."""
        self.endpoint.close()
        await trio.lowlevel.checkpoint()

    def _pick(self, name: str, addresses: list[IpAddress], port: int) -> SocketAddress:
        version = self.endpoint.bound_address.ip.version
        for ip in addresses:
            if ip.version == version:
                return SocketAddress(ip, port)
        raise socket.gaierror(socket.EAI_NONAME, f"no IPv{version} address: {name!r}")
