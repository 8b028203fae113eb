"""The streams of TCP connections: data, ends, shutting down, back-pressure."""

from wasi_sockets.conformance.check import family_checks
from wasi_sockets.conformance.program import Family, Program
from wasi_sockets.conformance.streams import ZEROES
from wasi_sockets.conformance.tcp import Tcp, connected, listening

STREAMS = "wasmtime p2_tcp_streams"
SAMPLE = "wasmtime p2_tcp_sample_application"
WIT = "wasi:io/streams"
TEXT = b"Lorem ipsum dolor sit amet, consectetur adipiscing elit"


@family_checks(
    "tcp-streams/remote-shutdown", f"{STREAMS}: test_tcp_input_stream_should_be_closed_by_remote_shutdown"
)
def remote_shutdown(p: Program, family: Family) -> None:
    """When the peer has shut down and gone, reading gives closed at once, also of 0 bytes, and not an empty list."""
    c = connected(p, family)
    c.server.shutdown("both")
    c.drop_server()
    c.client_in.subscribe().wait()
    c.client_in.read(10, "closed")
    c.client_in.read(0, "closed")


@family_checks(
    "tcp-streams/local-shutdown-receive",
    f"{STREAMS}: test_tcp_input_stream_should_be_closed_by_local_shutdown",
)
def local_shutdown_receive(p: Program, family: Family) -> None:
    """After shutdown(receive) reading gives closed, even with data in the queue, which Linux would still give."""
    c = connected(p, family)
    c.server_out.write_all(TEXT)
    c.client_in.subscribe().wait()
    c.client.shutdown("receive")
    c.client_in.read(10, "closed")
    c.client_in.read(0, "closed")


@family_checks("tcp-streams/shutdown-receive-keeps-sending", "wasi:sockets/tcp shutdown: one direction")
def shutdown_receive_keeps_sending(p: Program, family: Family) -> None:
    """After shutdown(receive) the other direction still works."""
    c = connected(p, family)
    c.client.shutdown("receive")
    c.client_out.write_all(TEXT)
    c.server_in.blocking_read(len(TEXT))
    c.server_in.got(TEXT)


@family_checks(
    "tcp-streams/local-shutdown-send", f"{STREAMS}: test_tcp_output_stream_should_be_closed_by_local_shutdown"
)
def local_shutdown_send(p: Program, family: Family) -> None:
    """After shutdown(send) write, check-write and flush give closed, although the stream was writable."""
    c = connected(p, family)
    p.at_least("the permit", c.client_out.check_write(), 3)
    c.client.shutdown("send")
    c.client_out.write(b"Hi!", "closed")
    c.client_out.check_write("closed")
    c.client_out.flush("closed")


@family_checks("tcp-streams/half-close", "wasi:sockets/tcp shutdown: send is a FIN, and receiving goes on")
def half_close(p: Program, family: Family) -> None:
    """After shutdown(send) the peer reads what was sent and then the end, and can still answer."""
    c = connected(p, family)
    c.client_out.write_all(b"question")
    c.client.shutdown("send")
    c.server_in.blocking_read(8)
    c.server_in.got(b"question")
    c.server_in.blocking_read(1, "closed")
    c.server_out.write_all(b"answer")
    c.client_in.blocking_read(6)
    c.client_in.got(b"answer")


@family_checks("tcp-streams/shutdown-twice", 'wasi:sockets/tcp shutdown: "returns ok" when already shut down')
def shutdown_twice(p: Program, family: Family) -> None:
    """Shutting down what is shut down already succeeds."""
    c = connected(p, family)
    for how in ("send", "send", "receive", "receive", "both"):
        c.client.shutdown(how)


@family_checks("tcp-streams/shutdown-loses-nothing", f"{STREAMS}: test_tcp_shutdown_should_not_lose_data")
def shutdown_loses_nothing(p: Program, family: Family) -> None:
    """A write larger than the send buffer arrives whole when shutdown(send) follows at once."""
    c = connected(p, family)
    c.client.set("send-buffer-size", 1024)
    small = c.client.get("send-buffer-size")
    permit = c.client_out.check_write()
    limit = f"(i64.mul (i64.const 100) {small.code})"
    size = p.number("size", f"(select {permit.code} {limit} (i64.lt_u {permit.code} {limit}))")
    p.equal("whether the permit is more than the send buffer",
            f"(i64.extend_i32_u (i64.gt_u {size.code} {small.code}))", 1)  # fmt: skip
    c.client_out.write_from("that many zeroes", f"(i32.const {ZEROES}) (i32.wrap_i64 {size.code})")
    c.client.shutdown("send")
    c.server_in.reads_to_end(size)


