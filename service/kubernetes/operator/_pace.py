"""How often something may be done that others have to bear: some times at once, then at a steady rate. No clock."""

from __future__ import annotations

from typing import Final

__all__ = ["Pace"]


class Pace:
    """A number of times that is used up by each time, and comes back with the seconds.

    Args:
        burst: times at once.
        per_second: that come back.
        now: seconds, by any clock.
    """

    def __init__(self, burst: int, per_second: float, now: float) -> None:
        self._burst: Final = burst
        self._per_second: Final = per_second
        self._left = float(burst)
        self._at = now

    def take(self, now: float) -> float:
        """Take one time; gives the seconds to wait for it."""
        back = self._left + (now - self._at) * self._per_second
        # Who does not wait is not to wait the longer for it later.
        self._left = max(-1.0, min(self._burst, back) - 1)
        self._at = now
        return max(0.0, -self._left / self._per_second)
