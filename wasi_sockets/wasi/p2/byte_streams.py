"""The input and output streams that a guest holds, over one direction of a connection each.

They satisfy `InputStream` and `OutputStream` of `engine/protocols.py`. Rules:

1. What a stream reports is what its pipe reports, so nothing has to be told twice; the numbers are those of
   the protocols.
2. A failed operation is reported once; after its error was taken the stream is closed. (wasmtime,
   `crates/wasi/src/p2/tcp.rs`, `ReadState::read` and `WriteState`)
3. After the guest's own shutdown a stream is closed, whatever the peer does later. (ibid., `shutdown`)
4. Writing to a peer that is gone is `closed`, not a failure. (ibid., `WriteState::write`, `ConnectionBroken`)
5. `flush` has nothing to do: what was written is in the pipe, where the peer finds it. That the peer went away
   after a write is for the next write to say, not for the flush that follows this one. (ibid., `flush`)
6. Dropping a stream does not shut its direction down: the socket holds the connection, and is dropped last,
   because its streams are its children. (ibid., `take_streams`: the socket keeps a clone of both;
   `crates/wasi/src/p2/host/tcp.rs`, `push_child`)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from wasi_sockets.network import Pipe
from wasi_sockets.sockets import ErrorCode
from wasi_sockets.wasi.p2.error import IoError

__all__ = ["ByteInput", "ByteOutput", "PipeInputStream", "PipeOutputStream"]


class _Register(Protocol):
    def __call__(self, wake: Callable[[], None]) -> None: ...


class ByteInput(Protocol):
    """What the functions of `wasi:io/streams` need of an input stream."""

    def ready(self) -> bool: ...
    def add_waiter(self, wake: Callable[[], None], /) -> None: ...
    def remove_waiter(self, wake: Callable[[], None], /) -> None: ...
    def available(self) -> int: ...
    def receive(self, size: int, /) -> bytes: ...
    def error(self) -> object: ...
    def close(self) -> None: ...


class ByteOutput(Protocol):
    """What the functions of `wasi:io/streams` need of an output stream."""

    def ready(self) -> bool: ...
    def add_waiter(self, wake: Callable[[], None], /) -> None: ...
    def remove_waiter(self, wake: Callable[[], None], /) -> None: ...
    def permit(self) -> int: ...
    def send(self, data: bytes, /) -> int: ...
    def flush(self) -> int: ...
    def error(self) -> object: ...
    def close(self) -> None: ...


class PipeInputStream:
    """`input-stream` over a pipe.

    Attributes:
        parent: the resource that must outlive it, if any.
        peer: the output stream of the same connection, while both exist.
    """

    __slots__ = ("_failure_taken", "_pipe", "add_waiter", "parent", "peer", "remove_waiter")

    def __init__(self, pipe: Pipe, parent: object | None = None) -> None:
        self._pipe = pipe
        self._failure_taken = False
        self.parent = parent
        self.peer: PipeOutputStream | None = None
        # The pipe's own methods: a wake-up is too frequent for a call in between.
        self.add_waiter: _Register = pipe.readable.add
        self.remove_waiter: _Register = pipe.readable.discard

    def ready(self) -> bool:
        """Whether a read would give bytes, the end, or a failure."""
        pipe = self._pipe
        return pipe.buffered > 0 or pipe.available() != 0

    def available(self) -> int:
        """Bytes that can be received now; 0 none yet, -1 closed, -2 failed and `error` not yet taken."""
        pipe = self._pipe
        if pipe.buffered:
            return pipe.buffered
        state = pipe.available()
        if state == -2 and (self._failure_taken or pipe.discarding):  # rules 2 and 3
            return -1
        return state

    def receive(self, size: int) -> bytes:
        """Take exactly `size` bytes, at most `available`."""
        return self._pipe.read(size)

    def error(self) -> IoError:
        """The error of the failed operation; from now on the stream is closed (rule 2)."""
        self._failure_taken = True
        return IoError(ErrorCode.CONNECTION_RESET)

    def close(self) -> None:
        """The guest dropped it (rule 6)."""
        self.peer = None  # each refers to the other: do not leave that to the garbage collector


class PipeOutputStream:
    """`output-stream` over a pipe.

    Attributes:
        parent: the resource that must outlive it, if any.
        peer: the input stream of the same connection, while both exist.
    """

    __slots__ = ("_failure_taken", "_pipe", "_told", "add_waiter", "parent", "peer", "remove_waiter")

    def __init__(self, pipe: Pipe, parent: object | None = None) -> None:
        self._pipe = pipe
        self._failure_taken = False
        self._told = False
        self.parent = parent
        self.peer: PipeInputStream | None = None
        self.add_waiter: _Register = pipe.writable.add
        self.remove_waiter: _Register = pipe.writable.discard

    def ready(self) -> bool:
        """Whether `check-write` would give a permit, the end, or a failure."""
        return self._pipe.permit() != 0

    def permit(self) -> int:
        """Bytes that may be sent now; 0 none yet, -1 closed, -2 failed and `error` not yet taken."""
        pipe = self._pipe
        state = pipe.permit()
        if state < 0:
            self._told = True
            if state == -2 and (self._failure_taken or pipe.ended):  # rules 2 and 3
                return -1
        return state

    def send(self, data: bytes) -> int:
        """Send `data`, at most `permit` bytes, and return the new permit.

        When the peer went away after the permit was given, nothing is sent and the answer says so. When it goes away
        because of these bytes, the answer is 0: they were sent (rule 5).
        """
        pipe = self._pipe
        try:
            pipe.write(data)
        except OSError:
            return self.permit()
        state = pipe.permit()
        return state if state > 0 else 0

    def flush(self) -> int:
        """0; -1 or -2 as `permit` when that was said already, or after the guest's own shutdown (rule 5)."""
        if not self._told and not self._pipe.ended:
            return 0
        state = self.permit()
        return 0 if state > 0 else state

    def error(self) -> IoError:
        """The error of the failed operation; from now on the stream is closed (rule 2)."""
        self._failure_taken = True
        return IoError(ErrorCode.CONNECTION_RESET)

    def close(self) -> None:
        """The guest dropped it (rule 6)."""
        self.peer = None
