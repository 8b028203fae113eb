"""What Python services print: whose output it is, and that none of it is lost or in the way."""

from __future__ import annotations

import io
import logging
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from service import _service_output
from service._service_output import ServiceOutput
from service._terminal import say
from service.hosting import Host, State
from service.spec import HandlerCode, RestartPolicy, ServiceSpec, TaskCode, WorkloadSpec
from wasi_sockets import Network, TcpStream

Said = tuple[str, str, str]

_PATIENCE = 30.0
"""Seconds; only what fails takes them."""


class Printing:
    """A host whose services may print."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.strays: list[str] = []

    async def stray(self, lines: Sequence[str]) -> None:
        await trio.lowlevel.checkpoint()
        self.strays += lines

    def said(self) -> list[Said]:
        return [(each.service, each.stream, each.text) for each in self.host.lines.last()]

    async def run(self, *services: ServiceSpec) -> None:
        workload = await self.host.start(WorkloadSpec(name="w", services=services))
        for each in services:
            await workload.until(each.name, State.COMPLETED, State.FAILED)


@asynccontextmanager
async def printing(**options: Any) -> AsyncIterator[Printing]:
    with ServiceOutput() as printed:
        async with trio.open_nursery() as nursery:
            async with Host(**options) as host:
                made = Printing(host)
                nursery.start_soon(printed.tell, made.stray)
                yield made
            printed.close()


def task(target: Callable[..., Any], name: str = "s") -> ServiceSpec:
    return ServiceSpec(name=name, code=TaskCode(target), restart=RestartPolicy("never"))


async def test_lines_of_all_ways_to_write() -> None:
    async def work(network: Network) -> None:
        print("one\ntwo")
        print("to the", "error", file=sys.stderr)
        sys.stdout.buffer.write(b"bytes \xff\n")
        sys.stdout.writelines(["a", "b\n"])
        logger = logging.Logger("shop")
        logger.addHandler(logging.StreamHandler())
        logger.warning("logged")
        print("\ud800")
        print("no end", end="")

    async with printing() as made:
        await made.run(task(work))
        # It is there before the service has ended.
        assert made.said() == [
            ("s", "stdout", "one"),
            ("s", "stdout", "two"),
            ("s", "stderr", "to the error"),
            ("s", "stdout", "bytes \ufffd"),
            ("s", "stdout", "ab"),
            ("s", "stderr", "logged"),
            ("s", "stdout", "\\ud800"),
            ("s", "stdout", "no end"),
        ]
    assert made.strays == []


async def test_whose_line_it_is() -> None:
    done = trio.Event()

    async def handler(stream: TcpStream) -> None:
        print("handled", end=" ")
        await trio.to_thread.run_sync(print, "in a thread")

    async def serves(network: Network) -> None:
        async def inner(stream: TcpStream) -> None:
            print("handled within a task")

        async with trio.open_nursery() as nursery:
            await nursery.start(network.serve_tcp, inner, 81)
            await done.wait()
            nursery.cancel_scope.cancel()

    async def connects(network: Network) -> None:
        await network.until_listening(80, 81)
        print("connects", end=" ")
        for port in (80, 81):
            async with await network.connect_tcp("127.0.0.1", port) as stream:
                await stream.receive_some()
        print("and ends")
        done.set()

    async with printing() as made:
        workload = await made.host.start(
            WorkloadSpec(
                name="w",
                services=(
                    ServiceSpec(name="web", code=HandlerCode(handler), ports=(80,)),
                    task(serves, "serves"),
                    task(connects, "client"),
                ),
            )
        )
        await workload.until("client", State.COMPLETED)
        await workload.until("serves", State.COMPLETED)
    assert sorted(made.said()) == [
        ("client", "stdout", "connects and ends"),
        ("serves", "stdout", "handled within a task"),
        ("web", "stdout", "handled in a thread"),
    ]


async def test_what_nobody_is_known_to_have_written() -> None:
    def from_a_thread_of_its_own() -> None:
        print("whose?")

    async def work(network: Network) -> None:
        thread = threading.Thread(target=from_a_thread_of_its_own)
        thread.start()
        await trio.to_thread.run_sync(thread.join)

    async with printing() as made:
        print("the host", end="")
        print(" itself")
        await made.run(task(work))
    assert made.strays == ["the host itself", "whose?"]
    assert made.said() == []


async def test_own_messages_go_where_they_always_did(capsys: pytest.CaptureFixture[str]) -> None:
    async def work(network: Network) -> None:
        say("a message")

    async with printing() as made:
        await made.run(task(work))
    assert capsys.readouterr().err == "wasi-sockets: a message\n"
    assert made.said() == []


async def test_who_keeps_the_streams_writes_to_standard_error_in_the_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    kept: list[Any] = []

    async def work(network: Network) -> None:
        kept.extend([sys.stdout, logging.StreamHandler()])
        sys.stdout.close()  # which is not one service's to do
        print("goes on")

    before = sys.stdout, sys.stderr
    async with printing() as made:
        await made.run(task(work))
    assert (sys.stdout, sys.stderr) == before
    assert made.said() == [("s", "stdout", "goes on")]
    print("late", file=kept[0])
    kept[1].emit(logging.makeLogRecord({"msg": "later"}))
    assert capsys.readouterr() == ("", "late\nlater\n")


def test_late_text_that_nobody_reads_does_not_keep_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unread(io.StringIO):
        def __init__(self) -> None:
            super().__init__()
            self.reached, self.read = threading.Event(), threading.Event()

        def write(self, text: str) -> int:
            self.reached.set()
            self.read.wait()
            return len(text)

    unread = Unread()
    monkeypatch.setattr(sys, "stderr", unread)
    with ServiceOutput() as printed:
        printed.close()
        late = threading.Thread(target=print, args=["late"], daemon=True)
        late.start()
        unread.reached.wait()
        ending = threading.Thread(target=printed.close, daemon=True)
        ending.start()
        ending.join(_PATIENCE)
        ended = not ending.is_alive()
        unread.read.set()
        late.join()
    assert ended


async def test_nobody_who_prints_waits_for_whoever_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_service_output, "MOST_KEPT", 1000)
    stuck = trio.Event()

    async def output(lines: Sequence[Any]) -> None:
        await stuck.wait()

    async def work(network: Network) -> None:
        for number in range(100):
            print(f"{number:100}")
        stuck.set()

    async with printing(output=output) as made:
        await made.run(task(work))
    kept = [int(text) for _, _, text in made.said()]
    assert kept == list(range(len(kept)))
    assert 0 < len(kept) < 100
    assert made.strays == [
        f"{100 - len(kept)} lines of services are lost: what they write was not read in time"
    ]


async def test_there_need_be_no_streams_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)

    async def work(network: Network) -> None:
        print("all the same")
        with pytest.raises(io.UnsupportedOperation):
            sys.stdout.fileno()

    async with printing() as made:
        await made.run(task(work))
        assert made.said() == [("s", "stdout", "all the same")]
    assert sys.stdout is None


async def test_what_was_not_told_when_it_is_cut_off_is_counted() -> None:
    stuck = trio.Event()

    async def nobody_reads(lines: Sequence[str]) -> None:
        stuck.set()
        await trio.sleep_forever()

    with ServiceOutput() as printed:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(printed.tell, nobody_reads)
            print("one\ntwo")
            with trio.fail_after(_PATIENCE):
                await stuck.wait()
            print("three")
            nursery.cancel_scope.cancel()
        assert printed.untold == 3


async def test_all_that_was_told_counts_as_told() -> None:
    told: list[str] = []

    async def stray(lines: Sequence[str]) -> None:
        await trio.lowlevel.checkpoint()
        told.extend(lines)

    with ServiceOutput() as printed:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(printed.tell, stray)
            print("one\ntwo")
            printed.close()
        assert (told, printed.untold) == (["one", "two"], 0)
