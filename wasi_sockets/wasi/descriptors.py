"""File descriptors as sources and sinks for `pipes.py`: terminals, pipes, files; none of them stops the loop.

The descriptors stay in blocking mode, because that mode is shared with every other process that has the same
terminal or pipe. So a write that may block runs in a worker thread of its own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable

import trio

__all__ = ["receive_from", "send_to"]


def receive_from(descriptor: int) -> Callable[[int], Awaitable[bytes]]:
    """Return what `InputPipe.feed` takes, reading from `descriptor`."""
    # Its own limiter: an idle terminal must not use up the threads that the program shares.
    limiter = trio.CapacityLimiter(1)

    async def receive(max_bytes: int) -> bytes:
        if sys.platform != "win32":
            try:
                await trio.lowlevel.wait_readable(descriptor)
            except OSError:
                pass  # a regular file, which epoll does not take; reading it does not wait for anybody
            else:
                return os.read(descriptor, max_bytes)
        return await trio.to_thread.run_sync(
            os.read, descriptor, max_bytes, abandon_on_cancel=True, limiter=limiter
        )

    return receive


def send_to(descriptor: int) -> Callable[[bytes], Awaitable[None]]:
    """Return what `OutputPipe.drain` takes, writing to `descriptor`.

    When the task is cancelled, bytes that a blocked write had taken may still come out, if ever.
    """
    limiter = trio.CapacityLimiter(1)

    async def send(data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                written = await trio.to_thread.run_sync(
                    os.write, descriptor, rest, abandon_on_cancel=True, limiter=limiter
                )
            except BlockingIOError:  # somebody else put it into non-blocking mode
                await trio.lowlevel.wait_writable(descriptor)
            else:
                rest = rest[written:]

    return send
