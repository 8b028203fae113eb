"""Where two worlds differ, and which of the meant differences it is: what the entries of `differences.py` ask."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from tests.differential.operations import (
    Accept,
    Bind,
    Connect,
    Disconnect,
    Drain,
    Flood,
    GetOption,
    Listen,
    LocalAddress,
    Operation,
    PortOf,
    Receive,
    RemoteAddress,
    Send,
    SendTo,
    SetOption,
    Shutdown,
)
from tests.differential.outcomes import DONE, END, WOULD_BLOCK, Observation, Outcome
from wasi_sockets.sockets import from_os_error

if TYPE_CHECKING:
    from tests.differential.kernel import KernelWorld
    from tests.differential.virtual import VirtualSocket, VirtualWorld
    from wasi_sockets.network import TcpBacklog


#: More bytes than a sequence sends otherwise: they are of a flood.
FLOOD: Final = 16_000


@dataclass(slots=True)
class Situation:
    """Where two worlds differ.

    Attributes:
        operation: the last one.
        phase: of its socket, before it.
        world: the name of the virtual one.
        theirs: what the kernel gave.
        ours: what the virtual network gave.
        kernel: the kernel's world.
        virtual: ours.
        socket: our socket, before the operation.
        seen: when it was a look at all sockets that differed: the number of the first that does, and what was
            seen of it there and here.
    """

    operation: Operation
    phase: str
    world: str
    theirs: Outcome
    ours: Outcome
    kernel: KernelWorld
    virtual: VirtualWorld
    socket: VirtualSocket | None
    seen: tuple[int, Observation | None, Observation | None] | None = None


def wasi_outcome(operation: Operation, outcome: Outcome, phase: str) -> Outcome:
    """What WASI has where the kernel has `outcome`.

    The errno table decides, except where WASI's own state machine answers before a kernel would be asked
    (`tcp_states.py`, rules 3 and 4; `udp_states.py`, rules 4 and 12).
    """
    if outcome.kind == "drained":
        data, how = outcome.value
        return Outcome("drained", (data, _code(how) if how.startswith("E") else how))
    if outcome.kind != "error":
        return outcome
    if outcome.value == "EINVAL" and isinstance(operation, Bind | Listen):
        return Outcome("error", "concurrency-conflict" if phase == "pending" else "invalid-state")
    if outcome.value == "EINVAL" and isinstance(operation, Accept):
        return Outcome("error", "invalid-state")
    if outcome.value == "EDESTADDRREQ":
        return Outcome("error", "invalid-argument")
    return Outcome("error", _code(outcome.value))


def _code(name: str) -> str:
    return from_os_error(OSError(getattr(errno, name), "")).value


def ours_is(situation: Situation, core: str, wasi: str) -> bool:
    return situation.ours == Outcome("error", core if situation.world == "core" else wasi)


def is_capacity(situation: Situation) -> bool:
    theirs, ours = situation.theirs, situation.ours
    if situation.seen is not None or theirs.kind != ours.kind:
        return False
    if isinstance(situation.operation, Flood):
        return ours.kind == "sent" and ours.value > 0 and theirs.value > 0
    if isinstance(situation.operation, Drain):
        (one, how), (other, our_how) = theirs.value, ours.value
        shorter = min(len(one), len(other))
        if how.startswith("E") and situation.world == "wasi":
            how = _code(how)
        return shorter > FLOOD and one[:shorter] == other[:shorter] and how == our_how
    return False


def shares_address(situation: Situation) -> bool:
    operation = situation.operation
    if not isinstance(operation, Bind) or situation.theirs != DONE:
        return False
    if not ours_is(situation, "EADDRINUSE", "address-in-use"):
        return False
    ip = ip_address(operation.address.ip)
    port = operation.address.port
    number = situation.virtual.ports[port.socket] if isinstance(port, PortOf) else port
    holders = [
        record.state
        for record in situation.virtual.network.sockets()
        if record.protocol == "tcp"
        and record.local.port == number
        and record.local.ip.version == ip.version
        and (record.local.ip == ip or not int(ip) or not int(record.local.ip))
    ]
    return "listening" not in holders


def reopen(situation: Situation) -> None:
    situation.kernel.reopen(situation.operation.socket)


def is_self_connect(situation: Situation) -> bool:
    return (
        isinstance(situation.operation, Connect)
        and situation.theirs == DONE
        and ours_is(situation, "ECONNREFUSED", "connection-refused")
        and situation.kernel.is_own_peer(situation.operation.socket)
    )


def leave(situation: Situation) -> None:
    situation.kernel.forget(situation.operation.socket)


def full_listener(situation: Situation) -> TcpBacklog | None:
    """The listener that a connect waits for and that has not been widened yet."""
    virtual = situation.virtual
    attempt = virtual.sockets[situation.operation.socket].attempt
    if attempt is None:
        return None
    ip, port = attempt.remote_address
    for socket in [*virtual.sockets.values(), *virtual.lost]:
        listener = socket.listener
        if listener is None or listener in virtual.widened:
            continue
        wildcard = listener.address.ip.version == ip.version and not int(listener.address.ip)
        if listener.address.port == port and (wildcard or listener.address.ip == ip):
            return listener
    return None


def is_one_more(situation: Situation) -> bool:
    return (
        isinstance(situation.operation, Connect)
        and situation.seen is None
        and (situation.theirs, situation.ours) == (DONE, WOULD_BLOCK)
        and full_listener(situation) is not None
    )


def widen(situation: Situation) -> None:
    backlog = full_listener(situation)
    if backlog is None:
        raise RuntimeError("nothing to widen")
    situation.virtual.widened.add(backlog)
    backlog.set_backlog(backlog.backlog + 1)
    number = situation.operation.socket
    socket = situation.virtual.sockets[number]
    situation.virtual.finish_connect(socket)
    if socket.connection is not None:
        situation.virtual.ports[number] = socket.connection.local_address.port


def waits_for_retransmission(situation: Situation) -> bool:
    if situation.seen is None:
        return False
    number, theirs, ours = situation.seen
    return (
        situation.virtual.sockets[number].phase == "pending"
        and theirs == Observation(None, False)
        and ours == Observation(None, True)
    )


def has_no_address_yet(situation: Situation) -> bool:
    return (
        isinstance(situation.operation, LocalAddress)
        and situation.phase in ("unbound", "pending")
        and situation.theirs.kind == "address"
        and situation.ours == Outcome("error", "invalid-state")
    )


def wants_bind(situation: Situation) -> bool:
    return (
        isinstance(situation.operation, Listen | Connect | Disconnect)
        and situation.phase == "unbound"
        and situation.theirs.kind in ("done", "address")
        and situation.ours == Outcome("error", "invalid-state")
    )


def listens_again(situation: Situation) -> bool:
    return (
        isinstance(situation.operation, Listen)
        and situation.phase == "listening"
        and situation.theirs == DONE
        and situation.ours == Outcome("error", "invalid-state")
    )


def set_backlog(situation: Situation) -> None:
    operation, socket = situation.operation, situation.socket
    if not isinstance(operation, Listen) or socket is None or socket.listener is None:
        raise RuntimeError("no listener")
    situation.virtual.widened.discard(socket.listener)
    socket.listener.set_backlog(operation.backlog)


def shuts_what_is_not_connected(situation: Situation) -> bool:
    return (
        isinstance(situation.operation, Shutdown)
        and situation.phase in ("listening", "pending")
        and situation.theirs == DONE
        and situation.ours == Outcome("error", "invalid-state")
    )


def refuses_the_argument(situation: Situation) -> bool:
    operation = situation.operation
    return (
        isinstance(operation, Connect | SendTo)
        and situation.ours == Outcome("error", "invalid-argument")
        and (operation.address.ip in ("0.0.0.0", "::") or operation.address.port == 0)
    )


def is_udp_port_zero(situation: Situation) -> bool:
    operation = situation.operation
    return (
        isinstance(operation, Connect)
        and operation.address.port == 0
        and situation.theirs == DONE
        and situation.ours == Outcome("error", "EINVAL")
    )


def names_another(situation: Situation) -> bool:
    return (
        isinstance(situation.operation, SendTo)
        and situation.phase == "connected"
        and situation.ours == Outcome("error", "invalid-argument")
    )


def kernel_has_told(situation: Situation) -> bool:
    operation = situation.operation
    if situation.seen is not None or not isinstance(operation, Send | Flood | Receive | Drain):
        return False
    if not situation.kernel.sockets[operation.socket].told:
        return False
    if situation.theirs.kind == "drained" and situation.ours.kind == "drained":
        (data, how), (our_data, our_how) = situation.theirs.value, situation.ours.value
        same = data == our_data or (len(data) > FLOOD and our_data.startswith(data))
        return same and how == "end" and our_how in ("ECONNRESET", "connection-reset")
    return situation.theirs in (END, Outcome("error", "EPIPE")) and ours_is(
        situation, "ECONNRESET", "connection-reset"
    )


def sends_too_late(situation: Situation) -> bool:
    connection = None if situation.socket is None else situation.socket.connection
    return (
        connection is not None
        and situation.theirs.kind == "sent"
        and connection.send_pipe.broken
        and not connection.send_pipe.ended
        and ours_is(situation, "EPIPE", "connection-broken")
    )


def resets_a_flood(situation: Situation) -> bool:
    connection = None if situation.socket is None else situation.socket.connection
    if connection is None or situation.seen is not None or not connection.receive_pipe.ended:
        return False
    theirs = situation.theirs
    if isinstance(situation.operation, Drain):
        (some, how), (everything, our_how) = theirs.value, situation.ours.value
        return everything.startswith(some) and (how, our_how) == ("ECONNRESET", "end")
    return (
        connection.receive_pipe in situation.virtual.flooded
        and (theirs.kind == "sent" or theirs == Outcome("error", "ECONNRESET"))
        and ours_is(situation, "EPIPE", "connection-broken")
    )


def begins_anew(situation: Situation) -> bool:
    return (
        isinstance(situation.operation, Bind | Listen | Connect)
        and situation.ours == Outcome("error", "invalid-state")
        and is_over(situation)
    )


def is_over(situation: Situation) -> bool:
    """Whether the connection of the operation has ended both ways, or was reset."""
    connection = None if situation.socket is None else situation.socket.connection
    if connection is None or situation.seen is not None:
        return False
    receive, send = connection.receive_pipe, connection.send_pipe
    return receive.reset or send.reset or (receive.ended and (send.ended or send.broken))


def has_no_peer_any_more(situation: Situation) -> bool:
    return (
        isinstance(situation.operation, RemoteAddress)
        and situation.theirs == Outcome("error", "ENOTCONN")
        and situation.ours.kind == "address"
        and is_over(situation)
    )


def shuts_what_is_over(situation: Situation) -> bool:
    return (
        isinstance(situation.operation, Shutdown)
        and situation.theirs == Outcome("error", "ENOTCONN")
        and situation.ours == DONE
        and is_over(situation)
    )


def shut_receive(situation: Situation) -> None:
    if isinstance(situation.operation, Shutdown) and situation.operation.how != "send":
        situation.kernel.sockets[situation.operation.socket].shut_receive = True


def lost_its_queue(situation: Situation) -> bool:
    if situation.seen is None:
        return False
    number, theirs, ours = situation.seen
    connection = situation.virtual.sockets[number].connection
    return (
        connection is not None
        and connection.receive_pipe.reset
        and theirs is not None
        and ours is not None
        and bool(theirs.queued)
        and theirs._replace(queued=0) == ours
    )


def drop_queue(situation: Situation) -> None:
    if situation.seen is not None:
        situation.kernel.drop_queue(situation.seen[0])


def has_shut_both(situation: Situation) -> bool:
    number = situation.operation.socket if situation.seen is None else situation.seen[0]
    socket = situation.virtual.sockets.get(number)
    connection = None if socket is None else socket.connection
    if connection is None:
        return False
    receive, send = connection.receive_pipe, connection.send_pipe
    return (send.discarding and receive.ended) or (receive.discarding and send.ended)


def lost_its_port(situation: Situation) -> bool:
    return (
        isinstance(situation.operation, Disconnect)
        and (situation.theirs.kind, situation.ours.kind) == ("address", "address")
        and situation.theirs.value[1] == 0
    )


def bind_again(situation: Situation) -> None:
    number = situation.operation.socket
    situation.kernel.bind_again(number)


def is_out_of_range(situation: Situation) -> bool:
    operation = situation.operation
    if not isinstance(operation, SetOption):
        return False
    if operation.value == 0:  # IPV6_UNICAST_HOPS takes it
        return situation.theirs == DONE and situation.ours == Outcome("error", "invalid-argument")
    return situation.theirs == Outcome("error", "EINVAL") and situation.ours == DONE


def is_inherited_at_accept(situation: Situation) -> bool:
    return (
        isinstance(situation.operation, GetOption)
        and situation.theirs.kind == situation.ours.kind == "value"
        and situation.operation.socket in situation.virtual.late
    )


def has_two_faults(situation: Situation) -> bool:
    operation = situation.operation
    if not isinstance(operation, Send | SendTo) or situation.theirs.kind != "error":
        return False
    is_large = operation.size > 65_507
    is_lost = isinstance(operation, Send) and situation.phase != "connected"
    is_nowhere = isinstance(operation, SendTo) and operation.address.port == 0
    return is_large and (is_lost or is_nowhere) and situation.ours.kind == "error"


def set_what_we_have(situation: Situation) -> None:
    operation = situation.operation
    if not isinstance(operation, SetOption):
        raise TypeError(operation)
    value = situation.virtual.apply(GetOption(operation.socket, operation.name), 0).value
    situation.kernel.apply(SetOption(operation.socket, operation.name, value), DONE, 0)
