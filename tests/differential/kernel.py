"""The kernel's side: non-blocking sockets on loopback addresses, never a packet to anywhere else.

The kernel delivers a moment later than it is asked to, so that an operation that finds nothing yet is repeated as
long as the virtual network, which went first, found something.
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import os
import select
import socket
import struct
import termios
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Final, Literal

from tests.differential.operations import (
    Abort,
    Accept,
    Address,
    Bind,
    Close,
    Connect,
    Disconnect,
    Drain,
    Flood,
    GetOption,
    Listen,
    LocalAddress,
    Open,
    Operation,
    PortOf,
    Receive,
    RemoteAddress,
    Send,
    SendTo,
    SetOption,
    Shutdown,
)
from tests.differential.outcomes import DONE, END, WOULD_BLOCK, Observation, Outcome, failure, payload
from wasi_sockets.network import MAX_DATAGRAM

__all__ = ["PATIENCE", "KernelSocket", "KernelWorld"]

#: Seconds until a missing event counts as one that does not come.
PATIENCE: Final = 0.3

#: So that flooding takes 100 KB and not 6 MB. The kernel doubles it.
BUFFER: Final = 32 * 1024

_SIOCOUTQNSD: Final = 0x894B  # bytes not even sent yet; Python has no name for it
_LINGER_NOT: Final = struct.pack("ii", 1, 0)
_HOW: Final = {"send": socket.SHUT_WR, "receive": socket.SHUT_RD, "both": socket.SHUT_RDWR}
_LIBC: Final = ctypes.CDLL(None, use_errno=True)

_OPTIONS: Final = (
    "keep-alive-enabled",
    "keep-alive-idle-time",
    "keep-alive-interval",
    "keep-alive-count",
    "hop-limit",
)

Phase = Literal["unbound", "bound", "listening", "pending", "connected"]


def _ioctl_int(descriptor: int, request: int) -> int:
    answer = array.array("i", [0])
    fcntl.ioctl(descriptor, request, answer)
    return answer[0]


class KernelSocket:
    """One socket and what is known of it.

    Attributes:
        real: the Python socket.
        phase: where it is in its life, as far as the operations went.
        shut_receive: after SHUT_RD.
        told: a reset has been reported.
        kept: UDP: datagrams taken from the kernel already, to be received first.
        refused: UDP: an error taken from the kernel already, to be reported first.
        protocol: "tcp" or "udp".
        version: of IP.
    """

    __slots__ = ("kept", "phase", "protocol", "real", "refused", "shut_receive", "told", "version")

    def __init__(self, real: socket.socket, protocol: str, version: int, phase: Phase = "unbound") -> None:
        self.real = real
        self.protocol = protocol
        self.version = version
        self.phase: Phase = phase
        self.shut_receive = False
        self.told = False
        self.kept: deque[tuple[bytes, Any]] = deque()
        self.refused: OSError | None = None

    @property
    def held(self) -> bool:
        """Whether something has been taken from the kernel and not been asked for yet."""
        return bool(self.kept) or self.refused is not None

    @property
    def queued(self) -> int:
        """Bytes that can be read."""
        return _ioctl_int(self.real.fileno(), termios.FIONREAD)

    @property
    def unsent(self) -> int:
        """Bytes that the peer has no room for."""
        return _ioctl_int(self.real.fileno(), _SIOCOUTQNSD)


def _new(protocol: str, version: int) -> KernelSocket:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    if protocol == "udp":
        real = socket.socket(family, socket.SOCK_DGRAM)
    else:
        real = socket.socket(family, socket.SOCK_STREAM)
        # As wasmtime does for every TCP socket.
        real.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        real.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        real.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        real.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    if version == 6:
        real.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    real.setblocking(False)
    return KernelSocket(real, protocol, version)


def _asks_for_errors(operation: Operation, each: KernelSocket) -> bool:
    """Whether the kernel would report an error that waits. It looks at size and destination first."""
    if isinstance(operation, SendTo):
        return operation.address.port != 0 and operation.size <= MAX_DATAGRAM[each.version]
    if isinstance(operation, Send):
        return each.phase == "connected" and operation.size <= MAX_DATAGRAM[each.version]
    return isinstance(operation, Receive)


class KernelWorld:
    """All sockets of a sequence, at the kernel.

    Attributes:
        sockets: those that can still be reached, by number.
        ports: the last local port of each number.
        dropped: how often something was thrown away that the kernel keeps and the virtual network does not, by the
            name of the difference.
    """

    def __init__(self) -> None:
        self.sockets: dict[int, KernelSocket] = {}
        self.ports: dict[int, int] = {}
        self.dropped: Counter[str] = Counter()
        self._lost: list[KernelSocket] = []
        self._methods: dict[type, Callable[[Any, KernelSocket, Outcome, int], Outcome]] = {
            Bind: self._bind,
            Listen: self._listen,
            Connect: self._connect,
            Disconnect: self._disconnect,
            Accept: self._accept,
            Send: self._send,
            SendTo: self._send_to,
            Receive: self._receive,
            Flood: self._flood,
            Drain: self._drain,
            Shutdown: self._shutdown,
            Close: self._close,
            Abort: self._abort,
            LocalAddress: self._local_address,
            RemoteAddress: self._remote_address,
            SetOption: self._set_option,
            GetOption: self._get_option,
        }

    def apply(self, operation: Operation, expected: Outcome, serial: int) -> Outcome:
        """Do it. Where nothing is there yet, wait a little for it if the virtual network's outcome was something."""
        if isinstance(operation, Open):
            self.ports.pop(operation.socket, None)
            self._replace(operation.socket, _new(operation.protocol, operation.version))
            return DONE
        each = self.sockets[operation.socket]
        try:
            if each.refused is not None and _asks_for_errors(operation, each):
                error, each.refused = each.refused, None
                raise error
            return self._methods[type(operation)](operation, each, expected, serial)
        except ConnectionResetError as error:
            each.told = True
            return failure(error)
        except OSError as error:
            return failure(error)

    def observe(self) -> dict[int, Observation]:
        """Look at all sockets."""
        found = {}
        for each in self.sockets.values():
            self._discard(each)
        poll = select.poll()
        numbers = {}
        for number, each in self.sockets.items():
            if each.phase in ("listening", "pending", "connected") or (
                each.protocol == "udp" and each.phase == "bound"
            ):
                poll.register(each.real, select.POLLIN | select.POLLOUT)
                numbers[each.real.fileno()] = number
        events = dict(poll.poll(0))
        for descriptor, number in numbers.items():
            event = events.get(descriptor, 0)
            each = self.sockets[number]
            readable = bool(event & (select.POLLIN | select.POLLERR | select.POLLHUP)) or each.held
            writable = bool(event & (select.POLLOUT | select.POLLERR | select.POLLHUP))
            if each.protocol == "udp" or each.phase == "listening":
                found[number] = Observation(readable)
            elif each.phase == "pending":
                found[number] = Observation(None, writable)
            else:
                found[number] = Observation(readable, writable, each.queued)
        return found

    def reopen(self, number: int) -> None:
        """Exchange a socket for an unbound one with the same options."""
        old = self.sockets[number]
        new = _new(old.protocol, old.version)
        for name in _OPTIONS if old.protocol == "tcp" else ("hop-limit",):
            option = _option(name, old.version)
            new.real.setsockopt(*option, old.real.getsockopt(*option))
        self.forget(number)
        self.sockets[number] = new

    def bind_again(self, number: int) -> None:
        """Give a UDP socket back the port that it had."""
        real = self.sockets[number].real
        real.bind((real.getsockname()[0], self.ports[number]))

    def is_own_peer(self, number: int) -> bool:
        """Whether a socket is connected to itself."""
        real = self.sockets[number].real
        return bool(real.getsockname() == real.getpeername())

    def drop_queue(self, number: int) -> None:
        """Throw away what can be read, but not how the stream ends."""
        each = self.sockets[number]
        if each.queued:
            each.real.recv(each.queued)

    def close(self) -> None:
        """Close everything without leaving TIME_WAIT behind."""
        for each in [*self.sockets.values(), *self._lost]:
            if each.protocol == "tcp":
                each.real.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
            each.real.close()
        self.sockets.clear()
        self._lost.clear()

    def _discard(self, each: KernelSocket) -> None:
        """After SHUT_RD, throw away what can be read."""
        while each.shut_receive and each.queued:
            each.real.recv(each.queued)
            self.dropped["shut-receive-discards"] += 1
            if self._more_is_coming(each):
                self._wait(each, select.POLLIN, PATIENCE)

    def _replace(self, number: int, new: KernelSocket) -> None:
        old = self.sockets.pop(number, None)
        if old is not None:
            self._lost.append(old)
        self.sockets[number] = new

    def forget(self, number: int) -> None:
        """Close a socket."""
        self.sockets.pop(number).real.close()

    def _sockaddr(self, address: Address) -> tuple[str, int]:
        port = address.port
        return address.ip, self.ports[port.socket] if isinstance(port, PortOf) else port

    def _note_port(self, number: int) -> None:
        self.ports[number] = self.sockets[number].real.getsockname()[1]

    def _bind(self, operation: Bind, each: KernelSocket, expected: Outcome, serial: int) -> Outcome:
        each.real.bind(self._sockaddr(operation.address))
        each.phase = "bound"
        self._note_port(operation.socket)
        return DONE

    def _listen(self, operation: Listen, each: KernelSocket, expected: Outcome, serial: int) -> Outcome:
        each.real.listen(operation.backlog)
        each.phase = "listening"
        return DONE

    def _connect(self, operation: Connect, each: KernelSocket, expected: Outcome, serial: int) -> Outcome:
        address = self._sockaddr(operation.address)
        if each.protocol == "udp":
            each.real.connect(address)
            each.phase = "connected"
            if address[1]:
                self._keep_from_peer(each)
            return DONE
        try:
            each.real.connect(address)
        except BlockingIOError as error:
            if error.errno == errno.EALREADY:
                raise
            each.phase = "pending"
            patience = 0.0 if expected == WOULD_BLOCK else PATIENCE
            if not self._wait(each, select.POLLOUT, patience):
                return WOULD_BLOCK
            number = each.real.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                # A WASI socket is closed by that, and the port is free again: `tcp_states.py`, rule 7.
                self.forget(operation.socket)
                return failure(OSError(number, os.strerror(number)))
            each.real.connect(address)  # only now does the socket know that it is connected
        each.phase = "connected"
        self._note_port(operation.socket)
        return DONE

    def _disconnect(
        self, operation: Disconnect, each: KernelSocket, expected: Outcome, serial: int
    ) -> Outcome:
        nobody = struct.pack("H26x", socket.AF_UNSPEC)
        if _LIBC.connect(each.real.fileno(), nobody, len(nobody)):
            raise OSError(ctypes.get_errno(), "disconnect")
        each.phase = "bound"
        return Outcome("address", tuple(each.real.getsockname()[:2]))

    def _keep_from_peer(self, each: KernelSocket) -> None:
        """Drop what others sent before the socket was connected."""
        peer = each.real.getpeername()
        queued = each.kept
        while True:
            try:
                queued.append(each.real.recvfrom(1 << 17))
            except BlockingIOError:
                break
            except OSError as error:
                each.refused = error
        each.kept = deque(datagram for datagram in queued if datagram[1] == peer)
        self.dropped["udp-connect-drops-strangers"] += len(queued) - len(each.kept)

    def _accept(self, operation: Accept, each: KernelSocket, expected: Outcome, serial: int) -> Outcome:
        if expected.kind == "address":
            self._wait(each, select.POLLIN, PATIENCE)
        try:
            real, address = each.real.accept()
        except BlockingIOError:
            return WOULD_BLOCK
        real.setblocking(False)
        self._replace(operation.into, KernelSocket(real, "tcp", each.version, "connected"))
        self._note_port(operation.into)
        return Outcome("address", tuple(address[:2]))

    def _send(self, operation: Send, each: KernelSocket, expected: Outcome, serial: int) -> Outcome:
        try:
            return Outcome("sent", each.real.send(payload(serial, operation.size)))
        except BlockingIOError:
            return WOULD_BLOCK

    def _send_to(self, operation: SendTo, each: KernelSocket, expected: Outcome, serial: int) -> Outcome:
        data = payload(serial, operation.size)
        return Outcome("sent", each.real.sendto(data, self._sockaddr(operation.address)))

    def _receive(self, operation: Receive, each: KernelSocket, expected: Outcome, serial: int) -> Outcome:
        if each.kept:
            number = each.real.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:  # errors come before what is queued
                raise OSError(number, os.strerror(number))
            data, source = each.kept.popleft()
            return Outcome("datagram", (data, tuple(source[:2])))
        if expected != WOULD_BLOCK:
            self._wait(each, select.POLLIN, PATIENCE)
        try:
            if each.protocol == "udp":
                data, source = each.real.recvfrom(operation.size)
                return Outcome("datagram", (data, tuple(source[:2])))
            self._discard(each)
            data = each.real.recv(operation.size)
        except BlockingIOError:
            return WOULD_BLOCK
        return Outcome("data", data) if data else END

    def _flood(self, operation: Flood, each: KernelSocket, expected: Outcome, serial: int) -> Outcome:
        data = payload(serial, 1 << 20)
        sent = 0
        while sent < len(data):
            try:
                sent += each.real.send(data[sent : sent + BUFFER])
            except BlockingIOError:
                if not self._wait(each, select.POLLOUT, 0.001):
                    break
            except OSError as error:
                if not sent:
                    raise
                return Outcome("sent", sent) if expected.kind == "sent" else failure(error)
        return Outcome("sent", sent)

    def _drain(self, operation: Drain, each: KernelSocket, expected: Outcome, serial: int) -> Outcome:
        self._discard(each)
        pieces: list[bytes] = []
        how = "would-block"
        wanted = expected.value[1]
        size = len(expected.value[0])
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                piece = each.real.recv(1 << 20)
            except BlockingIOError:
                pieces_are_here = wanted == how and sum(map(len, pieces)) >= size
                if (pieces_are_here and not self._more_is_coming(each)) or time.monotonic() > deadline:
                    break
                self._wait(each, select.POLLIN, 0.005)
                continue
            except OSError as error:
                how = str(failure(error).value)
                each.told = True
                break
            if not piece:
                how = "end"
                break
            pieces.append(piece)
        return Outcome("drained", (b"".join(pieces), how))

    def _more_is_coming(self, each: KernelSocket) -> bool:
        """Whether the peer still holds something back, having had no room."""
        try:
            ends = each.real.getpeername(), each.real.getsockname()
        except OSError:
            return False
        for other in [*self.sockets.values(), *self._lost]:
            if other.phase == "connected" and other.protocol == "tcp":
                try:
                    if (other.real.getsockname(), other.real.getpeername()) == ends:
                        return other.unsent > 0
                except OSError:
                    continue
        return False

    def _shutdown(self, operation: Shutdown, each: KernelSocket, expected: Outcome, serial: int) -> Outcome:
        each.real.shutdown(_HOW[operation.how])
        if operation.how != "send":
            each.shut_receive = True
        return DONE

    def _close(self, operation: Close, each: KernelSocket, expected: Outcome, serial: int) -> Outcome:
        self.forget(operation.socket)
        return DONE

    def _abort(self, operation: Abort, each: KernelSocket, expected: Outcome, serial: int) -> Outcome:
        each.real.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self.forget(operation.socket)
        return DONE

    def _local_address(
        self, operation: LocalAddress, each: KernelSocket, expected: Outcome, serial: int
    ) -> Outcome:
        return Outcome("address", tuple(each.real.getsockname()[:2]))

    def _remote_address(
        self, operation: RemoteAddress, each: KernelSocket, expected: Outcome, serial: int
    ) -> Outcome:
        return Outcome("address", tuple(each.real.getpeername()[:2]))

    def _set_option(
        self, operation: SetOption, each: KernelSocket, expected: Outcome, serial: int
    ) -> Outcome:
        each.real.setsockopt(*_option(operation.name, each.version), operation.value)
        return DONE

    def _get_option(
        self, operation: GetOption, each: KernelSocket, expected: Outcome, serial: int
    ) -> Outcome:
        return Outcome("value", each.real.getsockopt(*_option(operation.name, each.version)))

    def _wait(self, each: KernelSocket, events: int, seconds: float) -> bool:
        poll = select.poll()
        poll.register(each.real, events)
        return bool(poll.poll(seconds * 1000))


def _option(name: str, version: int) -> tuple[int, int]:
    if name == "hop-limit":
        if version == 6:
            return socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS
        return socket.IPPROTO_IP, socket.IP_TTL
    if name == "keep-alive-enabled":
        return socket.SOL_SOCKET, socket.SO_KEEPALIVE
    return socket.IPPROTO_TCP, {
        "keep-alive-idle-time": socket.TCP_KEEPIDLE,
        "keep-alive-interval": socket.TCP_KEEPINTVL,
        "keep-alive-count": socket.TCP_KEEPCNT,
    }[name]
