"""Sending and receiving datagrams."""

from wasi_sockets.conformance.check import check, family_checks
from wasi_sockets.conformance.checks.tcp_bind import MAPPED_LOOPBACK, OTHER
from wasi_sockets.conformance.program import ANY, IPV4, IPV6, LOOPBACK, Address, Family, Program
from wasi_sockets.conformance.udp import Outgoing, Udp

STREAM, SAMPLE = "wasmtime p2_udp_stream", "wasmtime p2_udp_sample_application"
WIT = "wasi:sockets/udp"


def bound(p: Program, family: Family) -> tuple[Udp, Address]:
    """A socket bound to the loopback, and its address."""
    socket = Udp(p, family)
    socket.bind_loopback()
    return socket, socket.local_address()


def sender(p: Program, family: Family, to: Address) -> tuple[Outgoing, Address]:
    """What sends from a new socket to one peer, and where from."""
    socket, where = bound(p, family)
    _, outgoing = socket.stream(to)
    return outgoing, where


def may_send(outgoing: Outgoing) -> None:
    """Steps: a permit is had, which may take a moment."""
    outgoing.subscribe().wait()
    outgoing.program.at_least("the permit", outgoing.check_send(), 1)


@family_checks("udp-datagrams/bulk", f"{STREAM}: test_udp_send_receive_multiple")
def bulk(p: Program, family: Family) -> None:
    """Two datagrams can be sent in one call and received in one call."""
    receiver, where = bound(p, family)
    outgoing, source = sender(p, family, where)
    outgoing.subscribe().wait()
    p.at_least("the permit", outgoing.check_send(), 2)
    outgoing.send_once([(b"1", None), (b"2", None)])
    outgoing.sent(2)
    incoming, _ = receiver.stream(source)
    incoming.subscribe().wait()
    incoming.receive(2)
    incoming.got((b"1", source), (b"2", source))


@family_checks("udp-datagrams/filter-queued", f"{STREAM}: test_udp_receive_after_connect")
def filter_queued(p: Program, family: Family) -> None:
    """A stream with a peer gives only that peer's datagrams, even if others came before the stream was made."""
    receiver, where = bound(p, family)
    first, _ = sender(p, family, where)
    second, second_address = sender(p, family, where)
    first.send((b"A", None))
    second.send((b"B", None))
    first.send((b"A", None))
    incoming, _ = receiver.stream(second_address)
    incoming.receive_some(100)
    incoming.got((b"B", second_address))


@family_checks("udp-datagrams/filter-later", f'{WIT} stream: "only from remote-address"')
def filter_later(p: Program, family: Family) -> None:
    """A stream with a peer gives nothing of what others send afterwards."""
    receiver, where = bound(p, family)
    wanted, wanted_address = sender(p, family, where)
    other, _ = sender(p, family, where)
    incoming, _ = receiver.stream(wanted_address)
    other.send((b"not me", None))
    wanted.send((b"me", None))
    incoming.receive_some(100)
    incoming.got((b"me", wanted_address))


@family_checks("udp-datagrams/sample", SAMPLE)
def sample(p: Program, family: Family) -> None:
    """An empty datagram is one; the order is kept; each has its sender's address."""
    server, where = bound(p, family)
    incoming, _ = server.stream()
    client = Udp(p, family)
    client.bind(p.address(ANY[family]))
    _, outgoing = client.stream(where)
    outgoing.send((b"", None), (b"Hello, world!", where))
    client_address = client.local_address()
    incoming.receive_some(100)
    # On a real network the second may come a little later; over the loopback both are there.
    incoming.got((b"", client_address), (b"Hello, world!", client_address))


@family_checks("udp-datagrams/sample-without-peer", SAMPLE)
def sample_without_peer(p: Program, family: Family) -> None:
    """A stream without a peer sends to the address of each datagram; the sender may be bound to any address."""
    server, where = bound(p, family)
    incoming, _ = server.stream()
    client = Udp(p, family)
    client.bind(p.address(ANY[family]))
    _, outgoing = client.stream()
    outgoing.send((b"Greetings, planet!", where))
    source = p.address(LOOPBACK[family], client.local_address())
    incoming.receive_some(100)
    incoming.got((b"Greetings, planet!", source))


@family_checks("udp-datagrams/connected-address", f"{WIT} local-address; Linux connect(2) of a UDP socket")
def connected_address(p: Program, family: Family) -> None:
    """A socket bound to the unspecified address has a concrete one once it has a peer, with the same port."""
    _, where = bound(p, family)
    client = Udp(p, family)
    client.bind(p.address(ANY[family]))
    before = client.local_address()
    client.stream(where)
    p.same_address("its address", client.local_address(), p.address(LOOPBACK[family], before))


