"""TCP clients with asyncio."""

import asyncio
import hashlib

from commands.failure import expect


async def _one_round_trip(host: str, port: int, number: int) -> bool:
    reader, writer = await asyncio.open_connection(host, port)
    message = b"message %d" % number
    writer.write(message)
    await writer.drain()
    answer = await reader.readexactly(len(message))
    writer.close()
    await writer.wait_closed()
    return answer == message


async def _many_connections(host: str, port: int, count: int) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.005)
            ticks += 1

    ticker = asyncio.create_task(tick())
    matches = await asyncio.gather(*(_one_round_trip(host, port, number) for number in range(count)))
    print(sum(matches), "of", count, "connections echoed")
    try:
        await asyncio.wait_for(asyncio.Event().wait(), 0.05)
    except TimeoutError:
        print("timeout fired")
    ticker.cancel()
    print("timer fired" if ticks else "timer did not fire")
    expect(all(matches), "an answer differs from what was sent")
    expect(ticks > 0, "a timer of 5 ms did not fire in 50 ms")


def many_connections(host: str = "127.0.0.1", port: str = "8080", count: str = "20") -> None:
    """`count` connections to an echo server at once, a repeating timer beside them, and a timeout."""
    asyncio.run(_many_connections(host, int(port), int(count)))


async def _bulk(host: str, port: int, size: int) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    block = bytes(range(251)) * 256
    sent, received = hashlib.sha256(), hashlib.sha256()

    async def send() -> None:
        remaining = size
        while remaining:
            piece = block[:remaining]
            sent.update(piece)
            writer.write(piece)
            await writer.drain()
            remaining -= len(piece)
        writer.write_eof()

    sender = asyncio.create_task(send())
    total = 0
    while piece := await reader.read(1 << 16):
        received.update(piece)
        total += len(piece)
    await sender
    writer.close()
    await writer.wait_closed()
    print("echoed", total, "bytes,", "same" if sent.digest() == received.digest() else "different")
    expect(total == size and sent.digest() == received.digest(), "the echoed bytes differ")


def bulk(host: str, port: str, size: str) -> None:
    """Send `size` bytes to an echo server while reading them back; ends by half-close."""
    asyncio.run(_bulk(host, int(port), int(size)))
