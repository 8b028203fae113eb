"""Where values lie in a guest's memory and which core values carry them: sizes, alignments, flattening.

Follows "Alignment", "Element Size" and "Flattening" of CanonicalABI.md, for 32-bit memories.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

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
from wasi_sockets.errors import UnsupportedComponentError

__all__ = [
    "MAX_FLAT_PARAMETERS",
    "cases_of",
    "core_signature",
    "discriminant_size",
    "fields_of",
    "flatten",
    "has_pointers",
    "layout",
    "payload_offset",
    "spilled_parameters",
    "wraps_ok",
    "wraps_some",
]

MAX_FLAT_PARAMETERS: Final = 16
"""More flat parameters than this go through memory, behind one pointer."""

_SCALAR_SIZES: Final[dict[str, int]] = {
    "bool": 1,
    "u8": 1,
    "s8": 1,
    "u16": 2,
    "s16": 2,
    "u32": 4,
    "s32": 4,
    "u64": 8,
    "s64": 8,
    "f32": 4,
    "f64": 8,
    "char": 4,
    "error-context": 4,
}
_WIDE_FLAT: Final[dict[str, str]] = {"u64": "i64", "s64": "i64", "f32": "f32", "f64": "f64"}
_CACHE: Final = 4096


def fields_of(valtype: Record | Tuple) -> tuple[Type, ...]:
    """The types of a record's fields or a tuple's items."""
    return valtype.items if isinstance(valtype, Tuple) else tuple([field for _, field in valtype.fields])


def cases_of(valtype: Variant | Enum | Option | Result) -> tuple[tuple[str, Type | None], ...]:
    """Names and payloads of the cases, in the order of their discriminants."""
    if isinstance(valtype, Variant):
        return valtype.cases
    if isinstance(valtype, Enum):
        return tuple([(name, None) for name in valtype.names])
    if isinstance(valtype, Option):
        return ("none", None), ("some", valtype.value)
    return ("ok", valtype.ok), ("error", valtype.error)


def discriminant_size(count: int) -> int:
    """Bytes of the discriminant of a variant with `count` cases."""
    return 1 if count <= 1 << 8 else 2 if count <= 1 << 16 else 4


def _align(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment


@lru_cache(_CACHE)
def layout(valtype: Type) -> tuple[int, int]:
    """Size and alignment in bytes."""
    if isinstance(valtype, str):
        if valtype == "string":
            return 8, 4
        size = _SCALAR_SIZES[valtype]
        return size, size
    if isinstance(valtype, (List, Map)):
        return 8, 4
    if isinstance(valtype, (Own, Borrow, Stream, Future)):
        return 4, 4
    if isinstance(valtype, (Record, Tuple)):
        end, alignment = 0, 1
        for field in fields_of(valtype):
            size, field_alignment = layout(field)
            end = _align(end, field_alignment) + size
            alignment = max(alignment, field_alignment)
        return _align(end, alignment), alignment
    if isinstance(valtype, Flags):
        count = len(valtype.names)
        if count > 32:
            raise UnsupportedComponentError(
                f"flags with {count} names", "engines take at most 32; split the type or use an integer"
            )
        size = 1 if count <= 8 else 2 if count <= 16 else 4
        return size, size
    if isinstance(valtype, FixedList):
        size, alignment = layout(valtype.element)
        return size * valtype.length, alignment
    cases = cases_of(valtype)
    alignment = discriminant_size(len(cases))
    largest = 0
    for _, payload in cases:
        if payload is not None:
            size, payload_alignment = layout(payload)
            largest = max(largest, size)
            alignment = max(alignment, payload_alignment)
    return _align(payload_offset(valtype) + largest, alignment), alignment


def payload_offset(valtype: Variant | Enum | Option | Result) -> int:
    """Where the payload of any case lies, in bytes from the start of the value."""
    cases = cases_of(valtype)
    alignment = max([layout(payload)[1] for _, payload in cases if payload is not None], default=1)
    return _align(discriminant_size(len(cases)), alignment)


@lru_cache(_CACHE)
def flatten(valtype: Type | None) -> tuple[str, ...] | None:
    """The core types that carry a value outside memory; `None` when there are more than anyone may pass so.

    `None` stands for more than `MAX_FLAT_PARAMETERS`, so that a fixed-length list of a million elements costs
    nothing.
    """
    if valtype is None:
        return ()
    if isinstance(valtype, str):
        return ("i32", "i32") if valtype == "string" else (_WIDE_FLAT.get(valtype, "i32"),)
    if isinstance(valtype, (List, Map)):
        return "i32", "i32"
    if isinstance(valtype, (Own, Borrow, Stream, Future, Flags, Enum)):
        return ("i32",)
    if isinstance(valtype, (Record, Tuple)):
        return _concatenate(fields_of(valtype))
    if isinstance(valtype, FixedList):
        if valtype.length > MAX_FLAT_PARAMETERS:
            return None
        return _concatenate((valtype.element,) * valtype.length)
    joined: list[str] = []
    for _, payload in cases_of(valtype):
        flat = flatten(payload)
        if flat is None:
            return None
        for position, core in enumerate(flat):
            if position == len(joined):
                joined.append(core)
            elif joined[position] != core:
                joined[position] = "i32" if {joined[position], core} == {"i32", "f32"} else "i64"
    return None if len(joined) >= MAX_FLAT_PARAMETERS else ("i32", *joined)


def _concatenate(valtypes: tuple[Type, ...]) -> tuple[str, ...] | None:
    flat: list[str] = []
    for valtype in valtypes:
        part = flatten(valtype)
        if part is None:
            return None
        flat += part
        if len(flat) > MAX_FLAT_PARAMETERS:
            return None
    return tuple(flat)


def spilled_parameters(function: FunctionType) -> bool:
    """Whether the parameters lie in memory behind one pointer, being too many."""
    return _concatenate(tuple([parameter for _, parameter in function.parameters])) is None


def core_signature(function: FunctionType) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Core parameters and results of the function lowered synchronously (`canon lower` without `async`).

    A result that takes more than one core value is written to memory at the address in an added last
    parameter.
    """
    parameters = _concatenate(tuple([parameter for _, parameter in function.parameters]))
    if parameters is None:
        parameters = ("i32",)
    results = flatten(function.result)
    if results is None or len(results) > 1:
        return (*parameters, "i32"), ()
    return parameters, results


