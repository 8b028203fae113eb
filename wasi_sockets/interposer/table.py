"""Which functions and drops of WASI 0.2 are replaced, and by what: the one table the interposer is driven by.

A new function is a row here and a Python function in `wasi_sockets.wasi.p2` (a test matches the two). Only the
hot ones have a trampoline of their own in `plain.wat` or `memory.wat`; all others get a generated one that carries
their flat arguments to Python.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

__all__ = [
    "DROPS",
    "DROP_POLLABLE",
    "FUNCTIONS",
    "REPLACED_INTERFACES",
    "VIRTUAL_RESOURCES",
    "WAITING",
    "Row",
    "Style",
]


class Style(Enum):
    """How a trampoline decides who answers."""

    SHIM = "a form of plain.wat or memory.wat, which asks Python only for what it cannot know"
    VIRTUAL = "always Python: the interface has no stock objects"
    EITHER = "Python for a virtual handle, the stock function for a stock one"
    ASK = "Python answers with a handle, or with 0 to let the stock function answer"


@dataclass(frozen=True, slots=True)
class Row:
    """One replaced function.

    Attributes:
        style: who answers.
        form: the trampoline's name in the WAT library, for `Style.SHIM`.
        stock: what the form calls `$stock_KEY`, as KEY -> function of the same interface. "self" is the function
            itself, which blocking forms call where they must wait and the guest has no pollables (`WAITING`). All are
            appended to the import's type where the guest did not import them.
        suspends: the Python function may be a coroutine.
        forgets: the Python function changes what streams hold, so that the shim must ask again.
        returns_streams: it must not see that the streams of a connect decided at once have been made already.
        python: a function of `wasi.p2` stands behind it (not so for those answered by fast paths alone).
    """

    style: Style
    form: str = ""
    stock: Mapping[str, str] = field(default_factory=dict)
    suspends: bool = False
    forgets: bool = False
    python: bool = True
    returns_streams: bool = False


_NO_WAITING: Mapping[str, str] = MappingProxyType({})


def _shim(
    form: str,
    *,
    python: bool = False,
    suspends: bool = False,
    forgets: bool = False,
    waiting: Mapping[str, str] = _NO_WAITING,
    **stock: str,
) -> Row:
    return Row(Style.SHIM, form, MappingProxyType({**stock, **waiting}), suspends, forgets, python)


_VIRTUAL = Row(Style.VIRTUAL)
_EITHER = Row(Style.EITHER, stock=MappingProxyType({"self": ""}))
_ASK = Row(Style.ASK, stock=MappingProxyType({"self": ""}))

_IN = "[method]input-stream."
_OUT = "[method]output-stream."

DROP_POLLABLE = "[resource-drop]pollable"
"""Stands among stock functions for dropping a stock pollable."""

WAITING = frozenset({"subscribe", "listen", "unsubscribe"})
"""Keys of the stock functions by which a form waits for a stock stream; a guest without pollables has none of them."""

_WAIT_FOR_INPUT = {"self": "", "subscribe": _IN + "subscribe", "unsubscribe": DROP_POLLABLE}
_WAIT_FOR_OUTPUT = {"self": "", "subscribe": _OUT + "subscribe", "unsubscribe": DROP_POLLABLE}

_POLL = {
    "poll": _shim("poll"),
    "[method]pollable.ready": _shim("pollable_ready"),
    "[method]pollable.block": _shim("pollable_block"),
}
_STREAMS = {
    _IN + "read": _shim("read", self=""),
    _IN + "blocking-read": _shim("blocking_read", read=_IN + "read", waiting=_WAIT_FOR_INPUT),
    _IN + "skip": Row(Style.EITHER, stock=MappingProxyType({"self": ""}), forgets=True),
    _IN + "blocking-skip": _shim(
        "blocking_skip", python=True, suspends=True, skip=_IN + "skip", waiting=_WAIT_FOR_INPUT
    ),
    _IN + "subscribe": _shim("subscribe_input_stream", self=""),
    _OUT + "check-write": _shim("check_write", self=""),
    _OUT + "write": _shim("write", self=""),
    _OUT + "blocking-write-and-flush": _shim(
        "blocking_write",
        check=_OUT + "check-write",
        write=_OUT + "write",
        flush=_OUT + "flush",
        waiting=_WAIT_FOR_OUTPUT,
    ),
    _OUT + "flush": _shim("flush", self=""),
    _OUT + "blocking-flush": _shim(
        "blocking_flush", check=_OUT + "check-write", flush=_OUT + "flush", waiting=_WAIT_FOR_OUTPUT
    ),
    _OUT + "subscribe": _shim("subscribe_output_stream", self=""),
    _OUT + "write-zeroes": Row(Style.EITHER, stock=MappingProxyType({"self": ""}), forgets=True),
    _OUT + "blocking-write-zeroes-and-flush": _shim(
        "blocking_write_zeroes",
        python=True,
        suspends=True,
        check=_OUT + "check-write",
        zeroes=_OUT + "write-zeroes",
        flush=_OUT + "flush",
        waiting=_WAIT_FOR_OUTPUT,
    ),
    _OUT + "splice": _shim("splice", python=True, self=""),
    _OUT + "blocking-splice": _shim(
        "blocking_splice",
        python=True,
        suspends=True,
        splice=_OUT + "splice",
        check=_OUT + "check-write",
        flush=_OUT + "flush",
        listen=_IN + "subscribe",
        waiting=_WAIT_FOR_OUTPUT,
    ),
}
_CLOCK = {
    "now": _shim("clock_now"),
    "subscribe-instant": _shim("clock_instant"),
    "subscribe-duration": _shim("clock_duration"),
}


def _methods(resource: str, names: str, usual: Row = _VIRTUAL, **special: Row) -> dict[str, Row]:
    rows = {f"[method]{resource}.{name}": usual for name in names.split()}
    rows.update({f"[method]{resource}.{name}": row for name, row in special.items()})
    return rows


_OPTIONS = "hop-limit receive-buffer-size send-buffer-size"
_KEEP_ALIVE = "keep-alive-enabled keep-alive-idle-time keep-alive-interval keep-alive-count"
_TCP = _methods(
    "tcp-socket",
    "start-bind finish-bind start-listen finish-listen local-address"
    f" remote-address is-listening address-family set-listen-backlog-size {_KEEP_ALIVE} {_OPTIONS} "
    + " ".join(f"set-{name}" for name in f"{_KEEP_ALIVE} {_OPTIONS}".split()),
    Row(Style.VIRTUAL, returns_streams=True),
    **{
        "start-connect": _shim("start_connect", python=True),
        "finish-connect": _shim("finish_connect", python=True),
        "accept": _shim("accept", python=True),
        "subscribe": _shim("subscribe_tcp_socket"),
        "shutdown": Row(Style.VIRTUAL, forgets=True, returns_streams=True),
    },
)
_UDP_OPTIONS = "unicast-hop-limit receive-buffer-size send-buffer-size"
_UDP = {
    **_methods(
        "udp-socket",
        f"start-bind finish-bind stream local-address remote-address address-family {_UDP_OPTIONS} "
        + " ".join(f"set-{name}" for name in _UDP_OPTIONS.split()),
        subscribe=_shim("subscribe_object"),
    ),
    **_methods("incoming-datagram-stream", "receive", subscribe=_shim("subscribe_object")),
    **_methods("outgoing-datagram-stream", "check-send send", subscribe=_shim("subscribe_object")),
}

FUNCTIONS: Mapping[str, Mapping[str, Row]] = MappingProxyType(
    {
        "wasi:io/poll": _POLL,
        "wasi:io/error": {"[method]error.to-debug-string": _EITHER},
        "wasi:io/streams": _STREAMS,
        "wasi:clocks/monotonic-clock": _CLOCK,
        "wasi:cli/stdin": {"get-stdin": _ASK},
        "wasi:cli/stdout": {"get-stdout": _ASK},
        "wasi:cli/stderr": {"get-stderr": _ASK},
        "wasi:filesystem/types": {"filesystem-error-code": _EITHER},
        "wasi:http/types": {"http-error-code": _EITHER},
        "wasi:sockets/network": {"network-error-code": _shim("network_error_code", python=True)},
        "wasi:sockets/instance-network": {"instance-network": _VIRTUAL},
        "wasi:sockets/tcp-create-socket": {"create-tcp-socket": _shim("create_socket", python=True)},
        "wasi:sockets/tcp": _TCP,
        "wasi:sockets/udp-create-socket": {"create-udp-socket": _VIRTUAL},
        "wasi:sockets/udp": _UDP,
        "wasi:sockets/ip-name-lookup": {
            "resolve-addresses": _VIRTUAL,
            **_methods("resolve-address-stream", "resolve-next-address", subscribe=_shim("subscribe_object")),
        },
    }
)
"""interface (version stripped) -> function -> row."""

_EITHER_DROPS = {
    ("wasi:io/error", "error"): "drop_either",
    ("wasi:io/streams", "input-stream"): "drop_input_stream",
    ("wasi:io/streams", "output-stream"): "drop_output_stream",
    ("wasi:io/poll", "pollable"): "drop_a_pollable",
}
_VIRTUAL_DROPS = {
    ("wasi:sockets/network", "network"): "drop_virtual",
    ("wasi:sockets/tcp", "tcp-socket"): "drop_virtual",
    ("wasi:sockets/udp", "udp-socket"): "drop_virtual",
    ("wasi:sockets/udp", "incoming-datagram-stream"): "drop_virtual",
    ("wasi:sockets/udp", "outgoing-datagram-stream"): "drop_virtual",
    ("wasi:sockets/ip-name-lookup", "resolve-address-stream"): "drop_virtual",
}
DROPS: Mapping[tuple[str, str], str] = MappingProxyType({**_EITHER_DROPS, **_VIRTUAL_DROPS})
"""(interface, resource) -> the form of plain.wat that drops it."""

VIRTUAL_RESOURCES = frozenset(DROPS)
"""Resources whose handles may be virtual; nothing but the functions above can take them."""

STOCK_DROPS = frozenset(_EITHER_DROPS)

REPLACED_INTERFACES = frozenset(name for name in FUNCTIONS if name.startswith(("wasi:sockets/", "wasi:io/")))
"""In these an unknown function is refused, as it may hand out or take what is virtual here."""
