"""Reading and writing the atoms of the binary format: bytes, LEB128 numbers, names and vectors.

Everything here is bounded: a number that promises more than the bytes that are left is an error before
anything is allocated, and every fault of the file is an `InvalidComponentError` that says where.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, TypeVar

from wasi_sockets.errors import InvalidComponentError

T = TypeVar("T")

MAX_NESTING = 100
"""Scopes (components and their types) inside each other; wasmparser allows types 100 deep."""


class Reader:
    """A cursor over one range of a file.

    Attributes:
        data: the whole file.
        position: the next byte, counted from the start of the file.
        end: where the range ends.
    """

    __slots__ = ("data", "end", "position")

    def __init__(self, data: bytes, position: int, end: int) -> None:
        self.data = data
        self.position = position
        self.end = end

    def fail(self, what: str) -> NoReturn:
        """Raise `InvalidComponentError` telling what is wrong and where."""
        raise InvalidComponentError(
            f"{what}, at byte {self.position} of the file: rebuild it or copy it again"
        )

    def peek(self) -> int:
        """The next byte, not consumed."""
        if self.position >= self.end:
            self.fail("the component is truncated or a length in it is wrong")
        return self.data[self.position]

    def u8(self) -> int:
        """One byte."""
        position = self.position
        if position >= self.end:
            self.fail("the component is truncated or a length in it is wrong")
        self.position = position + 1
        return self.data[position]

    def u32(self) -> int:
        """An unsigned LEB128 number of at most 32 bits."""
        byte = self.u8()
        if byte < 0x80:
            return byte
        result = byte & 0x7F
        shift = 7
        while True:
            byte = self.u8()
            if shift == 28 and byte > 0x0F:
                self.fail("a number is too large for 32 bits")
            result |= (byte & 0x7F) << shift
            if byte < 0x80:
                return result
            shift += 7

    def u64(self) -> int:
        """An unsigned LEB128 number of at most 64 bits."""
        result = shift = 0
        while True:
            byte = self.u8()
            if shift == 63 and byte > 1:
                self.fail("a number is too large for 64 bits")
            result |= (byte & 0x7F) << shift
            if byte < 0x80:
                return result
            shift += 7

    def s33(self) -> int:
        """A signed LEB128 number of at most 33 bits: a type opcode (negative) or a type index."""
        result = shift = 0
        while True:
            byte = self.u8()
            # The fifth byte carries bits 28..32; the two above them only repeat the sign.
            if shift == 28 and (byte > 0x7F or (byte & 0x70) not in (0x00, 0x70)):
                self.fail("a type number is too large for 33 bits")
            result |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return result - (1 << shift) if byte & 0x40 else result

    def take(self, size: int) -> bytes:
        """`size` bytes, copied."""
        position = self.position
        if size > self.end - position:
            self.fail(
                f"the component is truncated: {size} bytes are announced, {self.end - position} are left"
            )
        self.position = position + size
        return self.data[position : position + size]

    def rest(self) -> bytes:
        """Everything that is left, copied."""
        return self.take(self.end - self.position)

    def name(self) -> str:
        """A length and that many bytes of UTF-8."""
        size = self.u32()
        raw = self.take(size)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            self.position -= size
            self.fail("a name is not valid UTF-8")

    def count(self) -> int:
        """The length of a vector, each entry of which takes a byte at least."""
        count = self.u32()
        if count > self.end - self.position:
            self.fail(f"{count} entries are announced, only {self.end - self.position} bytes are left")
        return count

    def vector(self, item: Callable[[Reader], T]) -> tuple[T, ...]:
        """A counted sequence of items."""
        return tuple([item(self) for _ in range(self.count())])

    def flag(self, what: str) -> bool:
        """A byte that must be 0 or 1."""
        value = self.u8()
        if value > 1:
            self.position -= 1
            self.fail(f"{what} must be 0 or 1, not {value:#04x}")
        return value == 1

    def index(self) -> int:
        """An index, as `u32`; a method of its own for `vector`."""
        return self.u32()


def u32(value: int) -> bytes:
    """The unsigned LEB128 form of a number below 2**32.

    Raises:
        ValueError: it is out of range.
    """
    if not 0 <= value < 1 << 32:
        raise ValueError(f"{value} is no 32-bit index or length")
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def s33(value: int) -> bytes:
    """The signed LEB128 form of a type index.

    Raises:
        ValueError: it is out of range.
    """
    if not 0 <= value < 1 << 32:
        raise ValueError(f"{value} is no type index")
    out = bytearray()
    while value >= 0x40:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def name(text: str) -> bytes:
    """A length and the UTF-8 form of `text`."""
    raw = text.encode()
    return u32(len(raw)) + raw
