"""The tables of `udp_states.py`, against a second writing of the same rules, and as a real socket obeys them."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address

import pytest

from wasi_sockets.network import Network, SocketAddress
from wasi_sockets.sockets import AddressFamily, ErrorCode, SocketContext, UdpSocket
from wasi_sockets.sockets.udp_states import (
    CELLS,
    DESTINATIONS,
    MOVES,
    REFUSALS,
    Destination,
    Move,
    Operation,
    State,
)

LOCALHOST = IPv4Address("127.0.0.1")
PEER = SocketAddress(LOCALHOST, 4321)

# Rows are operations, columns states. A word is the state that follows; "-" is invalid-state, "n" not-in-progress,
# "c" concurrency-conflict, "." legal and nothing changes.
GRID = """
                unbound  bind-ing bound     connected
START_BIND      bind-ing c        -         -
FINISH_BIND     n        bound    n         n
STREAM_NONE     -        -        .         bound
STREAM_SOME     -        -        connected .
LOCAL_ADDRESS   -        -        .         .
REMOTE_ADDRESS  -        -        -         .
"""
SHORT = {
    "unbound": State.UNBOUND,
    "bind-ing": State.BIND_IN_PROGRESS,
    "bound": State.BOUND,
    "connected": State.CONNECTED,
}
ERRORS = {
    "-": ErrorCode.INVALID_STATE,
    "n": ErrorCode.NOT_IN_PROGRESS,
    "c": ErrorCode.CONCURRENCY_CONFLICT,
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
    assert set(REFUSALS) == set(Operation)


@pytest.mark.parametrize(("state", "operation"), EVERY_CELL)
def test_the_tables_say_what_the_grid_says(state: State, operation: Operation) -> None:
    word = grid()[state, operation]
    cell = CELLS[state][operation]
    if word in ERRORS:
        assert cell is ERRORS[word]
    else:
        assert isinstance(cell, Move)
        assert cell.succeeded is (state if word == "." else SHORT[word])


def test_whatever_fails_leaves_the_state_as_it_was_or_unbound() -> None:
    for (state, operation), move in MOVES.items():
        assert move.failed is (State.UNBOUND if operation is Operation.FINISH_BIND else state)


# The same on a real socket.


def socket_in(state: State, context: SocketContext) -> UdpSocket:
    """A socket that was brought into `state` by its operations, with no stream open."""
    socket = UdpSocket(context, AddressFamily.IPV4)
    if state is State.UNBOUND:
        return socket
    assert socket.start_bind(SocketAddress(LOCALHOST, 0)) is None
    if state is State.BIND_IN_PROGRESS:
        return socket
    assert socket.finish_bind() is None
    if state is State.CONNECTED:
        close_streams(socket.stream(PEER))
    return socket


def close_streams(streams: object) -> None:
    assert isinstance(streams, tuple)
    for stream in streams:
        stream.close()


@pytest.mark.parametrize(("state", "operation"), EVERY_CELL)
def test_a_socket_does_what_the_tables_say(state: State, operation: Operation) -> None:
    socket = socket_in(state, SocketContext(Network(), object()))
    assert socket.state is state
    operations: dict[Operation, Callable[[], object]] = {
        Operation.START_BIND: lambda: socket.start_bind(SocketAddress(LOCALHOST, 0)),
        Operation.FINISH_BIND: socket.finish_bind,
        Operation.STREAM_NONE: lambda: socket.stream(None),
        Operation.STREAM_SOME: lambda: socket.stream(PEER),
        Operation.LOCAL_ADDRESS: socket.local_address,
        Operation.REMOTE_ADDRESS: socket.remote_address,
    }
    cell = CELLS[state][operation]
    result = operations[operation]()
    if isinstance(cell, Move):
        assert not isinstance(result, ErrorCode)
        assert socket.state is cell.succeeded
    else:
        assert result is cell
        assert socket.state is state


@pytest.mark.parametrize(
    ("state", "operation"),
    [cell for cell in MOVES if cell[1] in (Operation.START_BIND, Operation.STREAM_SOME)],
)
def test_what_the_network_refuses_leaves_the_state_that_the_table_names(
    state: State, operation: Operation
) -> None:
    socket = socket_in(state, SocketContext(Network(), object()))
    nowhere = SocketAddress(IPv4Address("192.0.2.1"), 9)
    if operation is Operation.START_BIND:
        assert socket.start_bind(nowhere) is ErrorCode.ADDRESS_NOT_BINDABLE
    else:
        before = socket.remote_address()
        assert socket.stream(nowhere) is ErrorCode.REMOTE_UNREACHABLE
        assert socket.remote_address() == before
    assert socket.state is MOVES[state, operation].failed


@pytest.mark.parametrize(("state", "destination"), DESTINATIONS)
def test_where_a_datagram_may_go(state: State, destination: Destination) -> None:
    socket = socket_in(state, SocketContext(Network(), object()))
    streams = socket.stream(PEER if state is State.CONNECTED else None)
    assert isinstance(streams, tuple)
    streams[1].check_send()
    address = {
        Destination.ABSENT: None,
        Destination.PEER: PEER,
        Destination.OTHER: SocketAddress(LOCALHOST, 1),
    }[destination]
    expected = DESTINATIONS[state, destination]
    assert streams[1].send([(b"x", address)]) == (1 if expected is None else expected)


def test_every_destination_that_can_occur_is_in_the_table() -> None:
    possible = {
        (state, destination) for state in (State.BOUND, State.CONNECTED) for destination in Destination
    }
    assert set(DESTINATIONS) == possible - {(State.BOUND, Destination.PEER)}


@pytest.mark.parametrize("state", list(State))
def test_closing_frees_everything_in_every_state(state: State) -> None:
    network = Network()
    context = SocketContext(network, object())
    socket = socket_in(state, context)
    assert socket.ready()
    assert repr(socket) == f"<UdpSocket ipv4 {state.name.lower().replace('_', '-')}>"
    socket.close()
    socket.close()
    assert network.sockets() == []
    assert context.open_sockets == 0
