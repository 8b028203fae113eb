"""Holding connects to a port while nobody listens there, such as during a restart, instead of refusing them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from wasi_sockets.network._address import LOOPBACK, SocketAddress
from wasi_sockets.network._registry import SocketRecord
from wasi_sockets.network._tcp import ConnectAttempt, ConnectTarget
from wasi_sockets.network._waiters import Waiters

if TYPE_CHECKING:
    from wasi_sockets.network._core import NetworkCore

__all__ = ["HeldPort", "hold"]


class HeldPort(ConnectTarget):
    """Where connects to one port go while nobody listens there.

    Attributes:
        entered: woken when one more waits.
    """

    __slots__ = ("_network", "_port", "_waiting", "_within", "entered")

    def __init__(self, network: NetworkCore, port: int, within: float) -> None:
        super().__init__(network._registry, None)
        self._network: Final = network
        self._port: Final = port
        self._within: Final = within
        self._waiting: Final[dict[ConnectAttempt, float]] = {}
        self.entered: Final = Waiters()

    @property
    def next_deadline(self) -> float:
        """When the first of those that wait has waited long enough, by trio's clock."""
        return next(iter(self._waiting.values()), float("inf"))

    def offer(self) -> None:
        """Hand those that wait over to whoever listens by now."""
        network = self._network
        for attempt in list(self._waiting):
            remote = attempt.remote_address
            found = network._ports["tcp", remote.ip.version].find(remote.ip, self._port)
            if found is None or found.listener is None:
                continue
            del self._waiting[attempt]
            if network._border.permits("accept", attempt.local_address, self._port, found.owner):
                attempt._redirect(found.listener)
            else:
                attempt._fail("refused")

    def expire(self, now: float) -> None:
        """Refuse those whose time is over; `now` by trio's clock."""
        for attempt, deadline in list(self._waiting.items()):
            if deadline > now:
                return
            self._refuse(attempt)

    def abort(self) -> None:
        """Refuse all."""
        for attempt in list(self._waiting):
            self._refuse(attempt)

    def _refuse(self, attempt: ConnectAttempt) -> None:
        self._waiting.pop(attempt, None)
        attempt._fail("refused")

    def _enter(self, attempt: ConnectAttempt) -> None:
        self._waiting[attempt] = trio.current_time() + self._within
        self.entered.wake_all()

    def _forget(self, attempt: ConnectAttempt) -> None:
        self._waiting.pop(attempt, None)

    def describe(self, now: float) -> SocketRecord:
        address = SocketAddress(LOOPBACK[4], self._port)
        return SocketRecord("tcp", address, None, "bound", len(self._waiting), 0, None, now - self.created)


async def hold(network: NetworkCore, port: int, within: float, task_status: trio.TaskStatus[None]) -> None:
    """See `Network.hold`."""
    if port in network._held:
        raise ValueError(f"connects to port {port} are held already")
    held = network._held[port] = HeldPort(network, port, within)
    listeners_changed = network._registry.listeners_changed
    try:
        task_status.started()
        while True:
            changed = trio.Event()
            listeners_changed.add(changed.set)
            held.entered.add(changed.set)
            try:
                with trio.move_on_at(held.next_deadline):
                    await changed.wait()
            finally:
                listeners_changed.discard(changed.set)
                held.entered.discard(changed.set)
            held.offer()
            held.expire(trio.current_time())
    finally:
        del network._held[port]
        held.abort()
