"""The states of a TCP socket, and what every operation does in every one of them.

Rules of this file:

A. Whether an operation is legal, which error it gives when it is not, and which state follows, is decided
   here and only here. `tcp.py` looks a cell up, does the work, and takes the state that the cell names.
B. This file knows no network, no address and no argument.

Sources: [spec] is `TcpSocketOperationalSemantics.md` of wasi:sockets 0.2.12 with the doc comments of
`wasi:sockets/tcp@0.2.12`; [up] is wasmtime, `crates/wasi/src/p2/host/tcp.rs` over
`crates/wasi/src/sockets/tcp.rs`; [states] is its test `p2_tcp_states`. Where [spec] speaks it wins; where it
is silent [up] does.

Rules of the tables:

 1. An operation in a wrong state fails and changes nothing. [spec]
 2. `finish-*` gives `not-in-progress` unless its own `start-*` is in progress. [spec] [states]
 3. `start-*` gives `concurrency-conflict` while any operation is in progress. [up]
 4. Everything else in a wrong state gives `invalid-state`. [spec] [states]
 5. `would-block` leaves the state as it is. [spec]
 6. An argument that is refused leaves the state as it is, even in `start-connect`, although the diagram of
    [spec] has its failure lead to `closed`: `p2_tcp_connect` uses one socket for two refused connects and
    expects `invalid-argument` from both.
 7. A bind that fails may be tried again; a connect or listen that fails closes the socket. [spec]
 8. `start-listen` wants an explicit bind. [spec] [states]
 9. The only way out of `connected` is to drop the socket: shutting down leaves it there. [up]
10. The local address is known from `bound` on; while connecting, only after an explicit bind. [spec]
11. Options can be read and set in every state but `closed`. [spec]
12. The backlog cannot be set while connecting and when connected; while listening it can. [spec] [states]
13. In `closed`, asking for an address or an option gives the error that closed the socket. [up]
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

from wasi_sockets.sockets.error_codes import ErrorCode

__all__ = ["CELLS", "IN_PROGRESS", "MOVES", "REFUSALS", "Cell", "Move", "Operation", "Refusal", "State"]


class State(IntEnum):
    """Where a socket is in its life. An index into `CELLS`."""

    UNBOUND = 0
    BIND_IN_PROGRESS = 1
    BOUND = 2
    CONNECT_IN_PROGRESS = 3
    CONNECTED = 4
    LISTEN_IN_PROGRESS = 5
    LISTENING = 6
    CLOSED = 7


class Operation(IntEnum):
    """What can be asked of a socket. `is-listening` and `address-family` are missing: they never fail."""

    START_BIND = 0
    FINISH_BIND = 1
    START_CONNECT = 2
    FINISH_CONNECT = 3
    START_LISTEN = 4
    FINISH_LISTEN = 5
    ACCEPT = 6
    SHUTDOWN = 7
    LOCAL_ADDRESS = 8
    REMOTE_ADDRESS = 9
    OPTION = 10
    BACKLOG = 11


class Move(NamedTuple):
    """A legal operation: the state after it succeeded, and after it failed (rules 5 and 6 aside)."""

    succeeded: State
    failed: State


class Refusal(NamedTuple):
    """The errors of an operation wherever it is not legal.

    Attributes:
        in_progress: in the three states of `IN_PROGRESS`.
        closed: in `closed`; `None` is the error that closed the socket (rule 13).
        elsewhere: in the other states.
    """

    in_progress: ErrorCode
    closed: ErrorCode | None
    elsewhere: ErrorCode


_S = State
_O = Operation
_E = ErrorCode

IN_PROGRESS: Final = frozenset({_S.BIND_IN_PROGRESS, _S.CONNECT_IN_PROGRESS, _S.LISTEN_IN_PROGRESS})

# fmt: off
MOVES: Final[Mapping[tuple[State, Operation], Move]] = MappingProxyType({
    # from, operation                                succeeded               failed
    (_S.UNBOUND, _O.START_BIND):                Move(_S.BIND_IN_PROGRESS,    _S.UNBOUND),    # rule 7
    (_S.BIND_IN_PROGRESS, _O.FINISH_BIND):      Move(_S.BOUND,               _S.UNBOUND),    # rule 7

    (_S.UNBOUND, _O.START_CONNECT):             Move(_S.CONNECT_IN_PROGRESS, _S.CLOSED),     # rules 6, 7
    (_S.BOUND, _O.START_CONNECT):               Move(_S.CONNECT_IN_PROGRESS, _S.CLOSED),     # rules 6, 7
    (_S.CONNECT_IN_PROGRESS, _O.FINISH_CONNECT): Move(_S.CONNECTED,          _S.CLOSED),     # rule 7

    (_S.BOUND, _O.START_LISTEN):                Move(_S.LISTEN_IN_PROGRESS,  _S.CLOSED),     # rules 7, 8
    (_S.LISTEN_IN_PROGRESS, _O.FINISH_LISTEN):  Move(_S.LISTENING,           _S.CLOSED),     # rule 7
    (_S.LISTENING, _O.ACCEPT):                  Move(_S.LISTENING,           _S.LISTENING),

    (_S.CONNECTED, _O.SHUTDOWN):                Move(_S.CONNECTED,           _S.CONNECTED),  # rule 9

    (_S.BOUND, _O.LOCAL_ADDRESS):               Move(_S.BOUND,               _S.BOUND),      # rule 10
    (_S.CONNECT_IN_PROGRESS, _O.LOCAL_ADDRESS):
        Move(_S.CONNECT_IN_PROGRESS, _S.CONNECT_IN_PROGRESS),                                # rule 10
    (_S.CONNECTED, _O.LOCAL_ADDRESS):           Move(_S.CONNECTED,           _S.CONNECTED),
    (_S.LISTEN_IN_PROGRESS, _O.LOCAL_ADDRESS):
        Move(_S.LISTEN_IN_PROGRESS, _S.LISTEN_IN_PROGRESS),
    (_S.LISTENING, _O.LOCAL_ADDRESS):           Move(_S.LISTENING,           _S.LISTENING),
    (_S.CONNECTED, _O.REMOTE_ADDRESS):          Move(_S.CONNECTED,           _S.CONNECTED),

    **{(state, _O.OPTION): Move(state, state) for state in _S if state is not _S.CLOSED},    # rule 11
    **{(state, _O.BACKLOG): Move(state, state) for state in (                                # rule 12
        _S.UNBOUND, _S.BIND_IN_PROGRESS, _S.BOUND, _S.LISTEN_IN_PROGRESS, _S.LISTENING)},
})

REFUSALS: Final[Mapping[Operation, Refusal]] = MappingProxyType({
    #                           in progress              closed              elsewhere
    _O.START_BIND:     Refusal(_E.CONCURRENCY_CONFLICT, _E.INVALID_STATE,   _E.INVALID_STATE),    # rules 3, 4
    _O.START_CONNECT:  Refusal(_E.CONCURRENCY_CONFLICT, _E.INVALID_STATE,   _E.INVALID_STATE),
    _O.START_LISTEN:   Refusal(_E.CONCURRENCY_CONFLICT, _E.INVALID_STATE,   _E.INVALID_STATE),
    _O.FINISH_BIND:    Refusal(_E.NOT_IN_PROGRESS,      _E.NOT_IN_PROGRESS, _E.NOT_IN_PROGRESS),  # rule 2
    _O.FINISH_CONNECT: Refusal(_E.NOT_IN_PROGRESS,      _E.NOT_IN_PROGRESS, _E.NOT_IN_PROGRESS),
    _O.FINISH_LISTEN:  Refusal(_E.NOT_IN_PROGRESS,      _E.NOT_IN_PROGRESS, _E.NOT_IN_PROGRESS),
    _O.ACCEPT:         Refusal(_E.INVALID_STATE,        _E.INVALID_STATE,   _E.INVALID_STATE),    # rule 4
    _O.SHUTDOWN:       Refusal(_E.INVALID_STATE,        _E.INVALID_STATE,   _E.INVALID_STATE),
    _O.LOCAL_ADDRESS:  Refusal(_E.INVALID_STATE,        None,               _E.INVALID_STATE),    # rule 13
    _O.REMOTE_ADDRESS: Refusal(_E.INVALID_STATE,        None,               _E.INVALID_STATE),
    _O.OPTION:         Refusal(_E.INVALID_STATE,        None,               _E.INVALID_STATE),
    _O.BACKLOG:        Refusal(_E.INVALID_STATE,        None,               _E.INVALID_STATE),    # rule 13
})
# fmt: on

#: What a look-up gives: a legal move, an error, or `None` for the error that closed the socket.
Cell: TypeAlias = Move | ErrorCode | None


def _cell(state: State, operation: Operation) -> Cell:
    move = MOVES.get((state, operation))
    if move is not None:
        return move
    refusal = REFUSALS[operation]
    if state in IN_PROGRESS:
        return refusal.in_progress
    return refusal.closed if state is State.CLOSED else refusal.elsewhere


#: `CELLS[state][operation]`: both tables as tuples, because opening a connection takes half a dozen look-ups.
CELLS: Final[tuple[tuple[Cell, ...], ...]] = tuple(
    tuple(_cell(state, operation) for operation in Operation) for state in State
)
