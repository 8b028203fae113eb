"""From a guest's core values and memory to Python values.

Each type is compiled once into nested closures. Core values arrive as unsigned integers holding their bits,
so the coercions that CanonicalABI.md makes between the joined types of a variant's cases are plain masks.

Everything here comes from the guest and is checked; a violation raises `GuestTrap`. That ranges lie inside
the memory is for `Access.read` to check.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, Protocol, TypeAlias

from wasi_sockets.component.layout import (
    cases_of,
    discriminant_size,
    fields_of,
    flatten,
    has_pointers,
    layout,
    payload_offset,
    spilled_parameters,
    wraps_ok,
    wraps_some,
)
from wasi_sockets.component.types import (
    Borrow,
    Enum,
    FixedList,
    Flags,
    FunctionType,
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
from wasi_sockets.component.values import Err, Ok, Some
from wasi_sockets.errors import GuestTrap

__all__ = ["MAX_BYTE_LENGTH", "ReadAccess", "lifts_from_memory", "memory_lifter", "parameter_lifter"]

MAX_BYTE_LENGTH: Final = (1 << 28) - 1
"""The longest string or list: MAX_STRING_BYTE_LENGTH and MAX_LIST_BYTE_LENGTH of CanonicalABI.md."""

_ELEMENT_COST: Final = 128
"""Bytes that an element of a list counts for at least, numbers apart: about what its Python object takes, and so
that a list which is small in the guest cannot keep the host busy for long."""

_UTF16_TAG: Final = 1 << 31
_MASK64: Final = (1 << 64) - 1
_U32: Final = struct.Struct("<I")
_U64: Final = struct.Struct("<Q")
_FLOAT: Final = struct.Struct("<f")
_DOUBLE: Final = struct.Struct("<d")


class ReadAccess(Protocol):
    """What lifting needs of a guest."""

    def read(self, address: int, size: int) -> bytes:
        """The bytes of a range, raising `GuestTrap` when it leaves the memory (for size 0 as well)."""
        ...

    def lift_handle(self, valtype: Any, handle: int) -> object:
        """The object behind a handle of type own, borrow, stream, future or "error-context"."""
        ...


Budget: TypeAlias = list[int]
"""One element: the bytes that strings and lists of this call may still take."""

Flat: TypeAlias = Sequence[int]
FlatLifter: TypeAlias = Callable[[Flat, ReadAccess, Budget], Any]
Loader: TypeAlias = Callable[[bytes, int, ReadAccess, Budget], Any]


@lru_cache(4096)
def parameter_lifter(
    function: FunctionType, encoding: str = "utf8", max_bytes: int = MAX_BYTE_LENGTH
) -> Callable[[Flat, ReadAccess], list[Any]]:
    """Compile what turns the flat arguments of one call into Python values.

    Args:
        function: the function that the guest calls.
        encoding: of its strings: "utf8", "utf16" or "latin1+utf16".
        max_bytes: how many bytes all strings and lists of one call may take together.

    Returns:
        A function of the flat arguments and the guest, giving the parameters in order. It ignores arguments
        after those (the result address). It raises `GuestTrap` for whatever the guest got wrong.
    """
    if spilled_parameters(function):
        together = Tuple(tuple([parameter for _, parameter in function.parameters]))
        lift_all = memory_lifter(together, encoding, max_bytes)

        def lift_spilled(flat: Flat, access: ReadAccess) -> list[Any]:
            return list(lift_all(flat[0] & 0xFFFFFFFF, access))

        return lift_spilled
    lifters: list[FlatLifter] = []
    position = 0
    for _, parameter in function.parameters:
        lifters.append(_flat_lifter(parameter, position, encoding))
        position += len(flatten(parameter) or ())
    if len(lifters) == 1:
        only = lifters[0]
        return lambda flat, access: [only(flat, access, [max_bytes])]

    if len(lifters) == 3:  # `start-connect` and its like, without a loop
        first, second, third = lifters

        def lift_three(flat: Flat, access: ReadAccess) -> list[Any]:
            budget = [max_bytes]
            return [first(flat, access, budget), second(flat, access, budget), third(flat, access, budget)]

        return lift_three

    def lift(flat: Flat, access: ReadAccess) -> list[Any]:
        budget = [max_bytes]
        return [lifter(flat, access, budget) for lifter in lifters]

    return lift


@lru_cache(4096)
def memory_lifter(
    valtype: Type, encoding: str = "utf8", max_bytes: int = MAX_BYTE_LENGTH
) -> Callable[[int, ReadAccess], Any]:
    """Compile what turns a value lying at an address of the guest's memory into a Python value."""
    size, alignment = layout(valtype)
    load = _loader(valtype, encoding)

    def lift(address: int, access: ReadAccess) -> Any:
        if address % alignment:
            raise GuestTrap("pointer not aligned")
        return load(access.read(address, size), 0, access, [max_bytes])

    return lift


