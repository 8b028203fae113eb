"""Files that block whoever opens them, which stock WASI does on the thread of its caller."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

import wasi_sockets
from tests.guest_runs import Inputs, engine, run_embedded, run_interposed
from tests.hangs.beside import beside
from wasi_sockets.engine.engines import engine_state

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs FIFOs")


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def inputs(fifo: Path) -> Inputs:
    return Inputs(["file-content", "/data/fifo"], directories={"/data": fifo.parent})


async def test_a_fifo_that_is_opened_later(
    fifo: Path, guest_file: Callable[[str], Path], network: wasi_sockets.Network
) -> None:
    python = guest_file("python")

    async def guest() -> None:
        ended = await run_interposed(python, inputs(fifo), network=network, thread=True)
        # Stock WASI reads at a position, which a FIFO does not have: so the guest gets no further than this.
        assert ended.lines == ["opening"]
        assert b"I/O error" in ended.stderr

    async with beside(guest) as running:
        await running.pace(2000)
        descriptor = None
        while descriptor is None:
            await running.pace(1)
            descriptor = open_for_writing(fifo)
        await running.until(lambda: running.ended)
        os.close(descriptor)


def open_for_writing(fifo: Path) -> int | None:
    """The other end, as soon as a guest stands at its own."""
    try:
        return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return None


async def test_a_fifo_that_nobody_opens(
    fifo: Path, guest_file: Callable[[str], Path], network: wasi_sockets.Network
) -> None:
    python = guest_file("python")
    output = wasi_sockets.OutputPipe()
    async with beside(
        lambda: run_embedded(python, inputs(fifo), network=network, thread=True, stdout=output)
    ) as running:
        await running.until(lambda: output.pipe.buffered > 0)
        await running.pace(2000)
    # Its thread is still in there and keeps the store; it has to be let out.
    stores = engine_state(engine()).stores
    assert stores
    async with beside(trio.sleep_forever) as running:
        descriptors: list[int | None] = []

        def is_out() -> bool:
            descriptors.append(open_for_writing(fifo))
            return not stores

        try:
            await running.until(is_out)
        finally:
            for descriptor in descriptors:
                if descriptor is not None:
                    os.close(descriptor)
