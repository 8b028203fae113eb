"""Pollables: of sockets, of streams, of timers, together."""

from wasi_sockets.conformance.check import check
from wasi_sockets.conformance.program import IPV4, Pollable, Program
from wasi_sockets.conformance.tcp import Tcp, connected, listening

POLL = "wasi:io/poll"
MILLISECOND = 1_000_000


def timer(p: Program, nanoseconds: int) -> Pollable:
    """A pollable that is ready after that time."""
    return Pollable(p, f"(call $clock.subscribe-duration (i64.const {nanoseconds}))")


def poll(p: Program, *pollables: Pollable) -> None:
    """Polls these; the result is at 16, a place and a count."""
    p.emit("(call $forget)")
    at = p.slot(4 * len(pollables))
    for number, each in enumerate(pollables):
        p.emit(f"(i32.store (i32.const {at + 4 * number}) {each.code})")
    p.emit(f"(call $poll.poll (i32.const {at}) (i32.const {len(pollables)}) (i32.const 16))")


def ready_are(p: Program, *indices: int) -> None:
    """Steps: the last poll gave exactly these, in any order."""
    p.equal("how many are ready", "(i64.load32_u (i32.const 20))", len(indices))
    for index in indices:
        p.equal(f"whether {index} is one of them", f"(call $has-index (i32.const {index}))", 1)


@check("poll/several", f'{POLL} poll: "the indices of pollables that are ready"')
def several(p: Program) -> None:
    """Poll gives the index of each ready pollable, and only those."""
    c = connected(p, IPV4)
    c.client_out.write_all(b"x")
    c.server_in.subscribe().wait()
    ready, idle, writable = c.server_in.subscribe(), c.client_in.subscribe(), c.client_out.subscribe()
    poll(p, idle, ready, writable)
    ready_are(p, 1, 2)


@check("poll/same-twice", "wasmtime p2_pollable_correct")
def same_twice(p: Program) -> None:
    """The same pollable may be given twice, and several pollables of the same stream too."""
    c = connected(p, IPV4)
    c.client_out.write_all(b"x")
    one, two = c.server_in.subscribe(), c.server_in.subscribe()
    one_more = c.server_in.subscribe()
    one_more.wait()
    poll(p, one, two, one, two)
    ready_are(p, 0, 1, 2, 3)


@check("poll/used-many-times", "wasmtime p2_stream_pollable_correct")
def used_many_times(p: Program) -> None:
    """A pollable can be blocked on many times; it is ready after that."""
    c = connected(p, IPV4)
    pollable = c.client_out.subscribe()
    for _ in range(9):
        pollable.block()
        pollable.ready(True)
        p.at_least("the permit", c.client_out.check_write(), 50)
        c.client_out.write(b"a" * 50)
    pollable.drop()
    c.client.shutdown("send")
    c.server_in.reads_to_end(450)


@check("poll/timer-and-socket", f"{POLL} poll: blocks until at least one is ready")
def timer_and_socket(p: Program) -> None:
    """A timer ends a poll on a socket on which nothing happens."""
    listener, _ = listening(p, IPV4)
    idle, clock = listener.subscribe(), timer(p, 10 * MILLISECOND)
    poll(p, idle, clock)
    ready_are(p, 1)


@check("poll/timer-is-not-early", "wasi:clocks/monotonic-clock subscribe-duration")
def timer_is_not_early(p: Program) -> None:
    """A poll on a timer takes at least the time of the timer."""
    before = p.number("before", "(call $clock.now)")
    clock = timer(p, 10 * MILLISECOND)
    clock.ready(False)
    clock.block()
    clock.ready(True)
    p.at_least("nanoseconds", f"(i64.sub (call $clock.now) {before.code})", 10 * MILLISECOND)


@check("poll/many-sockets", f"{POLL} poll")
def many_sockets(p: Program) -> None:
    """One poll over a hundred sockets finds the one that has something."""
    listener, where = listening(p, IPV4)
    client = Tcp(p, IPV4)
    _, outgoing = client.connect(where)
    _, incoming, _ = listener.accept()
    at = p.slot(400)
    pollables = [incoming.subscribe()] + [listener.subscribe() for _ in range(99)]
    outgoing.write_all(b"x")
    for number, each in enumerate(reversed(pollables)):
        p.emit(f"(i32.store (i32.const {at + 4 * number}) {each.code})")
    p.emit(f"(call $poll.poll (i32.const {at}) (i32.const 100) (i32.const 16))")
    ready_are(p, 99)


@check("poll/wake-up", f"{POLL} block; wasi:sockets/tcp subscribe")
def wake_up(p: Program) -> None:
    """Blocking on a listener with a client in its queue returns, and the accept then succeeds."""
    listener, where = listening(p, IPV4)
    Tcp(p, IPV4).connect(where)
    pollable = listener.subscribe()
    pollable.block()
    listener.no_accept("ok")
