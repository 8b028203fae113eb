"""Which call is legal in which state of a TCP socket."""

from wasi_sockets.conformance.check import family_checks
from wasi_sockets.conformance.program import LOOPBACK, Family, Program
from wasi_sockets.conformance.tcp import OPTIONS, Tcp, connected, listening

SOURCE = "wasmtime p2_tcp_states"
SPEC = "TcpSocketOperationalSemantics.md"
CONFLICT = (
    "wasmtime 48, crates/wasi/src/p2/host/tcp.rs (followed; up to 47, and by TcpSocketOperationalSemantics.md,"
    " invalid-state)"
)


def _finishes_nothing(socket: Tcp) -> None:
    socket.finish_bind("not-in-progress")
    socket.finish_connect("not-in-progress")
    socket.finish_listen("not-in-progress")


def _options(socket: Tcp) -> None:
    """Reads and sets every option, with the values of upstream's test."""
    values = {
        "hop-limit": 255,
        "receive-buffer-size": 16000,
        "send-buffer-size": 16000,
        "keep-alive-enabled": 0,
    }
    for option in OPTIONS:
        if option != "unicast-hop-limit":
            socket.get(option)
            socket.set(option, values.get(option, 1))


def _bound(p: Program, family: Family) -> Tcp:
    socket = Tcp(p, family)
    socket.bind_loopback()
    return socket


@family_checks("tcp-states/unbound", f"{SOURCE}: test_tcp_unbound_state_invariants")
def unbound(p: Program, family: Family) -> None:
    """Before bind: nothing to finish, nothing to accept or shut down, no addresses."""
    socket = Tcp(p, family)
    _finishes_nothing(socket)
    socket.start_listen("invalid-state")
    socket.no_accept("invalid-state")
    for how in ("receive", "send", "both"):
        socket.shutdown(how, "invalid-state")
    socket.no_local_address("invalid-state")
    socket.no_remote_address("invalid-state")
    socket.is_listening(False)
    socket.has_family()


@family_checks("tcp-states/unbound-options", f"{SOURCE}: test_tcp_unbound_state_invariants")
def unbound_options(p: Program, family: Family) -> None:
    """Before bind every option can be read and set, the backlog too."""
    socket = Tcp(p, family)
    socket.set("listen-backlog-size", 32)
    _options(socket)


@family_checks("tcp-states/bound", f"{SOURCE}: test_tcp_bound_state_invariants")
def bound(p: Program, family: Family) -> None:
    """When bound: no second bind, nothing to finish, accept or shut down, no peer."""
    socket = _bound(p, family)
    socket.start_bind(p.address(LOOPBACK[family]), "invalid-state")
    _finishes_nothing(socket)
    socket.no_accept("invalid-state")
    socket.shutdown("both", "invalid-state")
    socket.local_address()
    socket.no_remote_address("invalid-state")
    socket.is_listening(False)
    socket.has_family()


@family_checks("tcp-states/bound-options", f"{SOURCE}: test_tcp_bound_state_invariants")
def bound_options(p: Program, family: Family) -> None:
    """When bound every option can be read and set, the backlog too."""
    socket = _bound(p, family)
    socket.set("listen-backlog-size", 32)
    _options(socket)


@family_checks("tcp-states/listening", f"{SOURCE}: test_tcp_listening_state_invariants")
def listening_state(p: Program, family: Family) -> None:
    """When listening: no bind, connect or second listen, nothing to finish or shut down, no peer."""
    socket, where = listening(p, family)
    socket.start_bind(p.address(LOOPBACK[family]), "invalid-state")
    socket.start_connect(where, "invalid-state")
    socket.start_listen("invalid-state")
    _finishes_nothing(socket)
    socket.shutdown("both", "invalid-state")
    socket.local_address()
    socket.no_remote_address("invalid-state")
    socket.is_listening(True)
    socket.has_family()


@family_checks("tcp-states/listening-options", f"{SOURCE}: test_tcp_listening_state_invariants")
def listening_options(p: Program, family: Family) -> None:
    """When listening every option can be read and set; the backlog too, or it is not supported."""
    socket, _ = listening(p, family)
    socket.set("listen-backlog-size", 32, "ok", "not-supported")
    _options(socket)


@family_checks("tcp-states/connected", f"{SOURCE}: test_tcp_connected_state_invariants")
def connected_state(p: Program, family: Family) -> None:
    """When connected: no bind, connect, listen or accept, nothing to finish; both addresses are known."""
    c = connected(p, family)
    for socket in (c.client, c.server):
        socket.start_bind(p.address(LOOPBACK[family]), "invalid-state")
        socket.start_connect(c.listener.local_address(), "invalid-state")
        socket.start_listen("invalid-state")
        _finishes_nothing(socket)
        socket.no_accept("invalid-state")
        socket.local_address()
        socket.remote_address()
        socket.is_listening(False)
        socket.has_family()


