"""Forwards: a port of the network that leads to a real host."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import trio

from wasi_sockets.network._address import IpAddress, SocketAddress
from wasi_sockets.network.bridges.gateway import Gateway
from wasi_sockets.network.bridges.kernel import connect_host
from wasi_sockets.network.bridges.splice import RealStream
from wasi_sockets.network.bridges.tls import TlsStream

if TYPE_CHECKING:
    from wasi_sockets.network._core import NetworkCore

__all__ = ["forward"]


async def forward(
    network: NetworkCore,
    listen: SocketAddress,
    to: tuple[str | IpAddress, int],
    tls: ssl.SSLContext | None,
    server_hostname: str | None,
    task_status: trio.TaskStatus[SocketAddress],
) -> None:
    """See `Network.forward`."""
    host, port = str(to[0]), to[1]

    async def connect(_: SocketAddress) -> RealStream:
        stream = await connect_host(host, port)
        if tls is None:
            return stream
        try:
            secured = TlsStream(stream, tls, server_hostname or host)
            await secured.handshake()
        except BaseException:
            stream.abort()
            raise
        return secured

    reservation = network.reserve("tcp", listen, bridge=True)
    try:
        async with trio.open_nursery() as nursery:
            gateway = Gateway(
                network._registry,
                reservation,
                reservation.address,
                network._buffer_size,
                nursery,
                connect,
                (host, port),
                through_tls=tls is not None,
            )
            try:
                task_status.started(reservation.address)
                await trio.sleep_forever()
            finally:
                gateway.close()
    finally:
        reservation.release()
