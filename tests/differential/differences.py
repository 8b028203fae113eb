"""The differences to the kernel that are meant, each with its reason. What is not here is a bug.

A source that is only a function is Linux' source code: `net/ipv4/tcp.c`, `tcp_input.c`, `tcp_ipv4.c`, `af_inet.c`,
`inet_connection_sock.c`, `udp.c`, `datagram.c`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.differential import situations
from tests.differential.operations import (
    Abort,
    Accept,
    Address,
    Bind,
    Close,
    Connect,
    Disconnect,
    Drain,
    Flood,
    GetOption,
    Listen,
    LocalAddress,
    Open,
    Operation,
    PortOf,
    Receive,
    RemoteAddress,
    Send,
    SendTo,
    SetOption,
    Shutdown,
)
from tests.differential.situations import Situation

__all__ = ["DIFFERENCES", "Difference"]


@dataclass(frozen=True)
class Difference:
    """One meant difference.

    Attributes:
        name: what reports call it.
        why: what differs and why it is meant.
        source: who says so.
        applies: whether it is this.
        example: a sequence that meets it.
        world: in which world the example does.
        ends: the worlds have nothing in common afterwards, so that the sequence is left there.
        reconcile: makes the kernel's world follow ours.
        at_once: waiting could not change it.
    """

    name: str
    why: str
    source: str
    applies: Callable[[Situation], bool]
    example: list[Operation]
    world: str = "core"
    ends: bool = False
    reconcile: Callable[[Situation], None] | None = None
    at_once: bool = True


def _at(port: int | PortOf, ip: str = "127.0.0.1") -> Address:
    return Address(ip, port)


_LISTENER: Final[list[Operation]] = [Open(0), Bind(0, _at(0)), Listen(0, 1)]
#: 0 listens, 1 has connected and 2 is its other end.
_PAIR: Final[list[Operation]] = [*_LISTENER, Open(1), Connect(1, _at(PortOf(0))), Accept(0, 2)]
_UDP_PAIR: Final[list[Operation]] = [Open(0, "udp"), Bind(0, _at(0)), Open(1, "udp"), Bind(1, _at(0))]

DIFFERENCES: Final = [
    Difference(
        "buffer-sizes",
        "How much is taken before the writer has to wait depends on buffers that the kernel sizes as it likes.",
        "Network(buffer_size=...); tcp(7), tcp_rmem and tcp_wmem",
        situations.is_capacity,
        [*_PAIR, Flood(1), Drain(2), Send(1, 10), Receive(2)],
    ),
    Difference(
        "one-more-in-the-queue",
        "Linux queues one connection more than listen was told; here the backlog is what it says.",
        "sk_acceptq_is_full: queued > backlog",
        situations.is_one_more,
        [*_LISTENER, Open(1), Connect(1, _at(PortOf(0))), Open(2), Connect(2, _at(PortOf(0)))],
        reconcile=situations.widen,
    ),
    Difference(
        "connects-wait-for-a-retransmission",
        "A connect that found the queue full learns at its next SYN, a second later, what became of it. Here at once.",
        "tcp_conn_request drops the SYN; RFC 6298, 2.1",
        situations.waits_for_retransmission,
        [
            *_LISTENER,
            Open(1),
            Connect(1, _at(PortOf(0))),
            Open(2),
            Connect(2, _at(PortOf(0))),
            Open(3),
            Connect(3, _at(PortOf(0))),
            Accept(0, 4),
        ],
        ends=True,
    ),
    Difference(
        "addresses-are-not-shared",
        "Under SO_REUSEADDR, which wasmtime sets, Linux lets sockets share an address as long as none of them listens.",
        "inet_csk_bind_conflict; PortTable",
        situations.shares_address,
        [Open(0), Bind(0, _at(0)), Open(1), Bind(1, _at(PortOf(0)))],
        reconcile=situations.reopen,
    ),
    Difference(
        "nobody-connects-to-itself",
        "A socket that connects to its own address succeeds by TCP's simultaneous open. Here nobody listens there.",
        "RFC 9293, 3.5, figure 7",
        situations.is_self_connect,
        [Open(0), Bind(0, _at(0)), Connect(0, _at(PortOf(0)))],
        reconcile=situations.leave,
    ),
    Difference(
        "a-reset-lasts",
        "Linux reports a reset once, then the end of the stream or a broken pipe. Here every later operation says it: "
        "there may be two streams, each of which has to learn it.",
        "sock_error clears the error; Pipe.reset",
        situations.kernel_has_told,
        [*_PAIR, Send(1, 10), Close(2), Receive(1), Receive(1)],
    ),
    Difference(
        "a-reset-overtakes-a-flood",
        "While the reader has no room, Linux keeps what was written last, and the end of the stream, at a sender that "
        "has closed; a reset of the connection makes an end of that. Here what was written before a close arrives.",
        "tcp_reset purges the write queue; TcpConnection.close",
        situations.resets_a_flood,
        [*_PAIR, Flood(2), Close(2), Send(1, 10)],
        ends=True,
    ),
    Difference(
        "the-first-write-to-nobody-fails",
        "A sender learns that the peer has closed from the answer to what it sends, so that Linux takes one write too "
        "many. Here it knows at once.",
        "tcp_rcv_state_process, RFC 1122, 4.2.2.13; TcpConnection.close",
        situations.sends_too_late,
        [*_PAIR, Close(2), Send(1, 10), Send(1, 10)],
    ),
    Difference(
        "shut-receive-discards",
        "After SHUT_RD Linux gives what was queued and what comes. WASI says that it is discarded.",
        "wasi:sockets/tcp@0.2.12, shutdown; p2_tcp_streams",
        lambda situation: False,  # the kernel's world throws it away, and counts
        [*_PAIR, Send(1, 10), Shutdown(2, "receive"), Receive(2), Send(1, 10), Receive(2)],
    ),
    Difference(
        "shutting-what-is-over",
        "Shutting down twice changes nothing (WASI); Linux says ENOTCONN when the connection has ended meanwhile.",
        "wasi:sockets/tcp@0.2.12, shutdown; inet_shutdown",
        situations.shuts_what_is_over,
        [*_PAIR, Close(2), Shutdown(1, "send"), Shutdown(1, "both")],
        reconcile=situations.shut_receive,
    ),
    Difference(
        "data-for-a-peer-that-shut-both",
        "Linux resets a connection when data comes after both its halves were shut. Here it is discarded, as after "
        "SHUT_RD alone.",
        "tcp_rcv_state_process, RCV_SHUTDOWN in FIN_WAIT2; wasi:sockets/tcp@0.2.12, shutdown",
        situations.has_shut_both,
        [*_PAIR, Shutdown(2, "both"), Send(1, 10), Send(1, 10)],
        ends=True,
    ),
    Difference(
        "an-abort-loses-what-is-queued",
        "Linux gives what came before a reset. Here an abort is a guest that was killed, and what it wrote last may be "
        "half of something.",
        "tcp_reset keeps the receive queue; Pipe.abort",
        situations.lost_its_queue,
        [*_PAIR, Send(2, 10), Abort(2)],
        reconcile=situations.drop_queue,
    ),
    Difference(
        "a-peer-keeps-its-name",
        "Linux forgets who the peer was when a connection is over; a log line wants to know.",
        "inet_getname: ENOTCONN in TCP_CLOSE",
        situations.has_no_peer_any_more,
        [*_PAIR, Send(1, 10), Close(2), RemoteAddress(1)],
    ),
    Difference(
        "what-is-over-stays-over",
        "Linux lets a socket whose connection is over begin anew. WASI's stays connected until it is dropped.",
        "tcp_states.py, rule 9",
        situations.begins_anew,
        [*_PAIR, Abort(1), Receive(2), Bind(2, _at(0))],
        "wasi",
        ends=True,
    ),
    Difference(
        "no-address-before-bind",
        "Linux gives 0.0.0.0:0, WASI invalid-state; while connecting too, unless it was bound.",
        "wasi:sockets/tcp@0.2.12 and udp, local-address; tcp_states.py, rule 10",
        situations.has_no_address_yet,
        [Open(0), LocalAddress(0)],
        "wasi",
    ),
    Difference(
        "an-explicit-bind-is-wanted",
        "Linux binds a socket that listens or, for UDP, connects unbound. WASI wants it done.",
        "wasi:sockets/tcp@0.2.12, start-listen, and udp, stream; tcp_states.py, rule 8",
        situations.wants_bind,
        [Open(0), Listen(0, 1)],
        "wasi",
        reconcile=situations.reopen,
    ),
    Difference(
        "listening-twice",
        "Linux takes a second listen as a new backlog; WASI has a function for that.",
        "wasi:sockets/tcp@0.2.12, start-listen and set-listen-backlog-size",
        situations.listens_again,
        [*_LISTENER, Listen(0, 2)],
        "wasi",
        reconcile=situations.set_backlog,
    ),
    Difference(
        "shutting-what-is-not-connected",
        "Linux stops listening, or connecting, when told to shut down. WASI says invalid-state.",
        "wasi:sockets/tcp@0.2.12, shutdown; inet_shutdown",
        situations.shuts_what_is_not_connected,
        [*_LISTENER, Shutdown(0, "both")],
        "wasi",
        ends=True,
    ),
    Difference(
        "no-destination-at-all",
        "The unspecified address and port 0 are no destinations in WASI. To Linux the first means this host.",
        "wasi:sockets/tcp@0.2.12, start-connect, and udp, stream and send",
        situations.refuses_the_argument,
        [*_LISTENER, Open(1), Connect(1, _at(PortOf(0), "0.0.0.0"))],
        "wasi",
        ends=True,
    ),
    Difference(
        "udp-port-0-is-no-peer",
        "Linux connects a UDP socket to port 0, where nothing can be.",
        "__ip4_datagram_connect; UdpEndpoint.connect",
        situations.is_udp_port_zero,
        [Open(0, "udp"), Bind(0, _at(0)), Connect(0, _at(0))],
        ends=True,
    ),
    Difference(
        "connected-means-to-the-peer-only",
        "Linux lets a connected UDP socket send elsewhere, WASI does not.",
        "wasi:sockets/udp@0.2.12, send; udp_states.py, rule 13",
        situations.names_another,
        [*_UDP_PAIR, Connect(0, _at(PortOf(1))), SendTo(0, 10, _at(PortOf(0)))],
        "wasi",
        ends=True,
    ),
    Difference(
        "udp-connect-drops-strangers",
        "Linux gives what others sent before the socket was connected; wasmtime hides it.",
        "p2_udp_stream; UdpEndpoint, rule 4",
        lambda situation: False,  # the kernel's world throws it away, and counts
        [*_UDP_PAIR, SendTo(1, 10, _at(PortOf(0))), Connect(0, _at(PortOf(0))), Receive(0)],
    ),
    Difference(
        "udp-disconnect-keeps-the-port",
        "Linux takes back a port that it chose itself when a UDP socket is disconnected. WASI keeps it.",
        "__udp_disconnect; p2_udp_connect; UdpEndpoint, rule 6",
        situations.lost_its_port,
        [*_UDP_PAIR, Connect(0, _at(PortOf(1))), Disconnect(0), SendTo(1, 10, _at(PortOf(0))), Receive(0)],
        reconcile=situations.bind_again,
    ),
    Difference(
        "one-of-two-faults",
        "A datagram that is too large and has no destination either gives one error or the other.",
        "udp_sendmsg, udpv6_sendmsg; datagrams.py, rule 7",
        situations.has_two_faults,
        [Open(0, "udp"), Bind(0, _at(0)), Send(0, 65_508)],
    ),
    Difference(
        "options-are-clamped",
        "A value that the system cannot have is replaced by the nearest that it can, never refused; but 0 always is.",
        "wasi:sockets/tcp@0.2.12, at each setter; options.py, rules 1 and 2",
        situations.is_out_of_range,
        [Open(0), SetOption(0, "hop-limit", 300), GetOption(0, "hop-limit")],
        "wasi",
        reconcile=situations.set_what_we_have,
    ),
    Difference(
        "options-are-inherited-at-accept",
        "Linux gives a connection the options that its listener had when the client came, WASI those that it has when "
        "the client is accepted.",
        "wasi:sockets/tcp@0.2.12, accept; options.py, rule 5",
        situations.is_inherited_at_accept,
        [
            *_LISTENER,
            Open(1),
            Connect(1, _at(PortOf(0))),
            SetOption(0, "hop-limit", 9),
            Accept(0, 2),
            GetOption(2, "hop-limit"),
        ],
        "wasi",
    ),
]
