"""Standard streams: the guest's end and the Python end of each, with back-pressure between them."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest
import trio
from p2_guest import Guest
from trio.testing import memory_stream_one_way_pair, wait_all_tasks_blocked

from wasi_sockets.network import Network
from wasi_sockets.wasi import Host, InputPipe, OutputPipe
from wasi_sockets.wasi.p2.stdio import USE_STOCK, StdinStream, StdoutStream

GETTERS = [
    ("wasi:cli/stdin", "get-stdin"),
    ("wasi:cli/stdout", "get-stdout"),
    ("wasi:cli/stderr", "get-stderr"),
]


@pytest.mark.parametrize(("interface", "name"), GETTERS)
def test_what_is_not_given_is_the_stock_hosts(guest: Guest, interface: str, name: str) -> None:
    assert guest.call(interface, name) is USE_STOCK


def test_each_stream_is_the_one_that_was_given_and_can_be_had_twice() -> None:
    stdin, stdout, stderr = InputPipe(), OutputPipe(), OutputPipe()
    guest = Guest(Host(Network(), stdin=stdin, stdout=stdout, stderr=stderr))
    for pipe, getter in ((stdout, GETTERS[1]), (stderr, GETTERS[2])):
        first, second = guest.call(*getter), guest.call(*getter)
        assert isinstance(first, StdoutStream)
        assert isinstance(second, StdoutStream)
        first.send(b"first ")
        first.close()
        second.send(b"second")
        assert pipe.pipe.read(100) == b"first second"
    stdin.pipe.write(b"input")
    one, other = guest.call(*GETTERS[0]), guest.call(*GETTERS[0])
    assert isinstance(one, StdinStream)
    assert isinstance(other, StdinStream)
    assert one.receive(2) == b"in"
    one.close()
    assert other.available() == 3


class Source:
    """A source that counts how often it was asked, and answers when it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self._send, self._receive = trio.open_memory_channel[bytes](10)

    def give(self, data: bytes) -> None:
        self._send.send_nowait(data)

    async def receive(self, max_bytes: int) -> bytes:
        self.asked += 1
        return await self._receive.receive()


class TestInput:
    async def test_nothing_is_read_before_the_guest_asks(self, nursery: trio.Nursery) -> None:
        pipe, source = InputPipe(), Source()
        stream = StdinStream(pipe)
        nursery.start_soon(pipe.feed, source.receive)
        await wait_all_tasks_blocked()
        assert source.asked == 0
        assert stream.available() == 0
        await wait_all_tasks_blocked()
        assert source.asked == 1
        source.give(b"line\n")
        await wait_all_tasks_blocked()
        assert stream.available() == 5
        assert source.asked == 1  # not until this is read and more is wanted
        assert stream.receive(5) == b"line\n"
        await wait_all_tasks_blocked()
        assert source.asked == 1
        assert not stream.ready()
        await wait_all_tasks_blocked()
        assert source.asked == 2
        source.give(b"")

    async def test_a_waiting_guest_is_woken_by_bytes_and_by_the_end(self, nursery: trio.Nursery) -> None:
        pipe, source = InputPipe(), Source()
        stream = StdinStream(pipe)
        nursery.start_soon(pipe.feed, source.receive)
        woken: list[str] = []
        for data, state in ((b"x", 1), (b"", -1)):
            assert not stream.ready()
            stream.add_waiter(lambda: woken.append("woken"))
            source.give(data)
            await wait_all_tasks_blocked()
            assert woken == ["woken"]
            assert stream.available() == state
            if state > 0:
                stream.receive(state)
            woken.clear()

    async def test_asking_before_the_task_has_started_is_not_lost(self, nursery: trio.Nursery) -> None:
        pipe, source = InputPipe(), Source()
        assert StdinStream(pipe).available() == 0
        source.give(b"early")
        nursery.start_soon(pipe.feed, source.receive)
        await wait_all_tasks_blocked()
        assert StdinStream(pipe).available() == 5
        nursery.cancel_scope.cancel()

    def test_input_that_is_there_already(self) -> None:
        pipe = InputPipe()
        pipe.fill(bytes(100_000))
        stream = StdinStream(pipe)
        assert stream.available() == 100_000
        stream.receive(100_000)
        assert stream.available() == -1
        nothing = InputPipe()
        nothing.fill()
        assert StdinStream(nothing).available() == -1

    async def test_a_failing_source_fails_the_guests_read_once(self) -> None:
        pipe = InputPipe()
        stream = StdinStream(pipe)
        assert stream.available() == 0

        async def fail(max_bytes: int) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

        await pipe.feed(fail)
        assert stream.available() == -2
        assert stream.ready()
        assert "Input/output error" in str(stream.error())
        assert stream.error().code is None
        assert stream.available() == -1
        assert isinstance(pipe.failure, OSError)

    async def test_a_bug_in_a_source_is_not_swallowed(self) -> None:
        pipe = InputPipe()
        assert StdinStream(pipe).available() == 0

        async def broken(max_bytes: int) -> bytes:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await pipe.feed(broken)
        assert StdinStream(pipe).available() == -1

    async def test_a_trio_stream_is_a_source(self, nursery: trio.Nursery) -> None:
        pipe = InputPipe()
        send, receive = memory_stream_one_way_pair()
        nursery.start_soon(pipe.feed, receive.receive_some)
        stream = StdinStream(pipe)
        assert stream.available() == 0
        await send.send_all(b"hello")
        await wait_all_tasks_blocked()
        assert stream.receive(5) == b"hello"
        assert stream.available() == 0
        await send.aclose()
        await wait_all_tasks_blocked()
        assert stream.available() == -1

    async def test_cancelling_the_task_is_the_end_of_input(self) -> None:
        pipe, source = InputPipe(), Source()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pipe.feed, source.receive)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert StdinStream(pipe).available() == -1


