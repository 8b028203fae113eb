"""The options of TCP sockets."""

from wasi_sockets.conformance.check import family_checks
from wasi_sockets.conformance.program import Family, Number, Program
from wasi_sockets.conformance.tcp import OPTIONS, Tcp, listening

SOURCE = "wasmtime p2_tcp_sockopts"
SECOND = 1_000_000_000
MAX_U64 = (1 << 64) - 1
TCP_OPTIONS = tuple(option for option in OPTIONS if option != "unicast-hop-limit")
EXACT = {
    "keep-alive-idle-time": 42 * SECOND,
    "keep-alive-interval": 42 * SECOND,
    "keep-alive-count": 42,
    "hop-limit": 42,
    "receive-buffer-size": 0x10000,
    "send-buffer-size": 0x10000,
}


@family_checks("tcp-options/defaults", f"{SOURCE}: test_tcp_sockopt_defaults")
def defaults(p: Program, family: Family) -> None:
    """Every option has a default, and all but keep-alive-enabled are above 0."""
    socket = Tcp(p, family)
    socket.has_family()
    p.between("keep-alive-enabled is a bool", socket.get("keep-alive-enabled"), 0, 1)
    for option in EXACT:
        p.at_least(f"the default of {option}", socket.get(option), 1)


@family_checks("tcp-options/zero", f"{SOURCE}: test_tcp_sockopt_input_ranges")
def zero(p: Program, family: Family) -> None:
    """0 is refused by every option but keep-alive-enabled, and changes nothing."""
    socket = Tcp(p, family)
    socket.set("listen-backlog-size", 0, "invalid-argument")
    for option in EXACT:
        before = socket.get(option)
        socket.set(option, 0, "invalid-argument")
        p.equal(f"{option} afterwards", socket.get(option), before)


@family_checks("tcp-options/backlog-range", f"{SOURCE}: test_tcp_sockopt_input_ranges")
def backlog_range(p: Program, family: Family) -> None:
    """Any backlog above 0 is taken, and capped in silence."""
    socket = Tcp(p, family)
    socket.set("listen-backlog-size", 1)
    socket.set("listen-backlog-size", MAX_U64)


@family_checks("tcp-options/time-range", f"{SOURCE}: test_tcp_sockopt_input_ranges")
def time_range(p: Program, family: Family) -> None:
    """A keep-alive time of 1 ns becomes more than 0 and at most 1 s; the largest is taken and clamped in silence."""
    socket = Tcp(p, family)
    for option in ("keep-alive-idle-time", "keep-alive-interval"):
        socket.set(option, 1)
        p.between(f"{option} afterwards", socket.get(option), 1, SECOND)
        socket.set(option, MAX_U64)
        p.at_least(f"{option} afterwards", socket.get(option), SECOND)


@family_checks("tcp-options/count-range", f"{SOURCE}: test_tcp_sockopt_input_ranges")
def count_range(p: Program, family: Family) -> None:
    """A keep-alive count of 1 is taken, and the largest is clamped in silence."""
    socket = Tcp(p, family)
    socket.set("keep-alive-count", 1)
    socket.set("keep-alive-count", 0xFFFF_FFFF)
    p.at_least("keep-alive-count afterwards", socket.get("keep-alive-count"), 1)


@family_checks("tcp-options/hop-limit-range", f"{SOURCE}: test_tcp_sockopt_input_ranges")
def hop_limit_range(p: Program, family: Family) -> None:
    """Every hop limit from 1 to 255 is taken as it is."""
    socket = Tcp(p, family)
    for value in (1, 64, 255):
        socket.set("hop-limit", value)
        p.equal("hop-limit afterwards", socket.get("hop-limit"), value)


@family_checks("tcp-options/buffer-range", f"{SOURCE}: test_tcp_sockopt_input_ranges")
def buffer_range(p: Program, family: Family) -> None:
    """Any buffer size above 0 is taken, and clamped in silence."""
    socket = Tcp(p, family)
    for option in ("receive-buffer-size", "send-buffer-size"):
        socket.set(option, 1)
        p.at_least(f"{option} afterwards", socket.get(option), 1)
        socket.set(option, MAX_U64)
        p.at_least(f"{option} afterwards", socket.get(option), 1)


