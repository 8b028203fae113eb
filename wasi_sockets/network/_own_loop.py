"""The trio loop that a network is used in: another thread that touched it meanwhile would wake tasks of a loop that is
not its own.
"""

from __future__ import annotations

import threading

import trio

__all__ = ["OwnLoop"]


class OwnLoop:
    """Remembers the loop, while that runs. Too slow for each connect, cheap for what is done once."""

    __slots__ = ("_thread", "_token")

    def __init__(self) -> None:
        self._token: trio.lowlevel.TrioToken | None = None
        self._thread = 0

    def check(self, function: str) -> None:
        """Takes the caller's loop for the network's own, unless that is another one which still runs.

        Args:
            function: what was called, for the message.

        Raises:
            RuntimeError: the caller is in another thread than the network's loop.
        """
        token = trio.lowlevel.current_trio_token() if trio.lowlevel.in_trio_run() else None
        if token is self._token:
            return
        thread = threading.get_ident()
        if self._token is not None and thread != self._thread and _runs(self._token):
            raise RuntimeError(
                f"this network is used by a trio loop in another thread, and {function} must be called there:"
                f" loop.run_sync(network.{function}, ...) with a wasi_sockets.BackgroundLoop,"
                f" trio.from_thread.run_sync(network.{function}, ...) in a thread that trio has started"
            )
        if token is not None:
            self._token, self._thread = token, thread


def _runs(token: trio.lowlevel.TrioToken) -> bool:
    try:
        token.run_sync_soon(_nothing, idempotent=True)
    except trio.RunFinishedError:
        return False
    return True


def _nothing() -> None:
    pass
