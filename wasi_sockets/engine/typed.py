"""Items that call a Python function on plain values, driven by the guest's own types.

Lifting the arguments reads the guest's memory and lowering the result writes it, in one of two ways. With direct
memory both happen at once, by address. With the copy transport a lift that lacks bytes goes on with zeroes in
their place, READs bring all that was lacking, and it is run again, once for each level that pointers are nested:
it is pure, since handles are taken out of the table only when it has succeeded. Allocations are REALLOC commands
in both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from wasi_sockets.component.canonical import lifts_from_memory, lowering, parameter_lifter
from wasi_sockets.component.layout import has_pointers
from wasi_sockets.component.types import Borrow, FunctionType, Own, ResourceType, Result, Tuple
from wasi_sockets.component.values import Err
from wasi_sockets.engine import commands
from wasi_sockets.engine.early import early_streams
from wasi_sockets.engine.memory import GuestMemory
from wasi_sockets.engine.suspension import Suspended
from wasi_sockets.errors import GuestTrap
from wasi_sockets.interposer.items import Item

if TYPE_CHECKING:
    from wasi_sockets.engine.guest import GuestState
    from wasi_sockets.engine.handles import HandleTable

__all__ = ["MAXIMUM_ARGUMENT_BYTES", "MAXIMUM_STRING_BYTES", "build"]

MAXIMUM_ARGUMENT_BYTES = 2 << 20
"""Bytes that the strings and lists of one call may take together. Bulk data goes through streams, which have
limits of their own; what is left are datagrams, of which 16 may be sent at a time."""

MAXIMUM_STRING_BYTES = 64 << 10
"""The same for functions that take strings only. Names have at most 253 bytes; a longer one is an error that the
guest is told, and only one that is no name by any measure ends it."""

_MASK = 0xFFFF_FFFF
_MAXIMUM = 0x7FFF_FFFF
_OUTPUT_STREAM = ResourceType("wasi:io/streams", "output-stream")


class _Access:
    """A guest as lifting and lowering see it, for one item at a time.

    Attributes:
        taken: handles whose objects the call takes over, once it is known that it will be made.
    """

    __slots__ = ("_known", "_table", "taken")

    def __init__(self, table: HandleTable) -> None:
        self._table = table
        # By identity, as hashing a type takes longer than all else here; the type itself keeps its identity alive.
        self._known: dict[int, tuple[str, bool, object]] = {}
        self.taken: list[tuple[str, int]] = []

    def lift_handle(self, valtype: Any, handle: int) -> object:
        known = self._known.get(id(valtype))
        resource, owned, _ = self._learn(valtype) if known is None else known
        if owned:
            self.taken.append((resource, handle))
        return self._table.get(resource, handle)

    def lower_handle(self, valtype: Any, value: Any) -> int:
        if value is None:
            return 0  # let the stock function answer; 0 is never a valid handle
        known = self._known.get(id(valtype))
        return self._table.add((self._learn(valtype) if known is None else known)[0], value)

    def take(self) -> None:
        """Take over the owned handles of the arguments."""
        taken, self.taken = self.taken, []
        for resource, handle in taken:
            self._table.remove(resource, handle)

    def read(self, address: int, size: int) -> bytes:
        raise GuestTrap(
            f"the component's table is inconsistent: {size} bytes at {address:#x} without a memory"
        )

    def write(self, address: int, data: bytes | bytearray | memoryview) -> object:
        raise GuestTrap(f"the component's table is inconsistent: a result at {address:#x} without a memory")

    def _learn(self, valtype: Any) -> tuple[str, bool, object]:
        """The name of a handle type's resource, whether it is owned, and the type."""
        if not isinstance(valtype, Own | Borrow):
            raise NotImplementedError(f"values of type {type(valtype).__name__} cannot cross yet")
        resource = valtype.resource
        known = f"{resource.interface}.{resource.name}", isinstance(valtype, Own), valtype
        self._known[id(valtype)] = known
        return known


class _DirectAccess(_Access):
    """Memory by address. `view` and `pages` are set before each use: they hold until guest code runs."""

    __slots__ = ("pages", "view")

    view: memoryview
    pages: int

    def read(self, address: int, size: int) -> bytes:
        if address + size > self.pages << 16:
            commands.check_range(address, size, self.pages)
        return self.view[address : address + size].tobytes()

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        size = len(data)
        if address + size > self.pages << 16:
            commands.check_range(address, size, self.pages)
        self.view[address : address + size] = data


