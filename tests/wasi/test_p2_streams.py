"""`wasi:io/streams`: skip, splice and write-zeroes on virtual streams, blocking and not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from wasi_sockets.component.values import Err
from wasi_sockets.errors import GuestTrap
from wasi_sockets.network import Pipe
from wasi_sockets.wasi.p2.byte_streams import PipeInputStream, PipeOutputStream
from wasi_sockets.wasi.p2.error import IoError
from wasi_sockets.wasi.p2.streams import (
    blocking_skip,
    blocking_splice,
    blocking_write_zeroes_and_flush,
    skip,
    splice,
    write_zeroes,
)

CLOSED = Err(("closed", None))
CAPACITY = 100


def is_reset(result: object) -> bool:
    """Whether a result is a failed operation with a connection-reset behind it."""
    if not isinstance(result, Err) or not isinstance(result.payload, tuple):
        return False
    case, error = result.payload
    return case == "last-operation-failed" and isinstance(error, IoError) and str(error) == "connection-reset"


@pytest.fixture
def source() -> Pipe:
    return Pipe(CAPACITY)


@pytest.fixture
def sink() -> Pipe:
    return Pipe(CAPACITY)


async def while_blocked(function: Callable[[], Awaitable[object]], then: Callable[[], object]) -> object:
    """Run a blocking function, check that it blocks, do `then`, and return the function's result."""
    results: list[object] = []

    async def run() -> None:
        results.append(await function())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await wait_all_tasks_blocked()
        assert results == []
        then()
    return results[0]


class TestSkip:
    def test_up_to_what_is_there(self, source: Pipe) -> None:
        stream = PipeInputStream(source)
        assert skip(stream, 5) == 0
        source.write(b"0123456789")
        assert skip(stream, 0) == 0
        assert skip(stream, 4) == 4
        assert stream.receive(1) == b"4"
        assert skip(stream, 2**64 - 1) == 5

    def test_closed_and_failed(self, source: Pipe) -> None:
        source.end()
        assert skip(PipeInputStream(source), 1) == CLOSED
        assert skip(PipeInputStream(source), 0) == CLOSED
        source.abort()
        stream = PipeInputStream(source)
        assert is_reset(skip(stream, 1))
        assert skip(stream, 1) == CLOSED

    async def test_blocking_waits_for_bytes_or_the_end(self, source: Pipe) -> None:
        stream = PipeInputStream(source)
        assert await while_blocked(lambda: blocking_skip(stream, 9), lambda: source.write(b"abc")) == 3
        assert await while_blocked(lambda: blocking_skip(stream, 9), source.end) == CLOSED
        assert not source.readable  # no waiter is left behind

    async def test_cancelled_it_leaves_no_waiter(self, source: Pipe) -> None:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(blocking_skip, PipeInputStream(source), 1)
                await wait_all_tasks_blocked()
                assert source.readable
                scope.cancel()
        assert not source.readable


