"""What virtual TCP and UDP sockets have in common, behind the interface of `trio.socket`."""

from __future__ import annotations

import errno
import os
import socket
from abc import abstractmethod
from collections.abc import Iterable
from operator import index
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias, TypeVar, overload

import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint_if_cancelled

from wasi_sockets.network._address import LOOPBACK, WILDCARD, IpVersion, SocketAddress
from wasi_sockets.network._waiters import Waiters
from wasi_sockets.network._waiting import wait_for
from wasi_sockets.network.trio_sockets.options import SocketOptions
from wasi_sockets.network.trio_sockets.resolver import port_number

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from wasi_sockets.network._network import Network
    from wasi_sockets.network._ports import PortReservation

__all__ = ["Ancillary", "SocketAddressTuple", "VirtualSocket", "os_error", "raise_os_error"]

Self = TypeVar("Self", bound="VirtualSocket")
SocketAddressTuple: TypeAlias = tuple[str, int] | tuple[str, int, int, int]
Ancillary: TypeAlias = tuple[int, int, bytes]

# No kernel descriptor is ever that large (`fs.nr_open` ends 64 below), so that whoever uses it as one gets EBADF and
# never somebody else's file.
_NO_DESCRIPTOR: Final = 2**31 - 1

# They change nothing here: waiting is trio's, and there are no signals.
_HARMLESS_FLAGS: Final = getattr(socket, "MSG_DONTWAIT", 0) | getattr(socket, "MSG_NOSIGNAL", 0)


def os_error(number: int, about: object = None) -> OSError:
    """The error that the kernel would give."""
    text = os.strerror(number)
    return OSError(number, text if about is None else f"{text}: {about}")


def raise_os_error(number: int, about: object = None) -> NoReturn:
    """Raise the error that the kernel would give."""
    raise os_error(number, about)


