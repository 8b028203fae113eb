"""What the engine asks of resource objects (docs/architecture.md, contract 1).

All of it is synchronous: the engine turns "not now" into waiting, by registering a wake callback.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

__all__ = ["CLOSED", "FAILED", "InputStream", "OutputStream", "Waitable"]

CLOSED = -1
"""A stream state: closed in order; what `available`, `permit` and `flush` answer."""

FAILED = -2
"""A stream state: the last operation failed; `error()` says how."""


class Waitable(Protocol):
    """Anything that a guest can get a pollable for."""

    def ready(self) -> bool:
        """Whether a guest that waits for this may go on."""
        ...

    def add_waiter(self, wake: Callable[[], None]) -> None:
        """Have `wake` called when readiness may have changed: once or repeatedly, spuriously too."""
        ...

    def remove_waiter(self, wake: Callable[[], None]) -> None:
        """Undo `add_waiter`; unknown callbacks are ignored."""
        ...


class InputStream(Waitable, Protocol):
    """Bytes towards the guest."""

    @property
    def peer(self) -> OutputStream | None:
        """The other half of the same connection; a speed hint only."""
        ...

    def available(self) -> int:
        """Bytes that can be received now, or 0, or `CLOSED`, or `FAILED`."""
        ...

    def receive(self, size: int) -> bytes:
        """Take exactly `size` bytes, 0 < size <= available()."""
        ...

    def error(self) -> object:
        """For the state `FAILED`: the object behind a new `wasi:io/error`; its `str()` is the debug text."""
        ...


class OutputStream(Waitable, Protocol):
    """Bytes from the guest."""

    @property
    def peer(self) -> InputStream | None:
        """The other half of the same connection; a speed hint only."""
        ...

    def permit(self) -> int:
        """Bytes that may be sent now, or 0, or `CLOSED`, or `FAILED`."""
        ...

    def send(self, data: bytes) -> int:
        """Send `data`, len(data) <= permit(). Returns what `permit()` is afterwards."""
        ...

    def flush(self) -> int:
        """Ask that what was sent goes out; never blocks. Returns 0, `CLOSED` or `FAILED`."""
        ...

    def error(self) -> object:
        """For the state `FAILED`: the object behind a new `wasi:io/error`; its `str()` is the debug text."""
        ...