@family_checks("udp-datagrams/ready-to-send", "wasmtime p2_udp_connect: test_udp_connect_and_send")
def ready_to_send(p: Program, family: Family) -> None:
    """A stream whose pollable is ready permits at least one datagram, and takes it; sixteen sockets in turn."""
    for _ in range(16):
        socket, _ = bound(p, family)
        remote = p.address(LOOPBACK[family], 4320)
        _, outgoing = socket.stream(remote)
        p.same_address("the peer", socket.remote_address(), remote)
        outgoing.subscribe().wait()
        p.at_least("the permit", outgoing.check_send(), 1)
        outgoing.send_once([(b"hello", None)])
        outgoing.sent(1)


@family_checks(
    "udp-datagrams/to-closed-port", "wasmtime p2_udp_send_to_closed_receiver; Linux ICMP port unreachable"
)
def to_closed_port(p: Program, family: Family) -> None:
    """A peer that is gone is told by an error of receive: connection-refused or connection-reset."""
    socket, _ = bound(p, family)
    receiver, where = bound(p, family)
    receiver.drop()
    incoming, outgoing = socket.stream(where)
    outgoing.send((b"hello", None))
    incoming.receive_some(1, "connection-refused", "connection-reset")


@family_checks("udp-datagrams/nothing-to-receive", f"{WIT} receive: never would-block, an empty list instead")
def nothing_to_receive(p: Program, family: Family) -> None:
    """Receiving when nothing came gives an empty list, and the pollable is not ready."""
    socket, _ = bound(p, family)
    incoming, _ = socket.stream()
    incoming.receive(10)
    incoming.got()
    incoming.subscribe().ready(False)


@family_checks("udp-datagrams/receive-0", f'{WIT} receive: "when max-results is 0, returns successfully"')
def receive_0(p: Program, family: Family) -> None:
    """Receiving at most 0 datagrams gives an empty list and takes nothing away."""
    socket, where = bound(p, family)
    incoming, _ = socket.stream()
    outgoing, source = sender(p, family, where)
    outgoing.send((b"x", None))
    incoming.subscribe().wait()
    incoming.receive(0)
    incoming.got()
    incoming.receive(1)
    incoming.got((b"x", source))


@family_checks("udp-datagrams/receive-limit", f"{WIT} receive: at most max-results")
def receive_limit(p: Program, family: Family) -> None:
    """Receiving gives no more than was asked for, and the rest later."""
    socket, where = bound(p, family)
    incoming, _ = socket.stream()
    outgoing, source = sender(p, family, where)
    outgoing.send((b"1", None), (b"2", None), (b"3", None))
    incoming.receive_some(2)
    incoming.got((b"1", source), (b"2", source))
    incoming.receive_some(2)
    incoming.got((b"3", source))


@family_checks("udp-datagrams/send-nothing", f'{WIT} send: "when the list is empty"')
def send_nothing(p: Program, family: Family) -> None:
    """Sending an empty list succeeds, and sends none."""
    socket, _ = bound(p, family)
    _, outgoing = socket.stream()
    may_send(outgoing)
    outgoing.send_once([])
    outgoing.sent(0)


@family_checks("udp-datagrams/boundaries", "RFC 768; wasi:sockets/udp")
def boundaries(p: Program, family: Family) -> None:
    """Datagrams are neither joined nor split: each comes as it was sent."""
    socket, where = bound(p, family)
    incoming, _ = socket.stream()
    outgoing, source = sender(p, family, where)
    outgoing.send((b"ab", None), (b"", None), (b"c" * 1000, None), (b"d", None))
    incoming.receive_some(10)
    incoming.got((b"ab", source), (b"", source), (b"c" * 1000, source), (b"d", source))


@family_checks("udp-datagrams/no-address", f"{WIT} send: invalid-argument without remote-address")
def no_address(p: Program, family: Family) -> None:
    """A stream without a peer wants an address for each datagram."""
    socket, _ = bound(p, family)
    _, outgoing = socket.stream()
    may_send(outgoing)
    outgoing.send_once([(b"x", None)], "invalid-argument")


@family_checks(
    "udp-datagrams/other-address", f"{WIT} send: invalid-argument, remote-address is not the peer's"
)
def other_address(p: Program, family: Family) -> None:
    """A stream with a peer sends to nobody else."""
    _, where = bound(p, family)
    _, elsewhere = bound(p, family)
    outgoing, _ = sender(p, family, where)
    may_send(outgoing)
    outgoing.send_once([(b"x", elsewhere)], "invalid-argument")


@family_checks("udp-datagrams/wrong-family", f"{WIT} send: invalid-argument, address family")
def wrong_family(p: Program, family: Family) -> None:
    """Datagrams go to addresses of the socket's own IP version."""
    socket, _ = bound(p, family)
    _, outgoing = socket.stream()
    may_send(outgoing)
    outgoing.send_once([(b"x", p.address(LOOPBACK[OTHER[family]], 47))], "invalid-argument")


