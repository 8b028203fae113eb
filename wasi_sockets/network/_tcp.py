"""TCP without waiting: connections, listeners, and attempts to connect."""

from __future__ import annotations

import contextvars
import errno
import os
from abc import abstractmethod
from collections import Counter, OrderedDict, deque
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from wasi_sockets import telemetry
from wasi_sockets.network._address import LOOPBACK, SocketAddress
from wasi_sockets.network._budget import granted_capacity
from wasi_sockets.network._pipe import Pipe
from wasi_sockets.network._registry import Endpoint, Registry, SocketRecord, SocketState
from wasi_sockets.network._tracing import connection_accepted, connection_left, connection_made
from wasi_sockets.network._waiters import Waiters

if TYPE_CHECKING:
    from wasi_sockets.network._ports import PortReservation

__all__ = [
    "DEFAULT_BACKLOG",
    "ConnectAttempt",
    "ConnectState",
    "ConnectTarget",
    "TcpBacklog",
    "TcpConnection",
    "connect_pair",
]

#: Connections that wait for accept before further connects have to wait.
DEFAULT_BACKLOG: Final = 128

ConnectState: TypeAlias = Literal["pending", "connected", "refused", "reset", "failed"]


class TcpConnection(Endpoint):
    """One end of a connection. Its port is free again when this end is closed, whatever the other end does.

    Attributes:
        receive_pipe: what the peer sends.
        send_pipe: what goes to the peer.
        local_address: always concrete, also when the listener has a wildcard address.
        remote_address: the peer's.
        closed: this end has been closed or aborted by its own side.
        opener_context: the `contextvars` of whoever connected, at both ends. With tracing the current span is that of
            the connect at one end, and that of the connection at the other.
        span: of the connection, at the accepting end, while somebody records it; unset otherwise.
    """

    __slots__ = (
        "_reservation",
        "closed",
        "local_address",
        "opener_context",
        "receive_pipe",
        "remote_address",
        "send_pipe",
        "span",
    )

    span: telemetry.Span | None

    def __init__(
        self,
        registry: Registry,
        owner: object,
        receive_pipe: Pipe,
        send_pipe: Pipe,
        local_address: SocketAddress,
        remote_address: SocketAddress,
        opener_context: contextvars.Context,
        reservation: PortReservation | None,
        created: float,
    ) -> None:
        # Not by way of `Endpoint.__init__`, and without keywords: half of a connect is the making of objects.
        self._registry = registry
        self.owner = owner
        self.created = created
        self.receive_pipe: Final = receive_pipe
        self.send_pipe: Final = send_pipe
        self.local_address: Final = local_address
        self.remote_address: Final = remote_address
        self.opener_context = opener_context
        self.closed = False
        self._reservation: Final = reservation
        registry.add(self)

    def __repr__(self) -> str:
        return f"<TcpConnection {self.local_address} -> {self.remote_address}, {self._state()}>"

    def shutdown_send(self) -> None:
        """Send no more: the peer reads what is queued, then the end."""
        self.send_pipe.end()

    def shutdown_receive(self) -> None:
        """Receive no more: what is queued is dropped, and what the peer still sends; it does not notice."""
        self.receive_pipe.discard()

    def close(self) -> None:
        """Close both directions and free the port. Idempotent.

        With unread data the peer sees a reset, after what it still has to read; else, or when it has been told the
        end before, it reads to the end, and its writes fail. As on Linux (`tcp_close`, `tcp_reset`; RFC 1122,
        4.2.2.13).
        """
        if self.closed:
            return
        self.closed = True  # first, as what wakes below may close again
        if self.receive_pipe.buffered:
            self._count_reset()
            if self.send_pipe.ended:
                self.receive_pipe.close_read()
            else:
                self.receive_pipe.abort()
                self.send_pipe.abort_after_queued()
        else:
            self.receive_pipe.close_read()
            self.send_pipe.end()
        self._leave()

    def abort(self) -> None:
        """Reset the connection and free the port: the peer loses what it has not read yet. Idempotent.

        Unless the sending half was shut before: the peer then still reads to the end, and its writes fail. As on
        Linux (`tcp_reset`, in CLOSE_WAIT).
        """
        if self.closed:
            return
        self.closed = True
        self._count_reset()
        if self.send_pipe.ended:
            self.receive_pipe.close_read()
        else:
            self.receive_pipe.abort()
            self.send_pipe.abort()
        self._leave()

    def fail(self) -> None:
        """End as a connection that broke: the peer sees a reset, after what it still has to read. Idempotent."""
        if self.closed:
            return
        self.closed = True
        self._count_reset()
        self.receive_pipe.abort()
        self.send_pipe.abort_after_queued()
        self._leave()

    def _count_reset(self) -> None:
        # Once per connection, whichever end was first.
        if not (self.receive_pipe.reset or self.send_pipe.reset):
            self._registry.connections_reset += 1

    def _leave(self) -> None:
        registry = self._registry
        registry.remove(self)
        delivered = self.receive_pipe.delivered
        registry.bytes_delivered += delivered
        if self._reservation is not None:
            registry.bytes_to_openers += delivered
            self._reservation.free()
        if telemetry.active:
            connection_left(self, registry.clock())
        if registry.budgets:
            budget = registry.budgets.get(id(self.owner))
            if budget is not None:
                budget.give_back(self)

    @property
    def has_port(self) -> bool:
        """Whether it has a port of its own: it is the end that connected."""
        return self._reservation is not None

    def measure(self, sizes: Counter[str]) -> None:
        sizes["buffered"] += self.receive_pipe.buffered
        sizes["delivered"] += self.receive_pipe.delivered
        if self._reservation is None:
            sizes["active"] += 1
        else:
            sizes["to_openers"] += self.receive_pipe.delivered

    def _state(self) -> SocketState:
        receive, send = self.receive_pipe, self.send_pipe
        if receive.reset or send.reset:
            return "reset"
        if send.ended:
            return "closing" if receive.ended else "fin-wait"
        return "close-wait" if receive.ended else "established"

    def describe(self, now: float) -> SocketRecord:
        return SocketRecord(
            "tcp",
            self.local_address,
            self.remote_address,
            self._state(),
            self.receive_pipe.buffered,
            self.send_pipe.buffered,
            self.owner,
            now - self.created,
            self.receive_pipe.delivered,
            self.send_pipe.delivered + self.send_pipe.buffered,
        )


