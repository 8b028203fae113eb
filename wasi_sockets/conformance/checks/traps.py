"""Where a guest that breaks a rule is ended with a trap."""

from wasi_sockets.conformance.check import check
from wasi_sockets.conformance.checks.udp_datagrams import bound, sender
from wasi_sockets.conformance.program import IPV4, Program
from wasi_sockets.conformance.streams import ZEROES
from wasi_sockets.conformance.tcp import Tcp, connected, listening
from wasi_sockets.conformance.udp import Udp

CHILDREN = "has children"
TABLE = "wasmtime ResourceTable: a parent with children cannot be deleted"
HANDLES = "component model, CanonicalABI.md: a handle that is not in the table traps"


@check("traps/empty-poll", "wasmtime p2_pollable_traps", traps="empty poll list")
def empty_poll(p: Program) -> None:
    """Polling an empty list traps."""
    p.traps("poll([])", "(call $poll.poll (i32.const 96) (i32.const 0) (i32.const 16))")


@check("traps/input-before-pollable", "wasmtime p2_stream_pollable_traps", traps=CHILDREN)
def input_before_pollable(p: Program) -> None:
    """Dropping an input stream before its pollable traps."""
    c = connected(p, IPV4)
    c.server_in.subscribe()
    p.traps("dropping the stream", c.server_in.drop_code)


@check("traps/output-before-pollable", "wasmtime p2_stream_pollable_traps", traps=CHILDREN)
def output_before_pollable(p: Program) -> None:
    """Dropping an output stream before its pollable traps."""
    c = connected(p, IPV4)
    c.server_out.subscribe()
    p.traps("dropping the stream", c.server_out.drop_code)


@check("traps/tcp-socket-before-pollable", TABLE, traps=CHILDREN)
def tcp_socket_before_pollable(p: Program) -> None:
    """Dropping a TCP socket before its pollable traps."""
    socket = Tcp(p, IPV4)
    socket.subscribe()
    p.traps("dropping the socket", socket.drop_code)


@check("traps/tcp-socket-before-input", TABLE, traps=CHILDREN)
def tcp_socket_before_input(p: Program) -> None:
    """Dropping a connected socket before its input stream traps."""
    c = connected(p, IPV4)
    c.client_out.drop()
    p.traps("dropping the socket", c.client.drop_code)


@check("traps/tcp-socket-before-output", TABLE, traps=CHILDREN)
def tcp_socket_before_output(p: Program) -> None:
    """Dropping a connected socket before its output stream traps."""
    c = connected(p, IPV4)
    c.client_in.drop()
    p.traps("dropping the socket", c.client.drop_code)


@check("traps/accepted-socket-before-streams", TABLE, traps=CHILDREN)
def accepted_socket_before_streams(p: Program) -> None:
    """Dropping an accepted socket before its streams traps."""
    c = connected(p, IPV4)
    p.traps("dropping the socket", c.server.drop_code)


@check("traps/udp-socket-before-streams", TABLE, traps=CHILDREN)
def udp_socket_before_streams(p: Program) -> None:
    """Dropping a UDP socket before its streams traps."""
    socket, _ = bound(p, IPV4)
    socket.stream()
    p.traps("dropping the socket", socket.drop_code)


@check("traps/udp-socket-before-pollable", TABLE, traps=CHILDREN)
def udp_socket_before_pollable(p: Program) -> None:
    """Dropping a UDP socket before its pollable traps."""
    socket = Udp(p, IPV4)
    socket.subscribe()
    p.traps("dropping the socket", socket.drop_code)


@check("traps/incoming-before-pollable", TABLE, traps=CHILDREN)
def incoming_before_pollable(p: Program) -> None:
    """Dropping an incoming datagram stream before its pollable traps."""
    socket, _ = bound(p, IPV4)
    incoming, _ = socket.stream()
    incoming.subscribe()
    p.traps("dropping the stream", incoming.drop_code)


@check("traps/outgoing-before-pollable", TABLE, traps=CHILDREN)
def outgoing_before_pollable(p: Program) -> None:
    """Dropping an outgoing datagram stream before its pollable traps."""
    socket, _ = bound(p, IPV4)
    _, outgoing = socket.stream()
    outgoing.subscribe()
    p.traps("dropping the stream", outgoing.drop_code)


@check("traps/udp-second-stream", "wasi:sockets/udp stream: traps while the streams before are not dropped",
       traps="streams not dropped")  # fmt: skip
def udp_second_stream(p: Program) -> None:
    """Asking a UDP socket for streams while it has some traps."""
    socket, _ = bound(p, IPV4)
    socket.stream()
    p.traps("stream(none)", f"(drop {socket.stream_code()})")


@check(
    "traps/udp-send-too-much",
    "wasmtime p2_udp_send_too_much",
    traps="unpermitted: argument exceeds permitted size",
)
def udp_send_too_much(p: Program) -> None:
    """Sending one datagram more than check-send permitted traps."""
    _, where = bound(p, IPV4)
    outgoing, _ = sender(p, IPV4, where)
    outgoing.subscribe().wait()
    permit = outgoing.check_send()
    p.between("the permit", permit, 1, 20_000)
    p.traps("send", outgoing.send_code(f"(i32.wrap_i64 (i64.add {permit.code} (i64.const 1)))"))


