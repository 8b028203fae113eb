"""Whether and when something that has ended is started again. Decides, and does nothing: no clock, no task.

Rules:

1. Only "always" restarts what ended in order; "on-failure" and "always" restart what failed; "never" nothing.
2. Each restart takes one from the budget; with none left what failed has failed for good.
3. The wait before a restart doubles each time, up to its most; a random part of it is left out.
4. Who was healthy for `healthy_after` has the whole budget and the first wait again.
"""

from __future__ import annotations

from random import Random
from typing import Final, NamedTuple

from service.spec import RestartPolicy

__all__ = ["Decision", "Restarts"]


class Decision(NamedTuple):
    """What becomes of something that has ended.

    Attributes:
        delay: seconds until it is started again; None: it is not.
        reason: why not, where the ending does not say it.
    """

    delay: float | None
    reason: str = ""


class Restarts:
    """The restarts of one service.

    Args:
        policy: what was asked for.
        random: where jitter comes from.
    """

    def __init__(self, policy: RestartPolicy, random: Random) -> None:
        self._policy: Final = policy
        self._random: Final = random
        self._in_a_row = 0

    def decide(self, *, failed: bool, healthy_for: float) -> Decision:
        """What to do after an ending.

        Args:
            failed: it did not end in order.
            healthy_for: seconds for which it had been up.
        """
        policy = self._policy
        if policy.when == "never" or (policy.when == "on-failure" and not failed):
            return Decision(None)
        if healthy_for >= policy.healthy_after:
            self._in_a_row = 0
        if policy.budget is not None and self._in_a_row >= policy.budget:
            return Decision(None, f"the budget of {policy.budget} restarts is used up")
        # 2 ** 64 seconds are enough: the exponent must not grow without end.
        wait = min(policy.backoff * 2 ** min(self._in_a_row, 64), policy.backoff_max)
        self._in_a_row += 1
        return Decision(wait * (1 - policy.jitter * self._random.random()))
