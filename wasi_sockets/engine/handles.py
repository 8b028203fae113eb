"""Handle tables: which objects a guest's virtual handles stand for.

A handle is `0x4000_0000 | generation << 20 | index`. Stock handles never have bit 30, so both kinds can live in
one guest side by side. The generation changes whenever an index is used again, so that a stale handle is
recognised: the lookup is by whole handle. A guest can forge any number; the worst it can hit is an object of
its own, of the type it asked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from wasi_sockets.errors import GuestTrap

__all__ = ["DEFAULT_LIMIT", "INPUT_STREAM", "OUTPUT_STREAM", "VIRTUAL", "HandleTable"]

INPUT_STREAM = "wasi:io/streams.input-stream"
OUTPUT_STREAM = "wasi:io/streams.output-stream"

_MAXIMUM_LIMIT = 0xFFFFF
"""Indices have 20 bits."""

DEFAULT_LIMIT = 100_000
"""Handles a guest may hold at a time, of all kinds together, in one of its component instances."""

VIRTUAL = 0x4000_0000
"""The bit that all virtual handles have and no stock handle."""

_SHIM_OWNED = 0x2000_0000
_GENERATIONS = 512
_INDEX = 0xFFFFF


class HandleTable:
    """The virtual handles of one component instance inside a guest.

    Attributes:
        inputs: handle -> input stream. With the two below, for code that cannot afford a method call.
        outputs: handle -> output stream.
        others: handle -> any other object.
    """

    __slots__ = (
        "_adders",
        "_children",
        "_entries",
        "_free",
        "_generations",
        "_limit",
        "_removers",
        "inputs",
        "others",
        "outputs",
    )

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        if not 0 < limit <= _MAXIMUM_LIMIT:
            raise ValueError(f"the limit of a handle table must be in 1..{_MAXIMUM_LIMIT}, not {limit}")
        self.inputs: dict[int, Any] = {}
        self.outputs: dict[int, Any] = {}
        self.others: dict[int, Any] = {}
        self._entries: dict[int, tuple[str, Any, Any]] = {}  # resource, object, its parent
        self._children: dict[int, int] = {}
        self._free: deque[int] = deque()
        self._generations: list[int] = []
        self._limit = limit
        self._adders: dict[str, Callable[[object], int]] = {}
        self._removers: dict[str, Callable[[int], Any]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, resource: str, target: object) -> int:
        """A new handle for `target`.

        Raises:
            GuestTrap: the table is full, as a stock host's "resource table has no free keys".
        """
        return self.adder(resource)(target)

    def adder(self, resource: str) -> Callable[[object], int]:
        """`add` for one type of resources: opening a connection consists of little else, so nothing is looked up."""
        known = self._adders.get(resource)
        if known is not None:
            return known
        entries, children, targets = self._entries, self._children, self._targets(resource)
        free, generations, limit = self._free, self._generations, self._limit

        def add(target: object) -> int:
            # Oldest first: the longer an index rests, the longer a stale handle is recognised.
            if free:
                index = free.popleft()
                handle = VIRTUAL | generations[index] << 20 | index
            else:
                index = len(generations)
                if index >= limit:
                    raise GuestTrap(f"resource table has no free keys: the guest holds {index} handles")
                generations.append(0)
                handle = VIRTUAL | index
            parent = getattr(target, "parent", None)
            entries[handle] = (resource, target, parent)
            targets[handle] = target
            if parent is not None:
                key = id(parent)
                children[key] = children.get(key, 0) + 1
            return handle

        self._adders[resource] = add
        return add

    def get(self, resource: str, handle: int) -> Any:
        """The object behind a handle, which must be of the given resource type.

        Raises:
            GuestTrap: it is not, or there is no such handle.
        """
        entry = self._entries.get(handle)
        if entry is None or entry[0] != resource:
            raise self.unknown(handle, resource)
        return entry[1]

    def remove(self, resource: str, handle: int) -> Any:
        """Take the object behind a handle out of the table.

        Raises:
            GuestTrap: as for `get`; or the object has children in this table.
        """
        return self.remover(resource)(handle)

    def remover(self, resource: str) -> Callable[[int], Any]:
        """`remove` for one type of resources, as `adder`."""
        known = self._removers.get(resource)
        if known is not None:
            return known
        entries, children, targets = self._entries, self._children, self._targets(resource)
        free, generations = self._free, self._generations
        unknown = self.unknown

        def remove(handle: int) -> Any:
            entry = entries.get(handle)
            if entry is None or entry[0] != resource:
                raise unknown(handle, resource)
            _, target, parent = entry
            if children and id(target) in children:
                raise GuestTrap("resource has children")
            del entries[handle], targets[handle]
            if parent is not None:
                key = id(parent)
                left = children.get(key, 0) - 1
                if left > 0:
                    children[key] = left
                else:
                    children.pop(key, None)
            index = handle & _INDEX
            generations[index] = (generations[index] + 1) % _GENERATIONS
            free.append(index)
            return target

        self._removers[resource] = remove
        return remove

    def _targets(self, resource: str) -> dict[int, Any]:
        if resource == INPUT_STREAM:
            return self.inputs
        return self.outputs if resource == OUTPUT_STREAM else self.others

    @staticmethod
    def unknown(handle: int, resource: str = "resource") -> GuestTrap:
        """The error for a handle that does not stand for what the guest says."""
        kind = "the shim's" if handle & _SHIM_OWNED else "stale, forged or of another type"
        return GuestTrap(f"unknown handle index {handle:#x} for {resource.rpartition('.')[2]}: {kind}")

    def close(self) -> list[BaseException]:
        """Forget every handle and call `close()` on every object, children before parents.

        Returns:
            What those calls raised.
        """
        errors: list[BaseException] = []
        targets = [target for _, target, _ in reversed(self._entries.values())]
        self._entries.clear()
        for table in (self.inputs, self.outputs, self.others, self._children):
            table.clear()
        for target in targets:
            close: Callable[[], object] | None = getattr(target, "close", None)
            if close is not None:
                try:
                    close()
                except BaseException as error:
                    errors.append(error)
        return errors
