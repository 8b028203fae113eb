"""Why an image cannot be had."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from wasi_sockets.errors import WasiSocketsError

__all__ = ["PullError", "Reason"]

Reason: TypeAlias = Literal[
    "no-such-image",
    "not-authorised",
    "no-wasm-layer",
    "unreachable",
    "digest-mismatch",
    "too-large",
    "not-cached",
    "bad-answer",
    "credentials",
    "cache",
]


_LONGEST: Final = 1000
"""Characters of a message, which may quote what a registry said: it becomes a reason, and many of those are kept."""


class PullError(WasiSocketsError):
    """An image cannot be had; the message says what to do.

    Attributes:
        reason: one of a few words, for programs.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message if len(message) <= _LONGEST else f"{message[:_LONGEST]}...")
        self.reason: Reason = reason
