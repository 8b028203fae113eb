"""Binding TCP sockets."""

from wasi_sockets.conformance.check import check, family_checks
from wasi_sockets.conformance.program import ANY, IPV4, IPV6, LOOPBACK, Family, Ip, Program
from wasi_sockets.conformance.tcp import Tcp, listening

BROADCAST = Ip(IPV4, (255, 255, 255, 255))
MULTICAST = {IPV4: Ip(IPV4, (224, 254, 0, 0)), IPV6: Ip(IPV6, (0xFF00, 0, 0, 0, 0, 0, 0, 0))}
DOCUMENTATION = {IPV4: Ip(IPV4, (192, 0, 2, 0)), IPV6: Ip(IPV6, (0x2001, 0xDB8, 0, 0, 0, 0, 0, 0))}
MAPPED_LOOPBACK = Ip(IPV6, (0, 0, 0, 0, 0, 0xFFFF, 0x7F00, 1))
OTHER = {IPV4: IPV6, IPV6: IPV4}


@family_checks("tcp-bind/free-port-loopback", "wasmtime p2_tcp_bind: test_tcp_bind_ephemeral_port")
def free_port_loopback(p: Program, family: Family) -> None:
    """Binding to port 0 of the loopback address takes a free port and keeps the address."""
    _free_port(p, LOOPBACK[family])


@family_checks("tcp-bind/free-port-wildcard", "wasmtime p2_tcp_bind: test_tcp_bind_ephemeral_port")
def free_port_wildcard(p: Program, family: Family) -> None:
    """Binding to port 0 of the unspecified address takes a free port; the local address stays the unspecified one."""
    _free_port(p, ANY[family])


def _free_port(p: Program, ip: Ip) -> None:
    socket = Tcp(p, ip.family)
    wanted = p.address(ip)
    socket.bind(wanted)
    bound = socket.local_address()
    p.same_ip("the bound address is the wanted one", bound, wanted)
    p.port_at_least("the port is not 0", bound, 1)


@family_checks("tcp-bind/given-port-loopback", "wasmtime p2_tcp_bind: test_tcp_bind_specific_port")
def given_port_loopback(p: Program, family: Family) -> None:
    """Binding to a given port of the loopback address takes that port."""
    _given_port(p, LOOPBACK[family])


@family_checks("tcp-bind/given-port-wildcard", "wasmtime p2_tcp_bind: test_tcp_bind_specific_port")
def given_port_wildcard(p: Program, family: Family) -> None:
    """Binding to a given port of the unspecified address takes that port."""
    _given_port(p, ANY[family])


def _given_port(p: Program, ip: Ip) -> None:
    first = Tcp(p, ip.family)
    first.bind(p.address(ip))
    free = first.local_address()  # free again when the socket is gone
    first.drop()
    second = Tcp(p, ip.family)
    second.bind(free)
    p.same_address("the bound address is the given one", second.local_address(), free)


@family_checks("tcp-bind/in-use-loopback", "wasmtime p2_tcp_bind: test_tcp_bind_addrinuse")
def in_use_loopback(p: Program, family: Family) -> None:
    """The address of a listening socket cannot be bound again."""
    _in_use(p, LOOPBACK[family])


@family_checks("tcp-bind/in-use-wildcard", "wasmtime p2_tcp_bind: test_tcp_bind_addrinuse")
def in_use_wildcard(p: Program, family: Family) -> None:
    """The unspecified address of a listening socket cannot be bound again."""
    _in_use(p, ANY[family])


def _in_use(p: Program, ip: Ip) -> None:
    first, second = Tcp(p, ip.family), Tcp(p, ip.family)
    first.bind(p.address(ip))
    first.listen()
    second.bind(first.local_address(), "address-in-use")


@family_checks("tcp-bind/wildcard-overlaps", "Linux bind(2) and wasi:sockets/tcp start-bind: address-in-use")
def wildcard_overlaps(p: Program, family: Family) -> None:
    """The unspecified address overlaps with every other address on the same port."""
    listener, where = listening(p, family)
    second = Tcp(p, family)
    second.bind(p.address(ANY[family], where), "address-in-use")
    listener.drop()


@family_checks(
    "tcp-bind/failed-bind-can-be-repeated",
    "TcpSocketOperationalSemantics.md: bind-in-progress, failure -> unbound",
)
def failed_bind_can_be_repeated(p: Program, family: Family) -> None:
    """After a bind that failed the socket is unbound, and another bind may succeed."""
    _, where = listening(p, family)
    socket = Tcp(p, family)
    socket.bind(where, "address-in-use")
    socket.no_local_address("invalid-state")
    socket.bind_loopback()


