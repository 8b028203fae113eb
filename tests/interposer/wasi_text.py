"""WASI 0.2 as WebAssembly text, and guests that lower any of its functions: what these tests are run on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from tests import text_format
from wasi_sockets.component.layout import core_signature, has_pointers
from wasi_sockets.component.reader import read_component
from wasi_sockets.component.types import FunctionType
from wasi_sockets.interposer.flow import FunctionEntity, InstanceEntity, look_through

NEWEST = "0.2.12"
VERSIONS = tuple(f"0.2.{patch}" for patch in range(13))


@dataclass(frozen=True)
class Interface:
    """One interface: the types it takes from others, its own types, and its functions by name."""

    uses: tuple[tuple[str, str], ...] = ()
    types: str = ""
    functions: Mapping[str, str] = field(default_factory=dict)


_ERROR, _POLL, _STREAMS = "wasi:io/error", "wasi:io/poll", "wasi:io/streams"
_NETWORK, _TCP, _UDP = "wasi:sockets/network", "wasi:sockets/tcp", "wasi:sockets/udp"

_CODES = (
    "unknown access-denied not-supported invalid-argument out-of-memory timeout concurrency-conflict not-in-progress"
    " would-block invalid-state new-socket-limit address-not-bindable address-in-use remote-unreachable"
    " connection-refused connection-reset connection-aborted datagram-too-large name-unresolvable"
    " temporary-resolver-failure permanent-resolver-failure"
)


def _methods(resource: str, **functions: str) -> dict[str, str]:
    receiver = f'(param "self" (borrow ${resource})) '
    return {
        f"[method]{resource}.{name.replace('_', '-')}": receiver + text for name, text in functions.items()
    }


def _setters(names: str, valtype: str) -> dict[str, str]:
    found = {}
    for name in names.split():
        found[name] = f"(result (result {valtype} (error $error-code)))"
        found[f"set_{name}"] = f'(param "value" {valtype}) (result (result (error $error-code)))'
    return found


_UNIT = "(result (result (error $stream-error)))"
_COUNT = "(result (result u64 (error $stream-error)))"
_BYTES = "(result (result (list u8) (error $stream-error)))"
_POLLABLE = "(result (own $pollable))"
_DONE = "(result (result (error $error-code)))"
_ADDRESS = "(result (result $ip-socket-address (error $error-code)))"
_BIND = '(param "network" (borrow $network)) (param "local-address" $ip-socket-address) ' + _DONE

INTERFACES: Mapping[str, Interface] = {
    _ERROR: Interface(
        (),
        '(export "error" (type $error (sub resource)))',
        _methods("error", to_debug_string="(result string)"),
    ),
    _POLL: Interface(
        (),
        '(export "pollable" (type $pollable (sub resource)))',
        {
            "poll": '(param "in" (list (borrow $pollable))) (result (list u32))',
            **_methods("pollable", ready="(result bool)", block=""),
        },
    ),
    _STREAMS: Interface(
        ((_ERROR, "error"), (_POLL, "pollable")),
        '(type $failure (variant (case "last-operation-failed" (own $error)) (case "closed")))'
        ' (export "stream-error" (type $stream-error (eq $failure)))'
        ' (export "input-stream" (type $input-stream (sub resource)))'
        ' (export "output-stream" (type $output-stream (sub resource)))',
        {
            **_methods(
                "input-stream",
                read='(param "len" u64) ' + _BYTES,
                blocking_read='(param "len" u64) ' + _BYTES,
                skip='(param "len" u64) ' + _COUNT,
                blocking_skip='(param "len" u64) ' + _COUNT,
                subscribe=_POLLABLE,
            ),
            **_methods(
                "output-stream",
                check_write=_COUNT,
                write='(param "contents" (list u8)) ' + _UNIT,
                blocking_write_and_flush='(param "contents" (list u8)) ' + _UNIT,
                flush=_UNIT,
                blocking_flush=_UNIT,
                subscribe=_POLLABLE,
                write_zeroes='(param "len" u64) ' + _UNIT,
                blocking_write_zeroes_and_flush='(param "len" u64) ' + _UNIT,
                splice='(param "src" (borrow $input-stream)) (param "len" u64) ' + _COUNT,
                blocking_splice='(param "src" (borrow $input-stream)) (param "len" u64) ' + _COUNT,
            ),
        },
    ),
    "wasi:clocks/monotonic-clock": Interface(
        ((_POLL, "pollable"),),
        "",
        {
            "now": "(result u64)",
            "resolution": "(result u64)",
            "subscribe-instant": '(param "when" u64) ' + _POLLABLE,
            "subscribe-duration": '(param "when" u64) ' + _POLLABLE,
        },
    ),
    "wasi:cli/stdin": Interface(
        ((_STREAMS, "input-stream"),), "", {"get-stdin": "(result (own $input-stream))"}
    ),
    "wasi:cli/stdout": Interface(
        ((_STREAMS, "output-stream"),), "", {"get-stdout": "(result (own $output-stream))"}
    ),
    "wasi:cli/stderr": Interface(
        ((_STREAMS, "output-stream"),), "", {"get-stderr": "(result (own $output-stream))"}
    ),
    "wasi:filesystem/types": Interface(
        ((_ERROR, "error"),),
        '(type $codes (enum "access" "would-block")) (export "error-code" (type $error-code (eq $codes)))',
        {"filesystem-error-code": '(param "err" (borrow $error)) (result (option $error-code))'},
    ),
    "wasi:http/types": Interface(
        ((_ERROR, "error"),),
        '(type $codes (variant (case "DNS-timeout") (case "internal-error" (option string))))'
        ' (export "error-code" (type $error-code (eq $codes)))',
        {"http-error-code": '(param "err" (borrow $error)) (result (option $error-code))'},
    ),
    _NETWORK: Interface(
        ((_ERROR, "error"),),
        '(export "network" (type $network (sub resource)))'
        + " (type $codes (enum "
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
        {"network-error-code": '(param "err" (borrow $error)) (result (option $error-code))'},
    ),
    "wasi:sockets/instance-network": Interface(
        ((_NETWORK, "network"),), "", {"instance-network": "(result (own $network))"}
    ),
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
        '(type $how (enum "receive" "send" "both")) (export "shutdown-type" (type $shutdown-type (eq $how)))'
        ' (export "tcp-socket" (type $tcp-socket (sub resource)))',
        _methods(
            "tcp-socket",
            start_bind=_BIND,
            finish_bind=_DONE,
            start_connect=_BIND.replace("local", "remote"),
            finish_connect="(result (result (tuple (own $input-stream) (own $output-stream)) (error $error-code)))",
            start_listen=_DONE,
            finish_listen=_DONE,
            accept="(result (result (tuple (own $tcp-socket) (own $input-stream) (own $output-stream))"
            " (error $error-code)))",
            local_address=_ADDRESS,
            remote_address=_ADDRESS,
            is_listening="(result bool)",
            address_family="(result $ip-address-family)",
            set_listen_backlog_size='(param "value" u64) ' + _DONE,
            **_setters("keep_alive_enabled", "bool"),
            **_setters(
                "keep_alive_idle_time keep_alive_interval receive_buffer_size send_buffer_size", "u64"
            ),
            **_setters("keep_alive_count", "u32"),
            **_setters("hop_limit", "u8"),
            subscribe=_POLLABLE,
            shutdown='(param "shutdown-type" $shutdown-type) ' + _DONE,
        ),
    ),
    "wasi:sockets/tcp-create-socket": Interface(
        ((_NETWORK, "error-code"), (_NETWORK, "ip-address-family"), (_TCP, "tcp-socket")),
        "",
        {
            "create-tcp-socket": '(param "address-family" $ip-address-family)'
            " (result (result (own $tcp-socket) (error $error-code)))"
        },
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
        ' (export "outgoing-datagram" (type $outgoing-datagram (eq $out)))'
        ' (export "udp-socket" (type $udp-socket (sub resource)))'
        ' (export "incoming-datagram-stream" (type $incoming-datagram-stream (sub resource)))'
        ' (export "outgoing-datagram-stream" (type $outgoing-datagram-stream (sub resource)))',
        {
            **_methods(
                "udp-socket",
                start_bind=_BIND,
                finish_bind=_DONE,
                stream='(param "remote-address" (option $ip-socket-address)) (result (result (tuple'
                " (own $incoming-datagram-stream) (own $outgoing-datagram-stream)) (error $error-code)))",
                local_address=_ADDRESS,
                remote_address=_ADDRESS,
                address_family="(result $ip-address-family)",
                **_setters("unicast_hop_limit", "u8"),
                **_setters("receive_buffer_size send_buffer_size", "u64"),
                subscribe=_POLLABLE,
            ),
            **_methods(
                "incoming-datagram-stream",
                receive='(param "max-results" u64) (result (result (list $incoming-datagram) (error $error-code)))',
                subscribe=_POLLABLE,
            ),
            **_methods(
                "outgoing-datagram-stream",
                check_send="(result (result u64 (error $error-code)))",
                send='(param "datagrams" (list $outgoing-datagram)) (result (result u64 (error $error-code)))',
                subscribe=_POLLABLE,
            ),
        },
    ),
    "wasi:sockets/udp-create-socket": Interface(
        ((_NETWORK, "error-code"), (_NETWORK, "ip-address-family"), (_UDP, "udp-socket")),
        "",
        {
            "create-udp-socket": '(param "address-family" $ip-address-family)'
            " (result (result (own $udp-socket) (error $error-code)))"
        },
    ),
    "wasi:sockets/ip-name-lookup": Interface(
        ((_POLL, "pollable"), (_NETWORK, "network"), (_NETWORK, "error-code"), (_NETWORK, "ip-address")),
        '(export "resolve-address-stream" (type $resolve-address-stream (sub resource)))',
        {
            "resolve-addresses": '(param "network" (borrow $network)) (param "name" string)'
            " (result (result (own $resolve-address-stream) (error $error-code)))",
            **_methods(
                "resolve-address-stream",
                resolve_next_address="(result (result (option $ip-address) (error $error-code)))",
                subscribe=_POLLABLE,
            ),
        },
    ),
}

Functions = Iterable[tuple[str, str]]
ALL_FUNCTIONS = tuple((name, function) for name, each in INTERFACES.items() for function in each.functions)


def alias(interface: str, name: str = "") -> str:
    """The identifier under which an imported interface, or a type of it, is known in the text."""
    return "$" + "-".join([*interface.replace(":", "/").split("/"), *([name] if name else [])])


def _needed(interfaces: Iterable[str]) -> list[str]:
    found: list[str] = []

    def visit(name: str) -> None:
        for used, _ in INTERFACES[name].uses:
            visit(used)
        if name not in found:
            found.append(name)

    for name in interfaces:
        visit(name)
    return found


def instance_type(name: str, functions: Iterable[str]) -> str:
    """The declarations of an interface with just these functions."""
    interface = INTERFACES[name]
    lines = []
    for used, each in interface.uses:
        lines.append(f"(alias outer 1 {alias(used, each)} (type $outer-{each}))")
        lines.append(f'(export "{each}" (type ${each} (eq $outer-{each})))')
    lines.append(interface.types)
    lines.extend(f'(export "{each}" (func {interface.functions[each]}))' for each in functions)
    return "\n    ".join(lines)


def imports(
    functions: Functions,
    version: str = NEWEST,
    *,
    resources: Functions = (),
    names: Mapping[str, str] | None = None,
) -> str:
    """Imports that declare these functions and what they need, each with aliases for its types.

    Args:
        functions: pairs of interface and function.
        version: of all imports.
        resources: pairs of interface and resource that are needed besides.
        names: import names by interface, where they differ from the interface's own.
    """
    wanted: dict[str, list[str]] = {}
    for interface, function in functions:
        wanted.setdefault(interface, []).append(function)
    for interface, _ in resources:
        wanted.setdefault(interface, [])
    lines = []
    interfaces = _needed(wanted)
    used = {pair for name in interfaces for pair in INTERFACES[name].uses} | set(resources)
    for name in interfaces:
        import_name = (names or {}).get(name, f"{name}@{version}")
        lines.append(f'(import "{import_name}" (instance {alias(name)}')
        lines.append(f"    {instance_type(name, wanted.get(name, ()))}))")
        lines.extend(
            f'(alias export {alias(name)} "{each}" (type {alias(name, each)}))'
            for interface, each in sorted(used)
            if interface == name
        )
    return "\n  ".join(lines)


@cache
def function_type(interface: str, function: str) -> FunctionType:
    """The resolved type of a function."""
    root = look_through(read_component(binary(f"(component {imports([(interface, function)])})")))
    for entity in root.imports.values():
        if isinstance(entity, InstanceEntity) and function in entity.exports:
            found = entity.exports[function]
            if isinstance(found, FunctionEntity) and found.interface == interface and found.type is not None:
                return found.type
    raise LookupError(function)


def core_import(interface: str, function: str) -> str:
    """The core function type, as text."""
    parameters, results = core_signature(function_type(interface, function))
    return " ".join([*(f"(param {each})" for each in parameters), *(f"(result {each})" for each in results)])


def needs_memory(interface: str, function: str) -> bool:
    """Whether the function cannot be lowered without a memory."""
    found = function_type(interface, function)
    parameters, _ = core_signature(found)
    flat = core_signature(FunctionType(found.parameters, None))[0]
    return len(parameters) > len(flat) or any(has_pointers(valtype) for _, valtype in found.parameters)


def needs_realloc(interface: str, function: str) -> bool:
    """Whether the function cannot be lowered without a realloc."""
    return has_pointers(function_type(interface, function).result)


MEMORY = """
  (core module $memory-module
    (memory (export "memory") 2)
    (global $next (mut i32) (i32.const 65536))
    (func $realloc (export "realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32)
      (result i32) (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
      (global.set $next (i32.add (local.get $at) (local.get $size)))
      (local.get $at))
    (func (export "realloc2") (param i32 i32 i32 i32) (result i32)
      (call $realloc (local.get 0) (local.get 1) (local.get 2) (local.get 3))))
"""


def memory(suffix: str = "") -> str:
    """One more instance of the memory module: `$memory`, `$realloc` and `$realloc2`, each with a suffix."""
    return f"""
  (core instance $memory-instance{suffix} (instantiate $memory-module))
  (alias core export $memory-instance{suffix} "memory" (core memory $memory{suffix}))
  (alias core export $memory-instance{suffix} "realloc" (core func $realloc{suffix}))
  (alias core export $memory-instance{suffix} "realloc2" (core func $realloc2{suffix}))"""


@dataclass(frozen=True)
class Lowered:
    """One lowered function: `options` None gives it what it needs and no more."""

    interface: str
    function: str
    options: str | None = None

    def text(self, name: str) -> str:
        options = self.options
        if options is None:
            options = "(memory $memory)" if needs_memory(self.interface, self.function) else ""
            if needs_realloc(self.interface, self.function):
                options = "(memory $memory) (realloc $realloc)"
        return f'(core func {name} (canon lower (func {alias(self.interface)} "{self.function}") {options}))'


def user(lowered: Sequence[Lowered], drops: Sequence[tuple[str, str]] = (), name: str = "$main") -> str:
    """Lowers functions and drops, and instantiates a module that imports them all."""
    lines, imported, exported = [], [], []
    for number, each in enumerate(lowered):
        lines.append(each.text(f"{name}-f{number}"))
        signature = core_import(each.interface, each.function)
        imported.append(f'(import "host" "f{number}" (func {signature}))')
        exported.append(f'(export "f{number}" (func {name}-f{number}))')
    for number, (interface, resource) in enumerate(drops):
        lines.append(f"(core func {name}-d{number} (canon resource.drop {alias(interface, resource)}))")
        imported.append(f'(import "host" "d{number}" (func (param i32)))')
        exported.append(f'(export "d{number}" (func {name}-d{number}))')
    return "\n  ".join(
        [
            *lines,
            f'(core module {name}-module {" ".join(imported)} (func (export "run")))',
            f'(core instance {name} (instantiate {name}-module (with "host" (instance {" ".join(exported)}))))',
        ]
    )


def guest(
    lowered: Sequence[Lowered],
    drops: Sequence[tuple[str, str]] = (),
    *,
    version: str = NEWEST,
    rest: str = "",
) -> str:
    """A guest that imports, lowers and uses these functions."""
    functions = [(each.interface, each.function) for each in lowered]
    declared = imports(functions, version, resources=drops)
    return f"(component\n  {declared}\n{MEMORY}{memory()}\n  {user(lowered, drops)}\n{rest})"


def binary(text: str) -> bytes:
    """The component's bytes."""
    return text_format.binary(text)
