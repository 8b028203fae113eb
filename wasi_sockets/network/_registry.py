"""What exists in a network: every socket, by owner, so that it can be listed and released."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from wasi_sockets.network._address import SocketAddress
from wasi_sockets.network._policy import Use
from wasi_sockets.network._waiters import Waiters

if TYPE_CHECKING:
    from wasi_sockets.network._budget import Budget

__all__ = ["Endpoint", "NetworkStatistics", "Protocol", "Registry", "SocketRecord", "SocketState"]

Protocol: TypeAlias = Literal["tcp", "udp"]

SocketState: TypeAlias = Literal[
    "bound",
    "listening",
    "connecting",
    "established",
    "fin-wait",
    "close-wait",
    "closing",
    "reset",
    "unconnected",
    "connected",
]


@dataclass(frozen=True, slots=True)
class SocketRecord:
    """One line of `Network.sockets()`: a socket as it was at that moment.

    Attributes:
        protocol: ``"tcp"`` or ``"udp"``.
        local: its own address; a wildcard address is reported as such.
        remote: the peer's address, None where there is none.
        state: ``"fin-wait"`` after shutting the sending half, ``"close-wait"`` after the peer did,
            ``"closing"`` after both; ``"connecting"`` waits for room in a full backlog. UDP sockets are
            ``"unconnected"`` or ``"connected"``.
        receive_queue: bytes not yet read here; for a listener, connections not yet accepted.
        send_queue: bytes not yet read by the peer; for a listener, its backlog.
        owner: what was given as `owner`.
        age: seconds since it came to be, by the network's clock.
        received: bytes read here since then.
        sent: bytes sent from here since then; of TCP those that the peer has read or may still read, of UDP all.
    """

    protocol: Protocol
    local: SocketAddress
    remote: SocketAddress | None
    state: SocketState
    receive_queue: int
    send_queue: int
    owner: object
    age: float
    received: int = 0
    sent: int = 0


@dataclass(frozen=True, slots=True)
class NetworkStatistics:
    """Counts of one network: what exists now, and what happened since it was made.

    Attributes:
        sockets: how many sockets exist now, by state.
        buffered_bytes: bytes now in flight, over all connections and UDP sockets.
        connections_opened: connections ever established.
        connections_refused: connects that found no listener, or whose listener closed while they waited.
        connections_reset: connections that were aborted, or closed with unread data.
        bytes_delivered: bytes ever read, over all connections.
        datagrams_delivered: UDP datagrams ever received.
        datagrams_dropped: those that found a receive buffer full, or were of another peer when one was chosen.
        datagrams_unmatched: those that nobody was there to take.
        denials: what the policy denied, by use; in audit mode what it would have denied.
    """

    sockets: dict[SocketState, int]
    buffered_bytes: int
    connections_opened: int
    connections_refused: int
    connections_reset: int
    bytes_delivered: int
    datagrams_delivered: int
    datagrams_dropped: int
    datagrams_unmatched: int
    denials: dict[Use, int]


class Endpoint(ABC):
    """Something that exists in a network and belongs to somebody: a port, a listener, a connection...

    Attributes:
        owner: whoever it is released with; None for nobody.
        created: when, in seconds of the network's clock.
    """

    __slots__ = ("_registry", "created", "owner")

    def __init__(self, registry: Registry, owner: object) -> None:
        self._registry = registry
        self.owner = owner
        self.created = registry.clock()

    @abstractmethod
    def abort(self) -> None:
        """End it at once, and release all that it holds. Idempotent."""

    def measure(self, sizes: Counter[str]) -> None:
        """Add what it holds to the sums of all, see `measurements`; nothing by default."""
        return

    @abstractmethod
    def describe(self, now: float) -> SocketRecord:
        """Its line in the list of sockets. `now` in seconds of the network's clock."""


class Registry:
    """The endpoints of one network, in the order of their creation within each owner.

    Attributes:
        clock: gives seconds; only differences count.
        listeners_changed: woken when a listener begins or ends.
        budgets: by identity of their owners, those that may not have as much as they like.
        connections_opened, connections_refused, connections_reset, bytes_delivered, datagrams_delivered,
            datagrams_dropped, datagrams_unmatched: see `NetworkStatistics`; `bytes_delivered` without the
            connections that still exist.
        bytes_to_openers: those of `bytes_delivered` that went to the side that connected.
    """

    __slots__ = (
        "_by_owner",
        "budgets",
        "bytes_delivered",
        "bytes_to_openers",
        "clock",
        "connections_opened",
        "connections_refused",
        "connections_reset",
        "datagrams_delivered",
        "datagrams_dropped",
        "datagrams_unmatched",
        "listeners_changed",
    )

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock: Final = clock
        self.listeners_changed: Final = Waiters()
        self.budgets: Final[dict[int, Budget]] = {}
        self.connections_opened = 0
        self.connections_refused = 0
        self.connections_reset = 0
        self.bytes_delivered = 0
        self.bytes_to_openers = 0
        self.datagrams_delivered = 0
        self.datagrams_dropped = 0
        self.datagrams_unmatched = 0
        # By identity, so that an owner need not be hashable. The endpoints keep their owner alive.
        self._by_owner: Final[dict[int, dict[Endpoint, None]]] = {}

    def add(self, endpoint: Endpoint) -> None:
        """List `endpoint` until it is removed. Adding one twice is adding it once."""
        key = id(endpoint.owner)
        group = self._by_owner.get(key)
        if group is None:
            self._by_owner[key] = {endpoint: None}
        else:
            group[endpoint] = None

    def remove(self, endpoint: Endpoint) -> None:
        """Unlist `endpoint`; an unknown one is ignored."""
        key = id(endpoint.owner)
        group = self._by_owner.get(key)
        if group is not None:
            group.pop(endpoint, None)
            if not group:
                del self._by_owner[key]

    def owned_by(self, owner: object) -> list[Endpoint]:
        """The endpoints of `owner`, by identity."""
        return list(self._by_owner.get(id(owner), ()))

    def newest_of(self, owner: object) -> Iterator[Endpoint]:
        """The endpoints of `owner`, by identity, newest first; they may not come and go meanwhile."""
        return reversed(self._by_owner.get(id(owner), {}))

    def __iter__(self) -> Iterator[Endpoint]:
        """Every endpoint, from a copy, so that they may come and go meanwhile."""
        return iter([endpoint for group in list(self._by_owner.values()) for endpoint in list(group)])
