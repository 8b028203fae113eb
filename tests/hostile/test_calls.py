"""Attacks at random, a sample of what `make fuzz` runs, and by hypothesis, which makes failures small."""

from __future__ import annotations

import subprocess
import sys

import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hostile.attack import arena
from tests.hostile.calls import ROOT
from tests.hostile.raw_guest import FUNCTIONS, Function
from tests.hostile.sequences import FORGED, LENGTHS, NUMBERS, POINTERS, RESOURCES, Known, Step


def test_a_sample_of_attacks_ends_only_the_attackers() -> None:
    # In a process of its own: one that dies is a failure, and not the end of all tests.
    command = [sys.executable, "-m", "tests.hostile.calls", "--count=300", "--seed=2", "--jobs=1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for outcome in ("survived", "trapped", "wasm trap"):
        assert f" {outcome}" in done.stdout


def _argument(kind: str) -> st.SearchStrategy[int | Known]:
    known = st.builds(
        Known, st.sampled_from(RESOURCES), st.integers(0, 7), st.sampled_from((0, 0, 0, 1, 1 << 20, 1 << 29))
    )
    numbers = st.sampled_from(tuple(dict.fromkeys(POINTERS + LENGTHS + NUMBERS + FORGED)))
    mask = (1 << 64) - 1 if kind == "i64" else (1 << 32) - 1
    return st.one_of(known, numbers.map(lambda value: value & mask), st.integers(0, mask))


def _steps(function: Function) -> st.SearchStrategy[Step]:
    return st.builds(Step, st.just(function.name), st.tuples(*map(_argument, function.parameters)))


ATTACKS = st.lists(st.sampled_from(FUNCTIONS).flatmap(_steps), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=ATTACKS, direct_memory=st.booleans())
def test_whatever_a_guest_calls_only_it_suffers(steps: list[Step], direct_memory: bool) -> None:
    async def attack() -> None:
        async with arena() as here:
            await here.attack(steps, direct_memory=direct_memory)
            await here.check()

    trio.run(attack, clock=trio.testing.MockClock(autojump_threshold=0))
