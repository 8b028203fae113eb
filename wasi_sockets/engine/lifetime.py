"""How long a guest may live, whether it is called or not."""

from __future__ import annotations

from collections.abc import Callable

import trio

from wasi_sockets.errors import GuestLimitError

__all__ = ["Lifetime"]


class Lifetime:
    """Ends a guest after some time, on trio's clock.

    Args:
        seconds: counted from now.
        end: ends the guest, without waiting.

    Attributes:
        over: the time has come.
        failure: what `end` raised.
    """

    def __init__(self, seconds: float, end: Callable[[], object]) -> None:
        self.over = False
        self.failure: BaseException | None = None
        self._seconds = seconds
        self._end = end
        self._scope = trio.CancelScope()
        trio.lowlevel.spawn_system_task(self._run, name="wasi_sockets lifetime")

    def cancel(self) -> None:
        """The guest has ended by itself."""
        self._scope.cancel()

    def error(self) -> GuestLimitError:
        """What whoever calls the guest is told."""
        return GuestLimitError(
            "lifetime", f"the guest was ended after the {self._seconds:g} seconds that limits.lifetime allows"
        )

    async def _run(self) -> None:
        with self._scope:
            await trio.sleep(self._seconds)
            self.over = True
            try:
                self._end()
            except BaseException as error:  # raised from a system task it would end the whole program
                self.failure = error
