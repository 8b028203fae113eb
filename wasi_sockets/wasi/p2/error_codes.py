"""Error codes as a 0.2 guest knows them."""

from __future__ import annotations

from typing import Final

from wasi_sockets.component.values import Err
from wasi_sockets.sockets import ErrorCode

__all__ = ["CODES", "failure", "result", "wit_name"]

#: `enum error-code` of `wasi:sockets/network@0.2.12`, in its order.
CODES: Final = (
    "unknown",
    "access-denied",
    "not-supported",
    "invalid-argument",
    "out-of-memory",
    "timeout",
    "concurrency-conflict",
    "not-in-progress",
    "would-block",
    "invalid-state",
    "new-socket-limit",
    "address-not-bindable",
    "address-in-use",
    "remote-unreachable",
    "connection-refused",
    "connection-reset",
    "connection-aborted",
    "datagram-too-large",
    "name-unresolvable",
    "temporary-resolver-failure",
    "permanent-resolver-failure",
)

# Codes that only other versions have become `unknown`, as in wasmtime's `crates/wasi/src/p2/network.rs`.
_WIT_NAMES: Final = {code: code.value if code.value in CODES else "unknown" for code in ErrorCode}
_FAILURES: Final = {code: Err(name) for code, name in _WIT_NAMES.items()}


def wit_name(code: ErrorCode) -> str:
    """The case of 0.2's `error-code` for `code`."""
    return _WIT_NAMES[code]


def failure(code: ErrorCode) -> Err:
    """The error case of a 0.2 function for `code`."""
    return _FAILURES[code]


def result(code: ErrorCode | None) -> Err | None:
    """The result of a 0.2 function without an ok value: `None` for success."""
    return None if code is None else _FAILURES[code]