class ConnectTarget(Endpoint):
    """Where a connect may end: it decides what becomes of the attempt, at once or later."""

    __slots__ = ()

    @abstractmethod
    def _enter(self, attempt: ConnectAttempt) -> None:
        """A connect that found this target."""

    @abstractmethod
    def _forget(self, attempt: ConnectAttempt) -> None:
        """A pending connect is not wanted any more."""


def connect_pair(
    registry: Registry, attempt: ConnectAttempt, server_owner: object, pipe_capacity: int
) -> tuple[TcpConnection, TcpConnection]:
    """The two ends of a new connection, the client's first; the attempt has not heard of it yet.

    Raises:
        OSError: EMFILE or ENOBUFS, the client's owner may have no more (`_budget.py`).
    """
    budgets = registry.budgets
    if budgets:
        pipe_capacity = granted_capacity(budgets, attempt.owner, server_owner, pipe_capacity)
    upstream = Pipe(pipe_capacity)
    downstream = Pipe(pipe_capacity)
    registry.connections_opened += 1
    local, remote, context = attempt.local_address, attempt.remote_address, attempt.opener_context
    created = registry.clock()
    client = TcpConnection(
        registry,
        attempt.owner,
        downstream,
        upstream,
        local,
        remote,
        context,
        attempt._reservation,
        created,
    )
    server = TcpConnection(
        registry,
        server_owner,
        upstream,
        downstream,
        remote,
        local,
        context,
        None,  # the port is the listener's; an accepted connection may outlive it
        created,
    )
    if budgets:
        for end in (client, server):
            budget = budgets.get(id(end.owner))
            if budget is not None:
                budget.charge(end, pipe_capacity)
    if telemetry.tracing:
        connection_made(server)
    return client, server