# --- what both sources share ---


def _charge(budget: Budget, size: int) -> None:
    if size > MAX_BYTE_LENGTH:
        raise GuestTrap(f"a string or list of {size} bytes is longer than any may be")
    left = budget[0] - size
    if left < 0:
        raise GuestTrap(f"strings and lists of {-left} bytes more than this call may pass")
    budget[0] = left


def _lift_char(code: int) -> str:
    if code >= 0x110000 or 0xD800 <= code <= 0xDFFF:
        raise GuestTrap(f"{code:#x} is no Unicode scalar value")
    return chr(code)


def _string_reader(encoding: str) -> Callable[[int, int, ReadAccess, Budget], str]:
    def utf8(address: int, units: int, access: ReadAccess, budget: Budget) -> str:
        _charge(budget, units)
        try:
            return str(access.read(address, units), "utf-8")
        except UnicodeDecodeError:
            raise GuestTrap("a string is not valid UTF-8") from None

    def utf16(address: int, units: int, access: ReadAccess, budget: Budget) -> str:
        if address & 1:
            raise GuestTrap("pointer not aligned")
        _charge(budget, 2 * units)
        try:
            return str(access.read(address, 2 * units), "utf-16-le")
        except UnicodeDecodeError:
            raise GuestTrap("a string is not valid UTF-16") from None

    def latin1_or_utf16(address: int, units: int, access: ReadAccess, budget: Budget) -> str:
        if units & _UTF16_TAG:
            return utf16(address, units ^ _UTF16_TAG, access, budget)
        if address & 1:
            raise GuestTrap("pointer not aligned")
        _charge(budget, units)
        return str(access.read(address, units), "latin-1")

    return {"utf8": utf8, "utf16": utf16, "latin1+utf16": latin1_or_utf16}[encoding]


_NUMBER_FORMATS: Final[dict[str, str]] = {
    "u16": "H",
    "s16": "h",
    "u32": "I",
    "s32": "i",
    "u64": "Q",
    "s64": "q",
    "f32": "f",
    "f64": "d",
    "u8": "B",
    "s8": "b",
}


def _list_reader(element: Type, encoding: str) -> Callable[[int, int, ReadAccess, Budget], Any]:
    size, alignment = layout(element)
    is_number = isinstance(element, str) and element in _NUMBER_FORMATS
    cost = size if is_number else max(size, _ELEMENT_COST)
    if element == "u8":

        def read_bytes(address: int, length: int, access: ReadAccess, budget: Budget) -> Any:
            _charge(budget, length)
            return bytes(access.read(address, length))

        return read_bytes

    def read(address: int, length: int, access: ReadAccess, budget: Budget) -> bytes:
        _charge(budget, length * cost)
        if address % alignment:
            raise GuestTrap("pointer not aligned")
        return access.read(address, length * size)

    if isinstance(element, str) and is_number:
        code = _NUMBER_FORMATS[element]
        return lambda address, length, access, budget: list(
            struct.unpack(f"<{length}{code}", read(address, length, access, budget))
        )
    load = _loader(element, encoding)

    def read_each(address: int, length: int, access: ReadAccess, budget: Budget) -> Any:
        data = read(address, length, access, budget)
        return [load(data, offset, access, budget) for offset in range(0, length * size, size or 1)]

    return read_each


def _list_of(valtype: List | Map, encoding: str) -> Callable[[int, int, ReadAccess, Budget], Any]:
    if isinstance(valtype, List):
        return _list_reader(valtype.element, encoding)
    entries = _list_reader(Tuple((valtype.key, valtype.value)), encoding)
    return lambda address, length, access, budget: dict(entries(address, length, access, budget))


def _flags_of(names: tuple[str, ...]) -> Callable[[int], frozenset[str]]:
    bits = [(1 << position, name) for position, name in enumerate(names)]
    # Bits without a name are ignored, as `unpack_flags_from_int` does.
    return lambda value: frozenset([name for bit, name in bits if value & bit])


def _bad_case(index: int, count: int) -> GuestTrap:
    return GuestTrap(f"discriminant {index} of a variant with {count} cases")


def _case_makers(valtype: Variant | Enum | Option | Result) -> list[Callable[[Any], Any] | None]:
    """For each case what its lifted payload becomes; `None` where it stays as it is."""
    if isinstance(valtype, Option):
        return [None, Some if wraps_some(valtype) else None]
    if isinstance(valtype, Result):
        return [Ok if wraps_ok(valtype) else None, Err]
    if isinstance(valtype, Enum):
        return [lambda payload, name=name: name for name in valtype.names]  # type: ignore[misc]
    return [lambda payload, name=name: (name, payload) for name, _ in valtype.cases]  # type: ignore[misc]


# --- from flat values ---


def _flat_scalar(valtype: str, position: int) -> FlatLifter:
    if valtype == "bool":
        return lambda flat, access, budget: flat[position] & 0xFFFFFFFF != 0
    if valtype == "char":
        return lambda flat, access, budget: _lift_char(flat[position] & 0xFFFFFFFF)
    if valtype == "error-context":
        return lambda flat, access, budget: access.lift_handle(valtype, flat[position] & 0xFFFFFFFF)
    if valtype == "f32":
        return lambda flat, access, budget: struct.unpack(
            "<f", struct.pack("<I", flat[position] & 0xFFFFFFFF)
        )[0]
    if valtype == "f64":
        return lambda flat, access, budget: _DOUBLE.unpack(_U64.pack(flat[position] & _MASK64))[0]
    bits = int(valtype[1:])
    mask = (1 << bits) - 1
    if valtype[0] == "u":
        return lambda flat, access, budget: flat[position] & mask
    sign = 1 << bits - 1
    return lambda flat, access, budget: ((flat[position] & mask) ^ sign) - sign


def _flat_lifter(valtype: Type, position: int, encoding: str) -> FlatLifter:
    """Compile the lifting of a value whose first core value stands at `position`."""
    if isinstance(valtype, str):
        if valtype != "string":
            return _flat_scalar(valtype, position)
        return _flat_pair(_string_reader(encoding), position)
    if isinstance(valtype, (List, Map)):
        return _flat_pair(_list_of(valtype, encoding), position)
    if isinstance(valtype, (Own, Borrow, Stream, Future)):
        return lambda flat, access, budget: access.lift_handle(valtype, flat[position] & 0xFFFFFFFF)
    if isinstance(valtype, Flags):
        flags = _flags_of(valtype.names)
        return lambda flat, access, budget: flags(flat[position])
    if isinstance(valtype, FixedList):
        each = _flat_lifters((valtype.element,) * valtype.length, position, encoding)
        if valtype.element == "u8":
            return lambda flat, access, budget: bytes([lift(flat, access, budget) for lift in each])
        return lambda flat, access, budget: [lift(flat, access, budget) for lift in each]
    if isinstance(valtype, Tuple):
        items = _flat_lifters(valtype.items, position, encoding)
        return lambda flat, access, budget: tuple([lift(flat, access, budget) for lift in items])
    if isinstance(valtype, Record):
        names = [name for name, _ in valtype.fields]
        fields = list(zip(names, _flat_lifters(fields_of(valtype), position, encoding), strict=True))
        return lambda flat, access, budget: {name: lift(flat, access, budget) for name, lift in fields}
    return _flat_variant(valtype, position, encoding)


