"""What the sockets of one owner may be and hold together, such as those of a guest.

Rules:

1. A connection counts for both its owners from when it is made, accepted or not. Who may have no more cannot connect:
   EMFILE, or ENOBUFS when room to buffer is what lacks, as on Linux. Who connects to such an owner waits, as for a
   full backlog, until something of it ends.
2. Room is reserved for whole connections, not taken by what is written: a connection that was made can always go on, so
   that no two owners wait for each other's room. Each gets a sixteenth of what is left for either direction, at
   least 4 KiB and at most what it would get anyway; what the less fortunate of its two owners gets holds.
3. A connection that its owner has closed may hold bytes that the peer has still to read. They count until it has.
4. Datagrams count while they are queued; one that would be too many is dropped.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from wasi_sockets.network._waiters import Waiters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wasi_sockets.network._pipe import Pipe
    from wasi_sockets.network._tcp import TcpConnection

__all__ = ["LEAST_BUFFERED", "Budget", "admit_connection", "granted_capacity"]

#: The least that one direction of a connection gets.
_LEAST: Final = 4096

#: What is left, divided by this, is what one direction gets (rule 2): twice that for the connection.
_SHARE: Final = 16

#: Bytes that a budget must have for one connection.
LEAST_BUFFERED: Final = 2 * _LEAST


def _os_error(number: int, about: str) -> OSError:
    return OSError(number, f"{os.strerror(number)}: {about}")


class Budget:
    """The limits of one owner, None for none, and how much of them is used.

    Attributes:
        owner: whose.
        connections: TCP connections that there may be; `open_connections`: those that are.
        buffered: bytes that may be reserved and queued; `reserved`: those that are.
        datagrams: datagrams that may be queued; `queued_datagrams`: those that are.
        freed: woken when some of it is free again.
    """

    __slots__ = (
        "_charges",
        "buffered",
        "connections",
        "datagrams",
        "freed",
        "open_connections",
        "owner",
        "queued_datagrams",
        "reserved",
    )

    def __init__(
        self,
        owner: object,
        connections: int | None = None,
        buffered: int | None = None,
        datagrams: int | None = None,
    ) -> None:
        # Kept, so that nobody else gets the identity that it is found by.
        self.owner: Final = owner
        self.connections: Final = connections
        self.buffered: Final = buffered
        self.datagrams: Final = datagrams
        self.open_connections = 0
        self.reserved = 0
        self.queued_datagrams = 0
        self.freed: Final = Waiters()
        self._charges: Final[dict[TcpConnection, int]] = {}

    def refusal(self, ends: int = 1) -> OSError | None:
        """Why so many ends of connections more cannot be had; None if they can."""
        if self.connections is not None and self.open_connections + ends > self.connections:
            return _os_error(errno.EMFILE, f"{self.connections} connections are allowed")
        if self.buffered is not None and self.reserved + ends * LEAST_BUFFERED > self.buffered:
            return _os_error(errno.ENOBUFS, f"{self.buffered} bytes are allowed in buffers")
        return None

    def grant(self, capacity: int) -> int:
        """How much one direction of a new connection may hold (rule 2)."""
        if self.buffered is None:
            return capacity
        return min(capacity, max(_LEAST, (self.buffered - self.reserved) // _SHARE))

    def charge(self, connection: TcpConnection, capacity: int) -> None:
        """A connection was made."""
        self.open_connections += 1
        self.reserved += 2 * capacity
        self._charges[connection] = 2 * capacity

    def give_back(self, connection: TcpConnection) -> None:
        """A connection was closed by its owner."""
        charged = self._charges.pop(connection, None)
        if charged is None:
            return
        self.open_connections -= 1
        left = connection.send_pipe.buffered
        self.reserved -= charged - left
        if left:
            _Leftover(self, connection.send_pipe, left).look()
        self.freed.wake_all()

    def takes_datagram(self, size: int) -> bool:
        """Count a datagram that is to be queued; False if it must be dropped. `size` in bytes, with its overhead."""
        if self.datagrams is not None and self.queued_datagrams >= self.datagrams:
            return False
        if self.buffered is not None and self.reserved + size > self.buffered:
            return False
        self.queued_datagrams += 1
        self.reserved += size
        return True

    def datagrams_left(self, count: int, size: int) -> None:
        """So many datagrams, with so many bytes together, are queued no longer."""
        self.queued_datagrams -= count
        self.reserved -= size
        if self.freed:
            self.freed.wake_all()


class _Leftover:
    """What a closed connection's peer has still to read (rule 3)."""

    __slots__ = ("_budget", "_charged", "_pipe")

    def __init__(self, budget: Budget, pipe: Pipe, charged: int) -> None:
        self._budget = budget
        self._pipe = pipe
        self._charged = charged

    def look(self) -> None:
        left = self._pipe.buffered
        if left:
            self._pipe.writable.add(self.look)
        if left < self._charged:
            self._budget.reserved -= self._charged - left
            self._charged = left
            self._budget.freed.wake_all()


def admit_connection(budgets: Mapping[int, Budget], owner: object) -> None:
    """Ask whether `owner` may connect.

    Raises:
        OSError: EMFILE or ENOBUFS, see rule 1.
    """
    budget = budgets.get(id(owner))
    refusal = None if budget is None else budget.refusal()
    if refusal is not None:
        raise refusal


def granted_capacity(budgets: Mapping[int, Budget], client: object, server: object, capacity: int) -> int:
    """How much either direction of a new connection between two owners may hold.

    Raises:
        OSError: the client may not have it: EMFILE or ENOBUFS. The server was asked before (rule 1).
    """
    admit_connection(budgets, client)
    for owner in (client, server):
        budget = budgets.get(id(owner))
        if budget is not None:
            capacity = budget.grant(capacity)
    return capacity
