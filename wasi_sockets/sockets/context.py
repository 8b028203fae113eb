"""What all sockets of one guest have in common."""

from __future__ import annotations

from typing import Final

from wasi_sockets.network import Network

__all__ = ["DEFAULT_MAX_SOCKETS", "SocketContext"]

#: Enough for a server with ten thousand connections, and an end to a guest that never drops one.
DEFAULT_MAX_SOCKETS: Final = 16_384


class SocketContext:
    """The network that a guest's sockets live in, and how many of them there may be.

    Attributes:
        network: where they bind, connect and listen.
        owner: what their endpoints are registered under, for `Network.release`.
        max_sockets: sockets that may be open at a time, accepted ones included.
        open_sockets: sockets that are.
    """

    __slots__ = ("max_sockets", "network", "open_sockets", "owner")

    def __init__(self, network: Network, owner: object, max_sockets: int = DEFAULT_MAX_SOCKETS) -> None:
        if max_sockets < 0:
            raise ValueError(f"max_sockets must not be negative, not {max_sockets}")
        self.network: Final = network
        self.owner: Final = owner
        self.max_sockets: Final = max_sockets
        self.open_sockets = 0
