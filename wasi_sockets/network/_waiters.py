"""Who wants to be told that something changed."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Waiters"]


class Waiters(dict[Callable[[], None], None]):
    """An ordered set of wake callbacks, each called at most once.

    It is a dict so that the usual question on the hot path, whether anybody waits, is a truth test without a
    call. Use only `add`, `discard`, `wake_all` and truth.

    A callback runs inside the operation that changed the state. It must not raise; it may add itself again.
    """

    __slots__ = ()

    def add(self, wake: Callable[[], None]) -> None:
        """Call `wake` at the next change. Adding one twice is adding it once."""
        self[wake] = None

    def discard(self, wake: Callable[[], None]) -> None:
        """Forget `wake`; an unknown one is ignored."""
        self.pop(wake, None)

    def wake_all(self) -> None:
        """Empty the set, then call each callback that was in it, in the order of adding."""
        if len(self) == 1:
            # popitem keeps the table's memory for the next add, clear gives it back: one waiter is the usual
            # case, and this halves its cost.
            self.popitem()[0]()
        elif self:
            callbacks = list(self)
            self.clear()
            for wake in callbacks:
                wake()
