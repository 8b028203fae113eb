"""Standard output that does not flow: only the guest waits."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trio
import wasmtime

import wasi_sockets
from tests.guest_runs import Inputs, echo, engine, interposed_component, run_interposed
from tests.hangs.beside import beside

SIZE = 1_000_000
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs pseudo-terminals")


@contextmanager
def unread_pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    try:
        yield reading, writing
    finally:
        # The reading end first: it releases the thread that a blocked write keeps.
        os.close(reading)
        os.close(writing)


@contextmanager
def slow_terminal() -> Iterator[tuple[int, int]]:
    controller, terminal = os.openpty()
    try:
        yield controller, terminal
    finally:
        os.close(controller)
        os.close(terminal)


SINKS = {"a pipe": unread_pipe, "a terminal": slow_terminal}
every_sink = pytest.mark.parametrize("sink", SINKS.values(), ids=SINKS)


async def flood(python: Path, stdout: int, network: wasi_sockets.Network, *, thread: bool = False) -> int:
    return await wasi_sockets.run(
        interposed_component(python),
        ["flood", str(SIZE)],
        engine=engine(),
        network=network,
        stdin=None,
        stdout=stdout,
        stderr=None,
        thread=thread,
    )


@every_sink
@pytest.mark.parametrize("thread", [False, True])
async def test_others_keep_their_pace(
    sink: Callable[[], contextmanager[tuple[int, int]]],
    thread: bool,
    guest_file: Callable[[str], Path],
    network: wasi_sockets.Network,
) -> None:
    python, client = guest_file("python"), guest_file("c-echo-0.2.12")
    with sink() as (_, writing):
        async with beside(lambda: flood(python, writing, network, thread=thread)) as running:
            await running.pace(3000)
            async with trio.open_nursery() as services:
                services.start_soon(trio.serve_listeners, echo, [network.listen_tcp(8080)])
                inputs = Inputs(["127.0.0.1", "8080", "100"])
                (await run_interposed(client, inputs, network=network)).succeeded()
                services.cancel_scope.cancel()
            await running.pace(1)


@every_sink
async def test_nothing_is_lost_when_it_flows_again(
    sink: Callable[[], contextmanager[tuple[int, int]]],
    guest_file: Callable[[str], Path],
    network: wasi_sockets.Network,
) -> None:
    python = guest_file("python")
    received = bytearray()
    codes = []

    async def guest() -> None:
        codes.append(await flood(python, writing, network))

    async def read_slowly() -> None:
        while len(received.replace(b"\r\n", b"\n")) < SIZE:
            await trio.lowlevel.wait_readable(reading)
            received.extend(os.read(reading, 5000))

    with sink() as (reading, writing):
        async with beside(guest) as running:
            await running.pace(1000)
            await read_slowly()
            await running.until(lambda: running.ended)
    assert codes == [0]
    text = received.replace(b"\r\n", b"\n")
    assert text == b"0123456789abcde\n" * (SIZE // 16)


async def test_a_reader_that_leaves_ends_the_guest(
    guest_file: Callable[[str], Path], network: wasi_sockets.Network
) -> None:
    python = guest_file("python")
    reading, writing = os.pipe()
    try:

        async def guest() -> None:
            # A write to nobody raises in the guest, which does not catch it.
            with suppress(wasmtime.WasmtimeError):
                await flood(python, writing, network)

        async with beside(guest) as running:
            await running.pace(100)
            os.close(reading)
            await running.until(lambda: running.ended)
    finally:
        os.close(writing)
