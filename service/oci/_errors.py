"""Why an image cannot be had."""

from __future__ import annotations

from typing import Literal, TypeAlias

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


class PullError(WasiSocketsError):
    """An image cannot be had; the message says what to do.

    Attributes:
        reason: one of a few words, for programs.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason
