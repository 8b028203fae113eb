"""From Python values to a guest's core values and memory.

Lowering takes two steps, because only the guest can allocate: `plan` tells what is needed, in the order in
which CanonicalABI.md calls `realloc`, and `store` writes everything once the addresses are there, with one
write for each allocation and one for the value itself. Padding is written as zero.

A value that does not fit its type is the host's mistake and raises `ValueError` or `TypeError`; an address
that the guest's `realloc` returned is the guest's, and raises `GuestTrap` when it is not aligned.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final, Protocol, TypeAlias

from wasi_sockets.component.allocation import (
    Allocation,
    Planner,
    case_selector,
    char_code,
    encode_string,
    flag_bits,
    planner,
    string_alignment,
)
from wasi_sockets.component.layout import (
    cases_of,
    discriminant_size,
    fields_of,
    flatten,
    layout,
    payload_offset,
    wraps_ok,
)
from wasi_sockets.component.packing import packer
from wasi_sockets.component.types import (
    Borrow,
    Enum,
    FixedList,
    Flags,
    Future,
    List,
    Map,
    Option,
    Own,
    Record,
    Result,
    Stream,
    Tuple,
    Type,
    Variant,
)
from wasi_sockets.component.values import Err
from wasi_sockets.errors import GuestTrap

__all__ = ["Lowering", "WriteAccess", "lowering"]


class WriteAccess(Protocol):
    """What lowering needs of a guest."""

    def write(self, address: int, data: bytes | bytearray | memoryview) -> object:
        """Put bytes into memory, raising `GuestTrap` when the range leaves it (for no bytes as well)."""
        ...

    def lower_handle(self, valtype: Any, value: Any) -> int:
        """A handle for an object, of type own, borrow, stream, future or "error-context"."""
        ...


Storer: TypeAlias = Callable[[bytearray, int, Any, WriteAccess, Iterator[int]], None]
FlatLowerer: TypeAlias = Callable[[Any, WriteAccess], int]


class Lowering:
    """How values of one type reach the guest.

    Attributes:
        size: bytes of the value itself in memory.
        alignment: of its address.
        flat: for a type of at most one core value, what gives that value's bits from the Python value and the
            guest (0 for no type at all); else `None`.
        allocates: whether `plan` can ever ask for anything.
        pack: for a result without pointers, what gives its bytes; see `packing.py`. Else `None`.
    """

    __slots__ = ("_plan", "_store", "alignment", "allocates", "flat", "pack", "size")

    def __init__(self, valtype: Type | None, encoding: str) -> None:
        self.flat = _flat_lowerer(valtype)
        if valtype is None:
            self.size, self.alignment = 0, 1
            self._plan = self._store = None
        else:
            self.size, self.alignment = layout(valtype)
            self._plan = planner(valtype, encoding)
            self._store = _storer(valtype, encoding)
        self.pack = packer(valtype)
        self.allocates = self._plan is not None

    _plan: Planner | None
    _store: Storer | None
    flat: FlatLowerer | None

    def plan(self, value: Any) -> Sequence[Allocation]:
        """The allocations that `store` needs, in order; an empty sequence for most types."""
        if self._plan is None:
            return ()
        allocations: list[Allocation] = []
        self._plan(value, allocations)
        return allocations

    def store(self, value: Any, address: int, addresses: Iterable[int], access: WriteAccess) -> None:
        """Write the value to `address`.

        Args:
            value: the same value that was planned.
            address: where, as the guest said.
            addresses: what the guest's `realloc` returned for each planned allocation.
            access: the guest.

        Raises:
            GuestTrap: an address is not aligned.
            ValueError: the value does not fit the type, or there are fewer addresses than planned.
            TypeError: likewise.
        """
        if address % self.alignment:
            raise GuestTrap("pointer not aligned")
        pack = self.pack
        if pack is not None:
            access.write(address, pack(value, access))
            return
        store = self._store
        if store is None:
            return
        buffer = bytearray(self.size)
        store(buffer, 0, value, access, iter(addresses))
        access.write(address, buffer)


@lru_cache(4096)
def lowering(valtype: Type | None, encoding: str = "utf8") -> Lowering:
    """The compiled lowering of a type; `encoding` is "utf8", "utf16" or "latin1+utf16"."""
    return Lowering(valtype, encoding)


def _next_address(addresses: Iterator[int], alignment: int) -> int:
    for address in addresses:
        if address % alignment:
            raise GuestTrap("pointer not aligned")
        return address
    raise ValueError("fewer addresses than planned allocations")


# --- storing ---

_NUMBER_FORMATS: Final[dict[str, str]] = {
    "u8": "B",
    "s8": "b",
    "u16": "H",
    "s16": "h",
    "u32": "I",
    "s32": "i",
    "u64": "Q",
    "s64": "q",
    "f32": "f",
    "f64": "d",
}
_U32: Final = struct.Struct("<I")
_PAIR: Final = struct.Struct("<II")


def _scalar_storer(valtype: str) -> Storer:
    if valtype == "bool":

        def store_bool(buffer: bytearray, at: int, value: Any, access: WriteAccess, addresses: Any) -> None:
            buffer[at] = 1 if value else 0

        return store_bool
    if valtype == "char":
        return lambda buffer, at, value, access, addresses: _U32.pack_into(buffer, at, char_code(value))
    if valtype == "error-context":
        return _handle_storer(valtype)
    pack_into = struct.Struct("<" + _NUMBER_FORMATS[valtype]).pack_into

    def store(buffer: bytearray, at: int, value: Any, access: WriteAccess, addresses: Any) -> None:
        try:
            pack_into(buffer, at, value)
        except (struct.error, OverflowError) as error:
            raise ValueError(f"{value!r} is no {valtype}: {error}") from None

    return store


def _handle_storer(valtype: Any) -> Storer:
    def store(buffer: bytearray, at: int, value: Any, access: WriteAccess, addresses: Any) -> None:
        _U32.pack_into(buffer, at, access.lower_handle(valtype, value))

    return store


@lru_cache(4096)
def _storer(valtype: Type, encoding: str) -> Storer:
    """Compile what puts a value into a buffer, and what it points to into memory."""
    if isinstance(valtype, str):
        return _string_storer(encoding) if valtype == "string" else _scalar_storer(valtype)
    if isinstance(valtype, (Own, Borrow, Stream, Future)):
        return _handle_storer(valtype)
    if isinstance(valtype, (List, Map)):
        return _list_storer(valtype, encoding)
    if isinstance(valtype, FixedList):
        return _fixed_list_storer(valtype, encoding)
    if isinstance(valtype, (Tuple, Record)):
        return _struct_storer(valtype, encoding)
    if isinstance(valtype, Flags):
        combine = flag_bits(valtype.names)
        size = layout(valtype)[0]

        def store_flags(buffer: bytearray, at: int, value: Any, access: WriteAccess, addresses: Any) -> None:
            buffer[at : at + size] = combine(value).to_bytes(size, "little")

        return store_flags
    return _variant_storer(valtype, encoding)


def _string_storer(encoding: str) -> Storer:
    alignment = string_alignment(encoding)

    def store(buffer: bytearray, at: int, value: Any, access: WriteAccess, addresses: Iterator[int]) -> None:
        data, units = encode_string(value, encoding)
        address = _next_address(addresses, alignment)
        access.write(address, data)
        _PAIR.pack_into(buffer, at, address, units)

    return store


def _list_storer(valtype: List | Map, encoding: str) -> Storer:
    element = valtype.element if isinstance(valtype, List) else Tuple((valtype.key, valtype.value))
    size, alignment = layout(element)
    pack_into = _PAIR.pack_into
    if element == "u8":

        def store_bytes(
            buffer: bytearray, at: int, value: Any, access: WriteAccess, addresses: Iterator[int]
        ) -> None:
            address = _next_address(addresses, 1)
            data = value if isinstance(value, (bytes, bytearray, memoryview)) else bytes(value)
            access.write(address, data)
            pack_into(buffer, at, address, len(data))

        return store_bytes
    store_element = _storer(element, encoding)
    entries = isinstance(valtype, Map)

    def store(buffer: bytearray, at: int, value: Any, access: WriteAccess, addresses: Iterator[int]) -> None:
        address = _next_address(addresses, alignment)
        length = len(value)
        block = bytearray(length * size)
        position = 0
        for each in value.items() if entries else value:
            store_element(block, position, each, access, addresses)
            position += size
        access.write(address, block)
        pack_into(buffer, at, address, length)

    return store


def _fixed_list_storer(valtype: FixedList, encoding: str) -> Storer:
    size = layout(valtype.element)[0]
    length = valtype.length
    store_element = _storer(valtype.element, encoding)

    def store(buffer: bytearray, at: int, value: Any, access: WriteAccess, addresses: Iterator[int]) -> None:
        if len(value) != length:
            raise ValueError(f"a list of {len(value)} elements where {length} are wanted")
        for each in value:
            store_element(buffer, at, each, access, addresses)
            at += size

    return store


def _struct_storer(valtype: Tuple | Record, encoding: str) -> Storer:
    keys: Sequence[int | str]
    if isinstance(valtype, Tuple):
        keys = range(len(valtype.items))
    else:
        keys = [name for name, _ in valtype.fields]
    parts = []
    end = 0
    for key, field in zip(keys, fields_of(valtype), strict=True):
        size, alignment = layout(field)
        start = -(-end // alignment) * alignment
        parts.append((key, start, _storer(field, encoding)))
        end = start + size
    count = len(parts)

    def store(buffer: bytearray, at: int, value: Any, access: WriteAccess, addresses: Iterator[int]) -> None:
        if len(value) != count:
            raise ValueError(f"{count} fields are wanted, {len(value)} given")
        for key, start, store_field in parts:
            store_field(buffer, at + start, value[key], access, addresses)

    return store


def _variant_storer(valtype: Variant | Enum | Option | Result, encoding: str) -> Storer:
    cases = cases_of(valtype)
    select = case_selector(valtype)
    width = discriminant_size(len(cases))
    start = payload_offset(valtype)
    payloads = [None if payload is None else _storer(payload, encoding) for _, payload in cases]
    if isinstance(valtype, Result) and not wraps_ok(valtype):
        return _result_storer(payloads, start)

    def store(buffer: bytearray, at: int, value: Any, access: WriteAccess, addresses: Iterator[int]) -> None:
        index, payload = select(value)
        if width == 1:
            buffer[at] = index
        else:
            buffer[at : at + width] = index.to_bytes(width, "little")
        store_payload = payloads[index]
        if store_payload is not None:
            store_payload(buffer, at + start, payload, access, addresses)
        elif payload is not None:
            raise ValueError(f"{payload!r} is given to a case without payload")

    return store


def _result_storer(payloads: Sequence[Storer | None], start: int) -> Storer:
    """As for a variant, whose cases need not be looked for: nearly every function gives a result."""
    store_ok, store_error = payloads

    def store(buffer: bytearray, at: int, value: Any, access: WriteAccess, addresses: Iterator[int]) -> None:
        if isinstance(value, Err):
            buffer[at] = 1
            store_payload = store_error
            value = value.payload
        else:
            buffer[at] = 0
            store_payload = store_ok
        if store_payload is not None:
            store_payload(buffer, at + start, value, access, addresses)
        elif value is not None:
            raise ValueError(f"{value!r} is given to a case without payload")

    return store


# --- one core value ---


def _flat_lowerer(valtype: Type | None) -> FlatLowerer | None:
    if valtype is None:
        return lambda value, access: 0
    flat = flatten(valtype)
    if flat is None or len(flat) != 1:
        return None
    if isinstance(valtype, (Own, Borrow, Stream, Future)) or valtype == "error-context":
        return lambda value, access: access.lower_handle(valtype, value)
    if isinstance(valtype, str):
        return _flat_scalar(valtype)
    if isinstance(valtype, Flags):
        combine = flag_bits(valtype.names)
        return lambda value, access: combine(value)
    if isinstance(valtype, (Variant, Enum, Option, Result)):
        return _flat_case(valtype)
    return _flat_only_part(valtype)


def _flat_case(valtype: Variant | Enum | Option | Result) -> FlatLowerer:
    select = case_selector(valtype)

    def lower(value: Any, access: WriteAccess) -> int:
        index, payload = select(value)
        if payload is not None:
            raise ValueError(f"{payload!r} is given to a case without payload")
        return index

    return lower


def _flat_only_part(valtype: Any) -> FlatLowerer | None:
    """A record, tuple or fixed-length list of one core value: that of its only part."""
    key: int | str
    if isinstance(valtype, Record):
        key, part = valtype.fields[0]
    else:
        key, part = 0, valtype.element if isinstance(valtype, FixedList) else valtype.items[0]
    lower_part = _flat_lowerer(part)
    if lower_part is None:
        return None

    def lower(value: Any, access: WriteAccess) -> int:
        if len(value) != 1:
            raise ValueError(f"one field is wanted, {len(value)} given")
        return lower_part(value[key], access)

    return lower


def _flat_scalar(valtype: str) -> FlatLowerer:
    if valtype == "bool":
        return lambda value, access: 1 if value else 0
    if valtype == "char":
        return lambda value, access: char_code(value)
    pack = struct.Struct("<" + _NUMBER_FORMATS[valtype]).pack
    # Signed numbers fill the whole core value with their sign.
    whole = (1 << 64) - 1 if valtype == "s64" else (1 << 32) - 1
    is_number = valtype[0] != "f"

    def lower(value: Any, access: WriteAccess) -> int:
        try:
            packed = pack(value)
        except (struct.error, OverflowError) as error:
            raise ValueError(f"{value!r} is no {valtype}: {error}") from None
        if is_number:
            return int(value) & whole if value < 0 else int(value)
        return int.from_bytes(packed, "little")

    return lower
