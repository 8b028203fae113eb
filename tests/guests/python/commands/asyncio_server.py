"""A TCP server with asyncio: all connections at once, answers in upper case."""

import asyncio


async def _serve(port: int, connections: int, host: str) -> None:
    remaining = connections
    done = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal remaining
        while data := await reader.read(4096):
            writer.write(data.upper())
            await writer.drain()
        writer.close()
        await writer.wait_closed()
        remaining -= 1
        if not remaining:
            done.set()

    server = await asyncio.start_server(answer, host, port)
    print("listening on", *server.sockets[0].getsockname()[:2], flush=True)
    await done.wait()
    server.close()
    print("served", connections, flush=True)


def serve(port: str = "8080", connections: str = "1", host: str = "127.0.0.1") -> None:
    """Listen on `host:port`, serve that many connections at once, then end. Port 0 takes a free one."""
    asyncio.run(_serve(int(port), int(connections), host))
