"""Hostile guests by the thousand: wrong handles, pointers and lengths to every replaced function, in any order.

    python -m tests.hostile.calls --count 20000 --seed 7

Each attack must end its own guest at most; the victim beside it keeps its connection, nothing is left behind, and
the process lives. A failure prints the attack's number; `--only NUMBER` with the same seed repeats just that one.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import IO

import trio
import trio.testing

from tests.hostile.attack import Disturbance, arena
from tests.hostile.sequences import random_sequence
from wasi_sockets.wasi import InputPipe, OutputPipe

ROOT = Path(__file__).resolve().parents[2]
CPU_SECONDS = 20.0
"""Of one attack. It ends the process, since whatever took so long may not have come back to Python."""

MEMORY = 1 << 30
"""Bytes of private memory that the process may have; what is merely reserved does not count."""

_CHECK_EVERY = 8


async def _attacks(seed: int, numbers: Iterable[int], record: IO[bytes]) -> int:
    failures = 0
    progress = sys.stderr.isatty()
    done = 0
    arenas = 0
    rest = iter(numbers)
    pending = next(rest, None)
    while pending is not None:
        arenas += 1
        # A disturbed arena is left for a new one, so that one failure is not told again and again.
        async with arena() as here:
            while pending is not None:
                number, pending = pending, next(rest, None)
                os.pwrite(record.fileno(), f"{number:>12}".encode(), 0)
                signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
                random = Random(f"{seed}:{number}")
                options: dict[str, object] = {"direct_memory": random.random() < 0.5}
                if random.random() < 0.5:
                    options.update(stdin=InputPipe(), stdout=OutputPipe())
                steps = random_sequence(random)
                try:
                    await here.attack(steps, **options)
                    if number % _CHECK_EVERY == 0 or pending is None:
                        await here.check()
                except Disturbance as disturbance:
                    failures += 1
                    print(f"attack {number} (seed {seed}): {disturbance}\n  {options}")
                    for step in steps:
                        print(f"  {step.function} {step.arguments}")
                    traceback.print_exception(disturbance, file=sys.stdout, limit=-8)
                    break
                finally:
                    signal.setitimer(signal.ITIMER_PROF, 0)
                done += 1
                if progress and done % 50 == 0:
                    print(f"\r{done} attacks", end="", file=sys.stderr, flush=True)
            outcomes = dict(sorted(here.outcomes.items()))
            print(f"seed {seed}: {', '.join(f'{count} {outcome}' for outcome, count in outcomes.items())}")
    if progress:
        print("\r\x1b[K", end="", file=sys.stderr)
    return failures


def work(seed: int, numbers: Iterable[int], record: IO[bytes]) -> int:
    """Carry out these attacks in this process; returns how many disturbed anything.

    Args:
        seed: which attacks the numbers mean.
        numbers: of the attacks.
        record: where the number of the current one is kept, for whoever finds this process dead.
    """
    faulthandler.enable()
    faulthandler.register(signal.SIGPROF, chain=True)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    failures = trio.run(_attacks, seed, numbers, record, clock=trio.testing.MockClock(autojump_threshold=0))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"seed {seed}: {failures} failed; peak {peak} MiB", flush=True)
    return failures


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=20_000, help="how many attacks")
    parser.add_argument("--seed", type=int, default=1, help="which ones")
    parser.add_argument("--only", type=int, help="just the attack of this number")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--record", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    jobs = max(options.jobs, 1)
    if options.worker is not None:
        numbers: Iterable[int] = range(options.worker, options.count, jobs)
        if options.only is not None:
            numbers = [options.only]
        with options.record.open("r+b") as record:
            return min(work(options.seed, numbers, record), 1)
    # In processes of their own: a crash in native code must end one of them only, and be told.
    if options.only is not None:
        jobs = 1
    with tempfile.TemporaryDirectory() as directory:
        return _start_workers(options, jobs, Path(directory))


def _start_workers(options: argparse.Namespace, jobs: int, directory: Path) -> int:
    shared = [f"--count={options.count}", f"--seed={options.seed}", f"--jobs={jobs}"]
    if options.only is not None:
        shared.append(f"--only={options.only}")
    records = [directory / str(number) for number in range(jobs)]
    for record in records:
        record.touch()
    workers = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.hostile.calls",
                *shared,
                f"--worker={number}",
                f"--record={record}",
            ],
            cwd=ROOT,
        )
        for number, record in enumerate(records)
    ]
    statuses = [worker.wait() for worker in workers]
    for status, record in zip(statuses, records, strict=True):
        if status < 0:
            name = signal.Signals(-status).name
            print(f"attack {record.read_text().strip()} (seed {options.seed}) ended the process: {name}")
    return int(any(statuses))


if __name__ == "__main__":
    sys.exit(main())
