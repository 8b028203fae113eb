"""Streams of a connect that was decided at once: they go out with the answer to `start-connect`.

The shim keeps them until the guest asks for them with `finish-connect`, which then need not reach Python: opening a
connection is one crossing and one typed call shorter. A guest that calls something else on the socket first must not
notice, so the shim then gives them back, and the socket is as if nobody had looked ahead.

The answer is one u64: bit 62 set; in bits 58..61 the permit of the output stream, `512 << n`, or 0 when it is none of
these and must be asked for; in bits 29..57 and 0..28 the handles of the output and the input stream, without bit 30.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from wasi_sockets.engine.handles import INPUT_STREAM, OUTPUT_STREAM, VIRTUAL
from wasi_sockets.errors import GuestTrap

if TYPE_CHECKING:
    from wasi_sockets.engine.guest import GuestState
    from wasi_sockets.interposer.items import Item

__all__ = ["early_streams", "take_back"]

_PRESENT: Final = 1 << 62
_HANDLE_BITS: Final = 29
_HANDLE: Final = (1 << _HANDLE_BITS) - 1
_PERMITS: Final = {512 << exponent: exponent << 58 for exponent in range(1, 16)}

_SOCKET: Final = "wasi:sockets/tcp.tcp-socket"
_TAKE_BACK: Final = ("wasi:sockets/tcp", "[take-back]tcp-socket.start-connect")


def early_streams(guest: GuestState, item: Item) -> Callable[[Any], int] | None:
    """What makes the answer to an item out of its first argument; 0 when there are no streams yet.

    None for items other than `start-connect`.
    """
    finish = guest.functions.get((item.interface, item.name.replace("[method]", "[early]")))
    if finish is None:
        return None
    table = guest.table(item.realm)
    add_input, add_output = table.adder(INPUT_STREAM), table.adder(OUTPUT_STREAM)
    make: Callable[[Any], tuple[Any, Any] | None] = finish

    def answer(socket: Any) -> int:
        streams = make(socket)
        if streams is None:
            return 0
        incoming, outgoing = streams
        handles = add_input(incoming) & _HANDLE
        handles |= (add_output(outgoing) & _HANDLE) << _HANDLE_BITS
        return _PRESENT | _PERMITS.get(outgoing.permit(), 0) | handles

    return answer


def take_back(guest: GuestState, item: Item) -> Callable[..., int]:
    """The fast path that undoes what `early_streams` gave: `(socket, answer)`."""
    table = guest.table(item.realm)
    undo = guest.functions.get(_TAKE_BACK)
    if undo is None:
        raise GuestTrap("the component's table is inconsistent: streams come back that nobody gave")

    def call(_pages: int, socket: int, answer: int) -> int:
        target = table.get(_SOCKET, socket)
        table.remove(OUTPUT_STREAM, VIRTUAL | answer >> _HANDLE_BITS & _HANDLE).close()
        table.remove(INPUT_STREAM, VIRTUAL | answer & _HANDLE).close()
        undo(target)
        return 0

    return call
