"""Restart decisions: plain values, no clock."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.hosting._restarts import Restarts
from service.spec import RestartPolicy


def decided(policy: RestartPolicy, *endings: tuple[bool, float]) -> list[float | None]:
    restarts = Restarts(policy, Random(1))
    return [restarts.decide(failed=failed, healthy_for=healthy).delay for failed, healthy in endings]


@pytest.mark.parametrize(
    ("when", "after_failure", "after_success"),
    [("never", False, False), ("on-failure", True, False), ("always", True, True)],
)
def test_what_is_restarted(when: str, after_failure: bool, after_success: bool) -> None:
    policy = RestartPolicy(when=when)  # type: ignore[arg-type]
    assert (decided(policy, (True, 0))[0] is not None) is after_failure
    assert (decided(policy, (False, 0))[0] is not None) is after_success


def test_waits_double_up_to_the_most_and_the_budget_ends_them() -> None:
    policy = RestartPolicy(backoff=1, backoff_max=5, jitter=0, budget=5)
    assert decided(policy, *[(True, 0.0)] * 7) == [1, 2, 4, 5, 5, None, None]
    restarts = Restarts(RestartPolicy(budget=0), Random(1))
    assert restarts.decide(failed=True, healthy_for=0) == (None, "the budget of 0 restarts is used up")


def test_a_healthy_time_gives_all_back() -> None:
    policy = RestartPolicy(backoff=1, jitter=0, budget=2, healthy_after=60)
    endings = [(True, 0.0), (True, 59.9), (True, 60.0), (True, 0.0), (True, 0.0)]
    assert decided(policy, *endings) == [1, 2, 1, 2, None]


def test_without_a_budget_it_never_ends() -> None:
    policy = RestartPolicy(backoff=1, backoff_max=8, jitter=0, budget=None)
    assert decided(policy, *[(True, 0.0)] * 5000)[-1] == 8


@given(st.integers(), st.floats(0, 1), st.integers(1, 40))
def test_jitter_leaves_out_no_more_than_its_part(seed: int, jitter: float, count: int) -> None:
    policy = RestartPolicy(backoff=0.5, backoff_max=30, jitter=jitter, budget=None)
    restarts = Restarts(policy, Random(seed))
    for number in range(count):
        whole = min(0.5 * 2**number, 30)
        delay = restarts.decide(failed=True, healthy_for=0).delay
        assert delay is not None
        assert whole * (1 - jitter) <= delay <= whole


def test_jitter_differs_from_service_to_service() -> None:
    policy = RestartPolicy(backoff=1, jitter=0.5)
    random = Random(3)
    delays = {Restarts(policy, random).decide(failed=True, healthy_for=0).delay for _ in range(20)}
    assert len(delays) == 20
