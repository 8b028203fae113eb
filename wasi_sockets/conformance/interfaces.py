"""The WASI 0.2 functions that checks call, as WebAssembly text: types in WIT's sense, and core signatures.

Only what some check needs. A component imports just the functions that it calls, so that a check of TCP runs on a host
that has no UDP.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = [
    "FUNCTIONS",
    "UNSTABLE",
    "VERSION",
    "Function",
    "core_import",
    "drop_resource",
    "import_text",
    "lowering_text",
]

#: The lowest version: any 0.2 host takes it, because later ones only add.
VERSION: Final = "0.2.0"

_ERROR, _POLL, _STREAMS = "wasi:io/error", "wasi:io/poll", "wasi:io/streams"
_NETWORK, _TCP, _UDP = "wasi:sockets/network", "wasi:sockets/tcp", "wasi:sockets/udp"
_LOOKUP = "wasi:sockets/ip-name-lookup"

_CODES = (
    "unknown access-denied not-supported invalid-argument out-of-memory timeout concurrency-conflict not-in-progress"
    " would-block invalid-state new-socket-limit address-not-bindable address-in-use remote-unreachable"
    " connection-refused connection-reset connection-aborted datagram-too-large name-unresolvable"
    " temporary-resolver-failure permanent-resolver-failure"
)


@dataclass(frozen=True)
class Interface:
    """The types an interface takes from others, and those it exports, resources among them."""

    uses: tuple[tuple[str, str], ...] = ()
    types: str = ""
    resources: tuple[str, ...] = ()


@dataclass(frozen=True)
class Function:
    """A function that a check can call.

    Attributes:
        interface: without a version.
        name: such as "[method]tcp-socket.start-bind".
        type: the component-level type.
        parameters: how many of core type i32 come first, then the others as they are named; a result that does not
            fit into one value is an i32 more, where it is to be written.
        result: the core result, or "".
    """

    interface: str
    name: str
    type: str
    parameters: tuple[str, ...]
    result: str = field(default="")

    @property
    def core_type(self) -> str:
        """As the text of a core function type."""
        text = f"(param {' '.join(self.parameters)})" if self.parameters else ""
        return f"{text} (result {self.result})" if self.result else text


INTERFACES: Final[Mapping[str, Interface]] = {
    _ERROR: Interface((), "", ("error",)),
    _POLL: Interface((), "", ("pollable",)),
    _STREAMS: Interface(
        ((_ERROR, "error"), (_POLL, "pollable")),
        '(type $failure (variant (case "last-operation-failed" (own $error)) (case "closed")))'
        ' (export "stream-error" (type $stream-error (eq $failure)))',
        ("input-stream", "output-stream"),
    ),
    "wasi:clocks/monotonic-clock": Interface(((_POLL, "pollable"),)),
    "wasi:cli/environment": Interface(),
    "wasi:cli/stdin": Interface(((_STREAMS, "input-stream"),)),
    "wasi:cli/stdout": Interface(((_STREAMS, "output-stream"),)),
    _NETWORK: Interface(
        ((_ERROR, "error"),),
        "(type $codes (enum "
        + " ".join(f'"{code}"' for code in _CODES.split())
        + "))"
        + ' (export "error-code" (type $error-code (eq $codes)))'
        ' (type $family (enum "ipv4" "ipv6")) (export "ip-address-family" (type $ip-address-family (eq $family)))'
        ' (type $four (tuple u8 u8 u8 u8)) (export "ipv4-address" (type $ipv4-address (eq $four)))'
        ' (type $six (tuple u16 u16 u16 u16 u16 u16 u16 u16)) (export "ipv6-address" (type $ipv6-address (eq $six)))'
        ' (type $any (variant (case "ipv4" $ipv4-address) (case "ipv6" $ipv6-address)))'
        ' (export "ip-address" (type $ip-address (eq $any)))'
        ' (type $v4 (record (field "port" u16) (field "address" $ipv4-address)))'
        ' (export "ipv4-socket-address" (type $ipv4-socket-address (eq $v4)))'
        ' (type $v6 (record (field "port" u16) (field "flow-info" u32) (field "address" $ipv6-address)'
        ' (field "scope-id" u32))) (export "ipv6-socket-address" (type $ipv6-socket-address (eq $v6)))'
        ' (type $where (variant (case "ipv4" $ipv4-socket-address) (case "ipv6" $ipv6-socket-address)))'
        ' (export "ip-socket-address" (type $ip-socket-address (eq $where)))',
        ("network",),
    ),
    "wasi:sockets/instance-network": Interface(((_NETWORK, "network"),)),
    _TCP: Interface(
        (
            (_STREAMS, "input-stream"),
            (_STREAMS, "output-stream"),
            (_POLL, "pollable"),
            (_NETWORK, "network"),
            (_NETWORK, "error-code"),
            (_NETWORK, "ip-socket-address"),
            (_NETWORK, "ip-address-family"),
        ),
        '(type $how (enum "receive" "send" "both")) (export "shutdown-type" (type $shutdown-type (eq $how)))',
        ("tcp-socket",),
    ),
    "wasi:sockets/tcp-create-socket": Interface(
        ((_NETWORK, "error-code"), (_NETWORK, "ip-address-family"), (_TCP, "tcp-socket"))
    ),
    _UDP: Interface(
        (
            (_POLL, "pollable"),
            (_NETWORK, "network"),
            (_NETWORK, "error-code"),
            (_NETWORK, "ip-socket-address"),
            (_NETWORK, "ip-address-family"),
        ),
        '(type $in (record (field "data" (list u8)) (field "remote-address" $ip-socket-address)))'
        ' (export "incoming-datagram" (type $incoming-datagram (eq $in)))'
        ' (type $out (record (field "data" (list u8)) (field "remote-address" (option $ip-socket-address))))'
        ' (export "outgoing-datagram" (type $outgoing-datagram (eq $out)))',
        ("udp-socket", "incoming-datagram-stream", "outgoing-datagram-stream"),
    ),
    "wasi:sockets/udp-create-socket": Interface(
        ((_NETWORK, "error-code"), (_NETWORK, "ip-address-family"), (_UDP, "udp-socket"))
    ),
    _LOOKUP: Interface(
        ((_POLL, "pollable"), (_NETWORK, "network"), (_NETWORK, "error-code"), (_NETWORK, "ip-address")),
        "",
        ("resolve-address-stream",),
    ),
}

_PREFIXES: Final[Mapping[str, str]] = {
    "tcp-socket": "tcp",
    "udp-socket": "udp",
    "incoming-datagram-stream": "incoming",
    "outgoing-datagram-stream": "outgoing",
    "input-stream": "input",
    "output-stream": "output",
    "pollable": "pollable",
    "error": "error",
    "resolve-address-stream": "addresses",
}

FUNCTIONS: dict[str, Function] = {}
"""By the name that the checks' text knows them under, such as "tcp.start-bind"."""