@lru_cache(_CACHE)
def has_pointers(valtype: Type | None) -> bool:
    """Whether a value of the type may lie partly elsewhere in memory, so that lowering it allocates."""
    if valtype is None:
        return False
    if isinstance(valtype, str):
        return valtype == "string"
    if isinstance(valtype, (List, Map)):
        return True
    if isinstance(valtype, (Record, Tuple)):
        return any(map(has_pointers, fields_of(valtype)))
    if isinstance(valtype, FixedList):
        return has_pointers(valtype.element)
    if isinstance(valtype, (Variant, Option, Result)):
        return any(has_pointers(payload) for _, payload in cases_of(valtype))
    return False


@lru_cache(_CACHE)
def _may_be_none(valtype: Type | None) -> bool:
    if isinstance(valtype, Option):
        return True
    if isinstance(valtype, Result):
        return valtype.ok is None or (not wraps_ok(valtype) and _may_be_none(valtype.ok))
    return False


@lru_cache(_CACHE)
def _may_be_err(valtype: Type | None) -> bool:
    if isinstance(valtype, Result):
        return True
    return isinstance(valtype, Option) and not wraps_some(valtype) and _may_be_err(valtype.value)


def wraps_some(valtype: Option) -> bool:
    """Whether a present value is a `Some`, because the plain value could be `None` too."""
    return _may_be_none(valtype.value)


def wraps_ok(valtype: Result) -> bool:
    """Whether an ok value is an `Ok`, because the plain value could be an `Err` too."""
    return _may_be_err(valtype.ok)
