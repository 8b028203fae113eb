"""What a guest may have at most."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from wasi_sockets.network import LEAST_BUFFERED
from wasi_sockets.sockets import DEFAULT_MAX_LOOKUPS, DEFAULT_MAX_SOCKETS

__all__ = ["Limits"]

_PAGE: Final = 64 * 1024

#: Attribute -> the least that it may be.
_COUNTS: Final = {
    "sockets": 0,
    "connections": 0,
    "buffered": LEAST_BUFFERED,
    "datagrams": 0,
    "lookups": 0,
    "pollables": 16,
    "memory": _PAGE,
    "table_elements": 0,
    "memories": 0,
    "tables": 0,
    "instances": 0,
}
_NEVER_NONE: Final = "sockets"
#: How many pollables a component instance can have in any case: their indices have 20 bits.
_MOST_POLLABLES: Final = 0xFFFFF


@dataclass(frozen=True, slots=True)
class Limits:
    """What a guest may have at most. None: no limit but those that everybody has.

    What the guest notices is told for each. It goes on unless that says otherwise.

    Attributes:
        sockets: open sockets, accepted ones included; beyond it the guest gets `new-socket-limit`.
        tcp: whether it may create TCP sockets; else it gets `access-denied`.
        udp: whether it may create UDP sockets; else likewise.
        name_lookup: whether it may look up names; else it gets `permanent-resolver-failure`.
        connections: TCP connections, those that it has not accepted yet included. Beyond it `start-connect` or
            `finish-connect` gives `new-socket-limit`, and who connects to it waits as for a full backlog.
        buffered: bytes that its sockets may hold in both directions together. Each connection reserves room when it is
            made, less the less is left; without room for one more it is `out-of-memory` for who connects, and who is
            connected to waits as above. Datagrams beyond it are dropped.
        datagrams: UDP datagrams that wait to be received, of all its sockets together; more are dropped.
        lookups: name lookups at a time; beyond it the guest gets `temporary-resolver-failure`.
        pollables: pollables of virtual streams, sockets and clocks in each of its component instances, at least 16; one
            more ends it with `GuestLimitError`.
        memory: bytes of each of its linear memories (not of all together: see `memories`); beyond it `memory.grow`
            fails. A guest that traps when hardly any was left ends with `GuestLimitError`, where that can be seen (on
            Linux; with `thread=True` once it has used a socket).
        table_elements: elements of each of its tables; beyond it `table.grow` fails.
        memories: linear memories. This and the next two count what the interposer adds: one memory, one table and up
            to 20 instances for each component instance in the guest. Beyond it the guest cannot be instantiated:
            `GuestLimitError`.
        tables: likewise.
        instances: core instances, likewise.
        cpu: the part of one processor core that it may use, above 0 and at most 1, on average over a tenth of a second;
            it is made to wait.
        lifetime: seconds after which it ends with `GuestLimitError`.
    """

    sockets: int = DEFAULT_MAX_SOCKETS
    tcp: bool = True
    udp: bool = True
    name_lookup: bool = True
    connections: int | None = None
    buffered: int | None = None
    datagrams: int | None = None
    lookups: int | None = DEFAULT_MAX_LOOKUPS
    pollables: int | None = None
    memory: int | None = None
    table_elements: int | None = None
    memories: int | None = None
    tables: int | None = None
    instances: int | None = None
    cpu: float | None = None
    lifetime: float | None = None

    def __post_init__(self) -> None:
        for name, least in _COUNTS.items():
            self._check_count(name, least)
        for name in ("tcp", "udp", "name_lookup"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be True or False, not {getattr(self, name)!r}")
        if self.cpu is not None:
            _check_number("cpu", self.cpu, "the part of one processor core, such as 0.5")
            if not 0 < self.cpu <= 1:
                raise ValueError(f"cpu must be above 0 and at most 1 (one core), not {self.cpu}")
        if self.lifetime is not None:
            _check_number("lifetime", self.lifetime, "a number of seconds")
            if not (self.lifetime > 0 and math.isfinite(self.lifetime)):
                raise ValueError(f"lifetime must be above 0 seconds, or None for no end, not {self.lifetime}")

    def _check_count(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if value is None and name != _NEVER_NONE:
            return
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be an int, not {value!r}")
        if value < least:
            raise ValueError(f"{name} must be at least {least}, not {value}")
        if name == "pollables" and value > _MOST_POLLABLES:
            raise ValueError(f"pollables must be at most {_MOST_POLLABLES}, or None, not {value}")


def _check_number(name: str, value: object, what: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be {what}, not {value!r}")
