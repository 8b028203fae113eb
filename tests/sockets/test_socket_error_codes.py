from __future__ import annotations

import errno
import os
import socket

import pytest

from wasi_sockets.sockets import ErrorCode, from_os_error

# From wasmtime, crates/wasi/src/p2/host/network.rs.
EXPECTED = {
    ErrorCode.WOULD_BLOCK: ["EWOULDBLOCK", "EAGAIN", "EINTR"],
    ErrorCode.ACCESS_DENIED: ["EPERM", "EACCES"],
    ErrorCode.ADDRESS_IN_USE: ["EADDRINUSE"],
    ErrorCode.ADDRESS_NOT_BINDABLE: ["EADDRNOTAVAIL"],
    ErrorCode.CONCURRENCY_CONFLICT: ["EALREADY"],
    ErrorCode.TIMEOUT: ["ETIMEDOUT"],
    ErrorCode.CONNECTION_BROKEN: ["EPIPE"],
    ErrorCode.CONNECTION_REFUSED: ["ECONNREFUSED"],
    ErrorCode.CONNECTION_RESET: ["ECONNRESET"],
    ErrorCode.CONNECTION_ABORTED: ["ECONNABORTED"],
    ErrorCode.INVALID_ARGUMENT: ["EINVAL"],
    ErrorCode.REMOTE_UNREACHABLE: ["EHOSTUNREACH", "EHOSTDOWN", "ENETDOWN", "ENETUNREACH"],
    ErrorCode.INVALID_STATE: ["EISCONN", "ENOTCONN", "EDESTADDRREQ"],
    ErrorCode.NEW_SOCKET_LIMIT: ["ENFILE", "EMFILE"],
    ErrorCode.DATAGRAM_TOO_LARGE: ["EMSGSIZE"],
    ErrorCode.OUT_OF_MEMORY: ["ENOMEM", "ENOBUFS"],
    ErrorCode.NOT_SUPPORTED: [
        "EOPNOTSUPP",
        "ENOPROTOOPT",
        "EPFNOSUPPORT",
        "EPROTONOSUPPORT",
        "EPROTOTYPE",
        "ESOCKTNOSUPPORT",
        "EAFNOSUPPORT",
    ],
    ErrorCode.UNKNOWN: ["ENOENT", "EIO"],
}


@pytest.mark.parametrize(
    ("code", "name"), [(code, name) for code, names in EXPECTED.items() for name in names]
)
def test_errno(code: ErrorCode, name: str) -> None:
    number = getattr(errno, name)
    assert from_os_error(OSError(number, os.strerror(number))) is code


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (socket.EAI_NONAME, ErrorCode.NAME_UNRESOLVABLE),
        (socket.EAI_AGAIN, ErrorCode.TEMPORARY_RESOLVER_FAILURE),
        (socket.EAI_FAIL, ErrorCode.PERMANENT_RESOLVER_FAILURE),
        (socket.EAI_FAMILY, ErrorCode.NAME_UNRESOLVABLE),
    ],
)
def test_resolver_errors_are_not_taken_for_errnos(number: int, code: ErrorCode) -> None:
    assert from_os_error(socket.gaierror(number, "no")) is code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConnectionRefusedError("x"), ErrorCode.CONNECTION_REFUSED),
        (ConnectionResetError(), ErrorCode.CONNECTION_RESET),
        (ConnectionAbortedError(), ErrorCode.CONNECTION_ABORTED),
        (BrokenPipeError(), ErrorCode.CONNECTION_BROKEN),
        (PermissionError("policy"), ErrorCode.ACCESS_DENIED),
        (TimeoutError(), ErrorCode.TIMEOUT),
        (OSError("something"), ErrorCode.UNKNOWN),
    ],
)
def test_errors_without_a_number_go_by_their_class(error: OSError, code: ErrorCode) -> None:
    assert from_os_error(error) is code


def test_the_names_are_those_of_both_versions() -> None:
    only_in_0_3 = {"connection-broken"}
    in_0_2 = """unknown access-denied not-supported invalid-argument out-of-memory timeout concurrency-conflict
        not-in-progress would-block invalid-state new-socket-limit address-not-bindable address-in-use
        remote-unreachable connection-refused connection-reset connection-aborted datagram-too-large
        name-unresolvable temporary-resolver-failure permanent-resolver-failure"""
    assert {code.value for code in ErrorCode} == set(in_0_2.split()) | only_in_0_3