class TcpBacklog(ConnectTarget):
    """A listener without waiting: the connections that are ready to be accepted.

    Attributes:
        address: as it was reserved, so a wildcard address stays one.
        backlog: how many connections may be queued; further connects wait, as on Linux.
        acceptable: woken when a connection is queued, and by `close`.
        closed: listens no more.
    """

    __slots__ = (
        "_capacity",
        "_pending",
        "_queue",
        "_reservation",
        "acceptable",
        "address",
        "backlog",
        "closed",
    )

    def __init__(
        self, registry: Registry, reservation: PortReservation, backlog: int, pipe_capacity: int
    ) -> None:
        super().__init__(registry, reservation.owner)
        self.address: Final = reservation.address
        self.backlog = max(1, backlog)
        self.acceptable: Final = Waiters()
        self.closed = False
        self._reservation: Final = reservation
        self._capacity: Final = pipe_capacity
        self._queue: Final[deque[TcpConnection]] = deque()
        # Ordered, and quick to leave from the middle: a pending connect may be cancelled.
        self._pending: Final[OrderedDict[ConnectAttempt, None]] = OrderedDict()
        reservation.take()
        reservation.listener = self
        registry.add(self)
        if registry.listeners_changed:
            registry.listeners_changed.wake_all()

    def __repr__(self) -> str:
        return f"<TcpBacklog {self.address}, {len(self._queue)} queued{', closed' if self.closed else ''}>"

    @property
    def queued(self) -> int:
        """Connections that can be accepted now."""
        return len(self._queue)

    def try_accept(self) -> TcpConnection | None:
        """The connection that has waited longest, None if there is none. It may have ended meanwhile."""
        if not self._queue:
            return None
        connection = self._queue.popleft()
        if self._pending:
            self._admit()
        if telemetry.tracing:
            connection_accepted(connection)
        return connection

    def set_backlog(self, backlog: int) -> None:
        """Change the length of the queue; below 1 is 1. Nothing queued is lost when it shrinks."""
        self.backlog = max(1, backlog)
        self._admit()

    def close(self) -> None:
        """Stop listening and free the port: what is queued is reset, what is pending refused. Idempotent."""
        self._close("refused")

    def abort(self) -> None:
        """As `close`, but pending connects see a reset."""
        self._close("reset")

    def drain(self) -> None:
        """Refuse new connects from now on; what is queued can still be accepted, and the port stays taken."""
        self._reservation.listener = None
        pending = list(self._pending)
        self._pending.clear()
        for attempt in pending:
            attempt._fail("refused")
        self._registry.listeners_changed.wake_all()

    def _close(self, outcome: Literal["refused", "reset"]) -> None:
        if self.closed:
            return
        self.closed = True
        # First what others can find, then what wakes them: a callback may listen on the same port again.
        self._registry.remove(self)
        self._reservation.listener = None
        self._reservation.free()
        queued = list(self._queue)
        pending = list(self._pending)
        self._queue.clear()
        self._pending.clear()
        for connection in queued:
            connection.abort()
        for attempt in pending:
            attempt._fail(outcome)
        self.acceptable.wake_all()
        self._registry.listeners_changed.wake_all()

    def _enter(self, attempt: ConnectAttempt) -> None:
        """A connect that found this listener: queue its connection, or let it wait."""
        if len(self._queue) < self.backlog and (not self._registry.budgets or self._can_have(attempt)):
            self._establish(attempt)
        else:
            self._pending[attempt] = None

    def _forget(self, attempt: ConnectAttempt) -> None:
        self._pending.pop(attempt, None)

    def _can_have(self, attempt: ConnectAttempt) -> bool:
        """Whether the owner may have the connection; if not, it is looked at again when something of it ends."""
        budget = self._registry.budgets.get(id(self.owner))
        if budget is None or budget.refusal(2 if attempt.owner is self.owner else 1) is None:
            return True
        budget.freed.add(self._admit)
        return False

    def _admit(self) -> None:
        while self._pending and len(self._queue) < self.backlog:
            if self._registry.budgets and not self._can_have(next(iter(self._pending))):
                return
            attempt, _ = self._pending.popitem(last=False)
            self._registry.remove(attempt)
            self._establish(attempt)

    def _establish(self, attempt: ConnectAttempt) -> None:
        try:
            client, server = connect_pair(self._registry, attempt, self.owner, self._capacity)
        except OSError as error:
            attempt._fail("failed", error)
            return
        self._queue.append(server)
        attempt._succeed(client)
        if self.acceptable:
            self.acceptable.wake_all()

    def measure(self, sizes: Counter[str]) -> None:
        sizes["queued"] += len(self._queue)

    def describe(self, now: float) -> SocketRecord:
        return SocketRecord(
            "tcp",
            self.address,
            None,
            "listening",
            len(self._queue),
            self.backlog,
            self.owner,
            now - self.created,
        )