class TestWriteZeroes:
    def test_within_the_permit(self, sink: Pipe) -> None:
        stream = PipeOutputStream(sink)
        assert write_zeroes(stream, 0) is None
        assert write_zeroes(stream, CAPACITY) is None
        assert sink.read(CAPACITY) == bytes(CAPACITY)

    def test_more_than_the_permit_traps(self, sink: Pipe) -> None:
        with pytest.raises(GuestTrap, match="check_write"):
            write_zeroes(PipeOutputStream(sink), CAPACITY + 1)
        assert sink.buffered == 0

    def test_a_large_permit_is_written_in_pieces(self) -> None:
        sink = Pipe(3_000_000)
        assert write_zeroes(PipeOutputStream(sink), 2_500_000) is None
        assert sink.buffered == 2_500_000

    def test_closed_and_failed(self, sink: Pipe) -> None:
        sink.close_read()
        assert write_zeroes(PipeOutputStream(sink), 1) == CLOSED
        sink.abort()
        assert is_reset(write_zeroes(PipeOutputStream(sink), 1))

    async def test_blocking_waits_for_room_again_and_again(self, sink: Pipe) -> None:
        stream = PipeOutputStream(sink)
        read = bytearray()

        async def reader() -> None:
            while len(read) < 250:
                await wait_all_tasks_blocked()
                read.extend(sink.read(CAPACITY))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader)
            assert await blocking_write_zeroes_and_flush(stream, 250) is None
        assert read == bytes(250)

    async def test_blocking_traps_above_4096(self, sink: Pipe) -> None:
        with pytest.raises(GuestTrap, match="4096"):
            await blocking_write_zeroes_and_flush(PipeOutputStream(sink), 4097)

    async def test_a_reader_that_leaves_ends_the_wait(self, sink: Pipe) -> None:
        stream = PipeOutputStream(sink)
        result = await while_blocked(lambda: blocking_write_zeroes_and_flush(stream, 101), sink.close_read)
        assert result == CLOSED

    async def test_flushing_forgives_closed_but_not_a_failure(self, sink: Pipe) -> None:
        stream = PipeOutputStream(sink)
        blocking = lambda: blocking_write_zeroes_and_flush(stream, CAPACITY)  # noqa: E731
        assert await while_blocked(blocking, sink.close_read) is None
        other = Pipe(CAPACITY)
        result = await while_blocked(
            lambda: blocking_write_zeroes_and_flush(PipeOutputStream(other), CAPACITY), other.abort
        )
        assert is_reset(result)


class TestSplice:
    def test_moves_the_least_of_room_bytes_and_length(self, source: Pipe, sink: Pipe) -> None:
        incoming, outgoing = PipeInputStream(source), PipeOutputStream(sink)
        assert splice(outgoing, incoming, 10) == 0
        source.write(b"abcdef")
        assert splice(outgoing, incoming, 0) == 0
        assert splice(outgoing, incoming, 2) == 2
        assert splice(outgoing, incoming, 2**64 - 1) == 4
        assert sink.read(CAPACITY) == b"abcdef"
        sink.write(bytes(CAPACITY - 1))
        source.write(b"xyz")
        assert splice(outgoing, incoming, 3) == 1
        assert splice(outgoing, incoming, 3) == 0
        assert source.buffered == 2

    def test_the_outputs_state_comes_first(self, source: Pipe, sink: Pipe) -> None:
        incoming, outgoing = PipeInputStream(source), PipeOutputStream(sink)
        source.abort()
        sink.end()
        assert splice(outgoing, incoming, 1) == CLOSED
        assert source.reset
        assert is_reset(splice(PipeOutputStream(Pipe(CAPACITY)), incoming, 1))

    async def test_blocking_waits_for_room_then_for_bytes(self, source: Pipe, sink: Pipe) -> None:
        incoming, outgoing = PipeInputStream(source), PipeOutputStream(sink)
        sink.write(bytes(CAPACITY))
        source.write(b"abc")
        result = await while_blocked(
            lambda: blocking_splice(outgoing, incoming, 2), lambda: sink.read(CAPACITY)
        )
        assert result == 2
        source.read(1)
        result = await while_blocked(
            lambda: blocking_splice(outgoing, incoming, 9), lambda: source.write(b"de")
        )
        assert result == 2
        assert sink.read(CAPACITY) == b"abde"

    async def test_blocking_takes_nothing_that_it_cannot_write(self, source: Pipe, sink: Pipe) -> None:
        incoming, outgoing = PipeInputStream(source), PipeOutputStream(sink)

        def close_then_write() -> None:
            sink.close_read()
            source.write(b"kept")

        assert await while_blocked(lambda: blocking_splice(outgoing, incoming, 4), close_then_write) == CLOSED
        assert source.buffered == 4

    async def test_blocking_with_nothing_to_move(self, source: Pipe, sink: Pipe) -> None:
        assert await blocking_splice(PipeOutputStream(sink), PipeInputStream(source), 0) == 0
        source.end()
        assert await blocking_splice(PipeOutputStream(sink), PipeInputStream(source), 1) == CLOSED
        sink.end()
        assert await blocking_splice(PipeOutputStream(sink), PipeInputStream(source), 0) == CLOSED