def _flat_pair(read: Callable[[int, int, ReadAccess, Budget], Any], position: int) -> FlatLifter:
    return lambda flat, access, budget: read(
        flat[position] & 0xFFFFFFFF, flat[position + 1] & 0xFFFFFFFF, access, budget
    )


def _flat_lifters(valtypes: tuple[Type, ...], position: int, encoding: str) -> list[FlatLifter]:
    lifters = []
    for valtype in valtypes:
        lifters.append(_flat_lifter(valtype, position, encoding))
        position += len(flatten(valtype) or ())
    return lifters


def _flat_variant(valtype: Variant | Enum | Option | Result, position: int, encoding: str) -> FlatLifter:
    cases = cases_of(valtype)
    count = len(cases)
    if isinstance(valtype, Enum):
        names = valtype.names

        def lift_enum(flat: Flat, access: ReadAccess, budget: Budget) -> Any:
            index = flat[position] & 0xFFFFFFFF
            if index >= count:
                raise _bad_case(index, count)
            return names[index]

        return lift_enum
    payloads = [
        None if payload is None else _flat_lifter(payload, position + 1, encoding) for _, payload in cases
    ]
    makers = _case_makers(valtype)

    def lift(flat: Flat, access: ReadAccess, budget: Budget) -> Any:
        index = flat[position] & 0xFFFFFFFF
        if index >= count:
            raise _bad_case(index, count)
        payload = payloads[index]
        value = None if payload is None else payload(flat, access, budget)
        make = makers[index]
        return value if make is None else make(value)

    return _remembering(lift, position, valtype) if _is_plain(valtype) else lift


_REMEMBERED: Final = 256


def _remembering(lift: FlatLifter, position: int, valtype: Type) -> FlatLifter:
    """As `lift`, for a value that is made of its core values alone; the same ones give the same object.

    For socket addresses, of which guests use few over and over: lifting one takes twenty calls.
    """
    end = position + len(flatten(valtype) or ())
    known: dict[tuple[int, ...], Any] = {}

    def lift_known(flat: Flat, access: ReadAccess, budget: Budget) -> Any:
        key = tuple(flat[position:end])
        value = known.get(key)
        if value is None:
            value = lift(flat, access, budget)
            if len(known) >= _REMEMBERED:
                known.clear()
            known[key] = value
        return value

    return lift_known


def _is_plain(valtype: Type | None) -> bool:
    """Whether values of the type hold neither handles nor anything that lies in memory."""
    if valtype is None or isinstance(valtype, (Enum, Flags)):
        return True
    if isinstance(valtype, str):
        return valtype not in ("string", "error-context")
    if isinstance(valtype, (Record, Tuple)):
        return all(map(_is_plain, fields_of(valtype)))
    if isinstance(valtype, (Variant, Option, Result)):
        return all(_is_plain(payload) for _, payload in cases_of(valtype))
    return False


# --- from memory ---


def _scalar_loader(valtype: str) -> Loader:
    if valtype == "bool":
        return lambda data, offset, access, budget: data[offset] != 0
    if valtype == "u8":
        return lambda data, offset, access, budget: data[offset]
    unpack = struct.Struct("<" + _NUMBER_FORMATS.get(valtype, "I")).unpack_from
    if valtype == "char":
        return lambda data, offset, access, budget: _lift_char(unpack(data, offset)[0])
    if valtype == "error-context":
        return lambda data, offset, access, budget: access.lift_handle(valtype, unpack(data, offset)[0])
    return lambda data, offset, access, budget: unpack(data, offset)[0]


