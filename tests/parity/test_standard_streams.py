"""Standard streams of a process: terminals, pipes, input that arrives late, on either host."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO

import pytest
import trio

ROOT = Path(__file__).resolve().parent.parent.parent
HOSTS = ("stock", "ours")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs pseudo-terminals")


@asynccontextmanager
async def started(
    host: str, guest: Path, *arguments: str, stdin: int, stdout: int, stderr: int
) -> AsyncIterator[trio.Process]:
    command = [sys.executable, "-m", "tests.parity.host_program", host, str(guest), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = await trio.lowlevel.open_process(
        command, cwd=ROOT, env=environment, stdin=stdin, stdout=stdout, stderr=stderr
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def answers(process: trio.Process, expected: bytes) -> bytes:
    """What it wrote, until that ends with what is expected."""
    if process.stdout is None:
        raise RuntimeError("its stdout is no pipe")
    data = b""
    with trio.fail_after(60):
        while not data.endswith(expected):
            piece = await process.stdout.receive_some()
            assert piece, f"it ended after {data!r}"
            data += piece
    return data


@pytest.mark.parametrize("host", HOSTS)
async def test_input_is_seen_as_it_arrives(host: str, guest_file: Callable[[str], Path]) -> None:
    python = guest_file("python")
    pipe = subprocess.PIPE
    async with started(host, python, "stdin", stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as process:
        if process.stdin is None:
            raise RuntimeError("its stdin is no pipe")
        assert await answers(process, b"ready\n") == b"ready\n"
        # Each piece is sent only after the answer to the one before: the guest waits for its input meanwhile.
        for piece in (b"one", b"two\n", b"\x00\xff" * 1000):
            await process.stdin.send_all(piece)
            assert await answers(process, piece) == piece
        await process.stdin.aclose()
        assert await answers(process, b"bytes\n") == b"end after 2007 bytes\n"
        assert await process.wait() == 0


@pytest.mark.parametrize("host", HOSTS)
async def test_input_that_is_closed_already(host: str, guest_file: Callable[[str], Path]) -> None:
    python = guest_file("python")
    async with started(
        host, python, "stdin", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert await answers(process, b"bytes\n") == b"ready\nend after 0 bytes\n"
        assert await process.wait() == 0


@contextmanager
def plain_files(directory: Path) -> Iterator[tuple[IO[bytes], IO[bytes], IO[bytes]]]:
    """An empty input, and two files for what is written."""
    with (
        open(os.devnull, "rb") as nothing,
        open(directory / "out", "w+b") as out,
        open(directory / "error", "w+b") as error,
    ):
        yield nothing, out, error


@pytest.mark.parametrize("terminals", [(), (0,), (1,), (2,), (0, 1, 2)])
async def test_which_streams_are_terminals(
    terminals: tuple[int, ...], guest_file: Callable[[str], Path], tmp_path: Path
) -> None:
    python = guest_file("python")
    seen = []
    for host in HOSTS:
        controller, terminal = os.openpty()
        try:
            with plain_files(tmp_path) as (nothing, out, error):
                streams = [nothing.fileno(), out.fileno(), error.fileno()]
                for number in terminals:
                    streams[number] = terminal
                async with started(
                    host, python, "tty", stdin=streams[0], stdout=streams[1], stderr=streams[2]
                ) as process:
                    with trio.fail_after(60):
                        assert await process.wait() == 0
                out.seek(0)
                text = os.read(controller, 1000) if 1 in terminals else out.read()
        finally:
            os.close(controller)
            os.close(terminal)
        seen.append(text.replace(b"\r\n", b"\n"))
    assert seen[0] == seen[1]
    assert seen[0].decode().splitlines() == [
        f"{name} {number in terminals}" for number, name in enumerate(("stdin", "stdout", "stderr"))
    ]


@pytest.mark.parametrize("how", ["0", "3", "raise"])
async def test_exit_codes_of_the_process(how: str, guest_file: Callable[[str], Path]) -> None:
    python = guest_file("python")
    arguments = ("exit", "raise") if how == "raise" else ("exit", "os", how)
    codes = []
    for host in HOSTS:
        async with started(
            host,
            python,
            *arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            with trio.fail_after(60):
                codes.append(await process.wait())
    assert codes[0] == codes[1]
    assert (codes[0] == 0) is (how == "0")


@pytest.mark.parametrize("host", HOSTS)
async def test_a_reader_that_goes_away(host: str, guest_file: Callable[[str], Path]) -> None:
    # `guest | head -1`: the guest must come to an end by itself.
    python = guest_file("python")
    async with started(
        host,
        python,
        "flood",
        "100000000",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        if process.stdout is None:
            raise RuntimeError("its stdout is no pipe")
        assert await process.stdout.receive_some(16) == b"0123456789abcde\n"
        await process.stdout.aclose()
        with trio.fail_after(60):
            assert await process.wait() != 0