class VirtualSocket(trio.socket.SocketType):
    """A socket of `trio.socket` that is on a private network: there is no kernel socket behind it.

    `trio.SocketStream`, `trio.SocketListener` and all that stands on them take it for one of theirs. Close it: an open
    one holds its port, as nothing here relies on the GC. `fileno` gives a number that is no descriptor, so what asks
    the kernel (`trio.lowlevel.wait_readable`, `select`) fails with EBADF; `dup`, `detach` and `share` are not
    supported.
    """

    def __init__(self, network: Network, family: socket.AddressFamily, owner: object) -> None:
        super().__init__()
        self._network: Final = network
        self._family: Final = family
        self._version: Final[IpVersion] = 6 if family == socket.AF_INET6 else 4
        self._owner: Final = owner
        self._closed = False
        self._reservation: PortReservation | None = None
        self._waiting: Final[set[str]] = set()
        self._options: Final = SocketOptions(
            self.type,
            {
                (socket.SOL_SOCKET, getattr(socket, name)): value
                for name, value in (
                    ("SO_TYPE", int(self.type)),
                    ("SO_DOMAIN", int(family)),
                    ("SO_PROTOCOL", self.proto),
                    ("SO_ERROR", 0),
                    ("SO_ACCEPTCONN", 0),
                )
                if hasattr(socket, name)
            },
        )

    def __repr__(self) -> str:
        state = "closed" if self._closed else str(self._local())
        return f"<{type(self).__name__} {state} of {self._network!r}>"

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # What kind it is

    @property
    def family(self) -> socket.AddressFamily:
        """`AF_INET` or `AF_INET6`."""
        return self._family

    @property
    def _sock(self: Self) -> Self:
        # anyio looks behind trio's sockets for their addresses (`SocketAttribute`): there is nothing behind these.
        return self

    # What a kernel socket has and this one has not

    def fileno(self) -> int:
        """A number that is no descriptor; -1 when closed."""
        return -1 if self._closed else _NO_DESCRIPTOR

    def detach(self) -> NoReturn:
        """Not supported: there is no descriptor.

        Raises:
            OSError: EOPNOTSUPP.
        """
        raise_os_error(errno.EOPNOTSUPP, "a virtual socket has no descriptor")

    def dup(self) -> NoReturn:
        """Not supported.

        Raises:
            OSError: EOPNOTSUPP.
        """
        raise_os_error(errno.EOPNOTSUPP, "a virtual socket has no descriptor")

    def share(self, process_id: int) -> NoReturn:
        """Not supported: it lives in this process.

        Raises:
            OSError: EOPNOTSUPP.
        """
        raise_os_error(errno.EOPNOTSUPP, "a virtual socket lives in its process")

    def get_inheritable(self) -> bool:
        """False: child processes never have it."""
        return False

    def set_inheritable(self, inheritable: bool) -> None:
        """Nothing to do for False.

        Raises:
            OSError: EOPNOTSUPP for True.
        """
        if inheritable:
            raise_os_error(errno.EOPNOTSUPP, "a virtual socket lives in its process")

    # Options

    @overload
    def getsockopt(self, level: int, optname: int) -> int: ...

    @overload
    def getsockopt(self, level: int, optname: int, buflen: int) -> bytes: ...

    def getsockopt(self, level: int, optname: int, buflen: int | None = None) -> int | bytes:
        """As `socket.socket.getsockopt`.

        Raises:
            OSError: ENOPROTOOPT for an option that virtual sockets do not have, EBADF when closed.
        """
        self._check_open()
        return self._options.get(level, optname, buflen)

    @overload
    def setsockopt(self, level: int, optname: int, value: int | Buffer) -> None: ...

    @overload
    def setsockopt(self, level: int, optname: int, value: None, optlen: int) -> None: ...

    def setsockopt(
        self, level: int, optname: int, value: int | Buffer | None, optlen: int | None = None
    ) -> None:
        """As `socket.socket.setsockopt`. SO_RCVBUF, SO_SNDBUF and SO_LINGER have an effect, others are kept.

        Raises:
            OSError: ENOPROTOOPT for an option that virtual sockets do not have, EBADF when closed.
        """
        self._check_open()
        if value is None:
            raise_os_error(errno.ENOPROTOOPT)
        self._options.set(level, optname, value)
        self._apply_buffers()

    # Addresses

    def getsockname(self) -> SocketAddressTuple:
        """The own address; the wildcard address and port 0 before it is bound.

        Raises:
            OSError: EBADF when closed.
        """
        self._check_open()
        return self._local().sockaddr()

    def getpeername(self) -> SocketAddressTuple:
        """The peer's address.

        Raises:
            OSError: ENOTCONN without one, EBADF when closed.
        """
        self._check_open()
        remote = self._remote()
        if remote is None:
            raise_os_error(errno.ENOTCONN)
        return remote.sockaddr()

    async def bind(self, address: Any) -> None:
        """Take an address and a port of the network; port 0 for a free one.

        Raises:
            OSError: as from `Network.reserve`; EINVAL if it has an address already; EBADF when closed.
            socket.gaierror: if the host is a name that is not known.
        """
        await checkpoint_if_cancelled()
        local = await self._resolved(address, local=True)
        await cancel_shielded_checkpoint()
        self._check_open()
        if self._local().port:
            raise_os_error(errno.EINVAL, "the socket is bound already")
        self._bind(local)

    async def _resolved(self, address: object, *, local: bool) -> SocketAddress:
        """The concrete address that a tuple of Python's means, names looked up in the network."""
        if self._version == 4:
            if not isinstance(address, tuple) or len(address) != 2:
                raise ValueError("address should be a (host, port) tuple")
        elif not isinstance(address, tuple) or not 2 <= len(address) <= 4:
            raise ValueError("address should be a (host, port, [flowinfo, [scopeid]]) tuple")
        host = address[0]
        port = port_number(address[1], self.type)
        if isinstance(host, (bytes, bytearray)):
            host = bytes(host).decode("ascii", "replace")
        if host is None or host == "":
            return SocketAddress((WILDCARD if local else LOOPBACK)[self._version], port)
        if not isinstance(host, str):
            raise TypeError(f"a host is a string, not {type(host).__name__}")
        for ip in await self._network.lookup(host, owner=self._owner):
            if ip.version == self._version:
                return SocketAddress(ip, port)
        raise socket.gaierror(socket.EAI_NONAME, f"no IPv{self._version} address: {host!r}")

    # Waiting

    async def _wait(self, direction: str, waiters: Waiters) -> None:
        """Wait for `waiters`, as the only task that waits in this direction.

        Raises:
            trio.BusyResourceError: another task does.
            trio.ClosedResourceError: the socket was closed meanwhile.
        """
        if direction in self._waiting:
            raise trio.BusyResourceError(f"another task is waiting for this socket to be {direction}")
        self._waiting.add(direction)
        try:
            await wait_for(waiters)
        finally:
            self._waiting.discard(direction)
        if self._closed:
            raise trio.ClosedResourceError("another task closed this socket")

    def _check_open(self) -> None:
        if self._closed:
            raise_os_error(errno.EBADF)

    # Moving bytes: everything in terms of `_receive` and `_transmit`

    async def recv(self, buflen: int, flags: int = 0, /) -> bytes:
        """As `trio.socket.SocketType.recv`.

        Raises:
            OSError: as the kernel's; EOPNOTSUPP for flags, of which none changes anything here.
        """
        return (await self._receive_checked(buflen, flags))[0]

    async def recv_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> int:
        """As `recv`, into `buffer`."""
        return (await self.recvfrom_into(buffer, nbytes, flags))[0]

    async def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, SocketAddressTuple | None]:
        """As `recv`, with the sender; None for TCP."""
        data, source, _ = await self._receive_checked(bufsize, flags)
        return data, None if source is None else source.sockaddr()

    async def recvfrom_into(
        self, buffer: Buffer, nbytes: int = 0, flags: int = 0
    ) -> tuple[int, SocketAddressTuple | None]:
        """As `recvfrom`, into `buffer`."""
        with memoryview(buffer) as view, view.cast("B") as octets:
            if nbytes < 0 or nbytes > len(octets):
                raise ValueError(f"nbytes must be in 0..{len(octets)}, not {nbytes}")
            data, source = await self.recvfrom(nbytes or len(octets), flags)
            octets[: len(data)] = data
        return len(data), source

    async def recvmsg(
        self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[bytes, list[Ancillary], int, SocketAddressTuple | None]:
        """As `recvfrom`, with flags: MSG_TRUNC for a datagram that did not fit. There is no ancillary data."""
        data, source, truncated = await self._receive_checked(bufsize, flags)
        return data, [], socket.MSG_TRUNC if truncated else 0, None if source is None else source.sockaddr()

    async def recvmsg_into(
        self, buffers: Iterable[Buffer], ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[int, list[Ancillary], int, SocketAddressTuple | None]:
        """As `recvmsg`, into several buffers, one after the other."""
        views = [memoryview(buffer).cast("B") for buffer in buffers]
        data, ancillary, received, source = await self.recvmsg(sum(map(len, views)), ancbufsize, flags)
        start = 0
        for view in views:
            piece = data[start : start + len(view)]
            view[: len(piece)] = piece
            start += len(piece)
        return len(data), ancillary, received, source

    async def send(self, bytes: Buffer, flags: int = 0, /) -> int:
        """As `trio.socket.SocketType.send`: for TCP as much as fits, at least one byte.

        Raises:
            OSError: as the kernel's; EOPNOTSUPP for flags, of which none changes anything here.
        """
        self._check(flags)
        await checkpoint_if_cancelled()
        return await self._transmit(bytes, None)

    @overload
    async def sendto(self, data: Buffer, address: tuple[object, ...] | str | Buffer, /) -> int: ...

    @overload
    async def sendto(
        self, data: Buffer, flags: int, address: tuple[object, ...] | str | Buffer, /
    ) -> int: ...

    async def sendto(self, data: Buffer, *arguments: Any) -> int:
        """As `send`, to an address. A connected TCP socket ignores it, as on Linux.

        Raises:
            OSError: as from `send` and `UdpEndpoint.send`.
            socket.gaierror: if the host is a name that is not known.
        """
        if not 1 <= len(arguments) <= 2:
            raise TypeError(f"sendto() takes 2 or 3 arguments ({len(arguments) + 1} given)")
        self._check(arguments[0] if len(arguments) == 2 else 0)
        await checkpoint_if_cancelled()
        return await self._transmit(data, arguments[-1])

    async def sendmsg(
        self,
        buffers: Iterable[Buffer],
        ancdata: Iterable[tuple[int, int, Buffer]] = (),
        flags: int = 0,
        address: Any = None,
        /,
    ) -> int:
        """As `send` or `sendto`, of several buffers as one.

        Raises:
            OSError: EOPNOTSUPP for ancillary data.
        """
        self._check(flags)
        if list(ancdata):
            raise_os_error(errno.EOPNOTSUPP, "ancillary data")
        await checkpoint_if_cancelled()
        return await self._transmit(b"".join(map(bytes, buffers)), address)

    async def _receive_checked(self, size: int, flags: int) -> tuple[bytes, SocketAddress | None, bool]:
        self._check(flags)
        size = index(size)
        if size < 0:
            raise ValueError(f"negative buffer size: {size}")
        return await self._receive(size)

    def _check(self, flags: int) -> None:
        self._check_open()
        if flags & ~_HARMLESS_FLAGS:
            raise_os_error(errno.EOPNOTSUPP, f"flags {flags:#x}")

    # What differs

    @abstractmethod
    def _bind(self, local: SocketAddress) -> None:
        """Take the address."""

    @abstractmethod
    def _local(self) -> SocketAddress:
        """The own address, as far as it is known."""

    @abstractmethod
    def _remote(self) -> SocketAddress | None:
        """The peer's."""

    @abstractmethod
    def _apply_buffers(self) -> None:
        """SO_RCVBUF or SO_SNDBUF may have changed."""

    @abstractmethod
    async def _receive(self, size: int) -> tuple[bytes, SocketAddress | None, bool]:
        """Wait for at most `size` bytes: data, sender, and whether a datagram was cut off. A checkpoint."""

    @abstractmethod
    async def _transmit(self, data: Buffer, address: object) -> int:
        """Send. A checkpoint; the caller has looked for a cancellation."""
