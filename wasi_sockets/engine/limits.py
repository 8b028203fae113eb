"""What a guest may have at most of what the engine gives: memories, tables, time. None: no limit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from wasmtime import Store, WasmtimeError

from wasi_sockets.engine.memory import mapped_bytes
from wasi_sockets.errors import GuestLimitError

__all__ = ["GuestLimits", "because_of_memory", "because_of_store_limits", "limit_store"]

# How wasmtime says that a store's limit keeps it from instantiating (`crates/wasmtime/src/runtime/store.rs`,
# `bump_resource_counts`; `vm/memory.rs` and `vm/table.rs`).
_REFUSALS: Final = (
    (re.compile(r"minimum size of .* exceeds memory limits"), "memory"),
    (re.compile(r"minimum size of .* exceeds table limits"), "table_elements"),
    (re.compile(r"memory count too high"), "memories"),
    (re.compile(r"table count too high"), "tables"),
    (re.compile(r"instance count too high"), "instances"),
)


@dataclass(frozen=True, slots=True)
class GuestLimits:
    """The limits of one guest; what they mean is told in `wasi_sockets.Limits`, which has the same names.

    Attributes:
        pollables: of the shim, in each component instance.
        memory: bytes of each linear memory.
        table_elements: of each table.
        memories: how many; `tables` and `instances` alike.
        cpu: the part of one core.
        lifetime: seconds.
    """

    pollables: int | None = None
    memory: int | None = None
    table_elements: int | None = None
    memories: int | None = None
    tables: int | None = None
    instances: int | None = None
    cpu: float | None = None
    lifetime: float | None = None


def limit_store(store: Store, limits: GuestLimits) -> None:
    """Set the limits of a store; without any, those that its owner may have set stay."""
    given = (limits.memory, limits.table_elements, limits.instances, limits.tables, limits.memories)
    if given.count(None) < len(given):
        store.set_limits(*[-1 if each is None else each for each in given])


def because_of_store_limits(error: WasmtimeError, limits: GuestLimits) -> GuestLimitError | None:
    """What a failed instantiation is told as when a limit was the reason."""
    text = str(error)
    for pattern, name in _REFUSALS:
        found = pattern.search(text)
        allowed = getattr(limits, name)
        if found is not None and allowed is not None:
            return GuestLimitError(
                name, f"the guest needs more than limits.{name}={allowed} allows: {found[0]}"
            )
    return None


def because_of_memory(limits: GuestLimits, places: list[int]) -> GuestLimitError | None:
    """What a trap is told as when the guest had hardly any memory left.

    wasmtime tells nobody that it refused to grow a memory, but how large the memories are can be seen.

    Args:
        limits: the guest's.
        places: addresses at which its memories may begin.
    """
    allowed = limits.memory
    if allowed is None:
        return None
    used = max([size for size in mapped_bytes(places) if size <= allowed], default=0)
    if used < allowed - allowed // 8:
        return None
    return GuestLimitError(
        "memory",
        f"the guest trapped with {used} of the {allowed} bytes of memory in use that limits.memory allows:"
        " probably because it was refused more",
    )
