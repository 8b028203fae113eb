"""`wasi:io/streams`: the functions that are too rare for a fast path, on virtual streams.

Reading, writing, flushing and subscribing never come here: the shim does them through the streams' own
methods. Nor do `splice` calls with one stock stream, which the shim does piece by piece. The semantics are
wasmtime's, `crates/wasi-io/src/streams.rs` and `crates/wasi-io/src/impls.rs`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from wasi_sockets.component.values import Err
from wasi_sockets.errors import GuestTrap
from wasi_sockets.wasi.p2.byte_streams import ByteInput, ByteOutput
from wasi_sockets.wasi.waiting import wait_until_ready

__all__ = ["FUNCTIONS"]

_INTERFACE: Final = "wasi:io/streams"
_CLOSED: Final = Err(("closed", None))
_MAX_BLOCKING_BYTES: Final = 4096
# A permit is the room of one pipe; this only keeps a huge one from becoming a huge allocation.
_LARGEST_PIECE: Final = 1024 * 1024


def _stream_error(stream: ByteInput | ByteOutput, state: int) -> Err:
    """The `stream-error` for a state below 0."""
    return _CLOSED if state == -1 else Err(("last-operation-failed", stream.error()))


def skip(stream: ByteInput, length: int) -> int | Err:
    """`[method]input-stream.skip`: drop up to `length` bytes and return how many."""
    available = stream.available()
    if available < 0:
        return _stream_error(stream, available)
    size = min(length, available)
    return len(stream.receive(size)) if size else 0


async def blocking_skip(stream: ByteInput, length: int) -> int | Err:
    """`[method]input-stream.blocking-skip`: as `skip`, after waiting for something to be there."""
    await wait_until_ready(stream)
    return skip(stream, length)


def write_zeroes(stream: ByteOutput, length: int) -> Err | None:
    """`[method]output-stream.write-zeroes`.

    Raises:
        GuestTrap: for more than the permit.
    """
    permit = stream.permit()
    if permit < 0:
        return _stream_error(stream, permit)
    if length > permit:
        raise GuestTrap("cannot write more zeroes than `check_write` allows")
    while length:
        size = min(length, _LARGEST_PIECE)
        length -= size
        state = stream.send(bytes(size))
        if state < 0:
            return _stream_error(stream, state)
    return None


async def blocking_write_zeroes_and_flush(stream: ByteOutput, length: int) -> Err | None:
    """`[method]output-stream.blocking-write-zeroes-and-flush`.

    Raises:
        GuestTrap: for more than 4,096 bytes.
    """
    if length > _MAX_BLOCKING_BYTES:
        raise GuestTrap("Buffer too large for blocking-write-zeroes-and-flush (expected at most 4096)")
    while True:
        await wait_until_ready(stream)
        permit = stream.permit()
        if permit < 0:
            return _stream_error(stream, permit)
        size = min(length, permit)
        if size:
            length -= size
            if stream.send(bytes(size)) == -2:
                return _stream_error(stream, -2)
        if not length:
            return await _finish_flush(stream)


async def _finish_flush(stream: ByteOutput) -> Err | None:
    """Flush and wait for it; a stream that has become closed meanwhile is no error here, a failure is."""
    if stream.flush() == -2:
        return _stream_error(stream, -2)
    await wait_until_ready(stream)
    return _stream_error(stream, -2) if stream.permit() == -2 else None


def splice(output: ByteOutput, source: ByteInput, length: int) -> int | Err:
    """`[method]output-stream.splice`: move up to `length` bytes and return how many."""
    permit = output.permit()
    if permit < 0:
        return _stream_error(output, permit)
    size = min(length, permit)
    if not size:
        return 0
    available = source.available()
    if available < 0:
        return _stream_error(source, available)
    size = min(size, available)
    if not size:
        return 0
    state = output.send(source.receive(size))
    return _stream_error(output, state) if state == -2 else size


async def blocking_splice(output: ByteOutput, source: ByteInput, length: int) -> int | Err:
    """`[method]output-stream.blocking-splice`: as `splice`, after waiting for room and for bytes.

    Nothing is taken from the source unless it can be written.
    """
    while True:
        await wait_until_ready(output)
        permit = output.permit()
        if permit < 0:
            return _stream_error(output, permit)
        if not length:
            return 0
        await wait_until_ready(source)
        moved = splice(output, source, length)
        if isinstance(moved, Err):
            return moved
        if moved:
            return await _finish_flush(output) or moved


def drop(stream: ByteInput | ByteOutput) -> None:
    """Dropping a stream of whatever kind."""
    stream.close()


FUNCTIONS: Final[dict[tuple[str, str], Callable[..., object]]] = {
    (_INTERFACE, "[method]input-stream.skip"): skip,
    (_INTERFACE, "[method]input-stream.blocking-skip"): blocking_skip,
    (_INTERFACE, "[method]output-stream.write-zeroes"): write_zeroes,
    (_INTERFACE, "[method]output-stream.blocking-write-zeroes-and-flush"): blocking_write_zeroes_and_flush,
    (_INTERFACE, "[method]output-stream.splice"): splice,
    (_INTERFACE, "[method]output-stream.blocking-splice"): blocking_splice,
    (_INTERFACE, "[resource-drop]input-stream"): drop,
    (_INTERFACE, "[resource-drop]output-stream"): drop,
}
