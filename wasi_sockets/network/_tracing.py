"""What a network tells of its connects, connections and lookups, and the counters that are read from it.

Context follows the virtual connection. A connect's span is a child of what connected, the connection's span at the
accepting end a child of that, and current for whoever handles it there: `serve_tcp` and `serve_asgi` see to that,
others use `continue_trace`. What a guest connects while connections that it accepted are open has links to those, as
nobody can know which one it is for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Final

from wasi_sockets import telemetry
from wasi_sockets.network._address import SocketAddress

if TYPE_CHECKING:
    from wasi_sockets.network._core import NetworkCore
    from wasi_sockets.network._lookup import Lookup
    from wasi_sockets.network._registry import Registry
    from wasi_sockets.network._streams import TcpStream
    from wasi_sockets.network._tcp import ConnectAttempt, TcpConnection

__all__ = [
    "connecting",
    "connection_accepted",
    "connection_left",
    "connection_made",
    "continue_trace",
    "handler_failed",
    "looking_up",
    "measurements",
    "peer_attributes",
    "server_attributes",
]

#: Endpoints that are looked at for links, newest first, and links at most.
_LOOKED_AT: Final = 64
_LINKS: Final = 8


def peer_attributes(peer: SocketAddress) -> dict[str, telemetry.Value]:
    """The attributes for the other side of a TCP connection."""
    return {
        "network.transport": "tcp",
        "network.type": "ipv4" if peer.ip.version == 4 else "ipv6",
        "network.peer.address": str(peer.ip),
        "network.peer.port": peer.port,
    }


def server_attributes(host: object, port: int) -> dict[str, telemetry.Value]:
    """The attributes for what is connected to."""
    return {"server.address": str(host), "server.port": port}


def _local_attributes(local: SocketAddress) -> dict[str, telemetry.Value]:
    return {"network.local.address": str(local.ip), "network.local.port": local.port}


# Connects


def connecting(
    registry: Registry, remote: SocketAddress, owner: object, connect: Callable[[], ConnectAttempt]
) -> ConnectAttempt:
    """A connect with its span, which is current while `connect` begins it, and ends when it is decided."""
    span = telemetry.start(
        "socket.connect",
        {**peer_attributes(remote), **server_attributes(remote.ip, remote.port)},
        links=_handled_by(registry, owner),
    )
    try:
        with telemetry.within(span):
            attempt = connect()
    except BaseException as error:
        telemetry.end(span, error)
        raise
    span.set_attributes(_local_attributes(attempt.local_address))
    if attempt.state == "pending":
        attempt.done.add(lambda: _end_connect(span, attempt))
    else:
        _end_connect(span, attempt)
    return attempt


def _end_connect(span: telemetry.Span, attempt: ConnectAttempt) -> None:
    if attempt.state == "connected":
        telemetry.end(span)
    elif attempt.error is not None:
        telemetry.end(span, attempt.error)
    else:
        telemetry.end(span, f"connection_{attempt.state}")


def _handled_by(registry: Registry, owner: object) -> list[telemetry.Span]:
    """The spans of the connections that somebody has accepted and not yet closed."""
    if owner is None:
        return []
    spans = []
    for endpoint in islice(registry.newest_of(owner), _LOOKED_AT):
        span = getattr(endpoint, "span", None)
        if span is not None:
            spans.append(span)
            if len(spans) == _LINKS:
                break
    return spans


# Connections


def connection_made(server: TcpConnection) -> None:
    """The accepting end of a new connection gets its span, and a context in which that is current."""
    server.opener_context = server.opener_context.copy()
    server.span = server.opener_context.run(_start_connection, server)


def _start_connection(server: TcpConnection) -> telemetry.Span:
    telemetry.leave_component()
    client = server.remote_address
    span = telemetry.start(
        "socket.connection",
        {
            **peer_attributes(client),
            **_local_attributes(server.local_address),
            "client.address": str(client.ip),
            "client.port": client.port,
        },
    )
    telemetry.attach(span)
    return span


def connection_accepted(server: TcpConnection) -> None:
    """Somebody handles it now: a guest in its own context, or a service in that of whoever connected."""
    span = getattr(server, "span", None)
    if span is not None:
        span.add_event("wasi_sockets.connection.accepted")
        if server.owner is not None:
            workload = telemetry.workload_attributes()
            span.set_attributes(workload)
            if "component.name" in workload:  # what a handler does is told as its own
                server.opener_context.run(telemetry.enter_component, workload["component.name"])


def handler_failed(server: TcpConnection, error: BaseException) -> None:
    """Whoever handled it raised this."""
    span = getattr(server, "span", None)
    if span is not None:
        telemetry.fail(span, error)


def connection_left(connection: TcpConnection, now: float) -> None:
    """One end was closed; the accepting one counts, since it is the one that has a span and no port of its own."""
    if connection.has_port:
        return
    reset = connection.receive_pipe.reset or connection.send_pipe.reset
    error = "connection_reset" if reset else None
    if telemetry.metering:
        attributes = connection.opener_context.run(telemetry.point_attributes)
        if error is not None:
            attributes["error.type"] = error
        telemetry.record("wasi_sockets.connection.duration", now - connection.created, attributes)
    span = getattr(connection, "span", None)
    if span is not None:
        connection.span = None
        span.set_attributes(
            {
                "wasi_sockets.bytes.sent": connection.receive_pipe.delivered,
                "wasi_sockets.bytes.received": connection.send_pipe.delivered + connection.send_pipe.buffered,
            }
        )
        telemetry.end(span, error)


@contextmanager
def continue_trace(stream: TcpStream) -> Iterator[None]:
    """Let the block be part of the trace of whoever connected; for handlers of `trio.serve_listeners`.

    Those of `Network.serve_tcp` and `serve_asgi` are that already.
    """
    span = getattr(stream.connection, "span", None)
    if span is None:
        yield
        return
    workload = stream.connection.opener_context.run(telemetry.workload_attributes)
    with telemetry.within(span), telemetry.within_workload(workload):
        yield


# Lookups


def looking_up(name: str, start_lookup: Callable[[], Lookup]) -> Lookup:
    """A lookup with its span."""
    span = telemetry.start("dns.lookup", {"dns.question.name": name})
    with telemetry.within(span):
        lookup = start_lookup()
    if lookup.pending:
        lookup.done.add(lambda: _end_lookup(span, lookup))
    else:
        _end_lookup(span, lookup)
    return lookup


def _end_lookup(span: telemetry.Span, lookup: Lookup) -> None:
    if lookup.addresses is not None:
        span.set_attribute("dns.answers", [str(ip) for ip in lookup.addresses])
    telemetry.end(span, lookup.error)


# Counters


def measurements(network: NetworkCore, workload: telemetry.Attributes) -> Iterator[telemetry.Measurement]:
    """What the network counts anyway; called in other threads too."""
    registry = network._registry
    sizes: Counter[str] = Counter()
    delivered, to_openers = registry.bytes_delivered, registry.bytes_to_openers
    for endpoint in registry:
        endpoint.measure(sizes)
    delivered += sizes.pop("delivered", 0)
    to_openers += sizes.pop("to_openers", 0)
    yield "wasi_sockets.connection.active", sizes["active"], workload
    yield "wasi_sockets.connection.opened", registry.connections_opened, workload
    yield "wasi_sockets.connection.refused", registry.connections_refused, workload
    yield "wasi_sockets.connection.reset", registry.connections_reset, workload
    yield "wasi_sockets.network.buffered", sizes["buffered"], workload
    yield "wasi_sockets.listener.queue", sizes["queued"], workload
    yield "wasi_sockets.dns.lookups", network._border.lookups, workload
    for direction, octets in (("transmit", delivered - to_openers), ("receive", to_openers)):
        yield "wasi_sockets.network.io", octets, {**workload, "network.io.direction": direction}
    lost = {"full": registry.datagrams_dropped, "unmatched": registry.datagrams_unmatched}
    for loss, datagrams in lost.items():
        yield "wasi_sockets.datagram.dropped", datagrams, {**workload, "wasi_sockets.datagram.loss": loss}
    gate = network._border.gate
    for (use, reason), denials in list(gate.reasons.items()) if gate is not None else ():
        denied = {"wasi_sockets.policy.use": use, "wasi_sockets.policy.reason": reason.value}
        yield "wasi_sockets.policy.denials", denials, {**workload, **denied}
