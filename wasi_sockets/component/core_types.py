"""Where a core type ends and which type indices stand in it.

Core types are kept as bytes: nothing here needs their meaning. Only their extent must be found, because they
stand among component definitions without a length, and their references, because an index into the
component's core type space may have to change. The grammar is that of WebAssembly 3.0 as wasmparser reads it.
"""

from __future__ import annotations

from dataclasses import dataclass

from wasi_sockets.component.binary import Reader

_VALUE_TYPES = frozenset((0x7F, 0x7E, 0x7D, 0x7C, 0x7B))
_ABSTRACT_HEAP_TYPES = frozenset(range(0x68, 0x76))
_SHARED = 0x65


@dataclass(frozen=True, slots=True)
class CoreTypeReference:
    """An index in the bytes of a core type.

    Attributes:
        start: its first byte, counted from the start of the type.
        end: the byte after it.
        scopes: how many scopes out of the core type it points: 0 is the scope that the core type stands in.
        index: the index.
        signed: whether it is written as a signed number.
    """

    start: int
    end: int
    scopes: int
    index: int
    signed: bool


class _Scan:
    __slots__ = ("in_module", "origin", "reader", "references")

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.origin = reader.position
        self.in_module = False
        self.references: list[CoreTypeReference] = []

    def reference(self, *, signed: bool = False) -> None:
        reader = self.reader
        start = reader.position
        index = reader.s33() if signed else reader.u32()
        if index < 0:
            reader.position = start
            reader.fail("a type index was expected in a core type")
        if not self.in_module:
            self._add(start, 0, index, signed)

    def _add(self, start: int, scopes: int, index: int, signed: bool) -> None:
        origin = self.origin
        end = self.reader.position - origin
        self.references.append(CoreTypeReference(start - origin, end, scopes, index, signed))

    def outer_alias(self) -> None:
        reader = self.reader
        if reader.u8() != 0x10 or reader.u8() != 0x01:
            reader.fail("a module type has an alias of an unknown kind")
        scopes = reader.u32()
        start = reader.position
        index = reader.u32()
        # The module type is a scope itself, so 1 is where the core type stands.
        if scopes > 0:
            self._add(start, scopes - 1, index, signed=False)

    def heap_type(self) -> None:
        reader = self.reader
        byte = reader.peek()
        if byte == 0x62:
            reader.u8()
            self.reference()
        elif byte == _SHARED or byte in _ABSTRACT_HEAP_TYPES:
            self.abstract_heap_type()
        else:
            self.reference(signed=True)

    def abstract_heap_type(self) -> None:
        reader = self.reader
        if reader.peek() == _SHARED:
            reader.u8()
        if reader.u8() not in _ABSTRACT_HEAP_TYPES:
            reader.fail("an unknown core value type")

    def reference_type(self) -> None:
        if self.reader.peek() in (0x63, 0x64):
            self.reader.u8()
            self.heap_type()
        else:
            self.abstract_heap_type()

    def value_type(self) -> None:
        if self.reader.peek() in _VALUE_TYPES:
            self.reader.u8()
        else:
            self.reference_type()

    def field_type(self) -> None:
        if self.reader.peek() in (0x78, 0x77):
            self.reader.u8()
        else:
            self.value_type()
        self.reader.flag("the mutability of a field")

    def composite_type(self, opcode: int) -> None:
        reader = self.reader
        if opcode == _SHARED:
            opcode = reader.u8()
        for descriptor in (0x4C, 0x4D):
            if opcode == descriptor:
                self.reference()
                opcode = reader.u8()
        if opcode == 0x60:
            for _ in range(reader.count()):
                self.value_type()
            for _ in range(reader.count()):
                self.value_type()
        elif opcode == 0x5F:
            for _ in range(reader.count()):
                self.field_type()
        elif opcode == 0x5E:
            self.field_type()
        elif opcode == 0x5D:
            self.reference(signed=True)
        else:
            reader.fail(f"unknown core type {opcode:#04x}")

    def sub_type(self) -> None:
        opcode = self.reader.u8()
        if opcode in (0x4F, 0x50):
            for _ in range(self.reader.count()):
                self.reference()
            opcode = self.reader.u8()
        self.composite_type(opcode)

    def recursive_type(self) -> int:
        if self.reader.peek() != 0x4E:
            self.sub_type()
            return 1
        self.reader.u8()
        count = self.reader.count()
        for _ in range(count):
            self.sub_type()
        return count

    def limits(self) -> None:
        reader = self.reader
        flags = reader.u8()
        if flags > 0x0F:
            reader.fail("unknown flags of a memory or table")
        reader.u64()
        if flags & 1:
            reader.u64()
        if flags & 8:
            reader.u32()

    def extern_type(self) -> None:
        reader = self.reader
        kind = reader.u8()
        if kind in (0x00, 0x20):
            self.reference()
        elif kind == 0x01:
            self.reference_type()
            self.limits()
        elif kind == 0x02:
            self.limits()
        elif kind == 0x03:
            self.value_type()
            reader.u8()
        elif kind == 0x04:
            reader.u8()
            self.reference()
        else:
            reader.fail(f"unknown kind {kind:#04x} in a module type")

    def module_type(self) -> None:
        reader = self.reader
        self.in_module = True
        for _ in range(reader.count()):
            kind = reader.u8()
            if kind == 0x00:
                reader.name()
                reader.name()
                self.extern_type()
            elif kind == 0x01:
                self.recursive_type()
            elif kind == 0x02:
                self.outer_alias()
            elif kind == 0x03:
                reader.name()
                self.extern_type()
            else:
                reader.fail(f"unknown declaration {kind:#04x} in a module type")

    def core_type(self) -> int:
        reader = self.reader
        byte = reader.peek()
        if byte == 0x50:
            reader.u8()
            self.module_type()
            return 1
        if byte == 0x00:
            # Until module types get an opcode of their own, 0x00 says that the 0x50 after it is a `sub` type.
            reader.u8()
            if reader.peek() != 0x50:
                reader.fail("a core type starts with 0x00 but is no sub type")
        return self.recursive_type()


def scan_core_type(reader: Reader) -> tuple[int, list[CoreTypeReference]]:
    """Move `reader` past one core type.

    Returns:
        How many indices it takes in the core type space, and its references to types outside itself.

    Raises:
        InvalidComponentError: it is malformed.
    """
    scan = _Scan(reader)
    return scan.core_type(), scan.references
