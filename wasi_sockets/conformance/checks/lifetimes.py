"""The order in which handles may be dropped, what dropping frees, and the errors of streams."""

from wasi_sockets.conformance.check import check
from wasi_sockets.conformance.program import IPV4, Program
from wasi_sockets.conformance.tcp import Tcp, connected, listening

TABLE = "wasmtime ResourceTable: children first"


@check("order/children-first", TABLE)
def children_first(p: Program) -> None:
    """Dropping pollables, then streams, then the socket is the order that works, after which the port is free."""
    c = connected(p, IPV4)
    where = c.listener.local_address()
    pollables = [
        c.client_in.subscribe(),
        c.client_out.subscribe(),
        c.client.subscribe(),
        c.listener.subscribe(),
    ]
    for each in pollables:
        each.drop()
    c.drop_client()
    c.drop_server()
    c.listener.drop()
    Tcp(p, IPV4).no_connect(where, "connection-refused")


@check("order/network-dropped", "wasi:sockets/network: a capability to start with, which sockets do not keep")
def network_dropped(p: Program) -> None:
    """Dropping the network handle leaves connections as they are."""
    c = connected(p, IPV4)
    p.emit("(call $drop.network (global.get $network))")
    c.client_out.write_all(b"still here")
    c.server_in.blocking_read(10)
    c.server_in.got(b"still here")


@check(
    "order/many-sockets",
    "wasi:sockets/tcp: dropping frees; wash-runtime leaked the ports of refused connects",
)
def many_sockets(p: Program) -> None:
    """Thousands of refused connects, one after the other, use up no ports."""
    listener, where = listening(p, IPV4)
    listener.drop()
    p.equal("outcome of the last of 3,000", f"(call $refused-connects {where.code} (i32.const 3000))", 15)


@check("errors/network-error-code", "wasi:sockets/network network-error-code (unstable)")
def network_error_code(p: Program) -> None:
    """The error of a stream that was reset tells its network error code."""
    c = connected(p, IPV4)
    c.client_out.write_all(b"unread")
    c.server_in.subscribe().wait()
    c.drop_server()
    c.client_in.subscribe().wait()
    c.client_in.read(10, "last-operation-failed")
    error = p.variable("error", "i32", "(i32.load (i32.const 24))")
    p.emit(f"(call $network.network-error-code {error} (i32.const 16))")
    p.equal("whether there is a code", "(i64.load8_u (i32.const 16))", 1)
    p.equal("the code is connection-reset", "(i64.load8_u (i32.const 17))", 15)
    p.emit(f"(call $drop.error {error})")


@check("errors/debug-string", "wasi:io/error to-debug-string")
def debug_string(p: Program) -> None:
    """The error of a stream that was reset has a text."""
    c = connected(p, IPV4)
    c.client_out.write_all(b"unread")
    c.server_in.subscribe().wait()
    c.drop_server()
    c.client_in.subscribe().wait()
    c.client_in.read(10, "last-operation-failed")
    error = p.variable("error", "i32", "(i32.load (i32.const 24))")
    p.emit(f"(call $error.to-debug-string {error} (i32.const 16))")
    p.at_least("its length", "(i64.load32_u (i32.const 20))", 1)
    p.emit(f"(call $drop.error {error})")
