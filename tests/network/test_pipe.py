"""One direction of a connection: bytes, back-pressure and the ways to end."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasi_sockets.network import Pipe, Waiters


class Calls:
    """A wake callback that counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 40)),
        st.tuples(st.just("read"), st.integers(0, 60)),
        st.tuples(st.just("read_some"), st.integers(1, 60)),
        st.tuples(
            st.sampled_from(["end", "close_read", "discard", "abort", "abort_after_queued"]), st.just(0)
        ),
    ),
    max_size=60,
)


class Model:
    """The pipe, told as simply as possible."""

    def __init__(self) -> None:
        self.queue = b""
        self.ended = self.broken = self.discarding = self.reset = self.reset_later = False

    def drop(self, flag: str) -> None:
        if not getattr(self, flag):
            setattr(self, flag, True)
            self.queue = b""

    def after_read(self) -> None:
        if self.reset_later and not self.queue:
            self.reset = True


@given(operations=OPERATIONS)
def test_a_pipe_is_a_queue_of_bytes_with_four_ways_to_end(operations: list[tuple[str, int]]) -> None:
    pipe, model = Pipe(100), Model()
    serial = 0
    for name, size in operations:
        if name == "write":
            data = bytes((serial + i) % 256 for i in range(size))
            serial += size
            if model.reset:
                with pytest.raises(ConnectionResetError):
                    pipe.write(data)
            elif model.ended or model.broken:
                with pytest.raises(BrokenPipeError):
                    pipe.write(data)
            else:
                pipe.write(data)
                if not model.discarding:
                    model.queue += data
        elif name == "read":
            assert pipe.read(size) == model.queue[:size]
            taken = bool(model.queue[:size])
            model.queue = model.queue[size:]
            if taken:
                model.after_read()
        elif name == "read_some":
            data = pipe.read_some(size)
            assert bool(data) == bool(model.queue)
            assert len(data) <= size
            assert model.queue.startswith(data)
            model.queue = model.queue[len(data) :]
            if data:
                model.after_read()
        else:
            getattr(pipe, name)()
            if name == "end":
                model.ended = True
            elif name == "close_read":
                model.drop("broken")
            elif name == "discard":
                model.drop("discarding")
                model.after_read()
            elif name == "abort":
                model.drop("reset")
            elif not model.ended:
                model.ended = model.reset_later = bool(model.queue)
                model.reset = model.reset or not model.queue
        over = model.ended or model.broken or model.discarding
        assert pipe.buffered == len(model.queue)
        assert (pipe.ended, pipe.broken, pipe.discarding, pipe.reset) == (
            model.ended,
            model.broken,
            model.discarding,
            model.reset,
        )
        assert pipe.available() == (len(model.queue) or (-2 if model.reset else -1 if over else 0))
        room = max(0, 100 - len(model.queue))
        assert pipe.permit() == (-2 if model.reset else -1 if model.ended or model.broken else room)
        assert pipe.room() == room


def test_a_reset_behind_a_queue_comes_when_the_queue_is_dropped() -> None:
    pipe = Pipe(100)
    pipe.write(b"answer")
    pipe.abort_after_queued()
    assert (pipe.available(), pipe.reset) == (6, False)
    pipe.discard()
    assert (pipe.available(), pipe.reset) == (-2, True)


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=20_000), max_size=20),
    sizes=st.lists(st.integers(1, 30_000), min_size=1),
)
def test_large_and_small_chunks_arrive_in_order(chunks: list[bytes], sizes: list[int]) -> None:
    pipe = Pipe()
    for chunk in chunks:
        pipe.write(chunk)
    received = []
    turn = 0
    while pipe.buffered:
        size = sizes[turn % len(sizes)]
        turn += 1
        data = pipe.read(size) if turn % 2 else pipe.read_some(size)
        assert 1 <= len(data) <= size
        received.append(data)
    assert b"".join(received) == b"".join(chunks)
    assert pipe.delivered == sum(map(len, chunks))


def test_a_whole_chunk_is_handed_over_without_copying() -> None:
    pipe = Pipe()
    data = bytes(65536)
    pipe.write(data)
    pipe.write(data)
    assert pipe.read(65536) is data
    assert pipe.read_some(100_000) is data


def test_small_chunks_are_joined_for_the_reader() -> None:
    pipe = Pipe()
    for _ in range(10):
        pipe.write(b"abc")
    assert pipe.read_some(1000) == b"abc" * 10


def test_a_buffer_that_is_changed_after_writing_does_not_change_what_is_read() -> None:
    pipe = Pipe()
    buffer = bytearray(b"before")
    pipe.write(buffer)
    pipe.write(memoryview(buffer)[1:3])
    buffer[:] = b"after."
    assert pipe.read(100) == b"beforeef"


def test_many_tiny_writes_do_not_cost_much_more_than_their_bytes() -> None:
    pipe = Pipe()
    while pipe.room():
        pipe.write(bytes(bytearray(2)))
    overhead = sum(sys.getsizeof(chunk) for chunk in pipe._chunks) - pipe.buffered
    assert overhead < pipe.buffered / 10
    assert pipe.read(pipe.capacity) == bytes(pipe.capacity)


def test_the_reader_is_woken_once_by_data() -> None:
    pipe, wake = Pipe(), Calls()
    pipe.readable.add(wake)
    pipe.write(b"")
    assert wake.count == 0
    pipe.write(b"x")
    pipe.write(b"y")
    assert wake.count == 1


def test_the_writer_is_woken_when_a_third_is_free() -> None:
    pipe, wake = Pipe(90), Calls()
    pipe.write(bytes(90))
    pipe.writable.add(wake)
    pipe.read(29)
    assert wake.count == 0
    pipe.read(1)
    assert wake.count == 1


@pytest.mark.parametrize("capacity", [1, 2, 3])
def test_the_writer_of_a_tiny_pipe_is_woken_before_it_is_empty_or_at_the_latest_then(capacity: int) -> None:
    pipe, wake = Pipe(capacity), Calls()
    pipe.write(bytes(capacity))
    pipe.writable.add(wake)
    while not wake.count:
        assert pipe.read(1)
    assert pipe.room()


@pytest.mark.parametrize("change", ["end", "close_read", "discard", "abort"])
def test_every_end_wakes_both_sides_once(change: str) -> None:
    pipe, reader, writer = Pipe(), Calls(), Calls()
    pipe.readable.add(reader)
    pipe.writable.add(writer)
    getattr(pipe, change)()
    getattr(pipe, change)()
    assert (reader.count, writer.count) == (1, 1)


def test_growing_wakes_the_writer() -> None:
    pipe, wake = Pipe(10), Calls()
    pipe.write(bytes(10))
    pipe.writable.add(wake)
    pipe.resize(11)
    assert wake.count == 1
    pipe.resize(5)
    assert (pipe.buffered, pipe.room()) == (10, 0)


def test_a_capacity_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Pipe(0)
    with pytest.raises(ValueError, match="at least 1"):
        Pipe().resize(0)


def test_waiters_call_each_once_in_order_and_may_add_themselves_again() -> None:
    waiters = Waiters()
    calls: list[str] = []

    def again() -> None:
        calls.append("again")
        waiters.add(again)

    def second() -> None:
        calls.append("second")

    waiters.add(again)
    waiters.add(second)
    waiters.add(again)
    waiters.wake_all()
    assert calls == ["again", "second"]
    waiters.wake_all()
    assert calls == ["again", "second", "again"]
    waiters.discard(again)
    waiters.discard(again)
    waiters.wake_all()
    assert len(calls) == 3
