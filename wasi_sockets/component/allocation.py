"""What lowering a value asks of the guest: which allocations, which case, which bytes of a string.

These are the parts of lowering that look at a value without writing it. The order of the allocations is that
in which CanonicalABI.md calls `realloc`: a list or string before what its elements point to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, TypeAlias

from wasi_sockets.component.layout import cases_of, has_pointers, layout, wraps_ok, wraps_some
from wasi_sockets.component.types import (
    Enum,
    FixedList,
    List,
    Map,
    Option,
    Record,
    Result,
    Tuple,
    Type,
    Variant,
)
from wasi_sockets.component.values import Err, Ok, Some

_MAX_BYTE_LENGTH: Final = (1 << 28) - 1
_UTF16_TAG: Final = 1 << 31

Allocation: TypeAlias = tuple[int, int]
"""Alignment and size in bytes, as `realloc` takes them."""

Planner: TypeAlias = Callable[[Any, list[Allocation]], None]


# --- strings ---


def encode_string(text: str, encoding: str) -> tuple[bytes, int]:
    """The bytes of a string and the length that goes with them."""
    if encoding == "utf8":
        data = text.encode()
        units = len(data)
    else:
        if encoding == "latin1+utf16":
            try:
                data = text.encode("latin-1")
                return data, len(data)
            except UnicodeEncodeError:
                pass
        data = text.encode("utf-16-le")
        units = len(data) >> 1
        if encoding == "latin1+utf16":
            units |= _UTF16_TAG
    if len(data) > _MAX_BYTE_LENGTH:
        raise ValueError(f"a string of {len(data)} bytes is longer than a guest can take")
    return data, units


def string_alignment(encoding: str) -> int:
    return 1 if encoding == "utf8" else 2


# --- planning ---


def _plan_size(length: int, size: int) -> int:
    if length * size > _MAX_BYTE_LENGTH:
        raise ValueError(f"a list of {length * size} bytes is longer than a guest can take")
    return length * size


@lru_cache(4096)
def planner(valtype: Type | None, encoding: str) -> Planner | None:
    """Compile what lists the allocations of a value, or `None` where the type needs none."""
    if not has_pointers(valtype):
        return None
    if isinstance(valtype, str):
        alignment = string_alignment(encoding)
        if encoding == "utf8":
            return lambda value, out: out.append(
                (1, len(value) if value.isascii() else len(encode_string(value, encoding)[0]))
            )
        return lambda value, out: out.append((alignment, len(encode_string(value, encoding)[0])))
    if isinstance(valtype, (List, Map)):
        return _list_planner(valtype, encoding)
    if isinstance(valtype, FixedList):
        element = planner(valtype.element, encoding)

        def plan_each(value: Any, out: list[Allocation]) -> None:
            if element is not None:
                for each in value:
                    element(each, out)

        return plan_each
    if isinstance(valtype, Tuple):
        items = [(index, planner(item, encoding)) for index, item in enumerate(valtype.items)]
        return _field_planner([(index, plan) for index, plan in items if plan is not None])
    if isinstance(valtype, Record):
        fields = [(name, planner(field, encoding)) for name, field in valtype.fields]
        return _field_planner([(name, plan) for name, plan in fields if plan is not None])
    if isinstance(valtype, (Variant, Option, Result)):
        select = case_selector(valtype)
        payloads = [planner(payload, encoding) for _, payload in cases_of(valtype)]

        def plan_case(value: Any, out: list[Allocation]) -> None:
            index, payload = select(value)
            plan = payloads[index]
            if plan is not None:
                plan(payload, out)

        return plan_case
    return None


def _list_planner(valtype: List | Map, encoding: str) -> Planner:
    element = valtype.element if isinstance(valtype, List) else Tuple((valtype.key, valtype.value))
    size, alignment = layout(element)
    plan_element = planner(element, encoding)
    entries = isinstance(valtype, Map)

    def plan(value: Any, out: list[Allocation]) -> None:
        out.append((alignment, _plan_size(len(value), size)))
        if plan_element is not None:
            for each in value.items() if entries else value:
                plan_element(each, out)

    return plan


def _field_planner(parts: Sequence[tuple[int | str, Planner]]) -> Planner:
    def plan(value: Any, out: list[Allocation]) -> None:
        for key, plan_field in parts:
            plan_field(value[key], out)

    return plan


# --- choosing the case ---


def case_selector(valtype: Variant | Enum | Option | Result) -> Callable[[Any], tuple[int, Any]]:
    """What gives the discriminant and the payload of a Python value."""
    if isinstance(valtype, Option):
        if wraps_some(valtype):
            return _select_some
        return lambda value: (0, None) if value is None else (1, value)
    if isinstance(valtype, Result):
        if wraps_ok(valtype):
            return _select_ok
        return lambda value: (1, value.payload) if isinstance(value, Err) else (0, value)
    indices = {name: index for index, (name, _) in enumerate(cases_of(valtype))}
    if isinstance(valtype, Enum):

        def select_name(value: Any) -> tuple[int, Any]:
            index = indices.get(value)
            if index is None:
                raise ValueError(f"{value!r} is none of {', '.join(indices)}")
            return index, None

        return select_name

    def select_case(value: Any) -> tuple[int, Any]:
        name, payload = value
        index = indices.get(name)
        if index is None:
            raise ValueError(f"{name!r} is none of {', '.join(indices)}")
        return index, payload

    return select_case


def _select_some(value: Any) -> tuple[int, Any]:
    if value is None:
        return 0, None
    if isinstance(value, Some):
        return 1, value.value
    raise TypeError(f"{value!r} must be wrapped in Some(): its plain value could be None as well")


def _select_ok(value: Any) -> tuple[int, Any]:
    if isinstance(value, Err):
        return 1, value.payload
    if isinstance(value, Ok):
        return 0, value.value
    raise TypeError(f"{value!r} must be wrapped in Ok(): its plain value could be an Err as well")


def flag_bits(names: tuple[str, ...]) -> Callable[[Iterable[str]], int]:
    bits = {name: 1 << position for position, name in enumerate(names)}

    def combine(value: Iterable[str]) -> int:
        combined = 0
        for name in value:
            bit = bits.get(name)
            if bit is None:
                raise ValueError(f"{name!r} is none of {', '.join(bits)}")
            combined |= bit
        return combined

    return combine


def char_code(value: str) -> int:
    code = ord(value)
    if 0xD800 <= code <= 0xDFFF:
        raise ValueError(f"{value!r} is a surrogate, not a character that a guest can take")
    return code
