"""What all sockets of one guest have in common.

What is denied altogether is answered as wasmtime does for `--no-tcp` and its like: `access-denied` when a socket is
created, `permanent-resolver-failure` for a lookup. (`AllowedNetworkUses` in `crates/wasi/src/sockets/mod.rs`;
`p2_cli_no_tcp`, `p2_cli_no_udp`, `p2_cli_no_ip_name_lookup`)
"""

from __future__ import annotations

from typing import Final

from wasi_sockets.network import Network

__all__ = ["DEFAULT_MAX_LOOKUPS", "DEFAULT_MAX_SOCKETS", "SocketContext"]

#: Enough for a server with ten thousand connections, and an end to a guest that never drops one.
DEFAULT_MAX_SOCKETS: Final = 16_384

#: Enough for a crawler, and few enough for the threads of a resolver to work off.
DEFAULT_MAX_LOOKUPS: Final = 1024


class SocketContext:
    """The network that a guest's sockets live in, and how many of them there may be.

    Attributes:
        network: where they bind, connect and listen.
        owner: what their endpoints are registered under, for `Network.release`.
        max_sockets: sockets that may be open at a time, accepted ones included.
        tcp: whether TCP sockets may be created; `udp` alike.
        name_lookup: whether names may be looked up, and be it address literals.
        open_sockets: sockets that are.
        max_lookups: lookups that may be undecided at a time; None for any number.
        lookups: those that are.
    """

    __slots__ = (
        "lookups",
        "max_lookups",
        "max_sockets",
        "name_lookup",
        "network",
        "open_sockets",
        "owner",
        "tcp",
        "udp",
    )

    def __init__(
        self,
        network: Network,
        owner: object,
        max_sockets: int = DEFAULT_MAX_SOCKETS,
        *,
        tcp: bool = True,
        udp: bool = True,
        name_lookup: bool = True,
        max_lookups: int | None = DEFAULT_MAX_LOOKUPS,
    ) -> None:
        if max_sockets < 0:
            raise ValueError(f"max_sockets must not be negative, not {max_sockets}")
        self.network: Final = network
        self.owner: Final = owner
        self.max_sockets: Final = max_sockets
        self.tcp: Final = tcp
        self.udp: Final = udp
        self.name_lookup: Final = name_lookup
        self.open_sockets = 0
        self.max_lookups: Final = max_lookups
        self.lookups = 0

    def lookup_decided(self) -> None:
        """One lookup less."""
        self.lookups -= 1
