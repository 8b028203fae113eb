"""What stands between a network and everything outside: its policy, and the way out while one is open."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias, get_args

from wasi_sockets.network._address import IpAddress, SocketAddress
from wasi_sockets.network._gate import Gate
from wasi_sockets.network._policy import Policy, Use
from wasi_sockets.network._tcp import ConnectTarget
from wasi_sockets.network._udp import UdpEndpoint

__all__ = ["Border", "WayOut"]

_Resolved: TypeAlias = Callable[[list[IpAddress] | OSError], None]

_USES: Final[tuple[Use, ...]] = get_args(Use)


class WayOut(Protocol):
    """What reaches real addresses and real resolvers, as `Network.egress` does."""

    @property
    def connects(self) -> ConnectTarget:
        """Where connects to the outside go."""

    def send(self, endpoint: UdpEndpoint, data: bytes, remote: SocketAddress) -> None:
        """Send a datagram from an endpoint to an address outside; it may get lost."""

    def resolve(self, name: str, owner: object, resolved: _Resolved) -> Callable[[], None]:
        """Look a name up, and call `resolved` once, later; returns what cancels that."""


class Border:
    """The checks of one network, in the shape in which its sockets need them.

    Without a policy nothing is checked and nothing is outside.

    Attributes:
        gate: what asks the policy, None without one.
        concerns: the uses that the policy may deny inside the network; a network's hot paths look here first.
        lookups: names looked up so far.
        way_out: None while nothing leads out.
    """

    __slots__ = ("concerns", "gate", "lookups", "way_out")

    def __init__(self, policy: Policy | None, clock: Callable[[], float]) -> None:
        self.gate: Final = None if policy is None else Gate(policy, clock)
        self.concerns: Final[frozenset[Use]] = frozenset(
            () if policy is None else (use for use in _USES if policy.concerns(use))
        )
        self.lookups = 0
        self.way_out: WayOut | None = None

    def admit(self, use: Use, address: SocketAddress, owner: object) -> None:
        """Let a use inside the network pass.

        Raises:
            PolicyDenied: if the policy does not allow it.
        """
        if self.gate is not None and use in self.concerns:
            self.gate.admit(use, address, owner=owner)

    def permits(self, use: Use, peer: SocketAddress, port: int, owner: object) -> bool:
        """Whether something from `peer` may come in at the own `port`."""
        return (
            self.gate is None
            or use not in self.concerns
            or self.gate.permits(use, peer, port=port, owner=owner)
        )

    def leave(self, use: Use, remote: SocketAddress, owner: object) -> WayOut:
        """The way to an address outside.

        Raises:
            PolicyDenied: if the policy does not allow it.
            OSError: ENETUNREACH without a policy, or while no way out is open.
        """
        if self.gate is None:
            raise OSError(errno.ENETUNREACH, f"{os.strerror(errno.ENETUNREACH)}: {remote.ip}")
        self.gate.admit(use, remote, leaves=True, owner=owner)
        if self.way_out is None:
            raise OSError(
                errno.ENETUNREACH,
                f"{os.strerror(errno.ENETUNREACH)}: {remote.ip} is allowed, but the network's egress is not running",
            )
        return self.way_out
