"""The error codes of `wasi:sockets`, as one superset for every version, and how Python's errors map to them.

Sources: `enum error-code` in `wasi:sockets/network@0.2.12`, `variant error-code` in
`wasi:sockets/types@0.3.0`, and the two errno tables of wasmtime (`crates/wasi/src/sockets/mod.rs` and
`crates/wasi/src/p2/host/network.rs`), which agree wherever both name an errno.
"""

from __future__ import annotations

import errno
import socket
from enum import StrEnum
from typing import Final

__all__ = ["ErrorCode", "from_os_error"]


class ErrorCode(StrEnum):
    """Why an operation failed. The value is the WIT name; each WASI version leaves out the ones it lacks."""

    UNKNOWN = "unknown"  # 0.3 calls it `other`
    ACCESS_DENIED = "access-denied"
    NOT_SUPPORTED = "not-supported"
    INVALID_ARGUMENT = "invalid-argument"
    OUT_OF_MEMORY = "out-of-memory"
    TIMEOUT = "timeout"
    CONCURRENCY_CONFLICT = "concurrency-conflict"  # 0.2 only
    NOT_IN_PROGRESS = "not-in-progress"  # 0.2 only
    WOULD_BLOCK = "would-block"  # 0.2 only
    INVALID_STATE = "invalid-state"
    NEW_SOCKET_LIMIT = "new-socket-limit"  # 0.2 only
    ADDRESS_NOT_BINDABLE = "address-not-bindable"
    ADDRESS_IN_USE = "address-in-use"
    REMOTE_UNREACHABLE = "remote-unreachable"
    CONNECTION_REFUSED = "connection-refused"
    CONNECTION_BROKEN = "connection-broken"  # 0.3 only
    CONNECTION_RESET = "connection-reset"
    CONNECTION_ABORTED = "connection-aborted"
    DATAGRAM_TOO_LARGE = "datagram-too-large"
    NAME_UNRESOLVABLE = "name-unresolvable"
    TEMPORARY_RESOLVER_FAILURE = "temporary-resolver-failure"
    PERMANENT_RESOLVER_FAILURE = "permanent-resolver-failure"


# By name, because not every platform has every one of them.
_BY_ERRNO_NAME: Final = {
    "EAGAIN": ErrorCode.WOULD_BLOCK,
    "EWOULDBLOCK": ErrorCode.WOULD_BLOCK,
    "EINTR": ErrorCode.WOULD_BLOCK,
    "EPERM": ErrorCode.ACCESS_DENIED,
    "EACCES": ErrorCode.ACCESS_DENIED,
    "EADDRINUSE": ErrorCode.ADDRESS_IN_USE,
    "EADDRNOTAVAIL": ErrorCode.ADDRESS_NOT_BINDABLE,
    "EALREADY": ErrorCode.CONCURRENCY_CONFLICT,
    "ETIMEDOUT": ErrorCode.TIMEOUT,
    "EPIPE": ErrorCode.CONNECTION_BROKEN,
    "ECONNREFUSED": ErrorCode.CONNECTION_REFUSED,
    "ECONNRESET": ErrorCode.CONNECTION_RESET,
    "ECONNABORTED": ErrorCode.CONNECTION_ABORTED,
    "EINVAL": ErrorCode.INVALID_ARGUMENT,
    "EHOSTUNREACH": ErrorCode.REMOTE_UNREACHABLE,
    "EHOSTDOWN": ErrorCode.REMOTE_UNREACHABLE,
    "ENETDOWN": ErrorCode.REMOTE_UNREACHABLE,
    "ENETUNREACH": ErrorCode.REMOTE_UNREACHABLE,
    "ENONET": ErrorCode.REMOTE_UNREACHABLE,
    "EISCONN": ErrorCode.INVALID_STATE,
    "ENOTCONN": ErrorCode.INVALID_STATE,
    "EDESTADDRREQ": ErrorCode.INVALID_STATE,
    "EMFILE": ErrorCode.NEW_SOCKET_LIMIT,
    "ENFILE": ErrorCode.NEW_SOCKET_LIMIT,
    "EMSGSIZE": ErrorCode.DATAGRAM_TOO_LARGE,
    "ENOMEM": ErrorCode.OUT_OF_MEMORY,
    "ENOBUFS": ErrorCode.OUT_OF_MEMORY,
    "EOPNOTSUPP": ErrorCode.NOT_SUPPORTED,
    "ENOPROTOOPT": ErrorCode.NOT_SUPPORTED,
    "EPFNOSUPPORT": ErrorCode.NOT_SUPPORTED,
    "EPROTONOSUPPORT": ErrorCode.NOT_SUPPORTED,
    "EPROTOTYPE": ErrorCode.NOT_SUPPORTED,
    "ESOCKTNOSUPPORT": ErrorCode.NOT_SUPPORTED,
    "EAFNOSUPPORT": ErrorCode.NOT_SUPPORTED,
}

_BY_ERRNO: Final[dict[int, ErrorCode]] = {
    getattr(errno, name): code for name, code in _BY_ERRNO_NAME.items() if hasattr(errno, name)
}

_BY_RESOLVER_ERROR: Final[dict[int, ErrorCode]] = {
    socket.EAI_NONAME: ErrorCode.NAME_UNRESOLVABLE,
    socket.EAI_AGAIN: ErrorCode.TEMPORARY_RESOLVER_FAILURE,
    socket.EAI_FAIL: ErrorCode.PERMANENT_RESOLVER_FAILURE,
}

# The classes that Python code raises without an errno, most special first.
_BY_CLASS: Final[tuple[tuple[type[OSError], ErrorCode], ...]] = (
    (ConnectionRefusedError, ErrorCode.CONNECTION_REFUSED),
    (ConnectionResetError, ErrorCode.CONNECTION_RESET),
    (ConnectionAbortedError, ErrorCode.CONNECTION_ABORTED),
    (BrokenPipeError, ErrorCode.CONNECTION_BROKEN),
    (PermissionError, ErrorCode.ACCESS_DENIED),
    (TimeoutError, ErrorCode.TIMEOUT),
)


def from_os_error(error: OSError) -> ErrorCode:
    """Return the code for an operating-system style error; `UNKNOWN` when nothing better is known."""
    if isinstance(error, socket.gaierror):
        return _BY_RESOLVER_ERROR.get(error.errno or 0, ErrorCode.NAME_UNRESOLVABLE)
    if error.errno is not None:
        return _BY_ERRNO.get(error.errno, ErrorCode.UNKNOWN)
    for error_class, code in _BY_CLASS:
        if isinstance(error, error_class):
            return code
    return ErrorCode.UNKNOWN
