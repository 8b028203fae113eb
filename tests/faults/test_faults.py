"""Guests that fail in every way, again and again, beside one that serves: it goes on, and nothing is left of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from service.hosting import Host, State, Workload
from service.spec import ComponentCode, HandlerCode, RestartPolicy, ServiceSpec, WorkloadSpec
from tests.faults.conftest import NEIGHBOUR_PORT
from tests.faults.measuring import Held, allowed_growth, heartbeat, held_now
from wasi_sockets import Limits, TcpStream

Source = Callable[[str], Path | bytes]
Report = Callable[[str], None]

_WARM_UP = 4
TWICE = RestartPolicy(backoff=0.001, backoff_max=0.001, budget=1)
PORT = 8080


@dataclass(frozen=True)
class Fault:
    """A service that does no good.

    Attributes:
        guest: its guest.
        arguments: of the guest.
        limits: of the guest.
        reason: what its status says in the end; "" for one that goes on until it is stopped.
        says: a line of its output to wait for.
        many: how many services of the kind there are at once.
    """

    guest: str
    arguments: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    reason: str = ""
    says: str = ""
    many: int = 1


MEMORY = Limits(memory=64 << 20)
FAULTS = {
    "trap": Fault("trap", reason="unreachable"),
    "trap in CPython": Fault("python", ("exit", "abort"), reason="trapped: "),
    "exit(1)": Fault("python", ("exit", "os", "1"), reason="it exited with code 1"),
    "exit(3), twenty services": Fault("exit-with-code", reason="it exited with code 3", many=20),
    "endless loop": Fault("spin"),
    "endless loop in CPython": Fault("python", ("compute",), says="computing"),
    "four endless loops": Fault("spin", many=4),
    "a loop with a share of the processor": Fault("spin", limits=Limits(cpu=0.2)),
    "poll without end": Fault("spin-on-poll"),
    "lifetime": Fault("spin", limits=Limits(lifetime=0.05), reason="lifetime"),
    "memory, until it fails": Fault("python", ("hoard-memory",), MEMORY, reason="that limits.memory allows"),
    "memory, and keep it": Fault("python", ("hoard-memory", "wait"), MEMORY, says=" MiB"),
    "sockets": Fault("python", ("hoard-sockets", "127.0.0.1", "7"), Limits(sockets=64), says="got 64 "),
    "connections": Fault(
        "python", ("hoard-sockets", "127.0.0.1", "7"), Limits(connections=64), says="got 64 "
    ),
}


async def echo(stream: TcpStream) -> None:
    async for data in stream:
        await stream.send_all(data)


@pytest.fixture
def source(guest_file: Callable[[str], Path], wat_guest: Callable[[str], bytes]) -> Source:
    return lambda name: guest_file(name) if name == "python" else wat_guest(name)


def workload_of(fault: Fault, source: Source) -> WorkloadSpec:
    code = ComponentCode(source(fault.guest), arguments=fault.arguments)
    echoes = ServiceSpec(name="echo", code=HandlerCode(echo), ports=(7,))
    return WorkloadSpec(
        name="faulty",
        services=(
            echoes,
            *(
                ServiceSpec(
                    name=f"bad-{number}", code=code, restart=TWICE, limits=fault.limits, after=("echo",)
                )
                for number in range(fault.many)
            ),
        ),
    )


async def one_round(
    host: Host, spec: WorkloadSpec, fault: Fault, served: Callable[[], Awaitable[None]]
) -> None:
    with trio.fail_after(60), host.lines.follow() as lines:
        workload = await host.start(spec)
        if fault.says:
            async for line in lines:
                if fault.says in line.text:
                    break
        for number in range(fault.many):
            await workload.until(f"bad-{number}", State.FAILED if fault.reason else State.RUNNING)
        await served()
    for status in workload.status().services[1:]:
        assert fault.reason in status.reason
        assert status.restarts == (1 if fault.reason else 0)
    await workload.stop(0)
    assert workload.network.sockets() == []


@pytest.mark.parametrize("name", FAULTS)
async def test_others_are_served_and_nothing_is_left(
    name: str, host: Host, neighbour: Workload, source: Source, rounds: int, report: Report
) -> None:
    fault = FAULTS[name]
    spec = workload_of(fault, source)
    before: Held | None = None
    async with heartbeat(neighbour, NEIGHBOUR_PORT) as beat:
        for number in range(_WARM_UP + rounds):
            if number == _WARM_UP:
                before = await held_now(host)
                answers, beat.slowest = beat.answers, 0.0
            await one_round(host, spec, fault, lambda: beat.more(5))
        assert before is not None
        after = await held_now(host)
        answers = beat.answers - answers
    assert after.left_since(before, allowed_growth(rounds)) == []
    assert neighbour.status().services[0].restarts == 0
    report(
        f"{name}: {rounds} rounds, {answers} answers meanwhile, the slowest in {beat.slowest * 1000:.0f} ms,"
        f" {(after.resident - before.resident) / 1048576:+.2f} MiB"
    )
