from __future__ import annotations

import pytest

from wasi_sockets.component.layout import core_signature, flatten, has_pointers, layout, payload_offset
from wasi_sockets.component.types import (
    Borrow,
    Enum,
    FixedList,
    Flags,
    FunctionType,
    List,
    Map,
    Option,
    Own,
    Record,
    ResourceType,
    Result,
    Stream,
    Tuple,
    Type,
    Variant,
)
from wasi_sockets.errors import UnsupportedComponentError

STREAM = ResourceType("wasi:io/streams", "input-stream")
IPV4 = Tuple(("u8",) * 4)
IPV6 = Tuple(("u16",) * 8)
IPV4_SOCKET_ADDRESS = Record((("port", "u16"), ("address", IPV4)))
IPV6_SOCKET_ADDRESS = Record((("port", "u16"), ("flow-info", "u32"), ("address", IPV6), ("scope-id", "u32")))
IP_SOCKET_ADDRESS = Variant((("ipv4", IPV4_SOCKET_ADDRESS), ("ipv6", IPV6_SOCKET_ADDRESS)))
STREAM_ERROR = Variant(
    (("last-operation-failed", Own(ResourceType("wasi:io/error", "error"))), ("closed", None))
)
ERROR_CODE = Enum(tuple(f"code-{number}" for number in range(21)))


@pytest.mark.parametrize(
    ("valtype", "size", "alignment"),
    [
        ("bool", 1, 1),
        ("char", 4, 4),
        ("string", 8, 4),
        ("s64", 8, 8),
        (List("u64"), 8, 4),
        (Map("string", "u64"), 8, 4),
        (Own(STREAM), 4, 4),
        (Stream("u8"), 4, 4),
        (IPV4, 4, 1),
        (IPV6, 16, 2),
        (IPV4_SOCKET_ADDRESS, 6, 2),
        (IPV6_SOCKET_ADDRESS, 28, 4),
        (IP_SOCKET_ADDRESS, 32, 4),
        (Option(IP_SOCKET_ADDRESS), 36, 4),
        (STREAM_ERROR, 8, 4),
        (Result(List("u8"), STREAM_ERROR), 12, 4),
        (Result("u64", STREAM_ERROR), 16, 8),
        (Result(None, ERROR_CODE), 2, 1),
        (Result(Tuple((Own(STREAM),) * 3), ERROR_CODE), 16, 4),
        (Tuple(("u8", "u64", "u8")), 24, 8),
        (Flags(tuple("abcdefgh")), 1, 1),
        (Flags(tuple("abcdefghi")), 2, 2),
        (Flags(tuple(map(str, range(32)))), 4, 4),
        (Enum(tuple(map(str, range(256)))), 1, 1),
        (Enum(tuple(map(str, range(257)))), 2, 2),
        (Enum(tuple(map(str, range(65537)))), 4, 4),
        (FixedList("u16", 5), 10, 2),
        (Option("u8"), 2, 1),
    ],
    ids=str,
)
def test_sizes_and_alignments(valtype: Type, size: int, alignment: int) -> None:
    assert layout(valtype) == (size, alignment)


def test_the_payload_follows_the_discriminant_at_the_widest_alignment_of_any_case() -> None:
    assert payload_offset(IP_SOCKET_ADDRESS) == 4
    assert payload_offset(Result("u64", ERROR_CODE)) == 8
    assert payload_offset(Option("u8")) == 1


@pytest.mark.parametrize(
    ("valtype", "flat"),
    [
        (None, ()),
        ("s8", ("i32",)),
        ("f32", ("f32",)),
        ("string", ("i32", "i32")),
        (IP_SOCKET_ADDRESS, ("i32",) * 12),
        (Variant((("a", "f32"), ("b", "u32"))), ("i32", "i32")),
        (Variant((("a", "f32"), ("b", "f32"))), ("i32", "f32")),
        (Variant((("a", "f32"), ("b", "f64"))), ("i32", "i64")),
        (Variant((("a", "u64"), ("b", "string"))), ("i32", "i64", "i32")),
        (Result("u64", STREAM_ERROR), ("i32", "i64", "i32")),
        (Tuple(("u8",) * 16), ("i32",) * 16),
        (Tuple(("u8",) * 17), None),
        (FixedList("u64", 2), ("i64", "i64")),
        (FixedList("u8", 1 << 30), None),
    ],
    ids=str,
)
def test_flattening(valtype: Type | None, flat: tuple[str, ...] | None) -> None:
    assert flatten(valtype) == flat


@pytest.mark.parametrize(
    ("parameters", "result", "signature"),
    [
        ((), None, ((), ())),
        ((Borrow(STREAM),), "bool", (("i32",), ("i32",))),
        ((Borrow(STREAM), "u64"), Result(List("u8"), STREAM_ERROR), (("i32", "i64", "i32"), ())),
        ((Borrow(STREAM), IP_SOCKET_ADDRESS), Result(None, ERROR_CODE), (("i32",) * 14, ())),
        (("u8",) * 16, "f64", (("i32",) * 16, ("f64",))),
        (("u8",) * 17, "f64", (("i32",), ("f64",))),
        (("string",) * 9, "string", (("i32", "i32"), ())),
        ((Tuple(("u8",) * 17),), None, (("i32",), ())),
    ],
)
def test_core_signatures(parameters, result, signature) -> None:
    named = tuple((f"p{position}", valtype) for position, valtype in enumerate(parameters))
    assert core_signature(FunctionType(named, result)) == signature


def test_which_types_need_allocations() -> None:
    assert has_pointers("string")
    assert has_pointers(Option(Tuple(("u8", List("u8")))))
    assert has_pointers(FixedList("string", 2))
    assert not has_pointers(Result(Tuple((Own(STREAM),) * 3), ERROR_CODE))
    assert not has_pointers(None)


def test_too_many_flags_are_refused() -> None:
    with pytest.raises(UnsupportedComponentError, match="33 names"):
        layout(Flags(tuple(map(str, range(33)))))
