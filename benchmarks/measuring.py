"""Driving the worker processes, so that whatever else the machine does hits every host alike."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from benchmarks.cases import Case

__all__ = ["HOSTS", "Samples", "Worker", "measure"]

HOSTS = {"virtual": "direct", "stock": "stock", "string": "string", "floor": "floor"}
"""Column of the results -> transport that the worker is asked for."""

_PROJECT = Path(__file__).parent.parent

Samples = dict[str, list[float]]
"""Host -> one value per repetition, in the unit of the case."""


class Worker:
    """A worker process, which measures when asked and sleeps otherwise. A context manager.

    Args:
        python: its interpreter.
        module: what it runs.
        guest: its first argument.
        words: its other arguments.

    Attributes:
        facts: the versions it runs with.
    """

    def __init__(self, python: str | Path, module: str, guest: Path, *words: str) -> None:
        self._process = subprocess.Popen(
            [str(python), "-m", module, str(guest), *words],
            cwd=_PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.facts: dict[str, str] = self._answer()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pipe(self._process.stdin).close()
        self._pipe(self._process.stdout).close()
        if error is not None:
            self._process.kill()
        self._process.wait()

    def seconds(self, transport: str, case: Case, scale: float) -> float:
        """Run a case once.

        Raises:
            RuntimeError: the worker ended; its own words are on standard error.
        """
        request = {
            "transport": transport,
            "function": case.function,
            "arguments": [case.scaled(scale), *case.arguments],
        }
        try:
            stdin = self._pipe(self._process.stdin)
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
        except BrokenPipeError:
            pass  # reading says what happened
        return float(self._answer()["nanoseconds"]) / 1e9

    def _answer(self) -> dict[str, Any]:
        line = self._pipe(self._process.stdout).readline()
        if not line:
            raise RuntimeError(f"a worker ended with code {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        if pipe is None:
            raise RuntimeError("the worker has no pipe")
        return pipe


def measure(
    cases: Sequence[Case],
    virtual: Worker,
    stock: Worker | None,
    *,
    repetitions: int,
    scale: float,
    report: Callable[[str], None],
) -> dict[str, Samples]:
    """Measure every case on every host, taking turns; the first turn is warm-up and does not count.

    Args:
        cases: what to measure.
        virtual: our host.
        stock: the stock host, None to leave it out.
        repetitions: of every case on every host.
        scale: shortens (or lengthens) a repetition.
        report: told what is being measured.

    Returns:
        Samples by name of the case.
    """
    hosts = [name for name in HOSTS if name != "stock" or stock is not None]
    results: dict[str, Samples] = {case.name: {host: [] for host in hosts} for case in cases}
    for repetition in range(repetitions + 1):
        for case in cases:
            for host in _turns(hosts, repetition):
                report(f"{repetition}/{repetitions} {case.name} {host}")
                worker = stock if host == "stock" and stock is not None else virtual
                seconds = worker.seconds(HOSTS[host], case, scale)
                if repetition:
                    results[case.name][host].append(case.value(seconds, case.scaled(scale)))
    return results


def _turns(hosts: Sequence[str], repetition: int) -> Iterable[str]:
    # Each in turn goes first: what follows a host that used much memory bandwidth may find a hotter machine.
    first = repetition % len(hosts)
    return [*hosts[first:], *hosts[:first]]
