"""Lookups of names: decided at once where the network knows, otherwise when the real resolver has answered."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final

from wasi_sockets.network._address import IpAddress, parse_ip
from wasi_sockets.network._border import Border
from wasi_sockets.network._gate import Gate
from wasi_sockets.network._names import NameTable, unknown_name
from wasi_sockets.network._policy import canonical_ip
from wasi_sockets.network._waiters import Waiters

__all__ = ["Lookup", "start_lookup"]


class Lookup:
    """A lookup on its way.

    Attributes:
        addresses: the answer, best first, at least one; None while pending, or when it failed.
        error: why it failed; `socket.gaierror` mostly.
        done: woken when one of the two is there.
    """

    __slots__ = ("_cancel", "addresses", "done", "error")

    def __init__(self) -> None:
        self.addresses: list[IpAddress] | None = None
        self.error: OSError | None = None
        self.done: Final = Waiters()
        self._cancel: Callable[[], None] | None = None

    @property
    def pending(self) -> bool:
        """Whether there is no answer yet."""
        return self.addresses is None and self.error is None

    def cancel(self) -> None:
        """Give up, if it is pending: the answer is then EAI_AGAIN. Idempotent."""
        if self.pending:
            if self._cancel is not None:
                self._cancel()
            self._finish(None, socket.gaierror(socket.EAI_AGAIN, "the lookup was cancelled"))

    def _finish(self, addresses: list[IpAddress] | None, error: OSError | None) -> None:
        if self.pending:
            self.addresses = addresses
            self.error = error
            self._cancel = None
            self.done.wake_all()


def start_lookup(names: NameTable, border: Border, name: str, owner: object) -> Lookup:
    """See `Network.start_lookup`."""
    lookup = Lookup()
    literal = parse_ip(name)
    if literal is not None:
        lookup.addresses = [literal]
        return lookup
    border.lookups += 1
    try:
        key = names.key(name)
    except ValueError:
        lookup.error = unknown_name(name)
        return lookup
    known = names.find(key)
    gate = border.gate
    try:
        if known is not None:
            if gate is not None and "lookup" in border.concerns:
                gate.admit_lookup(key, leaves=False, owner=owner)
            # As wasmtime tells them (`to_canonical`): no IPv6 socket may use a mapped one.
            lookup.addresses = [canonical_ip(ip) for ip in known]
        elif gate is None or names.is_reserved(key):
            lookup.error = unknown_name(name)
        else:
            gate.admit_lookup(key, leaves=True, owner=owner)
            _ask_outside(lookup, border, gate, key, owner)
    except OSError as error:
        lookup.error = error
    return lookup


def _ask_outside(lookup: Lookup, border: Border, gate: Gate, key: str, owner: object) -> None:
    if border.way_out is None:
        lookup.error = socket.gaierror(
            socket.EAI_AGAIN, f"looking up {key!r} is allowed, but the network's egress is not running"
        )
        return

    def resolved(answer: list[IpAddress] | OSError) -> None:
        if isinstance(answer, OSError):
            lookup._finish(None, answer)
            return
        told = gate.answers(key, answer, owner=owner)
        if told:
            lookup._finish(told, None)
        elif answer:
            lookup._finish(None, socket.gaierror(socket.EAI_FAIL, f"none of {key!r}'s addresses is allowed"))
        else:
            lookup._finish(None, socket.gaierror(socket.EAI_NONAME, f"no addresses: {key!r}"))

    lookup._cancel = border.way_out.resolve(key, owner, resolved)
