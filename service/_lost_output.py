"""Standard output that cannot be written while guests run: said once, and they go on.

Whoever reads a pipe may leave when they have seen enough, and that is no failure; a full disk is one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from service._exits import FAILED
from service._terminal import say, say_from_task
from wasi_sockets.wasi import send_to

__all__ = ["GUEST_OUTPUT", "HOST_OUTPUT", "GuestOutput", "LostOutput", "drop_output"]

GUEST_OUTPUT: Final = "what the guest writes there"
HOST_OUTPUT: Final = "what services write, which 'wasi-sockets logs' shows too,"

_STANDARD_OUTPUT: Final = 1


class LostOutput:
    """What became of standard output.

    Args:
        whose: what is lost with it, for the message.
    """

    def __init__(self, whose: str) -> None:
        self._whose: Final = whose
        self._closed: Final = sys.stdout is None  # from the start, which has been said
        self._said = self._closed
        self._failed = False

    def news(self, error: Exception) -> str:
        """What is to be said when writing failed; "" when it has been said before."""
        self._failed = self._failed or not (self._closed or isinstance(error, BrokenPipeError))
        if self._said:
            return ""
        self._said = True
        if isinstance(error, BrokenPipeError):
            return f"whoever read standard output has gone; {self._whose} is lost"
        reason = error.strerror if isinstance(error, OSError) else None
        return f"standard output cannot be written: {reason or error}; {self._whose} is lost"

    def finish(self, code: int) -> int:
        """Write what is left.

        Args:
            code: the exit code when nothing is lost.

        Returns:
            The exit code: a `code` that tells of something stays, and a reader that has gone changes none.
        """
        if sys.stdout is not None:
            try:
                sys.stdout.flush()
            except (OSError, ValueError) as error:
                news = self.news(error)
                if news:
                    say(news)
                drop_output()
        return code or (FAILED if self._failed else 0)


class GuestOutput:
    """Standard output of this process, as a guest's."""

    def __init__(self, lost: LostOutput) -> None:
        self._lost: Final = lost
        self._send: Final[Callable[[bytes], Awaitable[None]]] = send_to(_STANDARD_OUTPUT)

    def fileno(self) -> int:
        """Where it goes."""
        return _STANDARD_OUTPUT

    async def __call__(self, data: bytes) -> None:
        try:
            await self._send(data)
        except OSError as error:
            news = self._lost.news(error)
            if news:
                await say_from_task(news)
            raise  # the guest is told too


def drop_output() -> None:
    """Python would complain once more about what it could not write when it flushes at exit."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, sys.stdout.fileno())
        finally:
            os.close(nowhere)
