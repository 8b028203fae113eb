from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.component.guest_memory import FakeGuest
from tests.component.test_layout import ERROR_CODE, IP_SOCKET_ADDRESS, STREAM, STREAM_ERROR
from wasi_sockets.component.canonical import (
    core_signature,
    flatten,
    layout,
    lowering,
    memory_lifter,
    parameter_lifter,
)
from wasi_sockets.component.layout import has_pointers, wraps_ok, wraps_some
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

ENCODINGS = ["utf8", "utf16", "latin1+utf16"]
INTEGERS = [f"{sign}{bits}" for bits in (8, 16, 32, 64) for sign in "us"]
NAMES = tuple("abcdefghij")

scalars = st.sampled_from([*INTEGERS, "bool", "char", "f32", "f64", "string"])
handles = st.sampled_from([Own(STREAM), Borrow(STREAM), Stream("u8"), Future(None), "error-context"])
counted = st.integers(1, len(NAMES)).map(lambda count: NAMES[:count])


def _compound(inner: st.SearchStrategy[Type]) -> st.SearchStrategy[Type]:
    optional = st.none() | inner
    some = st.lists(inner, min_size=1, max_size=4)
    keys = st.sampled_from(["u8", "s32", "string", "char", "bool"])
    return st.one_of(
        inner.map(List),
        inner.map(Option),
        st.builds(Result, optional, optional),
        some.map(lambda items: Tuple(tuple(items))),
        some.map(lambda items: Record(tuple(zip(NAMES, items, strict=False)))),
        st.lists(optional, min_size=1, max_size=4).map(
            lambda items: Variant(tuple(zip(NAMES, items, strict=False)))
        ),
        st.builds(FixedList, inner, st.integers(1, 3)),
        st.builds(Map, keys, inner),
    )


types = st.recursive(scalars | handles | counted.map(Flags) | counted.map(Enum), _compound, max_leaves=8)


def values(valtype: Type) -> st.SearchStrategy[Any]:
    """Python values of a type, as contract 1 has them."""
    if isinstance(valtype, str):
        if valtype in INTEGERS:
            bits = int(valtype[1:])
            if valtype[0] == "u":
                return st.integers(0, (1 << bits) - 1)
            return st.integers(-(1 << bits - 1), (1 << bits - 1) - 1)
        if valtype == "bool":
            return st.booleans()
        if valtype == "char":
            return st.characters(exclude_categories=["Cs"])
        if valtype == "string":
            return st.text(max_size=6)
        if valtype == "error-context":
            return st.builds(object)
        return st.floats(width=32 if valtype == "f32" else 64, allow_nan=False)
    if isinstance(valtype, (Own, Borrow, Stream, Future)):
        return st.builds(object)
    if isinstance(valtype, List):
        if valtype.element == "u8":
            return st.binary(max_size=6)
        return st.lists(values(valtype.element), max_size=3)
    if isinstance(valtype, Map):
        return st.dictionaries(values(valtype.key), values(valtype.value), max_size=3)
    if isinstance(valtype, FixedList):
        if valtype.element == "u8":
            return st.binary(min_size=valtype.length, max_size=valtype.length)
        return st.lists(values(valtype.element), min_size=valtype.length, max_size=valtype.length)
    if isinstance(valtype, Tuple):
        return st.tuples(*map(values, valtype.items))
    if isinstance(valtype, Record):
        return st.fixed_dictionaries({name: values(field) for name, field in valtype.fields})
    if isinstance(valtype, Flags):
        return st.frozensets(st.sampled_from(valtype.names))
    if isinstance(valtype, Enum):
        return st.sampled_from(valtype.names)
    if isinstance(valtype, Option):
        present = values(valtype.value)
        return st.none() | (present.map(Some) if wraps_some(valtype) else present)
    if isinstance(valtype, Result):
        ok = st.none() if valtype.ok is None else values(valtype.ok)
        error = st.none() if valtype.error is None else values(valtype.error)
        return error.map(Err) | (ok.map(Ok) if wraps_ok(valtype) else ok)
    assert isinstance(valtype, Variant)
    return st.one_of(
        [
            st.tuples(st.just(name), st.none() if payload is None else values(payload))
            for name, payload in valtype.cases
        ]
    )


@st.composite
def typed_values(draw: st.DrawFn) -> tuple[Type, Any]:
    valtype = draw(types)
    return valtype, draw(values(valtype))


