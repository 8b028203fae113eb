"""`wasi:sockets/instance-network`: the network that a guest is born with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from wasi_sockets.wasi.p2.network import NetworkResource

__all__ = ["FUNCTIONS"]

FUNCTIONS: Final[dict[tuple[str, str], Callable[..., object]]] = {
    ("wasi:sockets/instance-network", "instance-network"): NetworkResource,
}
