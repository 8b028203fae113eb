"""Checks on a stock wasmtime, in a process of its own: the reference."""

from __future__ import annotations

import json
import queue
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wasi_sockets.conformance.assembly import Assembled, bundles
from wasi_sockets.conformance.check import CHECKS, Check
from wasi_sockets.conformance.differences import STOCK_47
from wasi_sockets.conformance.program import Step
from wasi_sockets.conformance.verdict import Ended, Result, judge

__all__ = ["StockHostError", "run_stock"]

_START_SECONDS = 60
_WORKER = Path(__file__).with_name("stock_worker.py")


class StockHostError(Exception):
    """The process that runs the checks could not be started, or ended before it had."""


@dataclass(frozen=True)
class _Job:
    check: Check
    steps: tuple[Step, ...]
    component: str
    argument: str


def run_stock(
    python: str | Path,
    checks: Sequence[Check],
    *,
    name: str = "stock",
    timeout: float = 20,
    started: Callable[[Check], None] | None = None,
) -> Iterator[Result]:
    """Runs checks on the wasmtime of another Python and gives each result as it comes.

    Args:
        python: an interpreter that has the package `wasmtime`.
        checks: what to run.
        name: of the host, for the results.
        timeout: seconds for a single check.
        started: called before each.

    Raises:
        StockHostError: see there.
    """
    with tempfile.TemporaryDirectory() as directory:
        waiting = _jobs(bundles(checks), Path(directory))
        while waiting:
            done = 0
            with _Worker(python, waiting, Path(directory), timeout) as worker:
                host = worker.next(_START_SECONDS)
                if host is None:
                    raise StockHostError(f"{python} did not start: {worker.errors()}")
                for job in waiting:
                    if started is not None:
                        started(job.check)
                    if job.check.needs_ipv6 and not host["ipv6"]:
                        worker.next()
                        yield Result(
                            job.check.name,
                            name,
                            "skipped",
                            job.check.source,
                            "this machine has no IPv6 loopback",
                        )
                    else:
                        line = worker.next()
                        ended = (
                            Ended(None, worker.said(done), worker.errors(), too_late=worker.alive)
                            if line is None
                            else Ended(line["exit"], line["stdout"], line["message"])
                        )
                        yield judge(job.check, job.steps, ended, name, STOCK_47)
                        if line is None:
                            done += 1
                            break  # the process is stopped; another one does the rest
                    done += 1
            waiting = waiting[done:]


def _jobs(assembled: Iterator[Assembled], directory: Path) -> list[_Job]:
    jobs: list[_Job] = []
    for number, each in enumerate(assembled):
        path = directory / f"{number}.wasm"
        path.write_bytes(each.wasm)
        jobs.extend(
            _Job(check, steps, str(path), str(index))
            for index, (check, steps) in enumerate(zip(each.checks, each.steps, strict=True))
        )
    order = {name: number for number, name in enumerate(CHECKS)}
    return sorted(jobs, key=lambda job: order.get(job.check.name, len(order)))


class _Worker:
    """The process. Its lines are read by a thread, so that a check that hangs can be given up."""

    def __init__(self, python: str | Path, jobs: Sequence[_Job], directory: Path, timeout: float) -> None:
        self._timeout = timeout
        self._directory = directory
        file = directory / "jobs.json"
        file.write_text(
            json.dumps(
                [
                    {
                        "component": job.component,
                        "arguments": [job.argument],
                        "denied": sorted(job.check.denied),
                    }
                    for job in jobs
                ]
            ),
            "utf-8",
        )
        self._errors = (directory / "errors.txt").open("w+b")
        try:
            self._process = subprocess.Popen(
                [str(python), str(_WORKER), str(file), str(directory)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
            )
        except OSError as error:
            self._errors.close()
            raise StockHostError(str(error)) from error
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._lines.put(line)
        self._lines.put("")

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def next(self, timeout: float | None = None) -> dict[str, Any] | None:
        """The next line; None when none comes in time, or ever."""
        try:
            line = self._lines.get(timeout=self._timeout if timeout is None else timeout)
        except queue.Empty:
            return None
        return json.loads(line) if line else None

    def errors(self) -> str:
        """What the process wrote to its standard error."""
        self._errors.seek(0)
        return self._errors.read().decode("utf-8", "replace")

    def said(self, number: int) -> str:
        """What the guest of a job that did not end has said so far."""
        file = self._directory / f"{number}.txt"
        return file.read_text("utf-8", "replace") if file.exists() else ""