class Sink:
    """A sink that takes bytes only when it is told to."""

    def __init__(self) -> None:
        self.taken = bytearray()
        self._turns = trio.Semaphore(0)

    def allow(self, times: int = 1) -> None:
        for _ in range(times):
            self._turns.release()

    async def send(self, data: bytes) -> None:
        await self._turns.acquire()
        self.taken += data


class TestOutput:
    async def test_a_slow_sink_holds_up_the_writer_and_nobody_else(self, nursery: trio.Nursery) -> None:
        pipe, sink = OutputPipe(), Sink()
        stream = StdoutStream(pipe)
        nursery.start_soon(pipe.drain, sink.send)
        written = 0
        for _ in range(10):  # nobody reads: the writer comes to a stop, while tasks go on
            written += fill(stream)
            await wait_all_tasks_blocked()
        assert not stream.ready()
        assert written <= 256 * 1024
        woken: list[str] = []
        stream.add_waiter(lambda: woken.append("writable"))
        sink.allow()
        await wait_all_tasks_blocked()
        assert woken == ["writable"]
        assert stream.permit() > 0
        pipe.finish()
        sink.allow(100)
        await wait_all_tasks_blocked()
        assert len(sink.taken) == written

    async def test_all_that_was_written_is_drained_after_the_end(self) -> None:
        pipe, sink = OutputPipe(), Sink()
        StdoutStream(pipe).send(b"goodbye")
        pipe.finish()
        sink.allow()
        await pipe.drain(sink.send)
        assert sink.taken == b"goodbye"
        assert pipe.failure is None

    async def test_finishing_ends_a_drain_that_waits(self, nursery: trio.Nursery) -> None:
        pipe = OutputPipe()
        done: list[str] = []

        async def drain() -> None:
            await pipe.drain(Sink().send)
            done.append("drained")

        nursery.start_soon(drain)
        await wait_all_tasks_blocked()
        pipe.finish()
        await wait_all_tasks_blocked()
        assert done == ["drained"]
        assert StdoutStream(pipe).permit() == -1

    @pytest.mark.parametrize(
        "error",
        [lambda: BrokenPipeError(errno.EPIPE, "gone"), trio.BrokenResourceError, trio.ClosedResourceError],
    )
    async def test_a_sink_that_is_gone_closes_the_stream(self, error: Callable[[], Exception]) -> None:
        pipe = OutputPipe()
        stream = StdoutStream(pipe)
        stream.send(b"lost")

        async def gone(data: bytes) -> None:
            raise error()

        await pipe.drain(gone)
        assert stream.permit() == -1
        assert stream.send(b"more") == -1
        assert stream.flush() == -1
        assert pipe.failure is not None

    async def test_another_failure_is_told_once(self) -> None:
        pipe = OutputPipe()
        stream = StdoutStream(pipe)
        stream.send(b"lost")

        async def full(data: bytes) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        await pipe.drain(full)
        assert stream.permit() == -2
        assert "No space left on device" in str(stream.error())
        assert stream.permit() == -1

    async def test_a_trio_stream_is_a_sink(self, nursery: trio.Nursery) -> None:
        pipe = OutputPipe()
        send, receive = memory_stream_one_way_pair()
        nursery.start_soon(pipe.drain, send.send_all)
        StdoutStream(pipe).send(b"hello")
        assert await receive.receive_some(10) == b"hello"
        pipe.finish()

    async def test_one_pipe_for_both_keeps_their_order(self) -> None:
        pipe, sink = OutputPipe(), Sink()
        guest = Guest(Host(Network(), stdout=pipe, stderr=pipe))
        out, err = guest.call(*GETTERS[1]), guest.call(*GETTERS[2])
        assert isinstance(out, StdoutStream)
        assert isinstance(err, StdoutStream)
        for number in range(5):
            out.send(b"o%d " % number)
            err.send(b"e%d " % number)
        pipe.finish()
        sink.allow(100)
        await pipe.drain(sink.send)
        assert sink.taken == b"o0 e0 o1 e1 o2 e2 o3 e3 o4 e4 "


def fill(stream: StdoutStream) -> int:
    """Write as much as the stream takes; return how much."""
    written = 0
    while (permit := stream.permit()) > 0:
        size = min(permit, 1000)
        stream.send(bytes(size))
        written += size
    return written
