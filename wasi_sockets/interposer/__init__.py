"""Rewriting a guest so that its network calls reach Python: bytes in, bytes out, and the table of what was replaced."""

from __future__ import annotations

from dataclasses import dataclass

from wasi_sockets.component.reader import read_component
from wasi_sockets.component.writer import write_component
from wasi_sockets.errors import UnsupportedComponentError
from wasi_sockets.interposer.flow import look_through
from wasi_sockets.interposer.items import Item
from wasi_sockets.interposer.plan import plan
from wasi_sockets.interposer.rewrite import HOST_INSTANCE, host_functions, rewrite

__all__ = ["HOST_INSTANCE", "Interposition", "Item", "host_functions", "interpose"]


@dataclass(frozen=True, slots=True)
class Interposition:
    """A guest ready to be compiled.

    Attributes:
        wasm: the rewritten component; the very bytes that were given when nothing had to be replaced.
        items: what its trampolines send, by number; empty when nothing was replaced.
    """

    wasm: bytes
    items: tuple[Item, ...]


def interpose(wasm: bytes) -> Interposition:
    """Replaces the network wiring of a component.

    Args:
        wasm: a component of WASI 0.2, in binary form.

    Raises:
        InvalidComponentError: the bytes are no component, or damaged.
        UnsupportedComponentError: the component uses something that cannot be interposed; the message names it
            and says what to do.
    """
    try:
        root = look_through(read_component(wasm))
        planned, items = plan(root)
        if not planned.needs:
            return Interposition(wasm, ())
        return Interposition(write_component(rewrite(planned)), items)
    except RecursionError:
        # The limits on nesting leave room for a caller some hundred frames deep, not for every caller.
        raise UnsupportedComponentError(
            "components or types inside each other",
            "more levels than Python's stack has room for; make it flatter, or call from less deep",
        ) from None
