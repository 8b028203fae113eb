"""Programs that do not wait as they should, or would wait for very long."""

import asyncio
import select
import socket
import time


def spin_on_receive(host: str, port: str) -> None:
    """Ask a socket that never blocks again and again, until something comes."""
    with socket.create_connection((host, int(port))) as connection:
        connection.setblocking(False)
        connection.sendall(b"ready")
        while True:
            try:
                data = connection.recv(100)
            except BlockingIOError:
                continue
            break
        print("got", data.decode())


def spin_on_select(host: str, port: str) -> None:
    """Ask `select` with a timeout of zero again and again, until something comes."""
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"ready")
        while not select.select([connection], [], [], 0)[0]:
            pass
        print("got", connection.recv(100).decode())


def compute() -> None:
    """Never end, and never ask for anything."""
    print("computing", flush=True)
    number = 0
    while True:
        number += 1


async def _wait(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    start, loop_start = time.monotonic(), loop.time()
    try:
        async with asyncio.timeout(seconds):
            await asyncio.Event().wait()
    except TimeoutError:
        print("timeout")
    print("monotonic", round(time.monotonic() - start))
    print("loop", round(loop.time() - loop_start))


def long_timeout(seconds: str = "600") -> None:
    """Let an asyncio timeout of that many seconds pass; print how much the clocks say went by."""
    asyncio.run(_wait(float(seconds)))


def long_sleep(seconds: str = "3600") -> None:
    """Sleep, and print how much the clock says went by."""
    start = time.monotonic()
    time.sleep(float(seconds))
    print("slept", round(time.monotonic() - start))