_I32, _I64 = "i32", "i64"
_ADDRESS = (_I32,) * 12  # a discriminant, and eleven for the longer of the two records


def _add(
    short: str, interface: str, name: str, type_: str, parameters: tuple[str, ...], result: str = ""
) -> None:
    FUNCTIONS[short] = Function(interface, name, type_, parameters, result)


def _methods(interface: str, resource: str, table: str) -> None:
    """Each line of the table: name, core parameters besides the receiver, core result or `-`, type."""
    for line in table.strip().splitlines():
        name, parameters, result, type_ = line.split(maxsplit=3)
        core: list[str] = [_I32]
        for each in [] if parameters == "-" else parameters.split(","):
            core.extend(_ADDRESS if each == "address" else (each,))
        _add(
            f"{_PREFIXES[resource]}.{name}",
            interface,
            f"[method]{resource}.{name}",
            f'(param "self" (borrow ${resource})) ' + _WORDS.get(type_, type_).format(**_PARTS),
            tuple(core),
            "" if result == "-" else result,
        )


_PARTS: Final = {
    "address": "$ip-socket-address",
    "done": "(result (result (error $error-code)))",
    "pollable": "(result (own $pollable))",
    "stream-done": "(result (result (error $stream-error)))",
    "stream-count": "(result (result u64 (error $stream-error)))",
    "datagram-streams": "(result (result (tuple (own $incoming-datagram-stream) (own $outgoing-datagram-stream))"
    " (error $error-code)))",
    "stream-bytes": "(result (result (list u8) (error $stream-error)))",
}
_WORDS: Final = {
    "done": "{done}",
    "pollable": "{pollable}",
    "read": '(param "len" u64) {stream-bytes}',
    "skip": '(param "len" u64) {stream-count}',
    "write": '(param "contents" (list u8)) {stream-done}',
    "zeroes": '(param "len" u64) {stream-done}',
    "splice": '(param "src" (borrow $input-stream)) (param "len" u64) {stream-count}',
    "count": "{stream-count}",
    "flush": "{stream-done}",
    "bind": '(param "network" (borrow $network)) (param "local-address" {address}) {done}',
    "connect": '(param "network" (borrow $network)) (param "remote-address" {address}) {done}',
    "address": "(result (result {address} (error $error-code)))",
    "set-u64": '(param "value" u64) {done}',
    "get-u64": "(result (result u64 (error $error-code)))",
    "set-u32": '(param "value" u32) {done}',
    "get-u32": "(result (result u32 (error $error-code)))",
    "set-u8": '(param "value" u8) {done}',
    "get-u8": "(result (result u8 (error $error-code)))",
    "set-bool": '(param "value" bool) {done}',
    "get-bool": "(result (result bool (error $error-code)))",
    "bool": "(result bool)",
    "family": "(result $ip-address-family)",
    "accept": "(result (result (tuple (own $tcp-socket) (own $input-stream) (own $output-stream))"
    " (error $error-code)))",
}