@family_checks("tcp-options/keep-alive-switch", f"{SOURCE}: test_tcp_sockopt_readback")
def keep_alive_switch(p: Program, family: Family) -> None:
    """keep-alive-enabled reads back as it was set."""
    socket = Tcp(p, family)
    for value in (1, 0, 1):
        socket.set("keep-alive-enabled", value)
        p.equal("keep-alive-enabled afterwards", socket.get("keep-alive-enabled"), value)


@family_checks("tcp-options/readback", f"{SOURCE}: test_tcp_sockopt_readback")
def readback(p: Program, family: Family) -> None:
    """Ordinary values read back exactly."""
    socket = Tcp(p, family)
    for option, value in EXACT.items():
        socket.set(option, value)
        p.equal(f"{option} afterwards", socket.get(option), value)


def _set_all(p: Program, listener: Tcp, switched: Number) -> None:
    listener.set("keep-alive-enabled", switched)
    for option, value in EXACT.items():
        listener.set(option, value)


def _switched(p: Program, listener: Tcp) -> Number:
    """The other value than keep-alive-enabled has."""
    default = listener.get("keep-alive-enabled")
    return p.number("switched", f"(i64.xor (i64.const 1) {default.code})")


def _all_arrived(p: Program, accepted: Tcp, switched: Number) -> None:
    p.equal("keep-alive-enabled of the accepted socket", accepted.get("keep-alive-enabled"), switched)
    for option, value in EXACT.items():
        got = accepted.get(option)
        if option.endswith("buffer-size"):
            p.at_least(f"{option} of the accepted socket", got, value)
        else:
            p.equal(f"{option} of the accepted socket", got, value)


@family_checks("tcp-options/inherited", f"{SOURCE}: test_tcp_sockopt_inheritance")
def inherited(p: Program, family: Family) -> None:
    """An accepted socket has the options of its listener."""
    listener = Tcp(p, family)
    switched = _switched(p, listener)
    _set_all(p, listener, switched)
    listener.bind_loopback()
    listener.listen()
    Tcp(p, family).connect(listener.local_address())
    accepted, _, _ = listener.accept()
    _all_arrived(p, accepted, switched)


@family_checks("tcp-options/inherited-once", f"{SOURCE}: test_tcp_sockopt_inheritance")
def inherited_once(p: Program, family: Family) -> None:
    """What is set on the listener later does not reach a socket accepted before."""
    listener, where = listening(p, family)
    Tcp(p, family).connect(where)
    accepted, _, _ = listener.accept()
    before = {option: accepted.get(option) for option in TCP_OPTIONS}
    _set_all(p, listener, _switched(p, listener))
    for option, value in before.items():
        p.equal(f"{option} of the accepted socket", accepted.get(option), value)


@family_checks("tcp-options/inherited-after-listen", f"{SOURCE}: test_tcp_sockopt_after_listen")
def inherited_after_listen(p: Program, family: Family) -> None:
    """What is set while listening is inherited by sockets accepted later."""
    listener, where = listening(p, family)
    switched = _switched(p, listener)
    _set_all(p, listener, switched)
    Tcp(p, family).connect(where)
    accepted, _, _ = listener.accept()
    _all_arrived(p, accepted, switched)


@family_checks("tcp-options/kept-by-connect", "wasi:sockets/tcp: options belong to the socket in every state")
def kept_by_connect(p: Program, family: Family) -> None:
    """Options set before connecting are there afterwards."""
    _, where = listening(p, family)
    client = Tcp(p, family)
    for option in ("keep-alive-idle-time", "keep-alive-interval", "keep-alive-count", "hop-limit"):
        client.set(option, EXACT[option])
    client.connect(where)
    for option in ("keep-alive-idle-time", "keep-alive-interval", "keep-alive-count", "hop-limit"):
        p.equal(f"{option} afterwards", client.get(option), EXACT[option])
