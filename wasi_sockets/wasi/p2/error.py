"""`wasi:io/error`, and the functions that look into an error for a more precise one."""

from __future__ import annotations

from collections.abc import Callable

from wasi_sockets.sockets import ErrorCode
from wasi_sockets.wasi.p2.error_codes import wit_name

__all__ = ["FUNCTIONS", "IoError"]


class IoError:
    """The resource `error`: why an operation on a stream failed.

    Attributes:
        code: the network error code, `None` for an error that has none.
        text: what `to-debug-string` says.
    """

    __slots__ = ("code", "text")

    def __init__(self, code: ErrorCode | None, text: str = "") -> None:
        self.code = code
        self.text = text or str(code)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<IoError {self.text!r}>"

    def close(self) -> None:
        """Nothing is held."""


def to_debug_string(error: object) -> str:
    """`wasi:io/error [method]error.to-debug-string`."""
    return str(error)


def network_error_code(error: object) -> str | None:
    """`wasi:sockets/network network-error-code`: `None` for an error that is not the network's.

    wasmtime 49 answers `None` for stream errors too, since it looks for an `io::Error` where it stored its
    own code; the spec wants the code, and so does whoever prints it.
    """
    if isinstance(error, IoError) and error.code is not None:
        return wit_name(error.code)
    return None


def no_error_code(error: object) -> None:
    """`filesystem-error-code` and `http-error-code` of an error of ours: it is neither."""


FUNCTIONS: dict[tuple[str, str], Callable[..., object]] = {
    ("wasi:io/error", "[method]error.to-debug-string"): to_debug_string,
    ("wasi:io/error", "[resource-drop]error"): IoError.close,
    ("wasi:sockets/network", "network-error-code"): network_error_code,
    ("wasi:filesystem/types", "filesystem-error-code"): no_error_code,
    ("wasi:http/types", "http-error-code"): no_error_code,
}
