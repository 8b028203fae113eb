"""A CPython guest that waits for its standard input and a socket in one `select`."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import wasmtime

import wasi_sockets
from tests.guest_runs import RUN_COMMAND, engine, interposed_component, interposed_linker

Network = wasi_sockets.Network
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs FIFOs")


class Watching:
    """The guest while it watches: its input, its connection, and what it says."""

    def __init__(self, write_input: Callable[[bytes], object], connection: wasi_sockets.TcpStream) -> None:
        self.write_input = write_input
        self.connection = connection
        self.said = trio.open_memory_channel[bytes](100)

    async def hears(self, expected: str) -> None:
        text = b""
        while not text.endswith(b"\n"):
            text += await self.said[1].receive()
        assert text.decode() == expected + "\n"


async def exercise(watching: Watching) -> None:
    """Each side speaks only after the guest reported the other, so nothing but waiting for both can work."""
    await watching.hears("watching")
    watching.write_input(b"one")
    await watching.hears("stdin one")
    await watching.connection.send_all(b"two")
    await watching.hears("socket two")
    await watching.connection.send_all(b"three")
    await watching.hears("socket three")
    watching.write_input(b"four")
    await watching.hears("stdin four")


@asynccontextmanager
async def fifo_input(directory: Path, wasi: wasmtime.WasiConfig) -> AsyncIterator[Callable[[bytes], object]]:
    """A stock standard input that somebody writes to later."""
    path = directory / "input"
    os.mkfifo(path)
    # Opened for both directions first, so that opening it for reading does not wait for a writer.
    descriptor = os.open(path, os.O_RDWR)
    try:
        wasi.stdin_file = path
        yield lambda data: os.write(descriptor, data)
    finally:
        os.close(descriptor)


@asynccontextmanager
async def watching_guest(
    directory: Path, source: Path, network: Network, *, stock_input: bool, thread: bool
) -> AsyncIterator[tuple[Watching, Callable[[], Awaitable[None]]]]:
    listener = network.listen_tcp(8080)
    store = wasmtime.Store(engine())
    wasi = wasmtime.WasiConfig()
    wasi.argv = ["guest", "poll-both", "127.0.0.1", "8080"]
    component = interposed_component(source)
    with trio.fail_after(60):
        async with fifo_input(directory, wasi) as write_fifo:
            store.set_wasi(wasi)
            input_channel = trio.open_memory_channel[bytes](100)
            stdin = None if stock_input else wasi_sockets.InputPipe()
            output = wasi_sockets.OutputPipe()
            options = {} if stdin is None else {"stdin": stdin}
            async with (
                wasi_sockets.instantiate(
                    interposed_linker(),
                    store,
                    component,
                    network=network,
                    stdout=output,
                    thread=thread,
                    **options,
                ) as guest,
                trio.open_nursery() as nursery,
            ):
                returned = trio.Event()

                @nursery.start_soon
                async def life() -> None:
                    await guest.call(*RUN_COMMAND)
                    returned.set()

                async def receive(_: int) -> bytes:
                    try:
                        return await input_channel[1].receive()
                    except trio.EndOfChannel:
                        return b""

                if stdin is not None:
                    nursery.start_soon(stdin.feed, receive)
                connection = await listener.accept()
                write = write_fifo if stock_input else input_channel[0].send_nowait
                watching = Watching(write, connection)
                nursery.start_soon(output.drain, watching.said[0].send)

                async def finish() -> None:
                    await connection.aclose()
                    await watching.hears("socket ended")
                    if not stock_input:
                        await input_channel[0].aclose()
                        await watching.hears("stdin ended")
                        await returned.wait()

                yield watching, finish
                nursery.cancel_scope.cancel()
    await listener.aclose()


@pytest.mark.parametrize("thread", [False, True])
@pytest.mark.parametrize("stock_input", [False, True])
async def test_both_are_heard(
    stock_input: bool, thread: bool, guest_file: Callable[[str], Path], network: Network, tmp_path: Path
) -> None:
    source = guest_file("python")
    async with watching_guest(tmp_path, source, network, stock_input=stock_input, thread=thread) as (
        watching,
        finish,
    ):
        await exercise(watching)
        await finish()


async def test_a_timer_and_an_input_that_never_comes(
    wat_guest: Callable[[str], bytes], network: Network, tmp_path: Path
) -> None:
    # This guest has no pollable.ready of its own; the shim needs it to ask for the stock input.
    store = wasmtime.Store(engine())
    wasi = wasmtime.WasiConfig()
    component = interposed_component(wat_guest("poll-without-ready"))
    async with fifo_input(tmp_path, wasi) as write:
        store.set_wasi(wasi)
        async with wasi_sockets.instantiate(interposed_linker(), store, component, network=network) as guest:
            with trio.fail_after(60):
                assert await guest.call("wait", 1_000_000) == 2
                write(b"now")
                assert await guest.call("wait", 3_600_000_000_000) == 1
