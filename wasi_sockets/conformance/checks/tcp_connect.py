"""Connecting TCP sockets, and listening for them."""

from wasi_sockets.conformance.check import check, family_checks
from wasi_sockets.conformance.checks.tcp_bind import BROADCAST, MAPPED_LOOPBACK, MULTICAST, OTHER
from wasi_sockets.conformance.program import ANY, IPV4, IPV6, LOOPBACK, Family, Ip, Program
from wasi_sockets.conformance.tcp import Tcp, connected, listening

SOME_PORT = 47
REFUSED = "wasi:sockets/tcp start-connect: connection-refused"


@family_checks("tcp-connect/unspecified-address", "wasmtime p2_tcp_connect: test_tcp_connect_unspec")
def unspecified_address(p: Program, family: Family) -> None:
    """The unspecified address is no remote address, other than in POSIX."""
    Tcp(p, family).no_connect(p.address(ANY[family], SOME_PORT), "invalid-argument")


@family_checks("tcp-connect/port-0", "wasmtime p2_tcp_connect: test_tcp_connect_port_0")
def port_0(p: Program, family: Family) -> None:
    """Port 0 is no remote port."""
    Tcp(p, family).no_connect(p.address(LOOPBACK[family], 0), "invalid-argument")


@family_checks("tcp-connect/wrong-family", "wasmtime p2_tcp_connect: test_tcp_connect_wrong_family")
def wrong_family(p: Program, family: Family) -> None:
    """A socket connects to addresses of its own IP version only."""
    Tcp(p, family).no_connect(p.address(LOOPBACK[OTHER[family]], SOME_PORT), "invalid-argument")


@check("tcp-connect/broadcast", "wasmtime p2_tcp_connect: test_tcp_connect_non_unicast")
def broadcast(p: Program) -> None:
    """The broadcast address cannot be connected to."""
    Tcp(p, IPV4).no_connect(p.address(BROADCAST, SOME_PORT), "invalid-argument")


@family_checks("tcp-connect/multicast", "wasmtime p2_tcp_connect: test_tcp_connect_non_unicast")
def multicast(p: Program, family: Family) -> None:
    """Multicast addresses cannot be connected to."""
    Tcp(p, family).no_connect(p.address(MULTICAST[family], SOME_PORT), "invalid-argument")


@check(
    "tcp-connect/dual-stack/ipv6",
    "wasmtime p2_tcp_connect: test_tcp_connect_dual_stack (followed; the diagram of TcpSocketOperationalSemantics.md"
    " would have the first refusal close the socket)",
)
def dual_stack(p: Program) -> None:
    """An IPv6 socket reaches no IPv4 listener, neither by its address nor by the mapped one; both are refused."""
    _, where = listening(p, IPV4)
    client = Tcp(p, IPV6)
    client.no_connect(where, "invalid-argument")
    client.no_connect(p.address(MAPPED_LOOPBACK, where), "invalid-argument")


@family_checks("tcp-connect/implicit-bind", 'wasi:sockets/tcp start-connect: "it will be bound implicitly"')
def implicit_bind(p: Program, family: Family) -> None:
    """A socket that is not bound gets a local address by connecting."""
    c = connected(p, family)
    where = c.client.local_address()
    p.same_ip("the local address is the loopback", where, p.address(LOOPBACK[family]))
    p.port_at_least("with a port", where, 1)


@family_checks("tcp-connect/explicit-bind", "wasmtime p2_tcp_connect: test_tcp_connect_explicit_bind")
def explicit_bind(p: Program, family: Family) -> None:
    """A client may bind first, and keeps that address."""
    listener, where = listening(p, family)
    client = Tcp(p, family)
    client.bind_loopback()
    bound = client.local_address()
    client.connect(where)
    p.same_address("the local address is the bound one", client.local_address(), bound)
    listener.accept()


@family_checks("tcp-connect/wildcard-bind", "wasmtime p3_sockets_tcp_connect; Linux connect(2)")
def wildcard_bind(p: Program, family: Family) -> None:
    """A client bound to the unspecified address connects from a concrete one, with the port it had."""
    listener, where = listening(p, family)
    client = Tcp(p, family)
    client.bind(p.address(ANY[family]))
    bound = client.local_address()
    client.connect(where)
    now = client.local_address()
    p.same_address("only the address changed", now, p.address(LOOPBACK[family], bound))
    listener.accept()


@family_checks("tcp-connect/addresses-agree", "wasi:sockets/tcp local-address, remote-address")
def addresses_agree(p: Program, family: Family) -> None:
    """Each end's remote address is the other end's local address; the accepted one's is the listener's."""
    c = connected(p, family)
    p.same_address("client to server", c.client.remote_address(), c.server.local_address())
    p.same_address("server to client", c.server.remote_address(), c.client.local_address())
    p.same_address(
        "the accepted socket's is the listener's", c.server.local_address(), c.listener.local_address()
    )