@family_checks(
    "tcp-streams/drop-before-accept", f"{SAMPLE}: the client is gone before its connection is accepted"
)
def drop_before_accept(p: Program, family: Family) -> None:
    """What a client wrote before it went, before the accept, is still read; twice."""
    listener, where = listening(p, family)
    for message in (b"Hello, world!", b"Greetings, planet!"):
        client = Tcp(p, family)
        incoming, outgoing = client.connect(where)
        outgoing.write_all(message)
        for each in (incoming, outgoing, client):
            each.drop()
        accepted, server_in, server_out = listener.accept()
        server_in.blocking_read(len(message))
        server_in.got(message)
        for each in (server_in, server_out, accepted):
            each.drop()


@family_checks("tcp-streams/empty-write", f"{SAMPLE}: blocking_write_util(&[])")
def empty_write(p: Program, family: Family) -> None:
    """Writing nothing succeeds and sends nothing."""
    c = connected(p, family)
    c.client_out.check_write()
    c.client_out.write(b"")
    c.client_out.blocking_write(b"")
    c.client_out.write_all(b"x")
    c.server_in.blocking_read(10)
    c.server_in.got(b"x")


@family_checks("tcp-streams/read-0", f"{SAMPLE}: input.read(0)")
def read_0(p: Program, family: Family) -> None:
    """Reading 0 bytes of an open connection gives an empty list, with and without data in the queue."""
    c = connected(p, family)
    c.server_in.read(0)
    c.server_in.got(b"")
    c.client_out.write_all(b"data")
    c.server_in.subscribe().wait()
    c.server_in.read(0)
    c.server_in.got(b"")
    c.server_in.read(4)
    c.server_in.got(b"data")


@family_checks("tcp-streams/nothing-to-read", f'{WIT} read: "empty when there is nothing"')
def nothing_to_read(p: Program, family: Family) -> None:
    """Reading an open connection on which nothing came gives an empty list, and its pollable is not ready."""
    c = connected(p, family)
    c.server_in.read(100)
    c.server_in.got(b"")
    c.server_in.subscribe().ready(False)


@family_checks("tcp-streams/input-pollable", f"{WIT} subscribe: ready once bytes are there or the end")
def input_pollable(p: Program, family: Family) -> None:
    """A pollable of the input becomes ready with data, is not when it was read, and is again at the end."""
    c = connected(p, family)
    pollable = c.server_in.subscribe()
    pollable.ready(False)
    c.client_out.write_all(b"1234")
    c.server_in.subscribe().wait()
    pollable.ready(True)
    c.server_in.read(4)
    c.server_in.got(b"1234")
    c.server_in.read(4)  # a host may learn only now that there is no more
    c.server_in.got(b"")
    pollable.ready(False)
    c.client.shutdown("send")
    c.server_in.subscribe().wait()
    pollable.ready(True)
    c.server_in.read(1, "closed")


@family_checks("tcp-streams/both-directions", "wasi:sockets/tcp: a connection is a pair of byte streams")
def both_directions(p: Program, family: Family) -> None:
    """Bytes of every value arrive, in order, in both directions."""
    data = bytes(range(256)) * 4
    c = connected(p, family)
    c.client_out.write_all(data)
    c.server_out.write_all(data[::-1])
    c.server_in.blocking_read(len(data))
    c.server_in.got(data)
    c.client_in.blocking_read(len(data))
    c.client_in.got(data[::-1])


@family_checks("tcp-streams/short-reads", f'{WIT} read: "up to" len bytes')
def short_reads(p: Program, family: Family) -> None:
    """Reading less than what is there leaves the rest for the next read; reading more gives what is there."""
    c = connected(p, family)
    c.client_out.write_all(b"abcdefgh")
    c.server_in.subscribe().wait()
    c.server_in.read(3)
    c.server_in.got(b"abc")
    c.server_in.read(1000)
    c.server_in.got(b"defgh")


@family_checks(
    "tcp-streams/back-pressure", f"{WIT} check-write: 0 when not ready; wasmtime p2 TcpOutputStream"
)
def back_pressure(p: Program, family: Family) -> None:
    """A peer that reads nothing stops the writer, within 64 MiB; all it took arrives in the end."""
    c = connected(p, family)
    filled = c.client_out.fill_up(1 << 26)
    p.between("bytes taken before it stops", filled, 1, (1 << 26) - 1)
    c.client_out.subscribe().ready(False)
    c.client.shutdown("send")
    c.server_in.reads_to_end(filled)


@family_checks("tcp-streams/room-again", f"{WIT} subscribe: ready once a write is permitted")
def room_again(p: Program, family: Family) -> None:
    """A writer that was stopped goes on when the peer has read."""
    c = connected(p, family)
    c.client_out.fill_up(1 << 26)
    pollable = c.client_out.subscribe()
    pollable.ready(False)
    p.emit(f"(loop $drain (if (i64.eqz (call $read {c.server_in.code} (i64.const 65536))) (then"
           " (if (i32.load (i32.const 24)) (then (br $drain))))))")  # fmt: skip
    pollable.wait()
    p.at_least("the permit", c.client_out.check_write(), 1)


@family_checks("tcp-streams/writable-at-once", f"{WIT} check-write")
def writable_at_once(p: Program, family: Family) -> None:
    """A new connection takes data at once, in both directions."""
    c = connected(p, family)
    for out in (c.client_out, c.server_out):
        out.subscribe().wait()
        p.at_least("the permit", out.check_write(), 1)