@settings(max_examples=300, deadline=None)
@given(typed=typed_values(), encoding=st.sampled_from(ENCODINGS))
def test_what_is_lowered_to_memory_lifts_to_the_same(typed: tuple[Type, Any], encoding: str) -> None:
    valtype, value = typed
    guest = FakeGuest()
    address = guest.store(valtype, value, encoding)
    assert memory_lifter(valtype, encoding)(address, guest) == value


@settings(max_examples=300, deadline=None)
@given(arguments=st.lists(typed_values(), max_size=4), encoding=st.sampled_from(ENCODINGS))
def test_flat_arguments_lift_to_the_same(arguments: list[tuple[Type, Any]], encoding: str) -> None:
    guest = FakeGuest()
    named = tuple((f"p{number}", valtype) for number, (valtype, _) in enumerate(arguments))
    function = FunctionType(named, None)
    parameters, _ = core_signature(function)
    together = Tuple(tuple(valtype for valtype, _ in arguments))
    if flatten(together) is None:
        flat = [guest.store(together, tuple(value for _, value in arguments), encoding)]
    else:
        flat = [core for valtype, value in arguments for core in guest.flat(valtype, value, encoding)]
    assert len(flat) == len(parameters)
    assert parameter_lifter(function, encoding)(flat, guest) == [value for _, value in arguments]


@settings(max_examples=200, deadline=None)
@given(typed=typed_values())
def test_one_core_value_is_what_a_guest_would_pass(typed: tuple[Type, Any]) -> None:
    valtype, value = typed
    how = lowering(valtype)
    if len(flatten(valtype) or ("",) * 2) != 1:
        assert how.flat is None
        return
    assert how.flat is not None
    guest = FakeGuest()
    core = [how.flat(value, guest)]
    assert core == FakeGuest().flat(valtype, value)
    assert parameter_lifter(FunctionType((("p", valtype),), None))(core, guest) == [value]


@settings(max_examples=200, deadline=None)
@given(typed=typed_values(), encoding=st.sampled_from(ENCODINGS))
def test_each_allocation_is_written_once_and_the_value_last(typed: tuple[Type, Any], encoding: str) -> None:
    valtype, value = typed
    how = lowering(valtype, encoding)
    planned = list(how.plan(value))
    assert how.allocates == has_pointers(valtype)
    guest = FakeGuest()
    address = guest.store(valtype, value, encoding)
    assert guest.writes[-1] == (address, layout(valtype)[0])
    assert sorted(size for _, size in guest.writes[:-1]) == sorted(size for _, size in planned)


def test_an_address_lies_in_memory_as_wasi_sockets_readers_expect() -> None:
    guest = FakeGuest()
    value = ("ipv6", {"port": 8080, "flow-info": 7, "address": (0x2001, 0, 0, 0, 0, 0, 0, 1), "scope-id": 3})
    address = guest.store(IP_SOCKET_ADDRESS, value)
    assert guest.read(address, 32) == (
        b"\x01\0\0\0" + struct.pack("<HxxI8HI", 8080, 7, 0x2001, 0, 0, 0, 0, 0, 0, 1, 3)
    )


def test_the_result_of_a_read_points_to_its_bytes() -> None:
    guest = FakeGuest()
    valtype = Result(List("u8"), STREAM_ERROR)
    how = lowering(valtype)
    assert list(how.plan(b"hello")) == [(1, 5)]
    how.store(b"hello", 128, [200], guest)
    assert guest.read(128, 12) == struct.pack("<III", 0, 200, 5)
    assert guest.read(200, 5) == b"hello"
    assert list(how.plan(Err(("closed", None)))) == []
    how.store(Err(("closed", None)), 128, [], guest)
    assert guest.read(128, 8) == struct.pack("<II", 1, 1)


def test_accept_lowers_three_handles_or_an_error() -> None:
    guest = FakeGuest()
    how = lowering(Result(Tuple((Own(STREAM),) * 3), ERROR_CODE))
    how.store(("a", "b", "c"), 64, [], guest)
    assert guest.read(64, 16) == struct.pack("<IIII", 0, 1, 2, 3)
    how.store(Err("code-9"), 64, [], guest)
    assert guest.read(64, 5) == b"\x01\0\0\0\x09"


