"""A check's program: steps written in Python, carried out by the guest.

A `Program` collects WebAssembly text. Each step calls the host, compares what came back with what the rule says, and
ends the program, naming itself, when they differ. Nothing is decided in Python: the same component gives the same
verdict under any runtime.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv6Address
from typing import Final, Literal

__all__ = [
    "ANY",
    "IPV4",
    "IPV6",
    "LOOPBACK",
    "OUTCOMES",
    "Address",
    "Constants",
    "Family",
    "Handle",
    "Ip",
    "Number",
    "Pollable",
    "Program",
    "Step",
]

_ERROR_CODES: Final = """
    unknown access-denied not-supported invalid-argument out-of-memory timeout concurrency-conflict not-in-progress
    would-block invalid-state new-socket-limit address-not-bindable address-in-use remote-unreachable connection-refused
    connection-reset connection-aborted datagram-too-large name-unresolvable temporary-resolver-failure
    permanent-resolver-failure
"""

#: What a call came to, by the number that the guest prints (`runtime.wat`).
OUTCOMES: Final[dict[str, int]] = {
    "ok": 0,
    **{
        code: number
        for number, code in enumerate(
            _ERROR_CODES.split(),
            1,
        )
    },
    "last-operation-failed": 31,
    "closed": 32,
    "nothing in time": 40,
}
_NAMES: Final = {number: name for name, number in OUTCOMES.items()}

_FIRST_CONSTANT: Final = 1024
_FIRST_VARIABLE: Final = 32768
_RESULT: Final = 16
_LARGEST: Final = (1 << 64) - 1


class Family(IntEnum):
    """`ip-address-family`, by its number in WIT."""

    IPV4 = 0
    IPV6 = 1

    def __str__(self) -> str:
        return self.name.lower()


IPV4, IPV6 = Family.IPV4, Family.IPV6


@dataclass(frozen=True)
class Ip:
    """An IP address: four octets or eight segments."""

    family: Family
    parts: tuple[int, ...]

    def __str__(self) -> str:
        if self.family is IPV4:
            return ".".join(map(str, self.parts))
        return str(IPv6Address(struct.pack(">8H", *self.parts)))


LOOPBACK: Final = {IPV4: Ip(IPV4, (127, 0, 0, 1)), IPV6: Ip(IPV6, (0, 0, 0, 0, 0, 0, 0, 1))}
ANY: Final = {IPV4: Ip(IPV4, (0, 0, 0, 0)), IPV6: Ip(IPV6, (0,) * 8)}


@dataclass(frozen=True)
class Step:
    """One thing that must hold.

    Attributes:
        text: what is done or looked at.
        expected: for people.
        kind: how the number that the guest reports is to be read.
    """

    text: str
    expected: str
    kind: Literal["outcome", "number", "trap"]

    def failure(self, got: int) -> str:
        """The sentence for a step that gave `got`."""
        said = _NAMES.get(got, str(got)) if self.kind == "outcome" else str(got)
        return f"{self.text}: expected {self.expected}, got {said}"


@dataclass
class Constants:
    """The read-only data of one component, each piece once."""

    data: bytearray = field(default_factory=bytearray)
    _known: dict[bytes, int] = field(default_factory=dict)

    def add(self, content: bytes) -> int:
        """The guest address of `content`."""
        at = self._known.get(content)
        if at is None:
            self.data += bytes(-len(self.data) % 8)
            at = _FIRST_CONSTANT + len(self.data)
            self.data += content
            self._known[content] = at
            if at + len(content) > _FIRST_VARIABLE:
                raise ValueError("the checks' constants do not fit into the guest's memory")
        return at

    def text(self) -> str:
        """As a data segment."""
        escaped = "".join(f"\\{byte:02x}" for byte in self.data)
        return f'(data (i32.const {_FIRST_CONSTANT}) "{escaped}")'


@dataclass(frozen=True)
class Number:
    """A value that the guest found out, an i64 in a local."""

    code: str


@dataclass(frozen=True)
class Address:
    """A socket address in the guest's memory."""

    slot: int
    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def code(self) -> str:
        """Its place, for a call."""
        return f"(i32.const {self.slot})"


