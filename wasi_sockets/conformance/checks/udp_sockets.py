"""UDP sockets: binding, states, options."""

from wasi_sockets.conformance.check import check, family_checks
from wasi_sockets.conformance.checks.tcp_bind import DOCUMENTATION, MAPPED_LOOPBACK, OTHER
from wasi_sockets.conformance.program import ANY, IPV4, IPV6, LOOPBACK, Family, Ip, Program
from wasi_sockets.conformance.tcp import Tcp
from wasi_sockets.conformance.udp import Udp

MAX_U64 = (1 << 64) - 1
BIND, STATES, OPTIONS = "wasmtime p2_udp_bind", "wasmtime p2_udp_states", "wasmtime p2_udp_sockopts"
VALUES = {"unicast-hop-limit": 255, "receive-buffer-size": 16000, "send-buffer-size": 16000}


@family_checks("udp-bind/free-port-loopback", f"{BIND}: test_udp_bind_ephemeral_port")
def free_port_loopback(p: Program, family: Family) -> None:
    """Binding to port 0 of the loopback address takes a free port and keeps the address."""
    _free_port(p, LOOPBACK[family])


@family_checks("udp-bind/free-port-wildcard", f"{BIND}: test_udp_bind_ephemeral_port")
def free_port_wildcard(p: Program, family: Family) -> None:
    """Binding to port 0 of the unspecified address takes a free port; the local address stays the unspecified one."""
    _free_port(p, ANY[family])


def _free_port(p: Program, ip: Ip) -> None:
    socket = Udp(p, ip.family)
    wanted = p.address(ip)
    socket.bind(wanted)
    bound = socket.local_address()
    p.same_ip("the bound address is the wanted one", bound, wanted)
    p.port_at_least("the port is not 0", bound, 1)


@family_checks("udp-bind/given-port-loopback", f"{BIND}: test_udp_bind_specific_port")
def given_port_loopback(p: Program, family: Family) -> None:
    """Binding to a given port of the loopback address takes that port; it was free again after a drop."""
    _given_port(p, LOOPBACK[family])


@family_checks("udp-bind/given-port-wildcard", f"{BIND}: test_udp_bind_specific_port")
def given_port_wildcard(p: Program, family: Family) -> None:
    """Binding to a given port of the unspecified address takes that port."""
    _given_port(p, ANY[family])


def _given_port(p: Program, ip: Ip) -> None:
    first = Udp(p, ip.family)
    first.bind(p.address(ip))
    free = first.local_address()
    first.drop()
    second = Udp(p, ip.family)
    second.bind(free)
    p.same_address("the bound address is the given one", second.local_address(), free)


@family_checks("udp-bind/in-use-loopback", f"{BIND}: test_udp_bind_addrinuse")
def in_use_loopback(p: Program, family: Family) -> None:
    """An address can be bound once."""
    _in_use(p, LOOPBACK[family])


@family_checks("udp-bind/in-use-wildcard", f"{BIND}: test_udp_bind_addrinuse")
def in_use_wildcard(p: Program, family: Family) -> None:
    """The unspecified address can be bound once on a port."""
    _in_use(p, ANY[family])


def _in_use(p: Program, ip: Ip) -> None:
    first, second = Udp(p, ip.family), Udp(p, ip.family)
    first.bind(p.address(ip))
    second.bind(first.local_address(), "address-in-use")


@family_checks("udp-bind/foreign-address", f"{BIND}: test_udp_bind_addrnotavail")
def foreign_address(p: Program, family: Family) -> None:
    """An address that no interface has is not bindable."""
    Udp(p, family).bind(p.address(DOCUMENTATION[family]), "address-not-bindable")


@family_checks("udp-bind/wrong-family", f"{BIND}: test_udp_bind_wrong_family")
def wrong_family(p: Program, family: Family) -> None:
    """A socket binds to addresses of its own IP version only."""
    Udp(p, family).bind(p.address(LOOPBACK[OTHER[family]]), "invalid-argument")


