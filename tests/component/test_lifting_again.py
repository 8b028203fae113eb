"""Lifting the same flat values again: remembered where that is possible, and never wrong."""

from __future__ import annotations

from typing import Any

import pytest

from wasi_sockets.component.canonical import parameter_lifter
from wasi_sockets.component.types import FunctionType, Record, Tuple, Variant
from wasi_sockets.errors import GuestTrap

_IPV4 = Record((("port", "u16"), ("address", Tuple(("u8", "u8", "u8", "u8")))))
_ADDRESS = Variant((("ipv4", _IPV4), ("none", None)))
_NAMED = Variant((("name", "string"), ("number", "u32")))


class _Memory:
    """A guest whose memory is all one byte."""

    def __init__(self, byte: bytes) -> None:
        self.byte = byte

    def read(self, address: int, size: int) -> bytes:
        return self.byte * size

    def lift_handle(self, valtype: Any, handle: int) -> object:
        raise AssertionError("no handles here")


def _lift(valtype: Any, *flat: int, guest: _Memory | None = None) -> Any:
    function = FunctionType((("p", valtype),), None)
    return parameter_lifter(function)(flat, guest or _Memory(b"?"))[0]


def test_each_address_comes_out_as_itself_however_many_there_are() -> None:
    for _ in range(2):
        for port in range(600):
            lifted = _lift(_ADDRESS, 0, port, 127, 0, 0, port & 255)
            assert lifted == ("ipv4", {"port": port, "address": (127, 0, 0, port & 255)})


def test_bits_above_a_type_are_ignored_again_and_again() -> None:
    for _ in range(2):
        assert _lift(_ADDRESS, 0, 0x1_0050, 0x17F, 0, 0, 1) == (
            "ipv4",
            {"port": 80, "address": (127, 0, 0, 1)},
        )


def test_a_bad_case_traps_every_time() -> None:
    for _ in range(2):
        with pytest.raises(GuestTrap, match="discriminant 2"):
            _lift(_ADDRESS, 2, 0, 0, 0, 0, 0)


def test_what_lies_in_memory_is_read_every_time() -> None:
    assert _lift(_NAMED, 0, 16, 3, guest=_Memory(b"a")) == ("name", "aaa")
    assert _lift(_NAMED, 0, 16, 3, guest=_Memory(b"b")) == ("name", "bbb")