class Program:
    """The steps of one check.

    Attributes:
        steps: by the number that the guest reports.
        lines: what the guest does.
        variables: its locals, name and type.
    """

    def __init__(self, constants: Constants) -> None:
        self.steps: list[Step] = []
        self.lines: list[str] = []
        self.variables: list[tuple[str, str]] = []
        self._constants = constants
        self._next_slot = _FIRST_VARIABLE
        self._names: dict[str, int] = {}

    # Values

    def constant(self, content: bytes) -> int:
        """The guest address of some bytes."""
        return self._constants.add(content)

    def slot(self, size: int) -> int:
        """The guest address of a variable of its own."""
        at, self._next_slot = self._next_slot, self._next_slot + (size + 7) // 8 * 8
        if self._next_slot > 65536:
            raise ValueError("the check's variables do not fit into the guest's memory")
        return at

    def address(self, ip: Ip, port: int | Address = 0) -> Address:
        """An address, with a port of its own or another's."""
        head, tail = ((), (0,) * 6) if ip.family is IPV4 else ((0,), (0,))
        number = port if isinstance(port, int) else 0
        words = (int(ip.family), number, *head, *ip.parts, *tail)
        slot = self.slot(48)
        self.emit(f"(memory.copy (i32.const {slot}) (i32.const {self.constant(struct.pack('<12I', *words))})"
                  " (i32.const 48))")  # fmt: skip
        shown = f"[{ip}]" if ip.family is IPV6 else str(ip)
        if isinstance(port, Address):
            self.emit(f"(i32.store (i32.const {slot + 4}) (i32.load (i32.const {port.slot + 4})))")
            return Address(slot, f"{shown}:(the port of {port})")
        return Address(slot, f"{shown}:{port}")

    def take_address(self, text: str, at: str = f"(i32.const {_RESULT + 4})") -> Address:
        """The address that the last call gave."""
        address = Address(self.slot(48), text)
        self.emit(f"(call $take-address {at} {address.code})")
        return address

    def variable(self, name: str, core_type: str, code: str) -> str:
        """Keeps a value; returns the code that reads it."""
        number = self._names[name] = self._names.get(name, 0) + 1
        local = f"${name}-{number}"
        self.variables.append((local, core_type))
        self.emit(f"(local.set {local} {code})")
        return f"(local.get {local})"

    def number(self, name: str, code: str) -> Number:
        """Keeps a number."""
        return Number(self.variable(name, "i64", code))

    # Steps

    def emit(self, code: str) -> None:
        """Has the guest do something that is no step."""
        self.lines.append(code)

    def expect(self, text: str, code: str, outcomes: Sequence[str] = ()) -> None:
        """A step: `code` gives an outcome, one of `outcomes`; "ok" when none is named."""
        allowed = outcomes or ("ok",)
        mask = sum(1 << OUTCOMES[outcome] for outcome in allowed)
        step = self._step(text, " or ".join(allowed), "outcome")
        self.emit(f"(br_if $fail (call $unexpected (i32.const {step}) (i64.const {mask}) {code}))")

    def between(self, text: str, code: str | Number, low: int | Number, high: int | Number) -> None:
        """A step: `code` gives an unsigned number in a range, both ends included."""
        shown = [str(end) if isinstance(end, int) else "what it was" for end in (low, high)]
        expected = (
            shown[0]
            if low == high
            else f"{shown[0]} to {shown[1]}"
            if high != _LARGEST
            else f"at least {shown[0]}"
        )
        step = self._step(text, expected, "number")
        self.emit(
            f"(br_if $fail (call $outside (i32.const {step}) {_number_code(low)} {_number_code(high)}"
            f" {_number_code(code) if not isinstance(code, str) else code}))"
        )

    def equal(self, text: str, code: str | Number, value: int | Number) -> None:
        """A step: `code` gives this number."""
        self.between(text, code, value, value)

    def at_least(self, text: str, code: str | Number, value: int | Number) -> None:
        """A step: `code` gives this number or a larger one."""
        self.between(text, code, value, _LARGEST)

    def same_address(self, text: str, one: Address, other: Address) -> None:
        """A step: two addresses are the same, port and all."""
        self.equal(text, f"(call $same-bytes {one.code} {other.code} (i32.const 48))", 1)

    def same_ip(self, text: str, one: Address, other: Address) -> None:
        """A step: two addresses differ in nothing but, perhaps, the port."""
        a, b = f"(i32.const {one.slot + 8})", f"(i32.const {other.slot + 8})"
        self.equal(
            f"{text}: family",
            _widened(f"(i32.load {one.code})"),
            Number(_widened(f"(i32.load {other.code})")),
        )
        self.equal(text, f"(call $same-bytes {a} {b} (i32.const 40))", 1)

    def port_at_least(self, text: str, address: Address, least: int) -> None:
        """A step: the port is this or above."""
        self.between(text, _widened(f"(i32.load (i32.const {address.slot + 4}))"), least, 65535)

    def traps(self, text: str, code: str) -> None:
        """The last step of a check whose rule is that the guest traps."""
        step = self._step(text, "a trap", "trap")
        self.emit(f"(call $say-trap (i32.const {step}))")
        self.emit(code)
        self.emit(f"(call $say-fail (i32.const {step}) (i64.const 0))")
        self.emit("(br $fail)")

    def _step(self, text: str, expected: str, kind: Literal["outcome", "number", "trap"]) -> int:
        self.steps.append(Step(text, expected, kind))
        return len(self.steps) - 1


def _number_code(value: int | Number) -> str:
    return value.code if isinstance(value, Number) else f"(i64.const {value})"


def _widened(code: str) -> str:
    return f"(i64.extend_i32_u {code})"


class Handle:
    """A resource in the guest's hands.

    Attributes:
        resource: its WIT name, which is also what it is dropped by.
        code: what gives the handle.
        name: for the steps' texts.
    """

    resource = ""

    def __init__(self, program: Program, code: str) -> None:
        self.program = program
        self.code = program.variable(self.resource, "i32", code)
        self.name = self.code.removeprefix("(local.get $").removesuffix(")")

    def drop(self) -> None:
        """Gives it back."""
        self.program.emit(self.drop_code)

    @property
    def drop_code(self) -> str:
        """What gives it back."""
        return f"(call $drop.{self.resource} {self.code})"


class Pollable(Handle):
    """`pollable`."""

    resource = "pollable"

    def ready(self, expected: bool) -> None:
        """A step: it is ready, or not."""
        self.program.equal(
            f"{self.name}.ready", _widened(f"(call $pollable.ready {self.code})"), int(expected)
        )

    def wait(self) -> None:
        """A step: it becomes ready within five seconds. It is gone afterwards."""
        self.program.equal(f"{self.name} becomes ready", _widened(f"(call $wait {self.code})"), 1)

    def block(self) -> None:
        """Has the guest block on it, without a limit."""
        self.program.emit(f"(call $pollable.block {self.code})")
