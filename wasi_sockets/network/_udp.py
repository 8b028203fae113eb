"""UDP without waiting: endpoints that send and receive datagrams.

Rules, those of Linux over loopback unless said otherwise:

1. A datagram arrives at once or never; nothing tells an unconnected sender which.
2. What no endpoint takes is dropped. A sender connected to where it went is told with the next thing it does, once:
   ECONNREFUSED, as from the ICMP message "port unreachable".
3. A connected endpoint takes datagrams of its peer only, and only those sent to its own concrete address.
4. Connecting drops what other peers had sent before. Linux delivers it; wasmtime hides it from WASI
   (`crates/wasi/src/p2/udp.rs`, asserted by `p2_udp_stream`), and nobody wants it.
5. The receive buffer counts what is queued, with an overhead for each datagram; a datagram that finds it full
   is dropped. One always fits into an empty buffer, unless its owner has a budget (`_budget.py`).
6. Disconnecting keeps the port. Linux gives back one that it chose itself; WASI forbids that (`p2_udp_connect`).
7. A connected endpoint that was bound to the wildcard keeps its port at every address. On Linux others can take it
   at those that it does not use meanwhile, and it shares them when it disconnects.
"""

from __future__ import annotations

import errno
import os
from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from wasi_sockets.network._address import LOOPBACK, IpAddress, SocketAddress, is_loopback
from wasi_sockets.network._registry import Endpoint, Registry, SocketRecord
from wasi_sockets.network._waiters import Waiters

if TYPE_CHECKING:
    from wasi_sockets.network._border import Border
    from wasi_sockets.network._ports import PortReservation, PortTable

__all__ = [
    "DATAGRAM_OVERHEAD",
    "DEFAULT_RECEIVE_BUFFER",
    "MAX_DATAGRAM",
    "Datagram",
    "UdpEndpoint",
]

#: Bytes that a datagram may have, by IP version: 65,535 less the headers that count against it.
MAX_DATAGRAM: Final[dict[int, int]] = {4: 65_507, 6: 65_527}

#: Bytes that a receive buffer holds: Linux' `net.core.rmem_default`.
DEFAULT_RECEIVE_BUFFER: Final = 212_992

#: What each queued datagram counts besides its own bytes, so that empty ones cannot pile up either.
DATAGRAM_OVERHEAD: Final = 256


class Datagram(NamedTuple):
    """A datagram as it was received.

    Attributes:
        data: its bytes, maybe none.
        source: where it came from; an answer goes there.
    """

    data: bytes
    source: SocketAddress


def _os_error(number: int, about: object) -> OSError:
    return OSError(number, f"{os.strerror(number)}: {about}")


