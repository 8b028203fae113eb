"""The states of a UDP socket, what every operation does in every one of them, and where it may send.

Rules of this file: those of `tcp_states.py` (A and B).

Sources: [spec] is `UdpSocketOperationalSemantics.md` of wasi:sockets 0.2.12 with the doc comments of
`wasi:sockets/udp@0.2.12`; [up] is wasmtime, `crates/wasi/src/p2/host/udp.rs` and `crates/wasi/src/p2/udp.rs`
over `crates/wasi/src/sockets/udp.rs`; [states], [connect] are its tests `p2_udp_states`, `p2_udp_connect`. Where
[spec] speaks it wins; where it is silent [up] does.

Rules of the tables:

 1. An operation in a wrong state fails and changes nothing. [spec]
 2. `finish-bind` gives `not-in-progress` unless a bind is in progress. [spec] [states]
 3. `start-bind` gives `concurrency-conflict` while one is. [up]
 4. Everything else in a wrong state gives `invalid-state`. [spec] [states]
 5. A bind that fails may be tried again. [spec]
 6. `stream` wants a finished bind. [spec] [states] [connect] ([up] is content with a started one.)
 7. `stream(some)` connects and reconnects, `stream(none)` disconnects, as often as wanted; the port stays.
    [spec] [connect]
 8. A `stream` that fails leaves the association as it was. [up] It changed nothing before it failed, on Linux.
 9. The local address is known from `bound` on, the remote one while connected. [spec] [states]
10. Options can be read and set in every state, so they are not in the tables. [spec] [states]
11. There is no closed state: nothing but dropping it ends a UDP socket. [up]

Rules of sending, for each datagram by itself:

12. Without a peer the datagram names its destination; `invalid-argument` otherwise. [spec]
13. With a peer it names none, or exactly that peer; `invalid-argument` otherwise. [spec]
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

from wasi_sockets.sockets.error_codes import ErrorCode

__all__ = [
    "CELLS",
    "DESTINATIONS",
    "MOVES",
    "REFUSALS",
    "Cell",
    "Destination",
    "Move",
    "Operation",
    "Refusal",
    "State",
]


class State(IntEnum):
    """Where a socket is in its life. An index into `CELLS`."""

    UNBOUND = 0
    BIND_IN_PROGRESS = 1
    BOUND = 2
    CONNECTED = 3


class Operation(IntEnum):
    """What can be asked of a socket. `address-family` and the options are missing: no state forbids them."""

    START_BIND = 0
    FINISH_BIND = 1
    STREAM_NONE = 2
    STREAM_SOME = 3
    LOCAL_ADDRESS = 4
    REMOTE_ADDRESS = 5


class Destination(IntEnum):
    """What a datagram says about where it goes."""

    ABSENT = 0
    PEER = 1  # the address that the socket is connected to
    OTHER = 2


class Move(NamedTuple):
    """A legal operation: the state after it succeeded, and after it failed."""

    succeeded: State
    failed: State


class Refusal(NamedTuple):
    """The errors of an operation wherever it is not legal: while a bind is in progress, and elsewhere."""

    in_progress: ErrorCode
    elsewhere: ErrorCode


_S = State
_O = Operation
_D = Destination
_E = ErrorCode

# fmt: off
MOVES: Final[Mapping[tuple[State, Operation], Move]] = MappingProxyType({
    # from, operation                              succeeded             failed
    (_S.UNBOUND, _O.START_BIND):              Move(_S.BIND_IN_PROGRESS,  _S.UNBOUND),    # rule 5
    (_S.BIND_IN_PROGRESS, _O.FINISH_BIND):    Move(_S.BOUND,             _S.UNBOUND),    # rule 5

    (_S.BOUND, _O.STREAM_NONE):               Move(_S.BOUND,             _S.BOUND),      # rules 6, 7
    (_S.BOUND, _O.STREAM_SOME):               Move(_S.CONNECTED,         _S.BOUND),      # rules 7, 8
    (_S.CONNECTED, _O.STREAM_NONE):           Move(_S.BOUND,             _S.CONNECTED),  # rules 7, 8
    (_S.CONNECTED, _O.STREAM_SOME):           Move(_S.CONNECTED,         _S.CONNECTED),  # rules 7, 8

    (_S.BOUND, _O.LOCAL_ADDRESS):             Move(_S.BOUND,             _S.BOUND),      # rule 9
    (_S.CONNECTED, _O.LOCAL_ADDRESS):         Move(_S.CONNECTED,         _S.CONNECTED),  # rule 9
    (_S.CONNECTED, _O.REMOTE_ADDRESS):        Move(_S.CONNECTED,         _S.CONNECTED),  # rule 9
})

REFUSALS: Final[Mapping[Operation, Refusal]] = MappingProxyType({
    #                           in progress              elsewhere
    _O.START_BIND:     Refusal(_E.CONCURRENCY_CONFLICT, _E.INVALID_STATE),    # rules 3, 4
    _O.FINISH_BIND:    Refusal(_E.NOT_IN_PROGRESS,      _E.NOT_IN_PROGRESS),  # rule 2
    _O.STREAM_NONE:    Refusal(_E.INVALID_STATE,        _E.INVALID_STATE),    # rules 4, 6
    _O.STREAM_SOME:    Refusal(_E.INVALID_STATE,        _E.INVALID_STATE),    # rules 4, 6
    _O.LOCAL_ADDRESS:  Refusal(_E.INVALID_STATE,        _E.INVALID_STATE),    # rule 9
    _O.REMOTE_ADDRESS: Refusal(_E.INVALID_STATE,        _E.INVALID_STATE),    # rule 9
})

#: Whether a datagram with such an address goes out: None, or the error that it gives.
DESTINATIONS: Final[Mapping[tuple[State, Destination], ErrorCode | None]] = MappingProxyType({
    (_S.BOUND, _D.ABSENT):      _E.INVALID_ARGUMENT,  # rule 12
    (_S.BOUND, _D.OTHER):       None,
    (_S.CONNECTED, _D.ABSENT):  None,                 # rule 13
    (_S.CONNECTED, _D.PEER):    None,
    (_S.CONNECTED, _D.OTHER):   _E.INVALID_ARGUMENT,
})
# fmt: on

#: What a look-up gives: a legal move, or an error.
Cell: TypeAlias = Move | ErrorCode


def _cell(state: State, operation: Operation) -> Cell:
    move = MOVES.get((state, operation))
    if move is not None:
        return move
    refusal = REFUSALS[operation]
    return refusal.in_progress if state is State.BIND_IN_PROGRESS else refusal.elsewhere


#: `CELLS[state][operation]`: both tables as tuples.
CELLS: Final[tuple[tuple[Cell, ...], ...]] = tuple(
    tuple(_cell(state, operation) for operation in Operation) for state in State
)
