"""Real file descriptors at the Python ends of standard streams."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from wasi_sockets.wasi import OutputPipe, receive_from, send_to
from wasi_sockets.wasi.p2.stdio import StdoutStream

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes of the operating system")


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        try:
            os.close(descriptor)
        except OSError:
            pass  # closed by the test


async def test_bytes_come_through_and_then_the_end(ends: tuple[int, int]) -> None:
    reader, writer = ends
    receive, send = receive_from(reader), send_to(writer)
    await send(b"hello")
    assert await receive(2) == b"he"
    assert await receive(100) == b"llo"
    os.close(writer)
    assert await receive(100) == b""


async def test_a_late_writer_is_waited_for_without_a_thread(ends: tuple[int, int]) -> None:
    reader, writer = ends
    receive = receive_from(reader)
    threads = threading.active_count()
    got: list[bytes] = []

    async def read() -> None:
        got.append(await receive(10))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        assert got == []
        assert threading.active_count() <= threads
        os.write(writer, b"late")
    assert got == [b"late"]


async def test_a_regular_file_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "input"
    path.write_bytes(b"0123456789")
    descriptor = os.open(path, os.O_RDONLY)
    try:
        receive = receive_from(descriptor)
        assert [await receive(6), await receive(6), await receive(6)] == [b"012345", b"6789", b""]
    finally:
        os.close(descriptor)


async def test_a_pipe_that_nobody_reads_stops_only_its_writer(ends: tuple[int, int]) -> None:
    reader, writer = ends
    pipe = OutputPipe()
    stream = StdoutStream(pipe)
    data = bytes(range(256)) * 4096  # a megabyte: far more than both pipes hold
    received = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pipe.drain, send_to(writer))
        sent = 0
        while stream.permit() > 0:
            size = min(stream.permit(), 1000)
            stream.send(data[sent : sent + size])
            sent += size
        assert sent < len(data)
        # The loop still turns, and once somebody reads, everything arrives.
        receive = receive_from(reader)
        while len(received) < len(data):
            received += await receive(65536)
            while sent < len(data) and (permit := stream.permit()) > 0:
                stream.send(data[sent : sent + permit])
                sent += len(data[sent : sent + permit])
        pipe.finish()
    assert received == data


async def test_a_closed_reader_is_a_broken_pipe(ends: tuple[int, int]) -> None:
    reader, writer = ends
    os.close(reader)
    pipe = OutputPipe()
    stream = StdoutStream(pipe)
    stream.send(b"x")
    await pipe.drain(send_to(writer))
    assert isinstance(pipe.failure, BrokenPipeError)
    assert stream.permit() == -1


async def test_a_descriptor_that_others_made_non_blocking_is_waited_for(
    ends: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = ends
    os.set_blocking(writer, False)
    write, refused = os.write, threading.Event()

    def noticing_write(descriptor: int, data: bytes) -> int:
        try:
            return write(descriptor, data)
        except BlockingIOError:
            refused.set()
            raise

    monkeypatch.setattr(os, "write", noticing_write)
    data = bytes(300_000)  # more than a pipe holds
    received = bytearray()
    receive = receive_from(reader)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_to(writer), data)
        while not refused.is_set():
            await trio.lowlevel.checkpoint()
        while len(received) < len(data):
            received += await receive(65536)
    assert received == data


async def test_a_blocked_write_can_be_abandoned(ends: tuple[int, int]) -> None:
    reader, writer = ends
    send = send_to(writer)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, bytes(1_000_000))
            await trio.lowlevel.wait_readable(reader)  # the thread is writing by now
            scope.cancel()
    assert scope.cancelled_caught
    os.close(reader)  # lets the thread go
