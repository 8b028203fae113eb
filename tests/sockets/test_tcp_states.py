"""The tables of `tcp_states.py`, against a second writing of the same rules, and as a real socket obeys them."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address

import pytest

from wasi_sockets.network import Network, SocketAddress
from wasi_sockets.sockets import AddressFamily, ErrorCode, SocketContext, TcpOption, TcpSocket
from wasi_sockets.sockets.tcp_states import CELLS, IN_PROGRESS, MOVES, REFUSALS, Move, Operation, State

LOCALHOST = IPv4Address("127.0.0.1")

# Rows are operations, columns states. A word is the state that follows; "-" is invalid-state, "n" not-in-progress,
# "c" concurrency-conflict, "!" the error that closed the socket, "." legal and nothing changes.
GRID = """
                unbound  bind-ing bound    conn-ing connected listen-ing listening closed
START_BIND      bind-ing c        -        c        -         c          -         -
FINISH_BIND     n        bound    n        n        n         n          n         n
START_CONNECT   conn-ing c        conn-ing c        -         c          -         -
FINISH_CONNECT  n        n        n        connected n        n          n         n
START_LISTEN    -        c        listen-ing c      -         c          -         -
FINISH_LISTEN   n        n        n        n        n         listening  n         n
ACCEPT          -        -        -        -        -         -          .         -
SHUTDOWN        -        -        -        -        .         -          -         -
LOCAL_ADDRESS   -        -        .        .        .         .          .         !
REMOTE_ADDRESS  -        -        -        -        .         -          -         !
OPTION          .        .        .        .        .         .          .         !
BACKLOG         .        .        .        -        -         .          .         !
"""
SHORT = {
    "unbound": State.UNBOUND,
    "bind-ing": State.BIND_IN_PROGRESS,
    "bound": State.BOUND,
    "conn-ing": State.CONNECT_IN_PROGRESS,
    "connected": State.CONNECTED,
    "listen-ing": State.LISTEN_IN_PROGRESS,
    "listening": State.LISTENING,
    "closed": State.CLOSED,
}
ERRORS = {
    "-": ErrorCode.INVALID_STATE,
    "n": ErrorCode.NOT_IN_PROGRESS,
    "c": ErrorCode.CONCURRENCY_CONFLICT,
    "!": None,
}


def grid() -> dict[tuple[State, Operation], str]:
    header, *rows = GRID.strip("\n").splitlines()
    states = [SHORT[word] for word in header.split()]
    cells = {}
    for row in rows:
        name, *words = row.split()
        cells.update({(state, Operation[name]): word for state, word in zip(states, words, strict=True)})
    return cells


EVERY_CELL = [(state, operation) for state in State for operation in Operation]


def test_the_grid_has_every_cell() -> None:
    assert set(grid()) == set(EVERY_CELL)
    assert [len(row) for row in CELLS] == [len(Operation)] * len(State)


@pytest.mark.parametrize(("state", "operation"), EVERY_CELL)
def test_the_tables_say_what_the_grid_says(state: State, operation: Operation) -> None:
    word = grid()[state, operation]
    cell = CELLS[state][operation]
    if word in ERRORS:
        assert cell is ERRORS[word]
    else:
        assert isinstance(cell, Move)
        assert cell.succeeded is (state if word == "." else SHORT[word])


def test_every_operation_has_its_refusals_and_a_state_where_it_is_legal() -> None:
    assert set(REFUSALS) == set(Operation)
    assert {operation for _, operation in MOVES} == set(Operation)


def test_a_failed_bind_can_be_repeated_and_a_failed_connect_or_listen_closes() -> None:
    for (state, operation), move in MOVES.items():
        if operation in (Operation.START_BIND, Operation.FINISH_BIND):
            assert move.failed is State.UNBOUND
        elif operation in (
            Operation.START_CONNECT,
            Operation.FINISH_CONNECT,
            Operation.START_LISTEN,
            Operation.FINISH_LISTEN,
        ):
            assert move.failed is State.CLOSED
        else:
            assert move == Move(state, state)


def test_every_state_but_closed_is_reached_and_those_in_progress_are_left_by_their_finish_only() -> None:
    reached = {move.succeeded for (state, _), move in MOVES.items() if move.succeeded is not state}
    assert reached == set(State) - {State.UNBOUND, State.CLOSED}
    for state in IN_PROGRESS:
        leaving = {
            operation for (start, operation), move in MOVES.items() if start is state is not move.succeeded
        }
        assert len(leaving) == 1
        assert leaving.pop().name.startswith("FINISH_")


# The same on a real socket.


def socket_in(state: State, context: SocketContext) -> TcpSocket:
    """A socket that was brought into `state` by its operations."""
    socket = TcpSocket(context, AddressFamily.IPV4)
    if state is State.UNBOUND:
        return socket
    if state in (State.CONNECT_IN_PROGRESS, State.CONNECTED):
        listener = socket_in(State.LISTENING, context)
        remote = listener.local_address()
        assert isinstance(remote, SocketAddress)
        # Bound first, so that the local address is known while connecting.
        assert socket.start_bind(SocketAddress(LOCALHOST, 0)) is None
        assert socket.finish_bind() is None
        assert socket.start_connect(remote) is None
        if state is State.CONNECTED:
            assert not isinstance(socket.finish_connect(), ErrorCode)
        return socket
    if state is State.CLOSED:
        assert socket.start_connect(SocketAddress(LOCALHOST, 9)) is None
        assert socket.finish_connect() is ErrorCode.CONNECTION_REFUSED
        return socket
    assert socket.start_bind(SocketAddress(LOCALHOST, 0)) is None
    if state is State.BIND_IN_PROGRESS:
        return socket
    assert socket.finish_bind() is None
    if state is State.BOUND:
        return socket
    assert socket.start_listen() is None
    if state is State.LISTENING:
        assert socket.finish_listen() is None
        client = TcpSocket(context, AddressFamily.IPV4)
        remote = socket.local_address()
        assert isinstance(remote, SocketAddress)
        assert client.start_connect(remote) is None  # so that accept has something to succeed with
    return socket


def operation_on(socket: TcpSocket, network: Network) -> dict[Operation, Callable[[], object]]:
    listener = network.start_listen(network.reserve("tcp", SocketAddress(LOCALHOST, 0)))
    return {
        Operation.START_BIND: lambda: socket.start_bind(SocketAddress(LOCALHOST, 0)),
        Operation.FINISH_BIND: socket.finish_bind,
        Operation.START_CONNECT: lambda: socket.start_connect(listener.address),
        Operation.FINISH_CONNECT: socket.finish_connect,
        Operation.START_LISTEN: socket.start_listen,
        Operation.FINISH_LISTEN: socket.finish_listen,
        Operation.ACCEPT: socket.accept,
        Operation.SHUTDOWN: lambda: socket.shutdown(receive=True, send=True),
        Operation.LOCAL_ADDRESS: socket.local_address,
        Operation.REMOTE_ADDRESS: socket.remote_address,
        Operation.OPTION: lambda: socket.get_option(TcpOption.HOP_LIMIT),
        Operation.BACKLOG: lambda: socket.set_backlog_size(3),
    }


@pytest.mark.parametrize(("state", "operation"), EVERY_CELL)
def test_a_socket_does_what_the_tables_say(state: State, operation: Operation) -> None:
    network = Network()
    socket = socket_in(state, SocketContext(network, object()))
    assert socket.state is state
    cell = CELLS[state][operation]
    result = operation_on(socket, network)[operation]()
    if isinstance(cell, Move):
        assert not isinstance(result, ErrorCode)
        assert socket.state is cell.succeeded
    else:
        assert result is (cell or ErrorCode.CONNECTION_REFUSED)
        assert socket.state is state


@pytest.mark.parametrize("state", list(State))
def test_setting_an_option_is_legal_exactly_where_reading_one_is(state: State) -> None:
    socket = socket_in(state, SocketContext(Network(), object()))
    read, written = socket.get_option(TcpOption.HOP_LIMIT), socket.set_option(TcpOption.HOP_LIMIT, 9)
    assert isinstance(read, ErrorCode) == isinstance(written, ErrorCode)
    assert socket.is_listening() == (state is State.LISTENING)


@pytest.mark.parametrize("state", list(State))
def test_closing_frees_everything_in_every_state(state: State) -> None:
    network = Network()
    context = SocketContext(network, object())
    socket = socket_in(state, context)
    others = context.open_sockets - 1
    owned = len(network.sockets())
    socket.close()
    assert socket.state is State.CLOSED
    assert context.open_sockets == others
    # Listening, a connection waits in the queue: its two ends go too, the client's as soon as it closes.
    assert len(network.sockets()) < owned or state in (State.UNBOUND, State.CLOSED)
    socket.close()
    assert context.open_sockets == others