@check(
    "traps/udp-send-unasked",
    'wasi:sockets/udp send: "traps if not permitted by check-send"',
    traps="unpermitted",
)
def udp_send_unasked(p: Program) -> None:
    """Sending without having asked check-send traps."""
    _, where = bound(p, IPV4)
    outgoing, _ = sender(p, IPV4, where)
    p.traps("send", outgoing.send_code("(i32.const 1)"))


@check("traps/udp-permit-used-up", "wasi:sockets/udp send: each send uses the permit", traps="unpermitted")
def udp_permit_used_up(p: Program) -> None:
    """A permit is used up by sending."""
    _, where = bound(p, IPV4)
    outgoing, _ = sender(p, IPV4, where)
    outgoing.subscribe().wait()
    permit = outgoing.check_send()
    p.between("the permit", permit, 1, 20_000)
    outgoing.send_once([(b"x", None)])
    outgoing.sent(1)
    p.traps("send", outgoing.send_code(f"(i32.wrap_i64 {permit.code})"))


@check("traps/write-unpermitted", "wasi:io/streams write: traps beyond the permit of check-write", traps="")
def write_unpermitted(p: Program) -> None:
    """Writing a byte when check-write permits none traps."""
    c = connected(p, IPV4)
    c.client_out.fill_up(1 << 26)
    p.equal("the permit", c.client_out.check_write(), 0)
    p.traps("write", f"(drop (call $write {c.client_out.code} (i32.const {ZEROES}) (i32.const 1)))")


@check("traps/write-zeroes-too-much", "wasi:io/streams write-zeroes: as write", traps="")
def write_zeroes_too_much(p: Program) -> None:
    """Writing one zero more than check-write permitted traps."""
    c = connected(p, IPV4)
    permit = c.client_out.check_write()
    p.traps(
        "write-zeroes",
        f"(call $output.write-zeroes {c.client_out.code} (i64.add {permit.code} (i64.const 1)) (i32.const 16))",
    )


@check(
    "traps/blocking-write-too-large",
    "wasi:io/streams blocking-write-and-flush: at most 4096 bytes",
    traps="4096",
)
def blocking_write_too_large(p: Program) -> None:
    """blocking-write-and-flush of 4,097 bytes traps."""
    c = connected(p, IPV4)
    p.traps(
        "blocking-write-and-flush",
        f"(call $output.blocking-write-and-flush {c.client_out.code} (i32.const {ZEROES}) (i32.const 4097)"
        " (i32.const 16))",
    )


@check(
    "traps/blocking-zeroes-too-large",
    "wasi:io/streams blocking-write-zeroes-and-flush: at most 4096",
    traps="4096",
)
def blocking_zeroes_too_large(p: Program) -> None:
    """blocking-write-zeroes-and-flush of 4,097 bytes traps."""
    c = connected(p, IPV4)
    p.traps(
        "blocking-write-zeroes-and-flush",
        f"(call $output.blocking-write-zeroes-and-flush {c.client_out.code} (i64.const 4097) (i32.const 16))",
    )


@check("traps/dropped-socket", HANDLES, traps="")
def dropped_socket(p: Program) -> None:
    """Using a socket that was dropped traps."""
    socket = Tcp(p, IPV4)
    socket.drop()
    p.traps("is-listening", f"(drop (call $tcp.is-listening {socket.code}))")


@check("traps/dropped-twice", HANDLES, traps="")
def dropped_twice(p: Program) -> None:
    """Dropping a socket twice traps."""
    socket = Tcp(p, IPV4)
    socket.drop()
    p.traps("dropping it again", socket.drop_code)


@check("traps/dropped-stream", HANDLES, traps="")
def dropped_stream(p: Program) -> None:
    """Using a stream that was dropped traps."""
    c = connected(p, IPV4)
    c.client_in.drop()
    p.traps("read", f"(drop (call $read {c.client_in.code} (i64.const 1)))")


@check("traps/dropped-pollable", HANDLES, traps="")
def dropped_pollable(p: Program) -> None:
    """Using a pollable that was dropped traps."""
    listener, _ = listening(p, IPV4)
    pollable = listener.subscribe()
    pollable.drop()
    p.traps("ready", f"(drop (call $pollable.ready {pollable.code}))")


@check("traps/forged-handle", HANDLES, traps="")
def forged_handle(p: Program) -> None:
    """A handle that was never given out traps."""
    p.traps("address-family", "(drop (call $tcp.address-family (i32.const 123456)))")


@check("traps/wrong-resource", HANDLES, traps="")
def wrong_resource(p: Program) -> None:
    """A UDP socket given as a TCP socket traps."""
    socket = Udp(p, IPV4)
    p.traps("tcp-socket.is-listening", f"(drop (call $tcp.is-listening {socket.code}))")


@check(
    "traps/pointer-out-of-range",
    "component model, CanonicalABI.md: pointers outside of memory trap",
    traps="",
)
def pointer_out_of_range(p: Program) -> None:
    """A list that reaches beyond the guest's memory traps."""
    c = connected(p, IPV4)
    c.client_out.check_write()
    p.traps("write", f"(drop (call $write {c.client_out.code} (i32.const 4194300) (i32.const 8)))")