@pytest.mark.parametrize(
    ("encoding", "text", "data", "units"),
    [
        ("utf8", "é€", "é€".encode(), 5),
        ("utf16", "é€", "é€".encode("utf-16-le"), 2),
        ("utf16", "𝄞", "𝄞".encode("utf-16-le"), 2),
        ("latin1+utf16", "é", b"\xe9", 1),
        ("latin1+utf16", "é€", "é€".encode("utf-16-le"), 2 | 1 << 31),
    ],
)
def test_strings_in_each_encoding(encoding: str, text: str, data: bytes, units: int) -> None:
    guest = FakeGuest()
    address, length = struct.unpack("<II", guest.read(guest.store("string", text, encoding), 8))
    assert length == units
    assert guest.read(address, len(data)) == data


def lift_one(valtype: Type, flat: list[int], encoding: str = "utf8", guest: FakeGuest | None = None) -> Any:
    return parameter_lifter(FunctionType((("p", valtype),), None), encoding)(flat, guest or FakeGuest())[0]


@pytest.mark.parametrize(
    ("valtype", "flat", "encoding", "message"),
    [
        ("string", [65530, 7], "utf8", "out of range"),
        ("string", [65537, 0], "utf8", "out of range"),
        ("string", [2, 1 << 30], "utf8", "longer than any"),
        ("string", [1, 1], "utf16", "not aligned"),
        ("string", [1, 1], "latin1+utf16", "not aligned"),
        ("string", [1, 1 | 1 << 31], "latin1+utf16", "not aligned"),
        ("string", [2, 0x7FFFFFFF], "utf16", "longer than any"),
        (List("u64"), [4, 1], "utf8", "not aligned"),
        (List("u64"), [8, 0xFFFFFFFF], "utf8", "longer than any"),
        (List(Tuple(("u8", "u32"))), [2, 0], "utf8", "not aligned"),
        (List("u8"), [0xFFFFFFFF, 2], "utf8", "out of range"),
        ("char", [0xD800], "utf8", "no Unicode scalar"),
        ("char", [0xDFFF], "utf8", "no Unicode scalar"),
        ("char", [0x110000], "utf8", "no Unicode scalar"),
        (Enum(("a", "b")), [2], "utf8", "discriminant 2"),
        (Option("u8"), [0xFFFFFFFF, 0], "utf8", "discriminant"),
        (Own(STREAM), [5], "utf8", "unknown handle"),
        (Tuple(("u8",) * 17), [65530], "utf8", "out of range"),
        (Tuple(("u64",) * 17), [4], "utf8", "not aligned"),
    ],
    ids=str,
)
def test_what_a_guest_gets_wrong_traps(valtype: Type, flat: list[int], encoding: str, message: str) -> None:
    with pytest.raises(GuestTrap, match=message):
        lift_one(valtype, flat, encoding)


@pytest.mark.parametrize(("encoding", "bad"), [("utf8", b"\xff\xfe"), ("utf16", b"\x00\xd8")])
def test_strings_that_are_not_valid_trap(encoding: str, bad: bytes) -> None:
    guest = FakeGuest()
    guest.write(64, bad)
    with pytest.raises(GuestTrap, match="not valid UTF"):
        lift_one("string", [64, len(bad) if encoding == "utf8" else 1], encoding, guest)


def test_a_wrong_discriminant_or_char_in_memory_traps() -> None:
    guest = FakeGuest()
    guest.write(64, struct.pack("<II", 0xD800, 7))
    with pytest.raises(GuestTrap, match="scalar"):
        memory_lifter("char")(64, guest)
    with pytest.raises(GuestTrap, match="discriminant 7"):
        memory_lifter(Option("u32"))(68, guest)
    wide = Enum(tuple(map(str, range(300))))
    guest.write(64, struct.pack("<H", 300))
    with pytest.raises(GuestTrap, match="discriminant 300"):
        memory_lifter(wide)(64, guest)


def test_core_values_are_cut_to_their_type() -> None:
    assert lift_one("u8", [0x1FF]) == 0xFF
    assert lift_one("s8", [0xFFFFFF80]) == -128
    assert lift_one("s32", [0xFFFFFFFF]) == -1
    assert lift_one("bool", [2]) is True
    assert lift_one("u32", [0xABCD00000001]) == 1
    assert lift_one(Flags(("a", "b")), [0xFFFFFFFE]) == frozenset({"b"})
    assert math.isnan(lift_one("f32", [0x7FC00000]))