class UdpEndpoint(Endpoint):
    """A UDP socket that is bound to an address.

    Attributes:
        bound_address: as it was reserved, so a wildcard address stays one.
        local_address: the same; while connected always concrete.
        remote_address: the peer it is connected to, None when it is not.
        receive_buffer: bytes that may be queued, see rule 5. What is queued stays when it shrinks.
        receivable: woken when a datagram or an error comes, and by `close`.
        refused: the next `try_receive` or `send` raises ConnectionRefusedError (rule 2).
        dropped: datagrams that found the receive buffer full.
        bytes_received, bytes_sent: of all datagrams received and sent so far, without headers.
        closed: takes no datagrams any more, and its port is free.
        closing: called by `close`: what goes on outside on its behalf ends with it.
    """

    __slots__ = (
        "_border",
        "_budget",
        "_charge",
        "_ports",
        "_queue",
        "_reservation",
        "bound_address",
        "bytes_received",
        "bytes_sent",
        "closed",
        "closing",
        "dropped",
        "local_address",
        "receivable",
        "receive_buffer",
        "refused",
        "remote_address",
    )

    def __init__(
        self,
        registry: Registry,
        ports: PortTable,
        reservation: PortReservation,
        receive_buffer: int,
        border: Border,
    ) -> None:
        super().__init__(registry, reservation.owner)
        self.bound_address: Final = reservation.address
        self.local_address = reservation.address
        self.remote_address: SocketAddress | None = None
        self.receive_buffer = receive_buffer
        self.receivable: Final = Waiters()
        self.dropped = 0
        self.bytes_received = 0
        self.bytes_sent = 0
        self.closed = False
        self.closing: Callable[[], None] | None = None
        self._border: Final = border
        self._budget: Final = registry.budgets.get(id(reservation.owner))
        self._ports: Final = ports
        self._reservation: Final = reservation
        self._queue: Final[deque[Datagram]] = deque()
        self._charge = 0
        self.refused = False
        reservation.take()
        reservation.endpoint = self
        registry.add(self)

    def __repr__(self) -> str:
        peer = "" if self.remote_address is None else f" -> {self.remote_address}"
        return f"<UdpEndpoint {self.local_address}{peer}{', closed' if self.closed else ''}>"

    @property
    def queued(self) -> int:
        """Datagrams that can be received now."""
        return len(self._queue)

    @property
    def buffered(self) -> int:
        """Bytes of the queued datagrams, without their overhead."""
        return self._charge - len(self._queue) * DATAGRAM_OVERHEAD

    def ready(self) -> bool:
        """Whether `try_receive` has something to say, be it an error."""
        return bool(self._queue) or self.refused or self.closed

    def try_receive(self) -> Datagram | None:
        """The datagram that has waited longest, None if there is none.

        Raises:
            ConnectionRefusedError: an earlier datagram found nobody at the peer (rule 2). It comes before what is
                queued, and once.
            OSError: EBADF after `close`.
        """
        if self.refused or self.closed:
            self._raise_pending()
        if not self._queue:
            return None
        datagram = self._queue.popleft()
        size = len(datagram.data)
        self._charge -= size + DATAGRAM_OVERHEAD
        self.bytes_received += size
        self._registry.datagrams_delivered += 1
        if self._budget is not None:
            self._budget.datagrams_left(1, size + DATAGRAM_OVERHEAD)
        return datagram

    def send(self, data: bytes, remote: SocketAddress | None = None) -> None:
        """Send a datagram to `remote`, which may differ from the peer it is connected to, or to that peer.

        Raises:
            ConnectionRefusedError: an *earlier* datagram found nobody at the peer (rule 2); this one was not sent.
            OSError: EMSGSIZE if it is larger than `MAX_DATAGRAM`; EDESTADDRREQ without an address when not
                connected; EBADF after `close`; those of `connect` for the address.
        """
        if len(data) > MAX_DATAGRAM[self.bound_address.ip.version]:
            raise _os_error(errno.EMSGSIZE, f"{len(data)} bytes")
        if remote is None:
            remote = self.remote_address
            if remote is None:
                raise _os_error(errno.EDESTADDRREQ, self)
        elif remote != self.remote_address:
            remote = self._reachable(remote)
        border = self._border
        ports = self._ports
        if is_loopback(remote.ip):
            target = ports.find(remote.ip, remote.port)
        else:
            # A peer that a bridge brought in has its own address here; the wildcard is none of its addresses.
            target = ports.find_foreign(remote.ip, remote.port)
            if target is None:
                way_out = border.leave("send", remote, self.owner)
                if self.refused or self.closed:
                    self._raise_pending()
                self.bytes_sent += len(data)
                way_out.send(self, data, remote)
                return
        if self.refused or self.closed:
            self._raise_pending()
        if border.concerns:
            border.admit("send", remote, self.owner)
        self.bytes_sent += len(data)
        endpoint = None if target is None else target.endpoint
        source = self.local_address
        if not int(source.ip):
            # 127.0.0.1 also towards 127.0.0.2, and also in the answer to what came to 127.0.0.2.
            source = SocketAddress(LOOPBACK[source.ip.version], source.port)
        if endpoint is None or not endpoint._takes(source, remote.ip):
            self._registry.datagrams_unmatched += 1
            if remote == self.remote_address:
                self.refused = True
                if self.receivable:
                    self.receivable.wake_all()
            return
        if border.concerns and not border.permits("receive", source, remote.port, endpoint.owner):
            endpoint.dropped += 1
            self._registry.datagrams_dropped += 1
            return
        endpoint.deliver(Datagram(data, source))

    def connect(self, remote: SocketAddress) -> None:
        """Send to `remote` from now on, and receive from there only. It may be connected already.

        Raises:
            PolicyDenied: if the policy does not allow sending there.
            OSError: EAFNOSUPPORT if `remote` is of the other IP version, ENETUNREACH if it is no address of this
                network and nothing leads out, EINVAL if its port is 0, EBADF after `close`. The association is then
                as it was.
            ValueError: on a port outside 0..65535.
        """
        if self.closed:
            raise _os_error(errno.EBADF, self)
        remote = self._reachable(remote)
        border = self._border
        if not is_loopback(remote.ip) and self._ports.find_foreign(remote.ip, remote.port) is None:
            border.leave("send", remote, self.owner)
        elif border.concerns:
            border.admit("send", remote, self.owner)
        self.remote_address = remote
        local = self.bound_address
        if not int(local.ip):
            local = SocketAddress(LOOPBACK[local.ip.version], local.port)
        self.local_address = local
        self._keep_from(remote)

    def disconnect(self) -> None:
        """Receive from everybody again. Nothing to do when not connected."""
        self.remote_address = None
        self.local_address = self.bound_address

    def close(self) -> None:
        """Drop what is queued and free the port. Idempotent."""
        if self.closed:
            return
        self.closed = True
        self._registry.remove(self)
        self._reservation.endpoint = None
        self._reservation.free()
        left = len(self._queue)
        charge, self._charge = self._charge, 0
        self._queue.clear()
        if self._budget is not None:
            self._budget.datagrams_left(left, charge)
        self.receivable.wake_all()
        if self.closing is not None:
            self.closing()

    abort = close

    def _reachable(self, remote: SocketAddress) -> SocketAddress:
        """The concrete address that `remote` means from here."""
        ip, port = remote
        if not 0 <= port <= 65535:
            raise ValueError(f"port must be in 0..65535, not {port}")
        own = self.bound_address.ip
        if ip.version != own.version:
            raise _os_error(errno.EAFNOSUPPORT, remote)
        if not port:
            raise _os_error(errno.EINVAL, remote)
        if not int(ip):
            # As on Linux, where the wildcard address is this host: the socket's own address, if it has one.
            return SocketAddress(own if int(own) else LOOPBACK[ip.version], port)
        return remote

    def _takes(self, source: SocketAddress, destination: IpAddress) -> bool:
        peer = self.remote_address
        return peer is None or (peer == source and self.local_address.ip == destination)

    def deliver(self, datagram: Datagram) -> None:
        """Queue a datagram that was sent to it; for the network and its bridges."""
        size = len(datagram.data) + DATAGRAM_OVERHEAD
        budget = self._budget
        if self._charge >= self.receive_buffer or (budget is not None and not budget.takes_datagram(size)):
            self.dropped += 1
            self._registry.datagrams_dropped += 1
            return
        self._queue.append(datagram)
        self._charge += size
        if self.receivable:
            self.receivable.wake_all()

    def _keep_from(self, peer: SocketAddress) -> None:
        kept = [datagram for datagram in self._queue if datagram.source == peer]
        if len(kept) < len(self._queue):
            left = len(self._queue) - len(kept)
            self._registry.datagrams_dropped += left
            self._queue.clear()
            self._queue.extend(kept)
            before = self._charge
            self._charge = sum(len(datagram.data) + DATAGRAM_OVERHEAD for datagram in kept)
            if self._budget is not None:
                self._budget.datagrams_left(left, before - self._charge)

    def _raise_pending(self) -> None:
        if self.closed:
            raise _os_error(errno.EBADF, self)
        self.refused = False
        number = errno.ECONNREFUSED
        raise ConnectionRefusedError(number, f"{os.strerror(number)}: {self.remote_address}")

    def measure(self, sizes: Counter[str]) -> None:
        sizes["buffered"] += self.buffered

    def describe(self, now: float) -> SocketRecord:
        return SocketRecord(
            "udp",
            self.local_address,
            self.remote_address,
            "unconnected" if self.remote_address is None else "connected",
            self.buffered,
            0,
            self.owner,
            now - self.created,
            self.bytes_received,
            self.bytes_sent,
        )