@family_checks("tcp-streams/flush", f"{WIT} flush, blocking-flush")
def flush(p: Program, family: Family) -> None:
    """Flushing succeeds with and without data under way."""
    c = connected(p, family)
    c.client_out.flush()
    c.client_out.subscribe().wait()
    c.client_out.blocking_flush()
    c.client_out.check_write()
    c.client_out.write(b"flushed")
    c.client_out.blocking_flush()
    c.server_in.blocking_read(7)
    c.server_in.got(b"flushed")


@family_checks("tcp-streams/blocking-write", f"{WIT} blocking-write-and-flush: up to 4096 bytes")
def blocking_write(p: Program, family: Family) -> None:
    """blocking-write-and-flush takes 4,096 bytes."""
    data = bytes(range(256)) * 16
    c = connected(p, family)
    c.client_out.blocking_write(data)
    c.client.shutdown("send")
    c.server_in.reads_to_end(4096)


@family_checks("tcp-streams/write-zeroes", f"{WIT} write-zeroes, blocking-write-zeroes-and-flush")
def write_zeroes(p: Program, family: Family) -> None:
    """Zeroes arrive as if they had been written."""
    c = connected(p, family)
    c.client_out.check_write()
    c.client_out.write_zeroes(5)
    c.client_out.write_zeroes(7, blocking=True)
    c.client.shutdown("send")
    c.server_in.blocking_read(5)
    c.server_in.got(bytes(5))
    c.server_in.reads_to_end(7)


@family_checks("tcp-streams/skip", f"{WIT} skip, blocking-skip")
def skip(p: Program, family: Family) -> None:
    """Skipped bytes are gone, and the next ones are read."""
    c = connected(p, family)
    c.client_out.write_all(b"abcdefgh")
    c.server_in.subscribe().wait()
    c.server_in.skip(3, 3)
    c.server_in.skip(2, 2, blocking=True)
    c.server_in.read(10)
    c.server_in.got(b"fgh")


@family_checks("tcp-streams/splice", f"{WIT} splice, blocking-splice")
def splice(p: Program, family: Family) -> None:
    """An echo made of splices gives back what was sent."""
    c = connected(p, family)
    for data, blocking in ((b"spliced", False), (b"blocking", True)):
        c.client_out.write_all(data)
        c.server_in.subscribe().wait()
        c.server_out.check_write()
        c.server_out.splice(c.server_in, 100, len(data), blocking=blocking)
        c.server_out.subscribe().wait()
        c.server_out.blocking_flush()
        c.client_in.blocking_read(100)
        c.client_in.got(data)


@family_checks("tcp-streams/reset", "Linux close(2) with unread data: RST; wasi:io stream-error")
def reset(p: Program, family: Family) -> None:
    """A peer that goes with unread data ends the connection: reading fails or is closed, and writing too, at last."""
    c = connected(p, family)
    c.client_out.write_all(TEXT)
    c.server_in.subscribe().wait()
    c.drop_server()
    c.client_in.subscribe().wait()
    c.client_in.read(10, "last-operation-failed", "closed")
    c.client_in.read(10, "closed")


@family_checks("tcp-streams/write-after-peer-left", "wasmtime p2 TcpOutputStream; Linux EPIPE, ECONNRESET")
def write_after_peer_left(p: Program, family: Family) -> None:
    """Writing to a peer that has gone fails after some writes."""
    c = connected(p, family)
    c.drop_server()
    c.client_in.subscribe().wait()
    # The first write makes the peer answer with a reset; when that is seen is up to the host.
    p.expect(
        "writing until it fails",
        f"(call $write-until-error {c.client_out.code})",
        ("closed", "last-operation-failed"),
    )


@family_checks("tcp-streams/after-socket-option", "wasi:sockets/tcp: setters are legal when connected")
def after_socket_option(p: Program, family: Family) -> None:
    """Changing buffer sizes of an open connection loses nothing."""
    c = connected(p, family)
    c.client_out.write_all(b"before ")
    for option in ("receive-buffer-size", "send-buffer-size"):
        c.client.set(option, 4096)
        c.server.set(option, 4096)
    c.client_out.write_all(b"after")
    c.client.shutdown("send")
    c.server_in.reads_to_end(12)


@family_checks("tcp-streams/busy-poll", "wasmtime p2_tcp_busy_poll")
def busy_poll(p: Program, family: Family) -> None:
    """Polling with a timer of no length does not keep data from coming: a million polls are enough, twenty times."""
    listener, where = listening(p, family)
    client = Tcp(p, family)
    _, outgoing = client.connect(where)
    _, incoming, _ = listener.accept()
    for _ in range(20):
        outgoing.write_all(b"Hello, world!")
        p.between("polls", f"(call $busy-poll {incoming.code})", 1, 999_999)
        incoming.read(13)
        incoming.got(b"Hello, world!")
