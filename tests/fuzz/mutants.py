"""Damaged components through the interposer: a valid result, or an error of ours, in bounded time and memory.

    python -m tests.fuzz.mutants --count 20000 --seed 7

A failure prints the number of the mutant; `--only NUMBER` with the same seed repeats just that one, and the mutant
itself is kept in `build/fuzz`.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from random import Random
from types import FrameType

import wasmtime

from tests.fuzz.mutate import mutant
from tests.fuzz.seeds import MAX_COMPILED, ROOT, seeds
from tests.interposer.checks import compiles
from wasi_sockets.errors import WasiSocketsError
from wasi_sockets.interposer import interpose

CPU_SECONDS = 2.0
MEMORY = 1 << 30
KEPT = ROOT / "build" / "fuzz"


class Overtime(BaseException):
    """No `Exception`, so that nothing on the way takes it for an error of its own."""


class Failure(Exception):
    """A mutant did what none may do."""


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise Overtime


def judge(wasm: bytes) -> str:
    """What became of a component: "refused", "invalid", "unchanged", "interposed" or "large".

    Raises:
        Failure: the interposer broke its promise.
    """
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        result = interpose(wasm)
    except WasiSocketsError as error:
        if not str(error):
            raise Failure("an error without a message") from error
        return "refused"
    except Overtime:
        raise Failure(f"more than {CPU_SECONDS:g} seconds of processor time") from None
    except BaseException as error:
        raise Failure(f"{type(error).__name__} instead of an error of ours") from error
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    if result.wasm is wasm:
        return "unchanged"
    if len(wasm) > MAX_COMPILED:
        return "large"
    try:
        compiles(wasm)
    except (wasmtime.WasmtimeError, ValueError):
        return "invalid"
    try:
        compiles(result.wasm)
    except (wasmtime.WasmtimeError, ValueError) as error:
        raise Failure("it is valid, and what was made of it is not") from error
    return "interposed"


def work(seed: int, numbers: Iterable[int]) -> int:
    """Judges these mutants; tells what became of them on standard output, and how many failed."""
    signal.signal(signal.SIGPROF, _stop)
    originals = seeds()
    compiles(originals[0])  # the engine's own memory is not what the limit is for
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    outcomes: Counter[str] = Counter()
    failures = 0
    progress = sys.stderr.isatty()
    for done, number in enumerate(numbers, 1):
        how, wasm = mutant(Random(f"{seed}:{number}"), originals)
        try:
            outcomes[judge(wasm)] += 1
        except Failure as failure:
            failures += 1
            KEPT.mkdir(parents=True, exist_ok=True)
            kept = KEPT / f"{seed}-{number}.wasm"
            kept.write_bytes(wasm)
            print(f"mutant {number} ({how}): {failure}; kept as {kept.relative_to(ROOT)}")
            traceback.print_exception(failure.__cause__, file=sys.stdout, limit=-6)
        if progress and done % 50 == 0:
            print(f"\r{done} mutants", end="", file=sys.stderr, flush=True)
    if progress:
        print("\r\x1b[K", end="", file=sys.stderr)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    print(f"seed {seed}: {told}; {failures} failed; peak {peak} MiB", flush=True)
    return failures


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=20_000, help="how many mutants")
    parser.add_argument("--seed", type=int, default=1, help="which ones")
    parser.add_argument("--only", type=int, help="just the mutant of this number")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.only is not None:
        return min(work(options.seed, [options.only]), 1)
    if options.worker is not None or options.jobs < 2:
        numbers = range(options.worker or 0, options.count, max(options.jobs, 1))
        return min(work(options.seed, numbers), 1)
    # Processes of their own, so that a limit that is hit or a crash in native code ends one of them only.
    shared = [f"--count={options.count}", f"--seed={options.seed}", f"--jobs={options.jobs}"]
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.mutants", *shared, f"--worker={number}"], cwd=Path.cwd()
        )
        for number in range(options.jobs)
    ]
    statuses = [worker.wait() for worker in workers]
    return int(any(statuses))


if __name__ == "__main__":
    sys.exit(main())