class _CopyAccess(_Access):
    """Memory through commands: bytes that READ has brought, writes that WRITE will carry out."""

    __slots__ = ("_here", "lacking", "pages", "writes")

    def __init__(self, table: HandleTable, pages: int) -> None:
        super().__init__(table)
        self.pages = pages
        self.writes: list[tuple[int, bytes]] = []
        self.lacking: dict[tuple[int, int], None] = {}
        self._here: dict[tuple[int, int], bytes] = {}

    def arrived(self, address: int, size: int, data: bytes) -> None:
        self._here[address, size] = data

    def read(self, address: int, size: int) -> bytes:
        commands.check_range(address, size, self.pages)
        if not size:
            return b""
        data = self._here.get((address, size))
        if data is None:
            self.lacking[address, size] = None
            return bytes(size)
        return data

    def lift_handle(self, valtype: Any, handle: int) -> object:
        # It may be one of the zeroes.
        return None if self.lacking else super().lift_handle(valtype, handle)

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        commands.check_range(address, len(data), self.pages)
        if data:
            self.writes.append((address, bytes(data)))


def build(guest: GuestState, item: Item) -> Callable[..., Any]:
    """The function that answers an item: lift, call, lower.

    Raises:
        NotImplementedError: the guest's functions have none of that name.
    """
    function = guest.functions.get((item.interface, item.name))
    function_type = item.function_type
    if function is None or function_type is None:
        raise NotImplementedError(f"the host has no function {item.interface}#{item.name}")
    if item.memory is None:
        return _build_flat(guest, item, function)
    general = _MemoryItem(guest, item, function, guest.memory(item.memory)).call
    if item.suspends or lifts_from_memory(function_type):
        return general
    return _build_packed(guest, item, function, general) or general


def _build_flat(guest: GuestState, item: Item, function: Callable[..., Any]) -> Callable[..., Any]:
    """An item that touches no memory."""
    function_type = item.function_type
    if function_type is None:
        raise TypeError("an item without a type")
    lift = parameter_lifter(function_type, item.encoding)
    lower = lowering(function_type.result, item.encoding).flat
    if lower is None or lifts_from_memory(function_type):
        raise GuestTrap(f"the component's table is inconsistent: {item.name} needs a memory")
    access = _Access(guest.table(item.realm))

    def finish(result: Any) -> int:
        return lower(result, access)

    def call(_pages: int, *flat: int) -> Any:
        arguments = lift(flat, access)
        if access.taken:
            access.take()
        result = function(*arguments)
        if item.suspends and isinstance(result, Awaitable):
            return Suspended(result, finish)
        return lower(result, access)

    return call


def _maximum_bytes(function_type: FunctionType) -> int:
    pointed = [kind for _, kind in function_type.parameters if has_pointers(kind)]
    return MAXIMUM_STRING_BYTES if all(kind == "string" for kind in pointed) else MAXIMUM_ARGUMENT_BYTES


def _build_packed(
    guest: GuestState, item: Item, function: Callable[..., Any], general: Callable[..., Any]
) -> Callable[..., Any] | None:
    """An item that only writes its result, in one piece, to memory that can be used by address. None for others.

    It is what sockets are made of: `general` does the same by way of twice as many calls.
    """
    function_type = item.function_type
    if function_type is None or item.memory is None:
        return None
    how = lowering(function_type.result, item.encoding)
    pack = how.pack
    if pack is None or how.allocates:
        return None
    size, alignment = how.size, how.alignment
    memory = guest.memory(item.memory)
    access = _Access(guest.table(item.realm))
    lift = parameter_lifter(function_type, item.encoding)
    mints_streams = _ends_with_output_stream(function_type)
    early = early_streams(guest, item)

    def call(pages: int, *flat: int) -> Any:
        if pages != memory.pages or not memory.base:
            return general(pages, *flat)
        arguments = lift(flat, access)
        if access.taken:
            access.take()
        result = function(*arguments)
        address = flat[-1]
        if address % alignment:
            raise GuestTrap("pointer not aligned")
        if address + size > pages << 16:
            commands.check_range(address, size, pages)
        data = pack(result, access)
        memory.view[address : address + len(data)] = data
        if early is not None and result is None:
            return early(arguments[0])
        return _permit_of(result) if mints_streams else 0

    return call


def _permit_of(result: Any) -> int:
    """For the shim, beside the result: what may be written to the output stream that the guest has just got."""
    if isinstance(result, Err):
        return 0
    permit: int = result[-1].permit()
    return min(max(permit, 0), _MAXIMUM)