@family_checks("tcp-bind/again-after-drop", "wasi:sockets/tcp: dropping a socket frees what it holds")
def again_after_drop(p: Program, family: Family) -> None:
    """A port is free again when the listener that held it is dropped."""
    listener, where = listening(p, family)
    listener.drop()
    second = Tcp(p, family)
    second.bind(where)
    second.listen()


@family_checks("tcp-bind/again-after-connection", "wasmtime p2_tcp_bind: test_tcp_bind_reuseaddr")
def again_after_connection(p: Program, family: Family) -> None:
    """A port can be bound right after a listener with an accepted connection closed, as SO_REUSEADDR allows."""
    listener, where = listening(p, family)
    client = Tcp(p, family)
    client.connect(where)
    accepted, incoming, outgoing = listener.accept()
    outgoing.write_zeroes(10, blocking=True)
    for each in (incoming, outgoing, accepted, listener):
        each.drop()
    second = Tcp(p, family)
    second.bind(where)
    second.listen()


@family_checks("tcp-bind/foreign-address", "wasmtime p2_tcp_bind: test_tcp_bind_addrnotavail")
def foreign_address(p: Program, family: Family) -> None:
    """An address that no interface has is not bindable."""
    Tcp(p, family).bind(p.address(DOCUMENTATION[family]), "address-not-bindable")


@family_checks("tcp-bind/wrong-family", "wasmtime p2_tcp_bind: test_tcp_bind_wrong_family")
def wrong_family(p: Program, family: Family) -> None:
    """A socket binds to addresses of its own IP version only."""
    Tcp(p, family).bind(p.address(LOOPBACK[OTHER[family]]), "invalid-argument")


@check("tcp-bind/broadcast", "wasmtime p2_tcp_bind: test_tcp_bind_non_unicast")
def broadcast(p: Program) -> None:
    """The broadcast address is not bindable."""
    Tcp(p, IPV4).bind(p.address(BROADCAST), "invalid-argument")


@family_checks("tcp-bind/multicast", "wasmtime p2_tcp_bind: test_tcp_bind_non_unicast")
def multicast(p: Program, family: Family) -> None:
    """Multicast addresses are not bindable."""
    Tcp(p, family).bind(p.address(MULTICAST[family]), "invalid-argument")


@check("tcp-bind/ipv4-mapped/ipv6", "wasmtime p2_tcp_bind: test_tcp_bind_dual_stack")
def ipv4_mapped(p: Program) -> None:
    """There are no dual-stack sockets: an IPv4-mapped address is no address for an IPv6 socket."""
    Tcp(p, IPV6).bind(p.address(MAPPED_LOOPBACK), "invalid-argument")


@family_checks(
    "tcp-bind/refused-argument-changes-nothing", "TcpSocketOperationalSemantics.md: start-bind, failure"
)
def refused_argument_changes_nothing(p: Program, family: Family) -> None:
    """After a refused address the socket can still be bound."""
    socket = Tcp(p, family)
    socket.start_bind(p.address(LOOPBACK[OTHER[family]]), "invalid-argument")
    socket.finish_bind("not-in-progress")
    socket.bind_loopback()


@check("tcp-bind/versions-do-not-overlap/ipv6", "wasi:sockets/tcp: IPV6_V6ONLY is always on")
def versions_do_not_overlap(p: Program) -> None:
    """The same port can be listened at on the unspecified addresses of both IP versions."""
    six = Tcp(p, IPV6)
    six.bind(p.address(ANY[IPV6]))
    six.listen()
    four = Tcp(p, IPV4)
    four.bind(p.address(ANY[IPV4], six.local_address()))
    four.listen()


@check("tcp-bind/other-loopback-address", "Linux: all of 127.0.0.0/8 is local")
def other_loopback_address(p: Program) -> None:
    """127.0.0.2 is an address of its own: the same port can be listened at on both."""
    one, where = listening(p, IPV4)
    two = Tcp(p, IPV4)
    two.bind(p.address(Ip(IPV4, (127, 0, 0, 2)), where))
    two.listen()
    Tcp(p, IPV4).connect(p.address(LOOPBACK[IPV4], where))
    one.accept()
    two.no_accept("would-block")
