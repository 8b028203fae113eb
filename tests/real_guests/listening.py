"""Waiting for guests that serve, and talking to them."""

from __future__ import annotations

import trio

import wasi_sockets

__all__ = ["ask", "listening"]


async def listening(network: wasi_sockets.Network, port: int) -> None:
    """Return when somebody listens at the port."""
    while not any(record.state == "listening" and record.local.port == port for record in network.sockets()):
        await trio.lowlevel.checkpoint()


async def ask(stream: trio.abc.HalfCloseableStream, question: bytes) -> bytes:
    """Send everything, then read until the other side ends."""
    answer = bytearray()

    async def send() -> None:
        await stream.send_all(question)
        await stream.send_eof()

    async with stream, trio.open_nursery() as nursery:
        nursery.start_soon(send)
        async for data in stream:
            answer += data
    return bytes(answer)
