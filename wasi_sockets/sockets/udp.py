"""A UDP socket as `wasi:sockets` describes it, over the network's synchronous core.

Nothing here waits. Which operation is legal when is in `udp_states.py`; options are in `options.py`; what goes
through a bound socket is in `datagrams.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from wasi_sockets.errors import GuestTrap
from wasi_sockets.network import SocketAddress, UdpEndpoint
from wasi_sockets.sockets.addresses import AddressFamily, belongs_to_family, is_destination
from wasi_sockets.sockets.context import SocketContext
from wasi_sockets.sockets.datagrams import IncomingDatagrams, OutgoingDatagrams
from wasi_sockets.sockets.error_codes import ErrorCode, from_os_error
from wasi_sockets.sockets.options import UDP_DEFAULTS, UdpOption, accepted_value
from wasi_sockets.sockets.udp_states import CELLS, Move, Operation, State

__all__ = ["UdpSocket", "create_udp_socket"]


def create_udp_socket(context: SocketContext, family: AddressFamily) -> UdpSocket | ErrorCode:
    """Return a new socket.

    Returns `ACCESS_DENIED` when the guest may have none of them, `NEW_SOCKET_LIMIT` when it has as many as it may.
    """
    if not context.udp:
        return ErrorCode.ACCESS_DENIED
    if context.open_sockets >= context.max_sockets:
        return ErrorCode.NEW_SOCKET_LIMIT
    return UdpSocket(context, family)


class UdpSocket:
    """One socket, from creation to `close`. Make it with `create_udp_socket`, which keeps the limit.

    Attributes:
        family: of all its addresses.
        state: see `udp_states.py`.
    """

    __slots__ = ("_context", "_endpoint", "_incoming", "_open", "_options", "_outgoing", "family", "state")

    def __init__(self, context: SocketContext, family: AddressFamily) -> None:
        context.open_sockets += 1
        self.family: Final = family
        self.state = State.UNBOUND
        self._context: Final = context
        self._open = True
        self._endpoint: UdpEndpoint | None = None
        self._incoming: IncomingDatagrams | None = None
        self._outgoing: OutgoingDatagrams | None = None
        self._options = UDP_DEFAULTS

    def __repr__(self) -> str:
        return f"<UdpSocket {self.family} {self.state.name.lower().replace('_', '-')}>"

    def start_bind(self, address: SocketAddress) -> ErrorCode | None:
        """Take a local address; port 0 takes a free one.

        Unlike for TCP, an address that is not unicast is no bad argument but one that cannot be bound. ([spec]:
        the "Typical errors" of both)
        """
        cell = CELLS[self.state][Operation.START_BIND]
        if not isinstance(cell, Move):
            return cell
        if not belongs_to_family(address.ip, self.family):
            return ErrorCode.INVALID_ARGUMENT
        network = self._context.network
        try:
            reservation = network.reserve("udp", address, owner=self._context.owner)
        except OSError as error:
            self.state = cell.failed
            return from_os_error(error)
        self._endpoint = network.start_udp(reservation, self._options[UdpOption.RECEIVE_BUFFER_SIZE])
        self.state = cell.succeeded
        return None

    def finish_bind(self) -> ErrorCode | None:
        """Finish a bind; it never has to be waited for."""
        cell = CELLS[self.state][Operation.FINISH_BIND]
        if not isinstance(cell, Move):
            return cell
        self.state = cell.succeeded
        return None

    def stream(self, remote: SocketAddress | None) -> tuple[IncomingDatagrams, OutgoingDatagrams] | ErrorCode:
        """Connect to `remote`, or to nobody, and return the streams for it.

        What others than `remote` sent before is dropped. ([up]; `p2_udp_stream`)

        Raises:
            GuestTrap: the streams of an earlier call have not both been closed. ([spec]: "may trap"; [up] does)
        """
        for earlier in (self._incoming, self._outgoing):
            if earlier is not None and earlier.open:
                raise GuestTrap("UDP streams not dropped yet")
        cell = CELLS[self.state][Operation.STREAM_NONE if remote is None else Operation.STREAM_SOME]
        endpoint = self._endpoint
        if not isinstance(cell, Move):
            return cell
        if endpoint is None:
            return ErrorCode.INVALID_STATE
        if remote is None:
            endpoint.disconnect()
        elif not is_destination(remote, self.family):
            return ErrorCode.INVALID_ARGUMENT
        else:
            try:
                endpoint.connect(remote)
            except OSError as error:
                self.state = cell.failed
                # Closed under the guest's hands: its network went down.
                return ErrorCode.REMOTE_UNREACHABLE if endpoint.closed else from_os_error(error)
        self.state = cell.succeeded
        self._incoming = IncomingDatagrams(self, endpoint)
        self._outgoing = OutgoingDatagrams(self, endpoint)
        return self._incoming, self._outgoing

    def local_address(self) -> SocketAddress | ErrorCode:
        """Return the address it is bound to; a wildcard stays one until connected."""
        cell = CELLS[self.state][Operation.LOCAL_ADDRESS]
        if not isinstance(cell, Move):
            return cell
        return ErrorCode.INVALID_STATE if self._endpoint is None else self._endpoint.local_address

    def remote_address(self) -> SocketAddress | ErrorCode:
        """Return the address it is connected to."""
        cell = CELLS[self.state][Operation.REMOTE_ADDRESS]
        if not isinstance(cell, Move):
            return cell
        remote = None if self._endpoint is None else self._endpoint.remote_address
        return ErrorCode.INVALID_STATE if remote is None else remote

    def get_option(self, option: UdpOption) -> int:
        """Return an option's value."""
        return self._options[option]

    def set_option(self, option: UdpOption, value: int) -> ErrorCode | None:
        """Set an option; what it becomes may differ, see `options.py`."""
        accepted = accepted_value(option, value)
        if accepted is None:
            return ErrorCode.INVALID_ARGUMENT
        self._options = {**self._options, option: accepted}
        if option is UdpOption.RECEIVE_BUFFER_SIZE and self._endpoint is not None:
            self._endpoint.receive_buffer = accepted
        return None

    def ready(self) -> bool:
        """Always: no operation of the socket itself has to be waited for. ([up], `Pollable for UdpSocket`)"""
        return True

    def add_waiter(self, wake: Callable[[], None]) -> None:
        """Nothing will change."""

    def remove_waiter(self, wake: Callable[[], None]) -> None:
        """Nothing was added."""

    def close(self) -> None:
        """Drop the socket and free its port; what was not received is lost. Idempotent."""
        if not self._open:
            return
        self._open = False
        self._context.open_sockets -= 1
        self._incoming = self._outgoing = None  # they know their socket: no cycle for the garbage collector
        if self._endpoint is not None:
            self._endpoint.close()
