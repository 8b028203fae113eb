from __future__ import annotations

import pytest
import wasmtime
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.component.samples import TEXTS, sample
from wasi_sockets.component.binary import MAX_NESTING, u32
from wasi_sockets.component.opcodes import PREAMBLE
from wasi_sockets.component.reader import read_component
from wasi_sockets.component.writer import write_component
from wasi_sockets.errors import ComponentError, InvalidComponentError, UnsupportedComponentError


def section(number: int, body: bytes) -> bytes:
    return bytes((number,)) + u32(len(body)) + body


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"\x7fELF\x02\x01\x01\x00", "not WebAssembly.*7f 45 4c 46"),
        (b" (component)", "text, not a binary"),
        (PREAMBLE[:6], "truncated: 6 bytes"),
        (b"\0asm\x01\0\0\0", "core module, not a component.*wasm-tools component new"),
        (b"\0asm\x0d\0\x07\0", "layer 7"),
        (PREAMBLE + b"\x07\x80", "truncated"),
        (PREAMBLE + b"\x07\x05\x00", "truncated: section 7 announces 5 bytes, only 1"),
        (PREAMBLE + section(7, b"\x00\x00"), "1 bytes more"),
        (PREAMBLE + section(7, b"\x05\x7f"), "5 entries are announced"),
        (PREAMBLE + section(7, b"\xff\xff\xff\xff\x0f"), "4294967295 entries"),
        (PREAMBLE + section(7, b"\xff\xff\xff\xff\x1f"), "too large for 32 bits"),
        (PREAMBLE + section(7, b"\x01\x70\xff\xff\xff\xff\x2f"), "too large for 33 bits"),
        (PREAMBLE + section(7, b"\x01\x6d\x01\x01\xff"), "not valid UTF-8"),
        (PREAMBLE + section(7, b"\x01\x6d\x01\x05a"), "5 bytes are announced, 1 are left"),
        (PREAMBLE + section(1, b"\0asm\x02\0\0\0"), "core module does not start"),
        (PREAMBLE + section(4, b"\0asm\x01\0\0\0"), "nested component does not start"),
        (PREAMBLE + section(8, b"\x01\x01\x05"), "refers to something that is no function"),
        (PREAMBLE + section(6, b"\x01\x01\x01\x00\x01a"), "core instance cannot export a func"),
        (PREAMBLE + section(10, b"\x01\x00\x01a\x00\x00\x00"), "core func cannot be imported"),
        (PREAMBLE + section(3, b"\x01\x60\x01\x10\x00"), "unknown core value type"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_broken_files_are_refused_with_a_reason(data: bytes, message: str) -> None:
    with pytest.raises(InvalidComponentError, match=message):
        read_component(data)


@pytest.mark.parametrize(
    ("data", "construct"),
    [
        (b"\0asm\x0e\0\x01\0", "component format version 0xe"),
        (PREAMBLE + section(13, b""), "section 0x0d"),
        (PREAMBLE + section(8, b"\x01\x99"), "canonical definition 0x99"),
        (PREAMBLE + section(8, b"\x01\x01\x00\x00\x01\x55"), "canonical option 0x55"),
        (PREAMBLE + section(7, b"\x01\x6c"), "type 0x6c"),
        (PREAMBLE + section(7, b"\x01\x70\x6c"), "value type 0x6c"),
        (PREAMBLE + section(7, b"\x01\x42\x01\x03"), "declaration 0x03"),
        (PREAMBLE + section(6, b"\x01\x01\x07"), "alias 0x07"),
        (PREAMBLE + section(11, b"\x01\x00\x01a\x09\x00\x00"), "sort 0x09"),
        (PREAMBLE + section(11, b"\x01\x03\x01a"), "name kind 0x03"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_unknown_constructs_are_named(data: bytes, construct: str) -> None:
    with pytest.raises(UnsupportedComponentError) as caught:
        read_component(data)
    assert caught.value.construct.startswith(construct)


def test_a_core_module_made_by_the_engine_is_recognised() -> None:
    with pytest.raises(InvalidComponentError, match="core module"):
        read_component(bytes(wasmtime.wat2wasm("(module)")))


def test_nested_components_are_bounded() -> None:
    data = PREAMBLE
    for _ in range(MAX_NESTING):
        data = PREAMBLE + section(4, data)
    read_component(data)
    with pytest.raises(InvalidComponentError, match="nested more than"):
        read_component(PREAMBLE + section(4, data))


def test_nested_types_are_bounded() -> None:
    def nested(depth: int) -> bytes:
        return PREAMBLE + section(7, b"\x01" + b"\x42\x01\x01" * depth + b"\x7f")

    read_component(nested(MAX_NESTING))
    with pytest.raises(InvalidComponentError, match="nested more than"):
        read_component(nested(MAX_NESTING + 1))
    with pytest.raises(InvalidComponentError, match="nested more than"):
        read_component(nested(100_000))


@pytest.mark.parametrize("name", TEXTS)
def test_every_truncation_is_noticed_or_ends_between_sections(name: str) -> None:
    data = sample(name)
    whole = len(read_component(data).definitions)
    for size in range(len(data)):
        try:
            component = read_component(data[:size])
        except InvalidComponentError:
            continue
        assert len(component.definitions) < whole
        assert write_component(component) == data[:size]


edits = st.lists(
    st.tuples(
        st.sampled_from(["set", "insert", "delete", "copy"]),
        st.integers(0, 1 << 16),
        st.integers(0, 1 << 16),
        st.integers(0, 255),
    ),
    min_size=1,
    max_size=4,
)


def mutate(data: bytes, changes: list[tuple[str, int, int, int]]) -> bytes:
    out = bytearray(data)
    for kind, where, other, byte in changes:
        at = where % max(1, len(out))
        start = other % max(1, len(out))
        if kind == "set" and out:
            out[at] = byte
        elif kind == "insert":
            out[at:at] = bytes((byte,))
        elif kind == "delete":
            del out[at : at + 1 + byte % 8]
        else:
            out[at:at] = out[start : start + byte]
    return bytes(out)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(name=st.sampled_from(sorted(TEXTS)), changes=edits)
def test_mutants_give_a_component_or_one_of_our_errors(
    name: str, changes: list[tuple[str, int, int, int]]
) -> None:
    try:
        component = read_component(mutate(sample(name), changes))
    except ComponentError:
        return
    assert read_component(write_component(component)) == component


@settings(max_examples=200, deadline=None)
@given(number=st.integers(0, 13), body=st.binary(max_size=60))
def test_random_sections_give_a_component_or_one_of_our_errors(number: int, body: bytes) -> None:
    try:
        component = read_component(PREAMBLE + section(number, body))
    except ComponentError:
        return
    assert read_component(write_component(component)) == component
