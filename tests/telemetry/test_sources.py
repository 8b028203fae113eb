"""telemetry_sources.py: what is read while others come and go, in other threads and after a fork."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterable

from wasi_sockets.telemetry_sources import MOST_SERIES, Measurement, Sources

OPENED = "wasi_sockets.connection.opened"


class Opened:
    """A source of one counter, which is retired when it goes."""

    def __init__(self, sources: Sources, workload: str = "shop", opened: int = 1) -> None:
        self._sources = sources
        self._measured: list[Measurement] = [(OPENED, opened, {"workload.name": workload})]
        sources.observe(self)

    def __del__(self) -> None:
        self._sources.retire(self)

    def measurements(self) -> Iterable[Measurement]:
        return self._measured


def test_counters_never_go_down_while_sources_come_and_go() -> None:
    sources = Sources()
    made = 20_000
    read: list[float] = []
    failed: list[BaseException] = []
    over = threading.Event()

    def collect() -> None:
        try:
            while not over.is_set():
                read.append(sum(sources.read(OPENED).values()))
        except BaseException as error:
            failed.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    collector = threading.Thread(target=collect)
    collector.start()
    try:
        for _ in range(made):
            Opened(sources)
    finally:
        over.set()
        collector.join()
        sys.setswitchinterval(interval)
    assert failed == []
    assert read == sorted(read)
    assert sum(sources.read(OPENED).values()) == made


def test_one_that_goes_while_it_is_read_is_counted_once() -> None:
    sources = Sources()
    seen: list[dict[frozenset[tuple[str, object]], float]] = []

    class Read(Opened):
        def __del__(self) -> None:
            super().__del__()
            seen.append(dict(sources.read(OPENED)))  # its references still work here

    Read(sources)
    assert [sum(each.values()) for each in seen] == [1]


def test_what_is_kept_of_the_gone_has_a_bound() -> None:
    sources = Sources()
    for number in range(MOST_SERIES + 10):
        Opened(sources, f"shop-{number}")
    Opened(sources, "shop-0")
    read = sources.read(OPENED)
    assert len(read) == MOST_SERIES + 1
    assert read[frozenset({("otel.metric.overflow", True)})] == 10
    assert read[frozenset({("workload.name", "shop-0")})] == 2


def test_what_counted_nothing_is_not_kept() -> None:
    sources = Sources()
    Opened(sources, opened=0)
    assert sources.read(OPENED) == {}


def test_a_forked_child_can_collect_while_its_parent_did() -> None:
    program = """
import os, signal, threading
from wasi_sockets.telemetry_sources import Sources

class Slow:
    def measurements(self):
        reading.set()
        forked.wait()
        return []

reading, forked, sources, slow = threading.Event(), threading.Event(), Sources(), Slow()
sources.observe(slow)
collector = threading.Thread(target=sources.read, args=("wasi_sockets.connection.opened",))
collector.start()
reading.wait()
child = os.fork()
if child == 0:
    signal.alarm(20)
    forked.set()
    sources.read("wasi_sockets.connection.opened")
    os._exit(0)
forked.set()
collector.join()
_, status = os.waitpid(child, 0)
raise SystemExit(status)
"""
    # Python 3.12 and later warn of a fork beside threads, which is what this is about.
    subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program], check=True, timeout=60
    )
