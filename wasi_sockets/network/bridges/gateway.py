"""Where connects of a network leave it: each waits until a real connection stands, and fails as that does."""

from __future__ import annotations

import errno
import logging
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Final, TypeAlias

import trio

from wasi_sockets import telemetry
from wasi_sockets.network._address import SocketAddress
from wasi_sockets.network._ports import PortReservation
from wasi_sockets.network._registry import Registry, SocketRecord
from wasi_sockets.network._tcp import ConnectAttempt, ConnectTarget, connect_pair
from wasi_sockets.network._tracing import peer_attributes, server_attributes
from wasi_sockets.network.bridges.splice import RealStream, splice

__all__ = ["Gateway"]

_logger: Final = logging.getLogger("wasi_sockets.bridges")

#: Connects that may be under way at a time; more are refused. They cost a socket and a task each.
_MAX_PENDING: Final = 1024

_Connect: TypeAlias = Callable[[SocketAddress], Awaitable[RealStream]]


class Gateway(ConnectTarget):
    """Takes connects like a listener, and carries each to the outside in a task of its own.

    Args:
        registry: of the network.
        reservation: the port it stands at, None if it stands at none.
        address: for the list of sockets.
        pipe_capacity: of each direction.
        nursery: for the tasks.
        connect: makes the real connection for a connect to an address; what it raises, OSError, is what the connect
            fails with.
        goal: the real address, when it is another than the one that the connect names.
        through_tls: whether `connect` speaks TLS, for messages.
    """

    __slots__ = (
        "_capacity",
        "_closed",
        "_connect",
        "_goal",
        "_nursery",
        "_pending",
        "_reservation",
        "_through_tls",
        "address",
    )

    def __init__(
        self,
        registry: Registry,
        reservation: PortReservation | None,
        address: SocketAddress,
        pipe_capacity: int,
        nursery: trio.Nursery,
        connect: _Connect,
        goal: tuple[str, int] | None = None,
        *,
        through_tls: bool = False,
    ) -> None:
        super().__init__(registry, None)
        self.address: Final = address
        self._capacity: Final = pipe_capacity
        self._nursery: Final = nursery
        self._connect: Final = connect
        self._goal: Final = goal
        self._through_tls: Final = through_tls
        self._pending: Final[dict[ConnectAttempt, None]] = {}
        self._reservation: Final = reservation
        self._closed = False
        if reservation is not None:
            reservation.take()
            reservation.listener = self
            registry.add(self)

    def __repr__(self) -> str:
        return f"<Gateway {self.address}, {len(self._pending)} pending{', closed' if self._closed else ''}>"

    def close(self) -> None:
        """Take no more connects, refuse those under way and free the port. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._registry.remove(self)
        if self._reservation is not None:
            self._reservation.listener = None
            self._reservation.free()
        for attempt in list(self._pending):
            attempt._fail("refused")

    def abort(self) -> None:
        """Close it, and end the bridge that it belongs to."""
        self.close()
        self._nursery.cancel_scope.cancel()

    def describe(self, now: float) -> SocketRecord:
        return SocketRecord(
            "tcp",
            self.address,
            None,
            "listening",
            len(self._pending),
            _MAX_PENDING,
            self.owner,
            now - self.created,
        )

    def _enter(self, attempt: ConnectAttempt) -> None:
        if self._closed or len(self._pending) >= _MAX_PENDING:
            attempt._fail("refused")
            return
        self._pending[attempt] = None
        attempt.opener_context.run(self._nursery.start_soon, self._carry, attempt)

    def _forget(self, attempt: ConnectAttempt) -> None:
        self._pending.pop(attempt, None)

    async def _carry(self, attempt: ConnectAttempt) -> None:
        if not telemetry.tracing:
            await self._carry_through(attempt)
            return
        telemetry.leave_component()
        remote = attempt.remote_address
        host, port = self._goal or (str(remote.ip), remote.port)
        attributes = {
            "wasi_sockets.bridge": "egress" if self._goal is None else "forward",
            **peer_attributes(remote),
            **server_attributes(host, port),
        }
        with telemetry.span("socket.bridge", attributes) as span:
            failure = await self._carry_through(attempt)
            if failure is not None:
                telemetry.fail(span, failure)

    async def _carry_through(self, attempt: ConnectAttempt) -> OSError | None:
        """Carry a connection; returns what went wrong outside."""
        with self._connect_span(attempt.remote_address) as span:
            real = await self._reach(attempt)
            if real is None:
                telemetry.fail(span, attempt.error or f"connection_{attempt.state}")
        if real is None:
            return attempt.error
        self._registry.remove(attempt)
        self._forget(attempt)
        try:
            client, server = connect_pair(self._registry, attempt, None, self._capacity)
        except OSError as error:
            real.abort()
            attempt._fail("failed", error)
            return None
        attempt._succeed(client)
        failure = await splice(server, real)
        if failure is not None:
            _logger.debug("a connection to %s broke: %s", attempt.remote_address, failure)
        return failure

    def _connect_span(self, remote: SocketAddress) -> AbstractContextManager[telemetry.Span]:
        host, port = self._goal or (str(remote.ip), remote.port)
        return telemetry.span("socket.connect", {"network.transport": "tcp", **server_attributes(host, port)})

    async def _reach(self, attempt: ConnectAttempt) -> RealStream | None:
        """The real connection for an attempt, None if it failed or is not wanted any more."""
        with trio.CancelScope() as scope:
            attempt.done.add(scope.cancel)
            try:
                real = await self._connect(attempt.remote_address)
            except (OSError, ssl.CertificateError) as error:
                attempt.done.discard(scope.cancel)
                if attempt.state == "pending":
                    there = "" if self._goal is None else f", which leads to {self._goal_text()},"
                    _logger.warning("connecting to %s%s failed: %s", attempt.remote_address, there, error)
                    if isinstance(error, ConnectionRefusedError):
                        attempt._fail("refused")
                    else:
                        attempt._fail("failed", _as_socket_error(error))
                return None
            finally:
                attempt.done.discard(scope.cancel)
            if attempt.state == "pending":
                return real
            real.abort()
        return None

    def _goal_text(self) -> str:
        host, port = self._goal or ("", 0)
        text = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return f"{text} by TLS" if self._through_tls else text


def _as_socket_error(error: OSError) -> OSError:
    """What a connect may fail with: the numbers of resolvers and of TLS are no error numbers."""
    if isinstance(error, socket.gaierror):
        number = errno.EHOSTUNREACH
    elif isinstance(error, ssl.SSLError):
        number = errno.ECONNABORTED
    elif error.errno is None:
        number = errno.EIO
    else:
        return error
    return OSError(number, os.strerror(number))