def test_payloads_are_found_in_joined_core_values() -> None:
    joined = Variant((("single", "f32"), ("double", "f64"), ("whole", "s32")))
    (single,) = struct.unpack("<I", struct.pack("<f", 1.5))
    (double,) = struct.unpack("<Q", struct.pack("<d", -2.25))
    assert lift_one(joined, [0, single]) == ("single", 1.5)
    assert lift_one(joined, [1, double]) == ("double", -2.25)
    assert lift_one(joined, [2, 0xFFFFFFFFFFFFFFFF]) == ("whole", -1)


def test_strings_and_lists_of_one_call_share_a_limit() -> None:
    guest = FakeGuest()
    function = FunctionType((("a", "string"), ("b", List("u16"))), None)
    lift = parameter_lifter(function, "utf8", 10)
    assert lift([64, 4, 64, 3], guest) == ["\0" * 4, [0, 0, 0]]
    with pytest.raises(GuestTrap, match="more than this call may pass"):
        lift([64, 5, 64, 3], guest)
    # Many elements that point to the same bytes count each time.
    guest.write(128, struct.pack("<II", 64, 100) * 100)
    nested = FunctionType((("a", List("string")),), None)
    with pytest.raises(GuestTrap, match="more than this call may pass"):
        parameter_lifter(nested, "utf8", 5000)([128, 100], guest)


def test_the_limit_counts_each_call_anew() -> None:
    guest = FakeGuest()
    lift = parameter_lifter(FunctionType((("a", "string"),), None), "utf8", 4)
    for _ in range(3):
        assert lift([64, 4], guest) == ["\0" * 4]


def test_addresses_that_realloc_returned_are_checked() -> None:
    how = lowering(List("u32"))
    with pytest.raises(GuestTrap, match="not aligned"):
        how.store([1], 64, [66], FakeGuest())
    with pytest.raises(GuestTrap, match="not aligned"):
        how.store([1], 66, [68], FakeGuest())
    with pytest.raises(GuestTrap, match="out of range"):
        how.store([1], 64, [0xFFFFFFFC], FakeGuest())
    with pytest.raises(GuestTrap, match="out of range"):
        how.store([], 64, [0xFFFFFFFC], FakeGuest())
    with pytest.raises(GuestTrap, match="out of range"):
        how.store([1], 0xFFFFFFFC, [64], FakeGuest())


@pytest.mark.parametrize(
    ("valtype", "value", "error"),
    [
        ("u8", 256, ValueError),
        ("s8", -129, ValueError),
        ("u32", -1, ValueError),
        ("u64", "1", ValueError),
        ("char", "\ud800", ValueError),
        ("string", "\ud800", ValueError),
        (Enum(("a",)), "b", ValueError),
        (Flags(("a",)), {"b"}, ValueError),
        (Variant((("a", "u8"),)), ("b", 1), ValueError),
        (Variant((("a", None), ("b", "u8"))), ("a", 1), ValueError),
        (Result(None, None), 5, ValueError),
        (Result(None, "u8"), 5, ValueError),
        (Option(Option("u8")), 5, TypeError),
        (Result(Result(None, "u8"), "u8"), None, TypeError),
        (Tuple(("u8", "u8")), (1,), ValueError),
        (Record((("a", "u8"),)), {"a": 1, "b": 2}, ValueError),
        (FixedList("u8", 2), b"abc", ValueError),
    ],
    ids=str,
)
def test_values_of_the_host_that_do_not_fit_are_its_own_mistake(valtype, value, error) -> None:
    guest = FakeGuest()
    with pytest.raises(error):
        guest.store(valtype, value)
    how = lowering(valtype)
    if how.flat is not None:
        with pytest.raises(error):
            how.flat(value, guest)


def test_no_result_is_zero() -> None:
    how = lowering(None)
    assert how.flat is not None
    assert how.flat(None, FakeGuest()) == 0
    assert not how.allocates


def test_wrappers_appear_only_where_the_plain_value_would_be_ambiguous() -> None:
    assert not wraps_some(Option(Result("u8", None)))
    assert wraps_some(Option(Result(None, "u8")))
    assert wraps_some(Option(Option("u8")))
    assert not wraps_ok(Result(Option("u8"), None))
    assert wraps_ok(Result(Result("u8", None), None))
    assert wraps_ok(Result(Option(Result("u8", None)), None))
    assert not wraps_ok(Result(Option(Result(None, None)), None))
    # The type of wasi:http's future-incoming-response.get.
    got = Option(Result(Result(Own(STREAM), ERROR_CODE), None))
    guest = FakeGuest()
    for value in (None, Ok("response"), Ok(Err("code-1")), Err()):
        assert memory_lifter(got)(guest.store(got, value), guest) == value
