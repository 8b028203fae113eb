"""The two streams of a UDP socket: what it receives and what it sends.

Sources as in `udp_states.py`. Rules:

1. `receive` never gives `would-block`: an empty list says that nothing is there. [spec]
2. It gives at most 16 datagrams, and no more once they have 64 KiB together, so that a guest's buffer need not
   hold more than that and one datagram. [up]
3. An error of the socket is given by the next `receive` or `send`, whichever comes first, once. (Linux)
4. `send` needs the permit of a `check-send` before it, which it uses up; more datagrams than permitted trap.
   [spec] A `send` of nothing needs no permit and uses none. [up]
5. `check-send` permits 16. [up] Datagrams arrive at once or are dropped, so there is never nothing permitted.
6. `send` stops at the first datagram that fails. Its error is given only when none was sent before it; else
   the number of those that were. [spec] An error of the socket then waits for the next call. (On Linux
   `sendmmsg` loses it.)
7. What `wasmtime` finds out itself comes before what the system finds out: 65,535 bytes is its own limit, then
   comes the address, then the system's limit, which is lower. All too large: `datagram-too-large`. [up]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from wasi_sockets.errors import GuestTrap
from wasi_sockets.network import Datagram, SocketAddress, UdpEndpoint
from wasi_sockets.sockets.addresses import is_destination
from wasi_sockets.sockets.error_codes import ErrorCode, from_os_error
from wasi_sockets.sockets.udp_states import DESTINATIONS, Destination

if TYPE_CHECKING:
    from wasi_sockets.sockets.udp import UdpSocket

__all__ = ["MAX_DATAGRAMS", "IncomingDatagrams", "OutgoingDatagrams"]

#: How many datagrams one call moves: [up], `MAX_DATAGRAMS`.
MAX_DATAGRAMS: Final = 16

#: After how many bytes `receive` stops: [up], `MAX_READ_SIZE_ALLOC`. Each datagram counts one more.
_ENOUGH_BYTES: Final = 64 * 1024

#: [up], `MAX_DATAGRAM_SIZE`: "the real limit is lower".
_MAX_DATAGRAM_SIZE: Final = 65_535


def _error_code(endpoint: UdpEndpoint, error: OSError) -> ErrorCode:
    # Closed under the guest's hands: its network went down.
    return ErrorCode.REMOTE_UNREACHABLE if endpoint.closed else from_os_error(error)


class IncomingDatagrams:
    """What a socket receives, from anybody or from its peer.

    Attributes:
        parent: its socket, which cannot be dropped before it.
        open: not yet closed.
    """

    __slots__ = ("_endpoint", "open", "parent")

    def __init__(self, parent: UdpSocket, endpoint: UdpEndpoint) -> None:
        self.parent: Final = parent
        self.open = True
        self._endpoint: Final = endpoint

    def receive(self, max_results: int) -> list[Datagram] | ErrorCode:
        """Return up to `max_results` datagrams in the order of their arrival, none when none is there."""
        endpoint = self._endpoint
        found: list[Datagram] = []
        room = min(max_results, MAX_DATAGRAMS)
        size = 0
        try:
            while len(found) < room and size < _ENOUGH_BYTES:
                datagram = endpoint.try_receive()
                if datagram is None:
                    break
                found.append(datagram)
                size += len(datagram.data) + 1
        except OSError as error:
            return _error_code(endpoint, error)
        return found

    def ready(self) -> bool:
        """Whether `receive` has something to give, be it an error."""
        return self._endpoint.ready()

    def add_waiter(self, wake: Callable[[], None]) -> None:
        """Have `wake` called once, when `ready` may have changed."""
        self._endpoint.receivable.add(wake)

    def remove_waiter(self, wake: Callable[[], None]) -> None:
        """Forget `wake`; an unknown one is ignored."""
        self._endpoint.receivable.discard(wake)

    def close(self) -> None:
        """Drop the stream; the socket goes on receiving. Idempotent."""
        self.open = False


class OutgoingDatagrams:
    """What a socket sends.

    Attributes:
        parent: its socket, which cannot be dropped before it.
        open: not yet closed.
    """

    __slots__ = ("_endpoint", "_permitted", "open", "parent")

    def __init__(self, parent: UdpSocket, endpoint: UdpEndpoint) -> None:
        self.parent: Final = parent
        self.open = True
        self._endpoint: Final = endpoint
        self._permitted = 0

    def check_send(self) -> int:
        """Return how many datagrams the next `send` may have (rule 5)."""
        self._permitted = MAX_DATAGRAMS
        return MAX_DATAGRAMS

    def send(self, datagrams: Sequence[tuple[bytes, SocketAddress | None]]) -> int | ErrorCode:
        """Send each to its address, or to the peer; return how many were.

        Raises:
            GuestTrap: there are more than `check_send` permitted (rule 4).
        """
        if not datagrams:
            return 0
        if len(datagrams) > self._permitted:
            raise GuestTrap("unpermitted: argument exceeds permitted size")
        self._permitted = 0
        endpoint = self._endpoint
        for sent, (data, remote) in enumerate(datagrams):
            if sent and endpoint.refused:
                return sent
            error = self._send_one(data, remote)
            if error is not None:
                return sent or error
        return len(datagrams)

    def _send_one(self, data: bytes, remote: SocketAddress | None) -> ErrorCode | None:
        if len(data) > _MAX_DATAGRAM_SIZE:
            return ErrorCode.DATAGRAM_TOO_LARGE
        endpoint = self._endpoint
        if remote is None:
            destination = Destination.ABSENT
        elif not is_destination(remote, self.parent.family):
            return ErrorCode.INVALID_ARGUMENT
        else:
            destination = Destination.PEER if remote == endpoint.remote_address else Destination.OTHER
        refused = DESTINATIONS[self.parent.state, destination]
        if refused is not None:
            return refused
        try:
            endpoint.send(data, remote)
        except OSError as error:
            return _error_code(endpoint, error)
        return None

    def ready(self) -> bool:
        """Always, by rule 5."""
        return True

    def add_waiter(self, wake: Callable[[], None]) -> None:
        """Nothing will change."""

    def remove_waiter(self, wake: Callable[[], None]) -> None:
        """Nothing was added."""

    def close(self) -> None:
        """Drop the stream. Idempotent."""
        self.open = False
