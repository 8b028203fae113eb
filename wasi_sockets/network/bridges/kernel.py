"""Kernel sockets for bridges: the one place where they are made, always by an operator's rule.

They are the standard library's, and not trio's: those can be replaced (`Network.installed`), and a bridge must reach
the kernel whatever is installed.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import Final

import trio
from trio.lowlevel import checkpoint, notify_closing, wait_readable, wait_writable

from wasi_sockets.network._address import IpAddress, SocketAddress, address_family, parse_ip

__all__ = [
    "CHUNK",
    "KernelStream",
    "address_of",
    "connect",
    "connect_host",
    "connect_udp",
    "listen",
    "open_udp",
    "resolve",
]

#: Bytes taken at a time. Larger buffers are slower: the allocator gives them back to the system each time.
CHUNK: Final = 64 * 1024

# Reads in a row that need not wait, before others get a turn.
_TURNS: Final = 16

#: Threads that ask the system's resolver at a time. Not trio's own ones: a resolver that does not answer must not keep
#: those from the rest of the program, which loads components in them.
_ASKING: Final = 32

_CONNECT_SECONDS: Final = 30.0
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)

_asking: Final[trio.lowlevel.RunVar[trio.CapacityLimiter]] = trio.lowlevel.RunVar("wasi_sockets_resolver")


def address_of(sockaddr: tuple[object, ...]) -> SocketAddress:
    """The address in what `getsockname` gives; without the scope that an IPv6 one may have."""
    ip = parse_ip(str(sockaddr[0]).partition("%")[0])
    port = sockaddr[1]
    if ip is None or not isinstance(port, int):
        raise ValueError(f"not an IP socket address: {sockaddr!r}")
    return SocketAddress(ip, port)


def _new_socket(ip: IpAddress, kind: socket.SocketKind) -> socket.socket:
    made = socket.socket(address_family(ip), kind)
    made.setblocking(False)
    return made


class KernelStream:
    """A connected TCP socket, which this owns. Errors are those of the socket: OSError.

    One task may receive while another sends.

    Attributes:
        socket: non-blocking.
    """

    __slots__ = ("_closed", "_turns", "socket")

    def __init__(self, connected: socket.socket) -> None:
        self.socket: Final = connected
        self._turns = 0
        self._closed = False
        connected.setblocking(False)
        # Who sends knows what belongs together; and a peer that is gone without a word must not be kept forever.
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    async def receive_some(self) -> bytes:
        """Wait for bytes; `b""` at the end. A checkpoint only when it has to wait, or now and then."""
        receive = self.socket.recv
        while True:
            try:
                data = receive(CHUNK)
            except BlockingIOError:
                self._turns = 0
                await wait_readable(self.socket)
                continue
            self._turns += 1
            if self._turns >= _TURNS:
                self._turns = 0
                # Nothing may be lost to a cancellation, which is rather for the next wait.
                await trio.lowlevel.cancel_shielded_checkpoint()
            return data

    async def send_all(self, data: bytes | memoryview) -> None:
        """Send all of it, waiting while the kernel's buffer is full."""
        with memoryview(data) as view:
            sent = 0
            while sent < len(view):
                try:
                    with view[sent:] as rest:
                        sent += self.socket.send(rest)
                except BlockingIOError:
                    await wait_writable(self.socket)

    async def send_eof(self) -> None:
        """Send no more (FIN)."""
        self.socket.shutdown(socket.SHUT_WR)
        await checkpoint()

    def close(self) -> None:
        """Close; what was sent still arrives. Idempotent."""
        if not self._closed:
            self._closed = True
            notify_closing(self.socket)
            self.socket.close()

    def abort(self) -> None:
        """Close with a reset. Idempotent."""
        if not self._closed:
            try:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            except OSError:
                pass  # the peer has reset it already
            self.close()


async def connect(address: SocketAddress) -> KernelStream:
    """Connect to a real address.

    Raises:
        OSError: as from the system; ETIMEDOUT after half a minute at the latest.
    """
    connecting = _new_socket(address.ip, socket.SOCK_STREAM)
    try:
        with trio.move_on_after(_CONNECT_SECONDS) as limit:
            number = connecting.connect_ex(address.sockaddr())
            if number in (errno.EINPROGRESS, errno.EWOULDBLOCK):
                await wait_writable(connecting)
                number = connecting.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                raise OSError(number, os.strerror(number))
        if limit.cancelled_caught:
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        return KernelStream(connecting)
    except BaseException:
        notify_closing(connecting)
        connecting.close()
        raise


async def connect_host(host: str, port: int) -> KernelStream:
    """Connect to a host's addresses in order until one answers; the error is that of the last one.

    Raises:
        socket.gaierror: the name is not known to the real resolver.
        OSError: as from `connect`.
    """
    failure: OSError = socket.gaierror(socket.EAI_NONAME, f"no addresses: {host!r}")
    for ip in await resolve(host):
        try:
            return await connect(SocketAddress(ip, port))
        except OSError as error:
            failure = error
    raise failure


async def resolve(name: str) -> list[IpAddress]:
    """Ask the system's resolver, in one of a few threads.

    Raises:
        socket.gaierror: as from `socket.getaddrinfo`.
    """
    literal = parse_ip(name)
    if literal is not None:
        return [literal]

    def ask() -> list[IpAddress]:
        found: dict[IpAddress, None] = {}
        try:
            answer = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except UnicodeError:  # longer than a name can be, or an empty label
            raise socket.gaierror(socket.EAI_NONAME, f"not a host name: {name!r}") from None
        for *_, sockaddr in answer:
            # A scoped address means something on this machine only.
            ip = parse_ip(str(sockaddr[0]))
            if ip is not None:
                found[ip] = None
        return list(found)

    try:
        asking = _asking.get()
    except LookupError:
        asking = trio.CapacityLimiter(_ASKING)
        _asking.set(asking)
    return await trio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=asking)


def listen(address: SocketAddress, backlog: int) -> socket.socket:
    """A listening socket.

    Raises:
        OSError: EADDRINUSE, EACCES, EADDRNOTAVAIL...
    """
    listening = _new_socket(address.ip, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it means that others may take the port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _only_its_version(listening)
        listening.bind(address.sockaddr())
        listening.listen(backlog)
    except BaseException as error:
        listening.close()
        raise _at(address, error) from None
    return listening


def open_udp(address: SocketAddress) -> socket.socket:
    """A bound UDP socket.

    Raises:
        OSError: EADDRINUSE, EACCES, EADDRNOTAVAIL...
    """
    bound = _new_socket(address.ip, socket.SOCK_DGRAM)
    try:
        _only_its_version(bound)
        bound.bind(address.sockaddr())
    except BaseException as error:
        bound.close()
        raise _at(address, error) from None
    return bound


def connect_udp(address: SocketAddress) -> socket.socket:
    """A UDP socket that speaks with one peer only.

    Raises:
        OSError: ENETUNREACH...
    """
    connected = _new_socket(address.ip, socket.SOCK_DGRAM)
    try:
        connected.connect(address.sockaddr())
    except BaseException:
        connected.close()
        raise
    return connected


def _at(address: SocketAddress, error: BaseException) -> BaseException:
    """The error with the address, which the system does not name."""
    if isinstance(error, OSError) and error.errno is not None:
        return OSError(error.errno, f"{error.strerror or os.strerror(error.errno)}: {address}")
    return error


def _only_its_version(made: socket.socket) -> None:
    if made.family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