@check("udp-bind/ipv4-mapped/ipv6", f"{BIND}: test_udp_bind_dual_stack")
def ipv4_mapped(p: Program) -> None:
    """There are no dual-stack sockets: an IPv4-mapped address is no address for an IPv6 socket."""
    Udp(p, IPV6).bind(p.address(MAPPED_LOOPBACK), "invalid-argument")


@family_checks("udp-bind/tcp-is-apart", "IANA: the ports of TCP and UDP are different")
def tcp_is_apart(p: Program, family: Family) -> None:
    """A UDP socket may have the port that a TCP listener has."""
    listener = Tcp(p, family)
    listener.bind_loopback()
    listener.listen()
    Udp(p, family).bind(listener.local_address())


def _options(socket: Udp) -> None:
    for option, value in VALUES.items():
        socket.get(option)
        socket.set(option, value)


@family_checks("udp-states/unbound", f"{STATES}: test_udp_unbound_state_invariants")
def unbound(p: Program, family: Family) -> None:
    """Before bind: nothing to finish, no stream, no addresses; every option can be read and set."""
    socket = Udp(p, family)
    socket.finish_bind("not-in-progress")
    socket.no_stream(None, "invalid-state")
    socket.no_local_address("invalid-state")
    socket.no_remote_address("invalid-state")
    socket.has_family()
    _options(socket)


@family_checks("udp-states/binding", "UdpSocketOperationalSemantics.md: bind-in-progress")
def binding(p: Program, family: Family) -> None:
    """finish-bind ends what start-bind began, once."""
    socket = Udp(p, family)
    socket.start_bind(p.address(LOOPBACK[family]))
    socket.no_remote_address("invalid-state")
    socket.finish_bind()
    socket.finish_bind("not-in-progress")
    socket.local_address()


@family_checks("udp-states/bound", f"{STATES}: test_udp_bound_state_invariants")
def bound(p: Program, family: Family) -> None:
    """When bound: no second bind, nothing to finish, no peer; every option can be read and set."""
    socket = Udp(p, family)
    socket.bind_loopback()
    socket.start_bind(p.address(LOOPBACK[family]), "invalid-state")
    socket.finish_bind("not-in-progress")
    socket.local_address()
    socket.no_remote_address("invalid-state")
    socket.has_family()
    _options(socket)


@family_checks("udp-states/connected", f"{STATES}: test_udp_connected_state_invariants")
def connected(p: Program, family: Family) -> None:
    """With a peer: no bind, nothing to finish, both addresses known; every option can be read and set."""
    socket = Udp(p, family)
    socket.bind_loopback()
    remote = p.address(LOOPBACK[family], 54321)
    socket.stream(remote)
    socket.start_bind(p.address(LOOPBACK[family]), "invalid-state")
    socket.finish_bind("not-in-progress")
    socket.local_address()
    p.same_address("the peer", socket.remote_address(), remote)
    socket.has_family()
    _options(socket)


@family_checks("udp-options/defaults", f"{OPTIONS}: test_udp_sockopt_defaults")
def defaults(p: Program, family: Family) -> None:
    """Every option has a default above 0."""
    socket = Udp(p, family)
    socket.has_family()
    for option in VALUES:
        p.at_least(f"the default of {option}", socket.get(option), 1)


@family_checks("udp-options/zero", f"{OPTIONS}: test_udp_sockopt_input_ranges")
def zero(p: Program, family: Family) -> None:
    """0 is refused by every option, and changes nothing."""
    socket = Udp(p, family)
    for option in VALUES:
        before = socket.get(option)
        socket.set(option, 0, "invalid-argument")
        p.equal(f"{option} afterwards", socket.get(option), before)


@family_checks("udp-options/range", f"{OPTIONS}: test_udp_sockopt_input_ranges")
def option_range(p: Program, family: Family) -> None:
    """The smallest and the largest value are taken, and clamped in silence."""
    socket = Udp(p, family)
    for option, largest in (
        ("unicast-hop-limit", 255),
        ("receive-buffer-size", MAX_U64),
        ("send-buffer-size", MAX_U64),
    ):
        socket.set(option, 1)
        p.at_least(f"{option} afterwards", socket.get(option), 1)
        socket.set(option, largest)
        p.at_least(f"{option} afterwards", socket.get(option), 1)


