"""A guest reduced to what lifting and lowering see, with its own flattening of values to compare with."""

from __future__ import annotations

import struct
from typing import Any

from wasi_sockets.component.layout import cases_of, fields_of, flatten
from wasi_sockets.component.lowering import lowering
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
)
from wasi_sockets.component.values import Err, Ok, Some
from wasi_sockets.errors import GuestTrap


class FakeGuest:
    """Linear memory with an allocator that only grows, and a handle table."""

    def __init__(self, size: int = 1 << 16) -> None:
        self.memory = bytearray(size)
        self.writes: list[tuple[int, int]] = []
        self.top = 64
        self.handles: list[object] = []

    def read(self, address: int, size: int) -> bytes:
        if address + size > len(self.memory):
            raise GuestTrap("pointer out of range of the guest's memory")
        return bytes(self.memory[address : address + size])

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        if address + len(data) > len(self.memory):
            raise GuestTrap("pointer out of range of the guest's memory")
        self.writes.append((address, len(data)))
        self.memory[address : address + len(data)] = data

    def lift_handle(self, valtype: Any, handle: int) -> object:
        if not 0 < handle <= len(self.handles):
            raise GuestTrap("unknown handle")
        return self.handles[handle - 1]

    def lower_handle(self, valtype: Any, value: Any) -> int:
        self.handles.append(value)
        return len(self.handles)

    def allocate(self, alignment: int, size: int) -> int:
        address = -(-self.top // alignment) * alignment
        self.top = address + size
        return address

    def store(self, valtype: Type, value: Any, encoding: str = "utf8") -> int:
        """Lower a value into memory; its address."""
        how = lowering(valtype, encoding)
        addresses = [self.allocate(alignment, size) for alignment, size in how.plan(value)]
        address = self.allocate(how.alignment, how.size)
        how.store(value, address, addresses, self)
        return address

    def flat(self, valtype: Type, value: Any, encoding: str = "utf8") -> list[int]:
        """The core values that a guest would pass for a value (CanonicalABI.md, "Flat Lowering"), as bits."""
        if valtype == "string" or isinstance(valtype, (List, Map)):
            return list(struct.unpack("<II", self.read(self.store(valtype, value, encoding), 8)))
        if isinstance(valtype, (Own, Borrow, Stream, Future)) or valtype == "error-context":
            return [self.lower_handle(valtype, value)]
        if isinstance(valtype, str):
            if valtype == "f32":
                return list(struct.unpack("<I", struct.pack("<f", value)))
            if valtype == "f64":
                return list(struct.unpack("<Q", struct.pack("<d", value)))
            if valtype == "char":
                return [ord(value)]
            return [int(value) % (1 << 64 if valtype.endswith("64") else 1 << 32)]
        if isinstance(valtype, Flags):
            return [sum(1 << position for position, name in enumerate(valtype.names) if name in value)]
        if isinstance(valtype, (Tuple, Record)):
            parts = [value[name] for name, _ in valtype.fields] if isinstance(valtype, Record) else value
            pairs = zip(fields_of(valtype), parts, strict=True)
            return [core for part, each in pairs for core in self.flat(part, each, encoding)]
        if isinstance(valtype, FixedList):
            return [core for each in value for core in self.flat(valtype.element, each, encoding)]
        cases = cases_of(valtype)
        if isinstance(valtype, Enum):
            index, payload = valtype.names.index(value), None
        elif isinstance(valtype, Option):
            index, payload = (
                (0, None) if value is None else (1, value.value if type(value) is Some else value)
            )
        elif isinstance(valtype, Result):
            if isinstance(value, Err):
                index, payload = 1, value.payload
            else:
                index, payload = 0, value.value if type(value) is Ok else value
        else:
            index, payload = [name for name, _ in cases].index(value[0]), value[1]
        part = cases[index][1]
        core = [index] if part is None else [index, *self.flat(part, payload, encoding)]
        return core + [0] * (len(flatten(valtype) or ()) - len(core))
