"""`wasi:sockets/udp-create-socket`: there is no UDP yet, and a guest that asks for it is told so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from wasi_sockets.component.values import Err
from wasi_sockets.sockets import ErrorCode
from wasi_sockets.wasi.p2.error_codes import failure

__all__ = ["FUNCTIONS"]


def create_udp_socket(address_family: str) -> Err:
    """`create-udp-socket`: `not-supported`, which C libraries turn into an `OSError` of `socket()`."""
    return failure(ErrorCode.NOT_SUPPORTED)


FUNCTIONS: Final[dict[tuple[str, str], Callable[..., object]]] = {
    ("wasi:sockets/udp-create-socket", "create-udp-socket"): create_udp_socket,
}