@family_checks("udp-options/readback", f"{OPTIONS}: test_udp_sockopt_readback")
def readback(p: Program, family: Family) -> None:
    """Ordinary values read back exactly."""
    socket = Udp(p, family)
    for option, value in (
        ("unicast-hop-limit", 42),
        ("receive-buffer-size", 0x10000),
        ("send-buffer-size", 0x10000),
    ):
        socket.set(option, value)
        p.equal(f"{option} afterwards", socket.get(option), value)


CONNECT = "wasmtime p2_udp_connect"


@family_checks("udp-connect/reconnect", f"{CONNECT}: test_udp_connect_disconnect_reconnect")
def reconnect(p: Program, family: Family) -> None:
    """A socket can be given a peer, another one and none, again and again, once the streams before are dropped."""
    socket = Udp(p, family)
    socket.bind(p.address(ANY[family]))
    one, two = p.address(LOOPBACK[family], 4321), p.address(LOOPBACK[family], 4320)
    for remote in (None, None, one, one, two, None, one):
        incoming, outgoing = socket.stream(remote)
        incoming.drop()
        outgoing.drop()
        if remote is None:
            socket.no_remote_address("invalid-state")
        else:
            p.same_address("the peer", socket.remote_address(), remote)


@family_checks(
    "udp-connect/disconnect-stays-bound",
    f"{CONNECT}: test_udp_disconnect_local_address (whose port is open: Linux gives up a port it had chosen itself)",
)
def disconnect_stays_bound(p: Program, family: Family) -> None:
    """A socket whose peer was taken away still has a local address."""
    socket = Udp(p, family)
    socket.bind(p.address(ANY[family]))
    for remote in (p.address(LOOPBACK[family], 4321), None):
        incoming, outgoing = socket.stream(remote)
        incoming.drop()
        outgoing.drop()
    socket.local_address()


@family_checks("udp-connect/unspecified-address", f"{CONNECT}: test_udp_connect_unspec")
def unspecified_address(p: Program, family: Family) -> None:
    """The unspecified address is no remote address."""
    socket = Udp(p, family)
    socket.bind(p.address(ANY[family]))
    socket.no_stream(p.address(ANY[family], 47), "invalid-argument")


@family_checks("udp-connect/port-0", f"{CONNECT}: test_udp_connect_port_0")
def port_0(p: Program, family: Family) -> None:
    """Port 0 is no remote port."""
    socket = Udp(p, family)
    socket.bind(p.address(ANY[family]))
    socket.no_stream(p.address(LOOPBACK[family], 0), "invalid-argument")


@family_checks("udp-connect/wrong-family", f"{CONNECT}: test_udp_connect_wrong_family")
def connect_wrong_family(p: Program, family: Family) -> None:
    """A peer has the socket's own IP version."""
    socket = Udp(p, family)
    socket.bind(p.address(ANY[family]))
    socket.no_stream(p.address(LOOPBACK[OTHER[family]], 47), "invalid-argument")


@family_checks("udp-connect/without-bind", f"{CONNECT}: test_udp_connect_without_bind")
def without_bind(p: Program, family: Family) -> None:
    """A socket must be bound before it can have a peer."""
    Udp(p, family).no_stream(p.address(LOOPBACK[family], 47), "invalid-state")


@check("udp-connect/dual-stack/ipv6", f"{CONNECT}: test_udp_connect_dual_stack")
def dual_stack(p: Program) -> None:
    """An IPv6 socket has no IPv4 peer, neither by its address nor by the mapped one."""
    server = Udp(p, IPV4)
    server.bind_loopback()
    where = server.local_address()
    client = Udp(p, IPV6)
    client.bind(p.address(ANY[IPV6]))
    client.no_stream(where, "invalid-argument")
    client.no_stream(p.address(MAPPED_LOOPBACK, where), "invalid-argument")