_methods(_POLL, "pollable", "ready - i32 bool")
_add("pollable.block", _POLL, "[method]pollable.block", '(param "self" (borrow $pollable))', (_I32,))
_add("poll.poll", _POLL, "poll", '(param "in" (list (borrow $pollable))) (result (list u32))', (_I32,) * 3)
_add(
    "error.to-debug-string",
    _ERROR,
    "[method]error.to-debug-string",
    '(param "self" (borrow $error)) (result string)',
    (_I32,) * 2,
)
_methods(
    _STREAMS,
    "input-stream",
    """
    read                    i64,i32     -    read
    blocking-read           i64,i32     -    read
    skip                    i64,i32     -    skip
    blocking-skip           i64,i32     -    skip
    subscribe               -           i32  pollable
    """,
)
_methods(
    _STREAMS,
    "output-stream",
    """
    check-write                     i32         -    count
    write                           i32,i32,i32 -    write
    blocking-write-and-flush        i32,i32,i32 -    write
    flush                           i32         -    flush
    blocking-flush                  i32         -    flush
    subscribe                       -           i32  pollable
    write-zeroes                    i64,i32     -    zeroes
    blocking-write-zeroes-and-flush i64,i32     -    zeroes
    splice                          i32,i64,i32 -    splice
    blocking-splice                 i32,i64,i32 -    splice
    """,
)
_CLOCK = "wasi:clocks/monotonic-clock"
_add("clock.now", _CLOCK, "now", "(result u64)", (), _I64)
_add(
    "clock.subscribe-duration",
    _CLOCK,
    "subscribe-duration",
    '(param "when" u64) (result (own $pollable))',
    (_I64,),
    _I32,
)
_add("environment.get-arguments", "wasi:cli/environment", "get-arguments", "(result (list string))", (_I32,))
_add("stdin.get-stdin", "wasi:cli/stdin", "get-stdin", "(result (own $input-stream))", (), _I32)
_add("stdout.get-stdout", "wasi:cli/stdout", "get-stdout", "(result (own $output-stream))", (), _I32)
_add(
    "network.network-error-code",
    _NETWORK,
    "network-error-code",
    '(param "err" (borrow $error)) (result (option $error-code))',
    (_I32,) * 2,
)
_add(
    "network.instance-network",
    "wasi:sockets/instance-network",
    "instance-network",
    "(result (own $network))",
    (),
    _I32,
)
for _kind in ("tcp", "udp"):
    _add(
        f"{_kind}.create",
        f"wasi:sockets/{_kind}-create-socket",
        f"create-{_kind}-socket",
        f'(param "address-family" $ip-address-family) (result (result (own ${_kind}-socket) (error $error-code)))',
        (_I32,) * 2,
    )
_methods(
    _TCP,
    "tcp-socket",
    """
    start-bind              i32,address,i32  -    bind
    finish-bind             i32              -    done
    start-connect           i32,address,i32  -    connect
    finish-connect          i32 - (result (result (tuple (own $input-stream) (own $output-stream)) (error $error-code)))
    start-listen            i32              -    done
    finish-listen           i32              -    done
    accept                  i32              -    accept
    local-address           i32              -    address
    remote-address          i32              -    address
    is-listening            -                i32  bool
    address-family          -                i32  family
    set-listen-backlog-size i64,i32          -    set-u64
    keep-alive-enabled      i32              -    get-bool
    set-keep-alive-enabled  i32,i32          -    set-bool
    keep-alive-idle-time    i32              -    get-u64
    set-keep-alive-idle-time i64,i32         -    set-u64
    keep-alive-interval     i32              -    get-u64
    set-keep-alive-interval i64,i32          -    set-u64
    keep-alive-count        i32              -    get-u32
    set-keep-alive-count    i32,i32          -    set-u32
    hop-limit               i32              -    get-u8
    set-hop-limit           i32,i32          -    set-u8
    receive-buffer-size     i32              -    get-u64
    set-receive-buffer-size i64,i32          -    set-u64
    send-buffer-size        i32              -    get-u64
    set-send-buffer-size    i64,i32          -    set-u64
    subscribe               -                i32  pollable
    shutdown                i32,i32 - (param "shutdown-type" $shutdown-type) {done}
    """,
)
_methods(
    _UDP,
    "udp-socket",
    """
    start-bind              i32,address,i32  -    bind
    finish-bind             i32              -    done
    stream i32,address,i32 - (param "remote-address" (option {address})) {datagram-streams}
    local-address           i32              -    address
    remote-address          i32              -    address
    address-family          -                i32  family
    unicast-hop-limit       i32              -    get-u8
    set-unicast-hop-limit   i32,i32          -    set-u8
    receive-buffer-size     i32              -    get-u64
    set-receive-buffer-size i64,i32          -    set-u64
    send-buffer-size        i32              -    get-u64
    set-send-buffer-size    i64,i32          -    set-u64
    subscribe               -                i32  pollable
    """,
)
_methods(
    _UDP,
    "incoming-datagram-stream",
    """
    receive   i64,i32 - (param "max-results" u64) (result (result (list $incoming-datagram) (error $error-code)))
    subscribe -       i32 pollable
    """,
)
_methods(
    _UDP,
    "outgoing-datagram-stream",
    """
    check-send i32         -   get-u64
    send       i32,i32,i32 -   (param "datagrams" (list $outgoing-datagram)) (result (result u64 (error $error-code)))
    subscribe  -           i32 pollable
    """,
)
_add(
    "lookup.resolve-addresses",
    _LOOKUP,
    "resolve-addresses",
    '(param "network" (borrow $network)) (param "name" string)'
    " (result (result (own $resolve-address-stream) (error $error-code)))",
    (_I32,) * 4,
)
_methods(
    _LOOKUP,
    "resolve-address-stream",
    """
    resolve-next-address i32 -   (result (result (option $ip-address) (error $error-code)))
    subscribe            -   i32 pollable
    """,
)