class ConnectAttempt(Endpoint):
    """A connect on its way: decided at once, or waiting for room in a full backlog.

    It owns the reservation it was started with, which is released unless a connection takes it over.

    Attributes:
        state: ``"pending"``, then one of the others for good. ``"refused"``: nobody listens, or the listener
            closed. ``"reset"``: cancelled, or the network closed or released its owner. ``"failed"``: see `error`.
        done: woken when the state is no longer pending.
        connection: when connected.
        error: why it failed, beyond the network.
        local_address: always concrete; on Linux too a wildcard becomes the loopback address here.
        remote_address: where to.
        opener_context: the `contextvars` at the start of the attempt.
    """

    __slots__ = (
        "_reservation",
        "_target",
        "connection",
        "done",
        "error",
        "local_address",
        "opener_context",
        "remote_address",
        "state",
    )

    def __init__(
        self,
        registry: Registry,
        owner: object,
        reservation: PortReservation,
        remote_address: SocketAddress,
        target: ConnectTarget | None,
    ) -> None:
        # Not by way of `Endpoint.__init__`, as for connections.
        self._registry = registry
        self.owner = owner
        self.created = registry.clock()
        self.state: ConnectState = "pending"
        self.done: Final = Waiters()
        self.connection: TcpConnection | None = None
        self.remote_address: Final = remote_address
        self.opener_context: Final = contextvars.copy_context()
        local = reservation.address
        if not reservation.key >> 16:  # a wildcard
            local = SocketAddress(LOOPBACK[local.ip.version], local.port)
        self.local_address: Final = local
        self._reservation: Final = reservation
        self.error: OSError | None = None
        self._target: ConnectTarget | None = target
        reservation.take()
        if target is None:
            self._fail("refused")
            return
        target._enter(self)
        if self.state == "pending":
            registry.add(self)

    def __repr__(self) -> str:
        return f"<ConnectAttempt {self.local_address} -> {self.remote_address}, {self.state}>"

    def cancel(self) -> None:
        """Give up, and release everything: a connection that was made meanwhile is closed. Idempotent."""
        if self.state == "pending":
            self._fail("reset")
        elif self.connection is not None:
            self.connection.close()

    abort = cancel

    def raise_for_state(self) -> None:
        """Raise what a socket would.

        Raises:
            ConnectionRefusedError: if refused.
            ConnectionResetError: if reset.
            OSError: if it failed beyond the network.
        """
        if self.state == "refused":
            number = errno.ECONNREFUSED
            raise ConnectionRefusedError(number, f"{os.strerror(number)}: {self.remote_address}")
        if self.state == "reset":
            number = errno.ECONNRESET
            raise ConnectionResetError(number, f"{os.strerror(number)}: {self.remote_address}")
        if self.error is not None:
            raise OSError(self.error.errno, f"{self.error.strerror}: {self.remote_address}") from self.error

    def _succeed(self, connection: TcpConnection) -> None:
        self._target = None
        self.connection = connection
        self.state = "connected"
        if self.done:
            self.done.wake_all()

    def _fail(self, state: Literal["refused", "reset", "failed"], error: OSError | None = None) -> None:
        registry = self._registry
        if self._target is not None:
            registry.remove(self)
            self._target._forget(self)
            self._target = None
        self.error = error
        self._reservation.free()
        if state == "refused":
            registry.connections_refused += 1
        self.state = state
        self.done.wake_all()

    def _redirect(self, target: ConnectTarget) -> None:
        """Somebody else than whom it waits for, and who has forgotten it, decides."""
        self._registry.remove(self)
        self._target = target
        target._enter(self)
        if self.state == "pending":
            self._registry.add(self)

    def describe(self, now: float) -> SocketRecord:
        return SocketRecord(
            "tcp",
            self.local_address,
            self.remote_address,
            "connecting",
            0,
            0,
            self.owner,
            now - self.created,
        )