class _MemoryItem:
    """An item that reads its arguments from memory, or writes its result there, or both."""

    __slots__ = (
        "_by_pointer",
        "_direct",
        "_function",
        "_guest",
        "_lift",
        "_lowering",
        "_memory",
        "_mints_streams",
        "_suspends",
        "_table",
    )

    def __init__(
        self, guest: GuestState, item: Item, function: Callable[..., Any], memory: GuestMemory
    ) -> None:
        function_type = item.function_type
        if function_type is None:
            raise TypeError("an item without a type")
        self._guest = guest
        self._function = function
        self._memory = memory
        self._table = guest.table(item.realm)
        self._lift = parameter_lifter(function_type, item.encoding, _maximum_bytes(function_type))
        self._lowering = lowering(function_type.result, item.encoding)
        self._by_pointer = self._lowering.flat is None
        self._suspends = item.suspends
        self._mints_streams = _ends_with_output_stream(function_type)
        self._direct = _DirectAccess(self._table)

    def call(self, pages: int, *flat: int) -> Any:
        memory = self._memory
        base = memory.base if pages == memory.pages else memory.address(pages)
        if not base:
            return self._guest.start(self._copied(pages, flat))
        access = self._direct
        access.view = memory.view
        access.pages = pages
        arguments = self._lift(flat, access)
        if access.taken:
            access.take()
        result = self._function(*arguments)
        if self._suspends and isinstance(result, Awaitable):
            return self._guest.start(self._awaited(result, pages, flat))
        if not self._by_pointer:
            return self._flat_result(result, access)
        if self._lowering.allocates:
            plan = self._lowering.plan(result)
            if plan:
                return self._guest.start(self._lowered(result, pages, flat))
        self._lowering.store(result, flat[-1], (), access)
        return _permit_of(result) if self._mints_streams else 0

    def _flat_result(self, result: Any, access: _Access) -> int:
        lower = self._lowering.flat
        value = 0 if lower is None else lower(result, access)
        if value >> 63:
            raise ValueError(f"{value:#x} cannot be answered by an item with memory: it looks like a command")
        return value

    def _copied(self, pages: int, flat: tuple[int, ...]) -> commands.Operation:
        """The whole call when bytes must be copied."""
        access = _CopyAccess(self._table, pages)
        while True:
            try:
                arguments = self._lift(flat, access)
            except GuestTrap:
                if not access.lacking:
                    raise
            if not access.lacking:
                break
            access.taken.clear()
            lacking, access.lacking = access.lacking, {}
            for address, size in lacking:
                access.arrived(address, size, (yield commands.read(address, size)))
        access.take()
        result = self._function(*arguments)
        if self._suspends and isinstance(result, Awaitable):
            result = yield result
        return (yield from self._lowered(result, pages, flat))

    def _awaited(self, result: Awaitable[Any], pages: int, flat: tuple[int, ...]) -> commands.Operation:
        return (yield from self._lowered((yield result), pages, flat))

    def _lowered(self, result: Any, pages: int, flat: tuple[int, ...]) -> commands.Operation:
        """Allocate for the result and write it."""
        if not self._by_pointer:
            return self._flat_result(result, self._direct)
        addresses: list[int] = []
        for align, size in self._lowering.plan(result):
            word = yield commands.reallocate(align, size)
            address, pages = word & _MASK, word >> 32
            if address % align:
                raise GuestTrap(f"pointer not aligned: the guest's realloc returned {address:#x}")
            commands.check_range(address, size, pages)
            addresses.append(address)
        memory = self._memory
        base = memory.base if pages == memory.pages else memory.address(pages)
        if base:
            access = self._direct
            access.view = memory.view
            access.pages = pages
            self._lowering.store(result, flat[-1], addresses, access)
            return _permit_of(result) if self._mints_streams else 0
        copy = _CopyAccess(self._table, pages)
        self._lowering.store(result, flat[-1], addresses, copy)
        for address, data in copy.writes:
            self._guest.outgoing = data
            yield commands.write(address)
        return _permit_of(result) if self._mints_streams else 0


def _ends_with_output_stream(function_type: FunctionType) -> bool:
    result = function_type.result
    pair = result.ok if isinstance(result, Result) else None
    last = pair.items[-1] if isinstance(pair, Tuple) else None
    return isinstance(last, Own) and last.resource == _OUTPUT_STREAM