@family_checks("tcp-connect/refused", REFUSED)
def refused(p: Program, family: Family) -> None:
    """Where nobody listens any more, connecting is refused."""
    listener, where = listening(p, family)
    listener.drop()
    Tcp(p, family).no_connect(where, "connection-refused")


@family_checks("tcp-connect/bound-is-not-listening", REFUSED)
def bound_is_not_listening(p: Program, family: Family) -> None:
    """A socket that is bound and does not listen refuses connections."""
    bound = Tcp(p, family)
    bound.bind_loopback()
    Tcp(p, family).no_connect(bound.local_address(), "connection-refused")


@check(
    "tcp-connect/other-loopback-address",
    "Linux: all of 127.0.0.0/8 is local, and its addresses are different",
)
def other_loopback_address(p: Program) -> None:
    """A listener at 127.0.0.1 is not reached at 127.0.0.2."""
    _, where = listening(p, IPV4)
    Tcp(p, IPV4).no_connect(p.address(Ip(IPV4, (127, 0, 0, 2)), where), "connection-refused")


@family_checks("tcp-connect/to-wildcard-listener", "wasi:sockets/tcp start-bind: all interfaces")
def to_wildcard_listener(p: Program, family: Family) -> None:
    """A listener at the unspecified address is reached at the loopback address, and so says the accepted socket."""
    listener = Tcp(p, family)
    listener.bind(p.address(ANY[family]))
    listener.listen()
    client = Tcp(p, family)
    target = p.address(LOOPBACK[family], listener.local_address())
    client.connect(target)
    accepted, _, _ = listener.accept()
    p.same_address("the accepted socket's address is the one connected to", accepted.local_address(), target)


@family_checks(
    "tcp-connect/failure-closes", "TcpSocketOperationalSemantics.md: connect-in-progress, failure -> closed"
)
def failure_closes(p: Program, family: Family) -> None:
    """A socket whose connect failed cannot be used again."""
    listener, where = listening(p, family)
    listener.drop()
    client = Tcp(p, family)
    client.no_connect(where, "connection-refused")
    again, there = listening(p, family)
    client.start_connect(there, "invalid-state")
    client.start_bind(p.address(LOOPBACK[family]), "invalid-state")
    again.drop()


@family_checks("tcp-connect/pollable", "TcpSocketOperationalSemantics.md: pollable readiness")
def pollable(p: Program, family: Family) -> None:
    """The pollable of a connecting socket becomes ready when the connect can be finished."""
    listener, where = listening(p, family)
    client = Tcp(p, family)
    client.start_connect(where)
    client.subscribe().wait()
    client.finish_connect()
    listener.accept()


@family_checks("tcp-listen/without-bind", "wasmtime p2_tcp_listen: test_tcp_listen_without_bind")
def listen_without_bind(p: Program, family: Family) -> None:
    """Listening wants an explicit bind, other than in POSIX."""
    Tcp(p, family).listen("invalid-state")


@family_checks("tcp-listen/accept-would-block", "wasi:sockets/tcp accept: would-block")
def accept_would_block(p: Program, family: Family) -> None:
    """Without a client, accept says would-block and the pollable is not ready; with one it is."""
    listener, where = listening(p, family)
    listener.no_accept("would-block")
    pollable = listener.subscribe()
    pollable.ready(False)
    Tcp(p, family).connect(where)
    pollable.wait()
    listener.no_accept("ok")
    listener.no_accept("would-block")


@family_checks("tcp-listen/accept-in-order", 'Linux accept(2): "the first connection request on the queue"')
def accept_in_order(p: Program, family: Family) -> None:
    """Clients are accepted in the order in which they connected."""
    listener, where = listening(p, family)
    clients = [Tcp(p, family) for _ in range(3)]
    for client in clients:
        client.connect(where)
    for client in clients:
        accepted, _, _ = listener.accept()
        p.same_address("its peer", accepted.remote_address(), client.local_address())


@family_checks("tcp-listen/drop-with-queue", "Linux: close(2) of a listener resets what is queued")
def drop_with_queue(p: Program, family: Family) -> None:
    """A connection that nobody accepted ends when the listener is dropped."""
    listener, where = listening(p, family)
    client = Tcp(p, family)
    incoming, _ = client.connect(where)
    listener.drop()
    incoming.subscribe().wait()
    incoming.read(10, "closed", "last-operation-failed")


@family_checks(
    "tcp-listen/connection-outlives-listener", "wasi:sockets/tcp accept: the client socket is its own"
)
def connection_outlives_listener(p: Program, family: Family) -> None:
    """Accepted connections live on when the listener is dropped."""
    c = connected(p, family)
    c.listener.drop()
    c.client_out.write_all(b"still here")
    c.server_in.blocking_read(10)
    c.server_in.got(b"still here")
