"""The options of TCP and UDP sockets: defaults, limits and rounding, as one table for each.

Rules:

1. 0 is refused with `invalid-argument`; any other value is accepted, and clamped and rounded silently.
   (`wasi:sockets/tcp@0.2.12` and `udp`, at each setter)
2. Times are whole seconds, 1 to 32,767, rounded up so that nothing becomes 0; counts 1 to 127. These are
   Linux' limits, the lowest of the common platforms. (wasmtime, `crates/wasi/src/sockets/tcp.rs`,
   `clamp_keep_alive_time` and `clamp_keep_alive_count`)
3. Buffer sizes are 1 to 2^31 - 1 and read back exactly. (wasmtime, `crates/wasi/src/sockets/mod.rs`,
   `normalize_set_buffer_size`; `p2_tcp_sockopts` asserts the exact value)
4. Defaults are above 0, and are Linux'. (`p2_tcp_sockopts`)
5. An accepted socket starts with what its listener had when it was accepted; later changes on either side
   stay there. (`accept` in `wasi:sockets/tcp@0.2.12`; `p2_tcp_sockopts`)
6. UDP's are those of the same name. (`p2_udp_sockopts`) Its receive buffer is at most 4 MiB (Linux'
   `net.core.rmem_max`, in recent versions): a guest can make others fill it.

UDP's receive buffer is what holds datagrams. The others are kept and read back, but change nothing else: in
memory nothing needs to be kept alive, no hop is counted, what is sent has arrived, and the network itself bounds the
buffers of its connections.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final, NamedTuple

__all__ = [
    "DEFAULTS",
    "RULES",
    "UDP_DEFAULTS",
    "UDP_RULES",
    "Rule",
    "TcpOption",
    "UdpOption",
    "accepted_value",
    "clamped_backlog",
]

_SECOND: Final = 1_000_000_000


class TcpOption(IntEnum):
    """What can be set on a TCP socket, apart from the backlog, which only a listener has."""

    KEEP_ALIVE_ENABLED = 0
    KEEP_ALIVE_IDLE_TIME = 1
    KEEP_ALIVE_INTERVAL = 2
    KEEP_ALIVE_COUNT = 3
    HOP_LIMIT = 4
    RECEIVE_BUFFER_SIZE = 5
    SEND_BUFFER_SIZE = 6


class UdpOption(IntEnum):
    """What can be set on a UDP socket."""

    UNICAST_HOP_LIMIT = 0
    RECEIVE_BUFFER_SIZE = 1
    SEND_BUFFER_SIZE = 2


class Rule(NamedTuple):
    """How one option treats what it is given.

    Attributes:
        default: the value of a new socket.
        refuses_zero: whether 0 is an `invalid-argument` (not for a switch).
        minimum: smaller values become this one.
        maximum: larger values become this one.
        unit: values are rounded up to a multiple of it.
    """

    default: int
    refuses_zero: bool
    minimum: int
    maximum: int
    unit: int


# fmt: off
RULES: Final[Mapping[TcpOption, Rule]] = MappingProxyType({
    #                                     default        0 refused  minimum  maximum          unit
    TcpOption.KEEP_ALIVE_ENABLED:   Rule( 0,             False,     0,       1,               1),
    TcpOption.KEEP_ALIVE_IDLE_TIME: Rule( 7200*_SECOND,  True,      _SECOND, 32_767*_SECOND,  _SECOND),
    TcpOption.KEEP_ALIVE_INTERVAL:  Rule( 75*_SECOND,    True,      _SECOND, 32_767*_SECOND,  _SECOND),
    TcpOption.KEEP_ALIVE_COUNT:     Rule( 9,             True,      1,       127,             1),
    TcpOption.HOP_LIMIT:            Rule( 64,            True,      1,       255,             1),
    TcpOption.RECEIVE_BUFFER_SIZE:  Rule( 131_072,       True,      1,       2**31 - 1,       1),
    TcpOption.SEND_BUFFER_SIZE:     Rule( 16_384,        True,      1,       2**31 - 1,       1),
})

UDP_RULES: Final[Mapping[UdpOption, Rule]] = MappingProxyType({
    #                                     default        0 refused  minimum  maximum          unit
    UdpOption.UNICAST_HOP_LIMIT:    Rule( 64,            True,      1,       255,             1),
    UdpOption.RECEIVE_BUFFER_SIZE:  Rule( 212_992,       True,      1,       4_194_304,       1),  # rule 6
    UdpOption.SEND_BUFFER_SIZE:     Rule( 212_992,       True,      1,       2**31 - 1,       1),
})
# fmt: on

#: The options of a new socket. Sockets share it and replace it when one is set (rule 5).
DEFAULTS: Final[Mapping[TcpOption, int]] = MappingProxyType(
    {option: rule.default for option, rule in RULES.items()}
)

UDP_DEFAULTS: Final[Mapping[UdpOption, int]] = MappingProxyType(
    {option: rule.default for option, rule in UDP_RULES.items()}
)

#: Linux' `net.core.somaxconn`, to which `listen` clamps; here it also bounds what a guest can queue.
_MAX_BACKLOG: Final = 4096


def accepted_value(option: TcpOption | UdpOption, value: int) -> int | None:
    """Return what the option becomes when set to `value`; `None` when that is refused (rules 1 to 3, and 6)."""
    rule = UDP_RULES[option] if isinstance(option, UdpOption) else RULES[option]
    if value == 0 and rule.refuses_zero:
        return None
    rounded = -(-value // rule.unit) * rule.unit
    return max(rule.minimum, min(rounded, rule.maximum))


def clamped_backlog(value: int) -> int | None:
    """Return the queue length for a requested one, or `None` for 0, which is refused (rule 1)."""
    return min(value, _MAX_BACKLOG) if value > 0 else None
