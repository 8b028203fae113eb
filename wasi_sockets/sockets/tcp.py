"""A TCP socket as `wasi:sockets` describes it, over the network's synchronous core.

Nothing here waits. An operation returns its result or an `ErrorCode`; `WOULD_BLOCK` means: wait until
`ready()`, then ask again. Which operation is legal when is in `tcp_states.py`; options are in `options.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from wasi_sockets.network import (
    ConnectAttempt,
    PortReservation,
    SocketAddress,
    TcpBacklog,
    TcpConnection,
    Waiters,
)
from wasi_sockets.sockets.addresses import AddressFamily, is_bindable, is_connectable
from wasi_sockets.sockets.context import SocketContext
from wasi_sockets.sockets.error_codes import ErrorCode, from_os_error
from wasi_sockets.sockets.options import DEFAULTS, TcpOption, accepted_value, clamped_backlog
from wasi_sockets.sockets.tcp_states import CELLS, Move, Operation, State

__all__ = ["TcpSocket", "create_tcp_socket"]

_DEFAULT_BACKLOG: Final = 128  # wasmtime, `crates/wasi/src/sockets/tcp.rs`: "taken from rust std library"

# Members as plain names: reading one through its class takes longer than the look-up it is for (0.1 us). The states
# and the error are those that every socket goes through.
_START_BIND: Final = Operation.START_BIND
_FINISH_BIND: Final = Operation.FINISH_BIND
_START_CONNECT: Final = Operation.START_CONNECT
_FINISH_CONNECT: Final = Operation.FINISH_CONNECT
_START_LISTEN: Final = Operation.START_LISTEN
_FINISH_LISTEN: Final = Operation.FINISH_LISTEN
_ACCEPT: Final = Operation.ACCEPT
_SHUTDOWN: Final = Operation.SHUTDOWN
_LOCAL_ADDRESS: Final = Operation.LOCAL_ADDRESS
_REMOTE_ADDRESS: Final = Operation.REMOTE_ADDRESS
_OPTION: Final = Operation.OPTION
_BACKLOG: Final = Operation.BACKLOG
_UNBOUND: Final = State.UNBOUND
_CONNECTED: Final = State.CONNECTED
_CLOSED: Final = State.CLOSED
_INVALID_STATE: Final = ErrorCode.INVALID_STATE


def create_tcp_socket(context: SocketContext, family: AddressFamily) -> TcpSocket | ErrorCode:
    """Return a new socket.

    Returns `ACCESS_DENIED` when the guest may have none of them, `NEW_SOCKET_LIMIT` when it has as many as it may.
    """
    if not context.tcp:
        return ErrorCode.ACCESS_DENIED
    if context.open_sockets >= context.max_sockets:
        return ErrorCode.NEW_SOCKET_LIMIT
    return TcpSocket(context, family)


class TcpSocket:
    """One socket, from creation to `close`.

    It can be waited for (`ready`, `add_waiter`, `remove_waiter`). Make it with `create_tcp_socket`, which
    keeps the limit.

    Attributes:
        family: of all its addresses.
        state: see `tcp_states.py`.
    """

    __slots__ = (
        "_attempt",
        "_backlog_size",
        "_closed_by",
        "_connection",
        "_context",
        "_early_connection",
        "_idle_waiters",
        "_listener",
        "_open",
        "_options",
        "_reservation",
        "family",
        "state",
    )

    def __init__(self, context: SocketContext, family: AddressFamily) -> None:
        context.open_sockets += 1
        self.family: Final = family
        self.state: State = _UNBOUND
        self._context: Final = context
        self._open = True
        self._closed_by: ErrorCode = _INVALID_STATE
        self._reservation: PortReservation | None = None
        self._attempt: ConnectAttempt | None = None
        self._connection: TcpConnection | None = None
        self._early_connection: TcpConnection | None = None
        self._listener: TcpBacklog | None = None
        self._idle_waiters: Waiters | None = None
        self._options = DEFAULTS
        self._backlog_size = _DEFAULT_BACKLOG

    def __repr__(self) -> str:
        return f"<TcpSocket {self.family} {self.state.name.lower().replace('_', '-')}>"

    # Bind

    def start_bind(self, address: SocketAddress) -> ErrorCode | None:
        """Take a local address; port 0 takes a free one."""
        cell = CELLS[self.state][_START_BIND]
        if not isinstance(cell, Move):
            return cell or self._closed_by
        if not is_bindable(address, self.family):
            return ErrorCode.INVALID_ARGUMENT
        context = self._context
        try:
            self._reservation = context.network.reserve("tcp", address, owner=context.owner)
        except OSError as error:
            return self._fail(cell, from_os_error(error))
        self.state = cell.succeeded
        return None

    def finish_bind(self) -> ErrorCode | None:
        """Finish a bind; it never has to be waited for."""
        return self._step(_FINISH_BIND)

    # Connect

    def start_connect(self, address: SocketAddress) -> ErrorCode | None:
        """Begin to connect to a remote address, from an ephemeral port unless bound."""
        cell = CELLS[self.state][_START_CONNECT]
        if not isinstance(cell, Move):
            return cell or self._closed_by
        if not is_connectable(address, self.family):
            return ErrorCode.INVALID_ARGUMENT
        context = self._context
        try:
            self._attempt = context.network.start_connect(
                address, reservation=self._reservation, owner=context.owner
            )
        except OSError as error:
            code = from_os_error(error)
            if code is ErrorCode.ADDRESS_NOT_BINDABLE:
                # "Tried to perform an implicit bind, but there were no ephemeral ports available.
                # (EADDRINUSE, EADDRNOTAVAIL on Linux...)": the doc comment of `start-connect`.
                code = ErrorCode.ADDRESS_IN_USE
            return self._fail(cell, code)
        self.state = cell.succeeded
        return None

    def finish_connect(self) -> TcpConnection | ErrorCode:
        """Return the connection once it is made."""
        cell = CELLS[self.state][_FINISH_CONNECT]
        if not isinstance(cell, Move):
            return cell or self._closed_by
        early = self._early_connection
        if early is not None:
            self._early_connection = None
            self._connection = early
            self.state = cell.succeeded
            return early
        attempt = self._attempt
        if attempt is None:
            return ErrorCode.NOT_IN_PROGRESS
        outcome = attempt.state
        if outcome == "pending":
            return ErrorCode.WOULD_BLOCK
        connection = attempt.connection
        if connection is None:
            if attempt.error is not None:
                return self._fail(cell, from_os_error(attempt.error))
            refused = outcome == "refused"
            return self._fail(cell, ErrorCode.CONNECTION_REFUSED if refused else ErrorCode.CONNECTION_RESET)
        self._attempt = None
        self._reservation = None  # the connection holds it now
        self._connection = connection
        self.state = cell.succeeded
        return connection

    def finish_connect_early(self) -> TcpConnection | None:
        """As `finish_connect`, before the guest asks, where `start_connect` has been decided at once.

        Whoever calls it answers the guest's `finish-connect`, and calls `unfinish_connect` before the guest does
        anything else with the socket. None, and nothing done, where the guest must ask.
        """
        attempt = self._attempt
        if attempt is None or attempt.connection is None or self._reservation is not None:
            return None
        connection = self.finish_connect()
        return None if isinstance(connection, ErrorCode) else connection

    def unfinish_connect(self) -> None:
        """Undo `finish_connect_early`."""
        self._early_connection, self._connection = self._connection, None
        self.state = State.CONNECT_IN_PROGRESS

    # Listen and accept

    def start_listen(self) -> ErrorCode | None:
        """Begin to listen at the bound address."""
        cell = CELLS[self.state][_START_LISTEN]
        if not isinstance(cell, Move):
            return cell or self._closed_by
        reservation = self._reservation
        if reservation is None:
            return ErrorCode.INVALID_STATE
        try:
            self._listener = self._context.network.start_listen(reservation, self._backlog_size)
        except OSError as error:
            return self._fail(cell, from_os_error(error))
        self._reservation = None  # the listener holds it now
        self.state = cell.succeeded
        return None

    def finish_listen(self) -> ErrorCode | None:
        """Finish `start_listen`; it never has to be waited for."""
        return self._step(_FINISH_LISTEN)

    def accept(self) -> tuple[TcpSocket, TcpConnection] | ErrorCode:
        """Return the socket and connection of the client that has waited longest.

        With `NEW_SOCKET_LIMIT` the client stays in the queue.
        """
        cell = CELLS[self.state][_ACCEPT]
        if not isinstance(cell, Move):
            return cell or self._closed_by
        listener = self._listener
        if listener is None:
            return ErrorCode.INVALID_STATE
        context = self._context
        if listener.queued and context.open_sockets >= context.max_sockets:
            return ErrorCode.NEW_SOCKET_LIMIT
        connection = listener.try_accept()
        if connection is None:
            # Closed under the guest's hands: its network went down, and no client will ever come.
            return ErrorCode.REMOTE_UNREACHABLE if listener.closed else ErrorCode.WOULD_BLOCK
        accepted = TcpSocket(context, self.family)
        accepted._options = self._options
        accepted._connection = connection
        accepted.state = _CONNECTED
        return accepted, connection

    def set_backlog_size(self, value: int) -> ErrorCode | None:
        """Set how many clients may wait to be accepted, before or while listening."""
        size = clamped_backlog(value)
        if size is None:
            return ErrorCode.INVALID_ARGUMENT
        cell = CELLS[self.state][_BACKLOG]
        if not isinstance(cell, Move):
            return cell or self._closed_by
        self._backlog_size = size
        if self._listener is not None:
            self._listener.set_backlog(size)
        return None

    def is_listening(self) -> bool:
        """Whether clients can be accepted."""
        return self.state is State.LISTENING

    # Connected

    def shutdown(self, *, receive: bool, send: bool) -> ErrorCode | None:
        """Shut down one direction or both; doing it again changes nothing."""
        cell = CELLS[self.state][_SHUTDOWN]
        if not isinstance(cell, Move):
            return cell or self._closed_by
        connection = self._connection
        if connection is None:
            return ErrorCode.INVALID_STATE
        if receive:
            connection.shutdown_receive()
        if send:
            connection.shutdown_send()
        return None

    def local_address(self) -> SocketAddress | ErrorCode:
        """Return the address it is bound to; a wildcard stays one until connected."""
        cell = CELLS[self.state][_LOCAL_ADDRESS]
        if not isinstance(cell, Move):
            return cell or self._closed_by
        if self._connection is not None:
            return self._connection.local_address
        if self._listener is not None:
            return self._listener.address
        # While connecting: only if it was bound before.
        return ErrorCode.INVALID_STATE if self._reservation is None else self._reservation.address

    def remote_address(self) -> SocketAddress | ErrorCode:
        """Return the peer's address."""
        cell = CELLS[self.state][_REMOTE_ADDRESS]
        if not isinstance(cell, Move):
            return cell or self._closed_by
        return ErrorCode.INVALID_STATE if self._connection is None else self._connection.remote_address

    # Options

    def get_option(self, option: TcpOption) -> int | ErrorCode:
        """Return an option's value."""
        cell = CELLS[self.state][_OPTION]
        if not isinstance(cell, Move):
            return cell or self._closed_by
        return self._options[option]

    def set_option(self, option: TcpOption, value: int) -> ErrorCode | None:
        """Set an option; what it becomes may differ, see `options.py`."""
        accepted = accepted_value(option, value)
        if accepted is None:
            return ErrorCode.INVALID_ARGUMENT
        cell = CELLS[self.state][_OPTION]
        if not isinstance(cell, Move):
            return cell or self._closed_by
        self._options = {**self._options, option: accepted}
        return None

    # Waiting

    def ready(self) -> bool:
        """Whether the operation in progress can be finished, or, when listening, a client accepted.

        True in all states in which there is nothing to wait for. ([spec], "Pollable readiness")
        """
        if self.state is State.CONNECT_IN_PROGRESS:
            return self._attempt is None or self._attempt.state != "pending"
        if self.state is State.LISTENING:
            return self._listener is None or self._listener.queued > 0 or self._listener.closed
        return True

    def add_waiter(self, wake: Callable[[], None]) -> None:
        """Have `wake` called once, when `ready` may have changed."""
        if self._attempt is not None:
            self._attempt.done.add(wake)
        elif self._listener is not None:
            self._listener.acceptable.add(wake)
        else:
            if self._idle_waiters is None:
                self._idle_waiters = Waiters()
            self._idle_waiters.add(wake)

    def remove_waiter(self, wake: Callable[[], None]) -> None:
        """Forget `wake`; an unknown one is ignored."""
        if self._attempt is not None:
            self._attempt.done.discard(wake)
        if self._listener is not None:
            self._listener.acceptable.discard(wake)
        if self._idle_waiters is not None:
            self._idle_waiters.discard(wake)

    # The end

    def close(self) -> None:
        """Drop the socket: end its connection, stop listening, free its port. Idempotent.

        A connection ends here and not with its streams, as in wasmtime, where the socket keeps both of them
        (`crates/wasi/src/p2/tcp.rs`). A guest has dropped them by now: they are the socket's children.
        """
        if not self._open:
            return
        self._open = False
        self._context.open_sockets -= 1
        self.state = _CLOSED
        self._release()
        if self._idle_waiters is not None:
            self._idle_waiters.wake_all()

    def _release(self) -> None:
        attempt, self._attempt = self._attempt, None
        connection, self._connection = self._connection or self._early_connection, None
        self._early_connection = None
        listener, self._listener = self._listener, None
        reservation, self._reservation = self._reservation, None
        if attempt is not None:
            attempt.cancel()
        if connection is not None:
            connection.close()
        if listener is not None:
            listener.close()
        if reservation is not None:  # idempotent: an attempt had taken it over
            reservation.release()

    def _step(self, operation: Operation) -> ErrorCode | None:
        cell = CELLS[self.state][operation]
        if not isinstance(cell, Move):
            return cell or self._closed_by
        self.state = cell.succeeded
        return None

    def _fail(self, cell: Move, code: ErrorCode) -> ErrorCode:
        self.state = cell.failed
        if cell.failed is State.CLOSED:
            self._closed_by = code
            self._release()
        return code