#: Whose results are lists or strings, which the host writes where the guest's realloc says.
_ALLOCATING: Final = frozenset(
    {
        "environment.get-arguments",
        "error.to-debug-string",
        "incoming.receive",
        "input.blocking-read",
        "input.read",
        "poll.poll",
    }
)

#: What a host need not have: `@unstable` in WIT.
UNSTABLE: Final = frozenset({"network.network-error-code"})


def drop_resource(short: str) -> tuple[str, str] | None:
    """The interface and resource that "drop.tcp-socket" drops; None for what is no drop."""
    prefix, _, resource = short.partition(".")
    if prefix != "drop":
        return None
    for name, interface in INTERFACES.items():
        if resource in interface.resources:
            return name, resource
    raise LookupError(f"no such resource: {resource}")


def _identifier(interface: str) -> str:
    return interface.replace(":", "/").replace("/", "-")


def import_text(functions: Iterable[Function], drops: Iterable[tuple[str, str]]) -> str:
    """Imports of these functions and what they need, with aliases `$interface-type` for all types in use."""
    wanted: dict[str, list[Function]] = {}
    for function in functions:
        wanted.setdefault(function.interface, []).append(function)
    dropped = tuple(drops)
    for interface, _ in dropped:
        wanted.setdefault(interface, [])
    order: list[str] = []

    def visit(name: str) -> None:
        for used, _ in INTERFACES[name].uses:
            visit(used)
        if name not in order:
            order.append(name)

    for name in wanted:
        visit(name)
    aliased = {pair for name in order for pair in INTERFACES[name].uses} | set(dropped)
    lines = []
    for name in order:
        declared = INTERFACES[name]
        lines.append(f'(import "{name}@{VERSION}" (instance ${_identifier(name)}')
        for used, each in declared.uses:
            lines.append(f"    (alias outer 1 ${_identifier(used)}-{each} (type $outer-{each}))")
            lines.append(f'    (export "{each}" (type ${each} (eq $outer-{each})))')
        lines.extend(f'    (export "{each}" (type ${each} (sub resource)))' for each in declared.resources)
        lines.append(f"    {declared.types}")
        lines.extend(f'    (export "{each.name}" (func {each.type}))' for each in wanted.get(name, ()))
        lines.append("  ))")
        lines.extend(
            f'(alias export ${_identifier(name)} "{each}" (type ${_identifier(name)}-{each}))'
            for interface_name, each in sorted(aliased)
            if interface_name == name
        )
    return "\n  ".join(lines)


def lowering_text(short: str) -> str:
    """The canon item that makes a function, or a drop, callable as `$short`."""
    dropped = drop_resource(short)
    if dropped is not None:
        interface, resource = dropped
        return f"(core func ${short} (canon resource.drop ${_identifier(interface)}-{resource}))"
    function = FUNCTIONS[short]
    options = "(memory $guest-memory)"
    if short in _ALLOCATING:
        options += " (realloc $guest-realloc)"
    return (
        f"(core func ${short} (canon lower"
        f' (func ${_identifier(function.interface)} "{function.name}") {options}))'
    )


def core_import(short: str) -> str:
    """The core import under which the main module knows it."""
    core_type = FUNCTIONS[short].core_type if drop_resource(short) is None else "(param i32)"
    return f'(import "wasi" "{short}" (func ${short} {core_type}))'
