"""The values of error.type: one of few for each exception, so that they are dimensions of metrics too."""

from __future__ import annotations

import errno
import socket
from typing import Final

from wasi_sockets.errors import WasiSocketsError

__all__ = ["error_type"]

#: As .NET names them for its spans of sockets and lookups.
_ERROR_NUMBERS: Final = {
    errno.EACCES: "access_denied",
    errno.EADDRINUSE: "address_already_in_use",
    errno.EADDRNOTAVAIL: "address_not_available",
    errno.ECONNABORTED: "connection_aborted",
    errno.ECONNREFUSED: "connection_refused",
    errno.ECONNRESET: "connection_reset",
    errno.EHOSTUNREACH: "host_unreachable",
    errno.ENETDOWN: "network_down",
    errno.ENETUNREACH: "network_unreachable",
    errno.ETIMEDOUT: "timed_out",
}
_LOOKUP_ERRORS: Final = {
    socket.EAI_AGAIN: "try_again",
    socket.EAI_FAIL: "no_recovery",
    socket.EAI_NONAME: "host_not_found",
}
_ERROR_KINDS: Final[dict[type[BaseException], str]] = {
    ConnectionAbortedError: "connection_aborted",
    ConnectionRefusedError: "connection_refused",
    ConnectionResetError: "connection_reset",
    PermissionError: "access_denied",
    TimeoutError: "timed_out",
}


def error_type(error: BaseException) -> str:
    """The value of error.type for an exception: one of few."""
    if isinstance(error, OSError) and error.errno is not None:
        names = _LOOKUP_ERRORS if isinstance(error, socket.gaierror) else _ERROR_NUMBERS
        name = names.get(error.errno)
        if name is not None:
            return name
    if isinstance(error, WasiSocketsError) and isinstance(reason := getattr(error, "reason", None), str):
        return reason
    for kind, name in _ERROR_KINDS.items():
        if isinstance(error, kind):
            return name
    return "cancelled" if type(error).__name__ == "Cancelled" else type(error).__name__