_PAIR: Final = struct.Struct("<II")


def _pair_loader(read: Callable[[int, int, ReadAccess, Budget], Any]) -> Loader:
    unpack = _PAIR.unpack_from

    def load(data: bytes, offset: int, access: ReadAccess, budget: Budget) -> Any:
        address, length = unpack(data, offset)
        return read(address, length, access, budget)

    return load


@lru_cache(4096)
def _loader(valtype: Type, encoding: str) -> Loader:
    """Compile the lifting of a value at an offset of bytes that were read from memory."""
    if isinstance(valtype, str):
        if valtype != "string":
            return _scalar_loader(valtype)
        return _pair_loader(_string_reader(encoding))
    if isinstance(valtype, (List, Map)):
        return _pair_loader(_list_of(valtype, encoding))
    if isinstance(valtype, (Own, Borrow, Stream, Future)):
        unpack = struct.Struct("<I").unpack_from
        return lambda data, offset, access, budget: access.lift_handle(valtype, unpack(data, offset)[0])
    if isinstance(valtype, Flags):
        flags = _flags_of(valtype.names)
        size = layout(valtype)[0]
        return lambda data, offset, access, budget: flags(
            int.from_bytes(data[offset : offset + size], "little")
        )
    if isinstance(valtype, FixedList):
        return _fixed_list_loader(valtype, encoding)
    if isinstance(valtype, (Tuple, Record)):
        return _struct_loader(valtype, encoding)
    return _variant_loader(valtype, encoding)


def _fixed_list_loader(valtype: FixedList, encoding: str) -> Loader:
    size = layout(valtype.element)[0]
    length = valtype.length
    if valtype.element == "u8":
        return lambda data, offset, access, budget: bytes(data[offset : offset + length])
    load = _loader(valtype.element, encoding)
    return lambda data, offset, access, budget: [
        load(data, offset + index * size, access, budget) for index in range(length)
    ]


def _struct_loader(valtype: Tuple | Record, encoding: str) -> Loader:
    parts = []
    end = 0
    for field in fields_of(valtype):
        size, alignment = layout(field)
        start = -(-end // alignment) * alignment
        parts.append((start, _loader(field, encoding)))
        end = start + size
    if isinstance(valtype, Tuple):
        return lambda data, offset, access, budget: tuple(
            [load(data, offset + start, access, budget) for start, load in parts]
        )
    named = [(name, start, load) for (name, _), (start, load) in zip(valtype.fields, parts, strict=True)]
    return lambda data, offset, access, budget: {
        name: load(data, offset + start, access, budget) for name, start, load in named
    }


def _variant_loader(valtype: Variant | Enum | Option | Result, encoding: str) -> Loader:
    cases = cases_of(valtype)
    count = len(cases)
    width = discriminant_size(count)
    start = payload_offset(valtype)
    payloads = [None if payload is None else _loader(payload, encoding) for _, payload in cases]
    makers = _case_makers(valtype)

    def load(data: bytes, offset: int, access: ReadAccess, budget: Budget) -> Any:
        index = data[offset] if width == 1 else int.from_bytes(data[offset : offset + width], "little")
        if index >= count:
            raise _bad_case(index, count)
        payload = payloads[index]
        value = None if payload is None else payload(data, offset + start, access, budget)
        make = makers[index]
        return value if make is None else make(value)

    return load


def lifts_from_memory(function: FunctionType) -> bool:
    """Whether lifting the parameters reads the guest's memory."""
    return spilled_parameters(function) or any(
        has_pointers(parameter) for _, parameter in function.parameters
    )
