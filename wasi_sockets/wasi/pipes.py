"""Standard input and output of a guest: the Python ends, which trio tasks feed and drain.

The guest's ends are in `p2/stdio.py`. Between the two stands a bounded pipe, so that a slow terminal or a
pipe that nobody reads makes the guest wait, and only the guest. Rules:

1. Nothing is read from the source before the guest asks for it: whoever shares the terminal, or runs next on
   the same file, keeps what the guest did not want.
2. What the guest wrote before it ended is drained. (`OutputPipe.finish`, then wait for `drain`)
3. A sink that is gone closes the guest's stream; any other failure is reported to the guest as the failure of
   its operation. Neither stops anything else. (wasmtime, `crates/wasi/src/cli.rs`, `stream_error_from`)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from wasi_sockets.network import Pipe, Waiters

__all__ = ["InputPipe", "OutputPipe"]

#: Bytes that one pipe holds, and the most that a source or sink is asked to move at once.
_CAPACITY: Final = 64 * 1024


class InputPipe:
    """Bytes on their way to a guest. Run `feed` in a task, beside the guest, or `fill` it before.

    Attributes:
        pipe: what the guest reads.
        failure: why reading the source failed, if it did.
    """

    __slots__ = ("_asked", "_wanted", "failure", "pipe")

    def __init__(self) -> None:
        self.pipe: Final = Pipe(_CAPACITY)
        self.failure: Exception | None = None
        self._asked = False
        self._wanted: Final = Waiters()

    def want(self) -> None:
        """The guest looked and found nothing (rule 1)."""
        if not self._asked:
            self._asked = True
            self._wanted.wake_all()

    def fill(self, data: bytes = b"") -> None:
        """Give the guest all of its input at once, and then the end, instead of running `feed`."""
        self.pipe.write(data)
        self.pipe.end()

    async def feed(self, receive: Callable[[int], Awaitable[bytes | bytearray]]) -> None:
        """Bring what `receive` gives to the guest until it gives `b""`, fails, or the task is cancelled.

        Args:
            receive: takes the most bytes to return, for instance `trio.abc.ReceiveStream.receive_some`.
        """
        pipe = self.pipe
        try:
            while True:
                while not self._asked:
                    changed = trio.Event()
                    self._wanted.add(changed.set)
                    try:
                        await changed.wait()
                    finally:
                        self._wanted.discard(changed.set)
                data = await receive(_CAPACITY)
                if not data:
                    return
                self._asked = False
                pipe.write(data)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self.failure = error
            pipe.abort()
        finally:
            pipe.end()


class OutputPipe:
    """Bytes on their way out of a guest. Run `drain` in a task, beside the guest.

    One pipe may serve as both standard output and standard error; then the order between the two is kept.

    Attributes:
        pipe: what the guest writes.
        failure: why writing to the sink failed, if it did.
    """

    __slots__ = ("failure", "pipe")

    def __init__(self) -> None:
        self.pipe: Final = Pipe(_CAPACITY)
        self.failure: Exception | None = None

    def finish(self) -> None:
        """The guest has ended: `drain` returns when everything is written."""
        self.pipe.end()

    async def drain(self, send: Callable[[bytes], Awaitable[object]]) -> None:
        """Bring what the guest writes to `send` until `finish`, the sink fails, or the task is cancelled.

        Args:
            send: returns when all of its bytes are written, for instance `trio.abc.SendStream.send_all`.
        """
        pipe = self.pipe
        try:
            while True:
                state = pipe.available()
                if state > 0:
                    await send(pipe.read(_CAPACITY))
                elif state < 0:
                    return
                else:
                    changed = trio.Event()
                    pipe.readable.add(changed.set)
                    try:
                        await changed.wait()
                    finally:
                        pipe.readable.discard(changed.set)
        except (BrokenPipeError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self.failure = error
        except OSError as error:
            self.failure = error
            pipe.abort()
        finally:
            pipe.close_read()