@family_checks("tcp-states/connected-options", f"{SOURCE}: test_tcp_connected_state_invariants")
def connected_options(p: Program, family: Family) -> None:
    """When connected every option can be read and set, on both ends."""
    c = connected(p, family)
    _options(c.client)
    _options(c.server)


@family_checks("tcp-states/connected-backlog", "wasi:sockets/tcp set-listen-backlog-size: invalid-state")
def connected_backlog(p: Program, family: Family) -> None:
    """When connected the backlog cannot be set."""
    c = connected(p, family)
    c.client.set("listen-backlog-size", 32, "invalid-state")
    c.server.set("listen-backlog-size", 32, "invalid-state")


@family_checks("tcp-states/binding", f"{SPEC}: bind-in-progress")
def binding(p: Program, family: Family) -> None:
    """Between start-bind and finish-bind only the latter goes on; then the socket is bound."""
    socket = Tcp(p, family)
    socket.start_bind(p.address(LOOPBACK[family]))
    socket.finish_connect("not-in-progress")
    socket.finish_listen("not-in-progress")
    socket.no_accept("invalid-state")
    socket.shutdown("both", "invalid-state")
    socket.no_remote_address("invalid-state")
    socket.is_listening(False)
    socket.finish_bind()
    socket.finish_bind("not-in-progress")
    socket.local_address()


@family_checks("tcp-states/binding-conflict", CONFLICT)
def binding_conflict(p: Program, family: Family) -> None:
    """While a bind is in progress nothing else can be started."""
    _, where = listening(p, family)
    socket = Tcp(p, family)
    socket.start_bind(p.address(LOOPBACK[family]))
    socket.start_bind(p.address(LOOPBACK[family]), "concurrency-conflict")
    socket.start_connect(where, "concurrency-conflict")
    socket.start_listen("concurrency-conflict")
    socket.finish_bind()


@family_checks("tcp-states/beginning-to-listen", f"{SPEC}: listen-in-progress")
def beginning_to_listen(p: Program, family: Family) -> None:
    """Between start-listen and finish-listen only the latter goes on; then the socket listens."""
    socket = _bound(p, family)
    socket.start_listen()
    socket.finish_bind("not-in-progress")
    socket.finish_connect("not-in-progress")
    socket.shutdown("both", "invalid-state")
    socket.no_remote_address("invalid-state")
    socket.finish_listen()
    socket.finish_listen("not-in-progress")
    socket.is_listening(True)


@family_checks("tcp-states/listen-conflict", CONFLICT)
def listen_conflict(p: Program, family: Family) -> None:
    """While a listen is in progress nothing else can be started."""
    _, where = listening(p, family)
    socket = _bound(p, family)
    socket.start_listen()
    socket.start_bind(p.address(LOOPBACK[family]), "concurrency-conflict")
    socket.start_connect(where, "concurrency-conflict")
    socket.start_listen("concurrency-conflict")
    socket.finish_listen()


@family_checks("tcp-states/connecting", f"{SPEC}: connect-in-progress")
def connecting(p: Program, family: Family) -> None:
    """Between start-connect and finish-connect only the latter goes on; then the socket is connected."""
    listener, where = listening(p, family)
    socket = Tcp(p, family)
    socket.start_connect(where)
    socket.finish_bind("not-in-progress")
    socket.finish_listen("not-in-progress")
    socket.no_accept("invalid-state")
    socket.shutdown("both", "invalid-state")
    socket.no_remote_address("invalid-state")
    socket.is_listening(False)
    socket.wait_connect()
    socket.finish_connect("not-in-progress")
    socket.remote_address()
    listener.accept()


@family_checks("tcp-states/connect-conflict", CONFLICT)
def connect_conflict(p: Program, family: Family) -> None:
    """While a connect is in progress nothing else can be started."""
    _, where = listening(p, family)
    socket = Tcp(p, family)
    socket.start_connect(where)
    socket.start_bind(p.address(LOOPBACK[family]), "concurrency-conflict")
    socket.start_connect(where, "concurrency-conflict")
    socket.start_listen("concurrency-conflict")
    socket.wait_connect()


@family_checks("tcp-states/wrong-call-changes-nothing", f"{SPEC}: a call in the wrong state has no effect")
def wrong_call_changes_nothing(p: Program, family: Family) -> None:
    """A connection on which wrong calls were made still carries data."""
    c = connected(p, family)
    c.client.start_listen("invalid-state")
    c.client.start_connect(c.listener.local_address(), "invalid-state")
    c.client.no_accept("invalid-state")
    c.client_out.write_all(b"intact")
    c.server_in.blocking_read(6)
    c.server_in.got(b"intact")


@family_checks("tcp-states/idle-pollable-is-ready", f"{SPEC}: pollable readiness")
def idle_pollable_is_ready(p: Program, family: Family) -> None:
    """The pollable of a socket is ready in the states unbound and bound, where nothing is to be waited for."""
    socket = Tcp(p, family)
    first = socket.subscribe()
    first.ready(True)
    first.drop()
    socket.bind_loopback()
    second = socket.subscribe()
    second.ready(True)
    second.drop()
