"""What a hostile guest might call, in which order and with which numbers: made at random, or by hypothesis."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TypeAlias

from tests.hostile.raw_guest import FUNCTIONS, MEMORY_PAGES, Function, Lie

__all__ = ["LENGTHS", "MAXIMUM_STEPS", "POINTERS", "Argument", "Known", "Step", "random_sequence"]

END = MEMORY_PAGES << 16
MAXIMUM_STEPS = 12

# fmt: off
POINTERS = (
    0, 1, 2, 3, 4, 8, 16, 30, 31, 32, 40, 1024, 1025, 1028, 2048, 65532, 65535, 65536, END - 1, END - 4, END - 8,
    END - 12, END - 13, END - 16, END - 24, END, END + 1, END + 8, END << 1, 1 << 24, 1 << 31, (1 << 31) - 1,
    (1 << 32) - 1, (1 << 32) - 4, (1 << 32) - 8, (1 << 32) - 16, (1 << 32) - END,
)
LENGTHS = (
    0, 1, 2, 7, 8, 100, 253, 254, 255, 4095, 4096, 4097, 65535, 65536, 65537, END - 1, END, END + 1, 0xFFFFE,
    0xFFFFF, 0x100000, (1 << 28) - 1, 1 << 28, 1 << 30, (1 << 31) - 1, 1 << 31, (1 << 32) - 1,
)
NUMBERS = (
    0, 1, 2, 3, 4, 7, 80, 127, 255, 256, 4096, 4097, 65535, 65536, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1,
    1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1,
)
FORGED = (
    0, 1, 2, 3, 1 << 31, (1 << 32) - 1, 0x4000_0000, 0x4000_0001, 0x4000_0005, 0x400F_FFFF, 0x4010_0000, 0x4010_0003,
    0x5FFF_FFFF, 0x6000_0000, 0x6000_0001, 0x6010_0000, 0x600F_FFFE, 0x600F_FFFF, 0x7FFF_FFFF, 0xC000_0000,
    0xC000_0003, 0xE000_0000,
)
# fmt: on


@dataclass(frozen=True)
class Known:
    """A handle that the guest has, or had, when the step is taken.

    Attributes:
        resource: of what; "" for any.
        index: which of them, modulo how many there are.
        flipped: bits to be turned over.
    """

    resource: str
    index: int
    flipped: int = 0


Argument: TypeAlias = int | Known


@dataclass(frozen=True)
class Step:
    """One call."""

    function: str
    arguments: tuple[Argument, ...]


RESOURCES = (
    "network",
    "tcp-socket",
    "input-stream",
    "output-stream",
    "pollable",
    "udp-socket",
    "incoming-datagram-stream",
    "outgoing-datagram-stream",
    "resolve-address-stream",
    "error",
)
_HONEST_RESULT = 2048


def _handle(random: Random, resource: str) -> Argument:
    chance = random.random()
    if chance < 0.8:
        return Known(resource, random.randrange(8))
    if chance < 0.88:
        return Known(random.choice(RESOURCES), random.randrange(8))
    if chance < 0.94:
        flipped = 1 << random.choice((0, 1, 2, 20, 21, 28, 29, 30, 31))
        return Known(resource, random.randrange(8), flipped)
    return random.choice(FORGED)


def _number(random: Random, kind: str) -> int:
    chance = random.random()
    if chance < 0.45:
        value = random.choice((0, 1, 7, 80, 127, 1024, 1040, 4096))
    elif chance < 0.65:
        value = random.choice(POINTERS)
    elif chance < 0.85:
        value = random.choice(LENGTHS)
    else:
        value = random.choice(NUMBERS)
    return value & ((1 << 64) - 1 if kind == "i64" else (1 << 32) - 1)


def _call(random: Random, function: Function) -> Step:
    arguments: list[Argument] = []
    last = len(function.parameters) - 1
    for position, kind in enumerate(function.parameters):
        if position == 0 and function.resource:
            arguments.append(_handle(random, function.resource))
        elif position == last and function.pointer_result and random.random() < 0.8:
            arguments.append(_HONEST_RESULT)
        elif "splice" in function.name and position == 1:
            arguments.append(_handle(random, "input-stream"))
        elif function.name.endswith(("start-bind", "start-connect")) and position == 1:
            arguments.append(_handle(random, "network"))
        elif function.name.endswith(("start-bind", "start-connect", "stream")) and random.random() < 0.8:
            arguments.append((0, 7, 127, 0, 0, 1)[position - 2] if 2 <= position < 8 else 0)
        else:
            arguments.append(_number(random, kind))
    return Step(function.name, tuple(arguments))


def _own(random: Random) -> Step:
    kind = random.randrange(5)
    if kind == 0:
        return Step("misbehave", (random.choice(list(Lie)),))
    if kind == 1:
        return Step("choose", (random.choice(POINTERS),))
    if kind == 2:
        return Step("grow", (random.choice((0, 1, 2)),))
    if kind == 3:  # a handle, or a pointer, for lists
        value = _handle(random, random.choice(RESOURCES)) if random.random() < 0.6 else _number(random, "i32")
        return Step("store", (random.choice((0, 4, 8, 32, 36, 1024, 1028, 1032)), value))
    return Step(
        "fill", (random.choice((0, 32, 1024)), random.choice((0, 1, 65, 255)), random.choice((16, 4096)))
    )


def random_sequence(random: Random) -> list[Step]:
    """One attack: steps that are mostly sensible, so that it gets somewhere, and sometimes not."""
    return [
        _own(random) if random.random() < 0.25 else _call(random, random.choice(FUNCTIONS))
        for _ in range(random.randint(1, MAXIMUM_STEPS))
    ]
