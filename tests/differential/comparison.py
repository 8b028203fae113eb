"""One sequence in two worlds, step by step, and the smallest part of it that still differs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.differential.core_world import CoreWorld
from tests.differential.differences import DIFFERENCES
from tests.differential.kernel import PATIENCE, KernelWorld
from tests.differential.operations import Operation, text
from tests.differential.outcomes import Observation, Outcome
from tests.differential.situations import Situation, wasi_outcome
from tests.differential.virtual import VirtualWorld
from tests.differential.wasi_world import WasiWorld

__all__ = ["WORLDS", "Report", "compare", "explain_failure", "shrink", "verdict"]

WORLDS: dict[str, Callable[[], VirtualWorld]] = {"core": CoreWorld, "wasi": WasiWorld}

#: Runs that a difference has to survive: the kernel's ephemeral ports may meet, or the machine may stall.
_CONFIRMATIONS = 3


@dataclass(slots=True)
class Report:
    """What came of a sequence.

    Attributes:
        difference: the first unexplained one, in words; empty if there was none.
        explained: how often each entry of the table was met.
        operations: how many were done, by name.
        outcomes: how often each kind of outcome or error occurred at the kernel.
    """

    difference: str = ""
    explained: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)


class _Ports:
    """Which port there is which port here: the two worlds choose their own."""

    def __init__(self) -> None:
        self._ours: dict[tuple[str, int, int], int] = {}
        self._theirs: dict[tuple[str, int, int], int] = {}

    def agree(self, theirs: Outcome, ours: Outcome, protocol: str) -> bool:
        """Whether two outcomes are the same, except that each world has its own ports."""
        if theirs.kind != ours.kind:
            return False
        if theirs.kind == "address":
            return self._same(theirs.value, ours.value, protocol)
        if theirs.kind == "datagram":
            return bool(theirs.value[0] == ours.value[0]) and self._same(
                theirs.value[1], ours.value[1], protocol
            )
        return theirs == ours

    def _same(self, theirs: tuple[str, int], ours: tuple[str, int], protocol: str) -> bool:
        if theirs[0] != ours[0] or (theirs[1] == 0) != (ours[1] == 0):
            return False
        version = 6 if ":" in theirs[0] else 4
        one, other = (protocol, version, theirs[1]), (protocol, version, ours[1])
        return self._ours.setdefault(one, ours[1]) == ours[1] and (
            self._theirs.setdefault(other, theirs[1]) == theirs[1]
        )


def compare(sequence: Sequence[Operation], world: str) -> Report:
    """Run a sequence in the kernel and in one of `WORLDS`, up to the first unexplained difference."""
    virtual = WORLDS[world]()
    kernel = KernelWorld()
    report = Report()
    try:
        _run(sequence, world, kernel, virtual, report)
    finally:
        kernel.close()
        virtual.close()
    left = [*virtual.network.sockets(), *virtual.ports_in_use()]
    if left and not report.difference:
        report.difference = f"all sockets are closed, and the network still has {left}"
    return report


def _run(
    sequence: Sequence[Operation], world: str, kernel: KernelWorld, virtual: VirtualWorld, report: Report
) -> None:
    ports = _Ports()
    for serial, operation in enumerate(sequence):
        if not virtual.applicable(operation):
            continue
        before = virtual.sockets.get(operation.socket)
        phase = "" if before is None else before.phase
        protocol = getattr(before, "protocol", "tcp")
        ours = virtual.apply(operation, serial)
        theirs = kernel.apply(operation, ours, serial)
        report.operations[type(operation).__name__] += 1
        report.outcomes[str(theirs.value) if theirs.kind == "error" else theirs.kind] += 1
        situation = Situation(operation, phase, world, theirs, ours, kernel, virtual, before)
        expected = theirs
        if world == "wasi":
            expected = wasi_outcome(operation, theirs, phase)
        if not ports.agree(expected, ours, protocol):
            ends = _explain(situation, report)
            if ends is None:
                report.difference = (
                    f"{world}, operation {serial}, {operation}: the kernel gives {theirs}, that is {expected}; "
                    f"the virtual network gives {ours}"
                )
                return
            if ends:
                return
        if _look(situation, report):
            return


def _look(situation: Situation, report: Report) -> bool:
    """Compare all sockets until they agree; whether the sequence ends here."""
    deadline = 0.0
    while True:
        theirs = situation.kernel.observe()
        ours = situation.virtual.observe()
        number = _differing(theirs, ours, situation.virtual)
        if number is None:
            break
        situation.seen = number, theirs.get(number), ours.get(number)
        now = time.monotonic()
        deadline = deadline or now + PATIENCE
        if now > deadline:
            ends = _explain(situation, report)
            if ends is None:
                report.difference = (
                    f"{situation.world}, after {situation.operation}: of socket {number} the kernel shows "
                    f"{theirs.get(number)}, the virtual network {ours.get(number)}"
                )
            return ends is not False
        ends = _explain(situation, report, at_once=True)
        if ends is not None:
            return ends
    report.explained += situation.kernel.dropped
    situation.kernel.dropped.clear()
    return False


def _differing(
    theirs: dict[int, Observation], ours: dict[int, Observation], virtual: VirtualWorld
) -> int | None:
    if theirs == ours:
        return None
    # Connects first: what is seen of their listener only follows.
    for number in sorted(
        theirs.keys() | ours.keys(), key=lambda each: virtual.sockets[each].phase != "pending"
    ):
        one, other = theirs.get(number), ours.get(number)
        if one == other:
            continue
        connection = virtual.sockets[number].connection if number in virtual.sockets else None
        if one is None or other is None or connection is None:
            return number
        # How much of a flood is where depends on buffers.
        if connection.receive_pipe in virtual.flooded and not connection.receive_pipe.reset:
            one, other = one._replace(queued=None), other._replace(queued=None)
        if connection.send_pipe in virtual.flooded:
            one, other = one._replace(writable=None), other._replace(writable=None)
        if one != other:
            return number
    return None


def _explain(situation: Situation, report: Report, *, at_once: bool = False) -> bool | None:
    """Whether the sequence ends with this difference; None if nothing explains it."""
    for entry in DIFFERENCES:
        if entry.applies(situation):
            if at_once and not entry.at_once:
                continue
            report.explained[entry.name] += 1
            if entry.reconcile is not None:
                entry.reconcile(situation)
            return entry.ends
    return None


def verdict(sequence: Sequence[Operation], world: str) -> Report:
    """As `compare`, but a difference counts only if it comes again every time."""
    report = compare(sequence, world)
    for _ in range(_CONFIRMATIONS - 1):
        if not report.difference:
            break
        report = compare(sequence, world)
    return report


def shrink(sequence: Sequence[Operation], world: str) -> list[Operation]:
    """A part of a differing sequence that still differs, and none of whose operations can be left out."""
    kept = list(sequence)
    size = max(1, len(kept) // 2)
    while True:
        position = 0
        changed = False
        while position < len(kept):
            without = kept[:position] + kept[position + size :]
            if verdict(without, world).difference:
                kept = without
                changed = True
            else:
                position += size
        if size > 1:
            size //= 2
        elif not changed:
            return kept


def explain_failure(sequence: Sequence[Operation], world: str) -> str:
    """The smallest part of a differing sequence, how it differs, and how to keep it."""
    smallest = shrink(sequence, world)
    return f"{verdict(smallest, world).difference}\n{text(smallest)}"