@check("udp-datagrams/ipv4-mapped/ipv6", f"{WIT} send: invalid-argument; IPV6_V6ONLY is always on")
def ipv4_mapped(p: Program) -> None:
    """An IPv6 socket sends nothing to an IPv4-mapped address."""
    socket, _ = bound(p, IPV6)
    _, outgoing = socket.stream()
    may_send(outgoing)
    outgoing.send_once([(b"x", p.address(MAPPED_LOOPBACK, 47))], "invalid-argument")


@family_checks("udp-datagrams/unspecified-address", f"{WIT} send: invalid-argument, the unspecified address")
def unspecified_address(p: Program, family: Family) -> None:
    """The unspecified address is no destination."""
    socket, _ = bound(p, family)
    _, outgoing = socket.stream()
    may_send(outgoing)
    outgoing.send_once([(b"x", p.address(ANY[family], 47))], "invalid-argument")


@family_checks("udp-datagrams/port-0", f"{WIT} send: invalid-argument, port 0")
def port_0(p: Program, family: Family) -> None:
    """Port 0 is no destination."""
    socket, _ = bound(p, family)
    _, outgoing = socket.stream()
    may_send(outgoing)
    outgoing.send_once([(b"x", p.address(LOOPBACK[family], 0))], "invalid-argument")


@check("udp-datagrams/too-large", "wasi:sockets/udp send: datagram-too-large; IPv4 carries 65,507 bytes")
def too_large(p: Program) -> None:
    """A datagram of 65,508 bytes is too large for IPv4."""
    _, where = bound(p, IPV4)
    outgoing, _ = sender(p, IPV4, where)
    may_send(outgoing)
    outgoing.send_once([(65_508, None)], "datagram-too-large")


@check("udp-datagrams/largest", "Linux udp(7): 65,507 bytes over IPv4")
def largest(p: Program) -> None:
    """The largest datagram arrives whole."""
    receiver, where = bound(p, IPV4)
    incoming, _ = receiver.stream()
    outgoing, _ = sender(p, IPV4, where)
    outgoing.send((65_507, None))
    incoming.receive_some(1)
    p.equal("how many datagrams came", "(i64.load32_u (i32.const 24))", 1)
    p.equal("its size", "(i64.load32_u offset=4 (i32.load (i32.const 20)))", 65_507)


@family_checks("udp-datagrams/partial-send", f'{WIT} send: "the number of datagrams successfully sent"')
def partial_send(p: Program, family: Family) -> None:
    """When a later datagram of a list is wrong, the earlier ones are sent, and that is no error."""
    receiver, where = bound(p, family)
    incoming, _ = receiver.stream()
    outgoing, source = sender(p, family, where)
    outgoing.subscribe().wait()
    p.at_least("the permit", outgoing.check_send(), 2)
    outgoing.send_once([(b"good", None), (b"bad", p.address(LOOPBACK[family], 1))])
    outgoing.sent(1)
    incoming.receive_some(10)
    incoming.got((b"good", source))


@family_checks("udp-datagrams/pollable", f"{WIT} subscribe: ready once a datagram can be received")
def pollable(p: Program, family: Family) -> None:
    """The pollable of the incoming stream is ready with a datagram, and not any more when it was taken."""
    receiver, where = bound(p, family)
    incoming, _ = receiver.stream()
    pollable = incoming.subscribe()
    pollable.ready(False)
    outgoing, _ = sender(p, family, where)
    outgoing.send((b"x", None))
    incoming.subscribe().wait()
    pollable.ready(True)
    incoming.receive(1)
    incoming.receive(1)
    incoming.got()
    pollable.ready(False)


@family_checks("udp-datagrams/to-itself", "Linux: a socket may send to its own address")
def to_itself(p: Program, family: Family) -> None:
    """A socket receives what it sends to itself."""
    socket, where = bound(p, family)
    incoming, outgoing = socket.stream()
    outgoing.send((b"echo", where))
    incoming.receive_some(1)
    incoming.got((b"echo", where))


@family_checks("udp-datagrams/to-wildcard-socket", "wasi:sockets/udp start-bind: all interfaces")
def to_wildcard_socket(p: Program, family: Family) -> None:
    """A socket bound to the unspecified address is reached at the loopback address."""
    receiver = Udp(p, family)
    receiver.bind(p.address(ANY[family]))
    incoming, _ = receiver.stream()
    outgoing, source = sender(p, family, p.address(LOOPBACK[family], receiver.local_address()))
    outgoing.send((b"found", None))
    incoming.receive_some(1)
    incoming.got((b"found", source))


@family_checks("udp-datagrams/lost-without-receiver", "RFC 768: UDP is unreliable")
def lost_without_receiver(p: Program, family: Family) -> None:
    """On a stream without a peer, what goes to a port where nobody is is lost, and sending goes on."""
    gone, nowhere = bound(p, family)
    gone.drop()
    receiver, where = bound(p, family)
    incoming, _ = receiver.stream()
    socket, source = bound(p, family)
    _, outgoing = socket.stream()
    outgoing.send((b"lost", nowhere))
    outgoing.send((b"found", where))
    incoming.receive_some(10)
    incoming.got((b"found", source))
