"""A service that is killed under load, storms of restarts, and a thousand restarts on one port."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from service.hosting import Host, State, Workload
from service.spec import ComponentCode, RestartPolicy, ServiceSpec, WorkloadSpec
from tests.faults.conftest import NEIGHBOUR_PORT
from tests.faults.measuring import allowed_growth, answer, heartbeat, held_now

Report = Callable[[str], None]

PORT = 8080
PEERS = 100
ALWAYS = RestartPolicy(when="always", backoff=0.001, backoff_max=0.001, budget=None)


def server(guest_file: Callable[[str], Path], guest: str, *arguments: str) -> WorkloadSpec:
    code = ComponentCode(guest_file(guest), arguments=arguments)
    service = ServiceSpec(name="api", code=code, ports=(PORT,), restart=ALWAYS)
    return WorkloadSpec(name="shop", services=(service,))


async def test_killed_while_a_hundred_connections_are_open(
    host: Host, neighbour: Workload, guest_file: Callable[[str], Path], rounds: int, report: Report
) -> None:
    workload = await host.start(server(guest_file, "c-server-0.2.12", str(PORT), "1000000"))
    await workload.until_ready()
    resets = 0

    async def peer(connected: Callable[[], None]) -> None:
        nonlocal resets
        async with await workload.network.connect_tcp("127.0.0.1", PORT) as stream:
            await stream.send_all(b"x")
            assert await stream.receive_some() == b"X"
            connected()
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()
            resets += 1

    async def kill_once() -> None:
        there, everybody = 0, trio.Event()

        def connected() -> None:
            nonlocal there
            there += 1
            if there == PEERS:
                everybody.set()

        async with trio.open_nursery() as nursery:
            for _ in range(PEERS):
                nursery.start_soon(peer, connected)
            await everybody.wait()
            workload.restart("api")
        await workload.until_ready()
        assert await answer(workload, PORT) == b"HELLO"
        await _until_only_listening(workload)  # the guest has yet to notice that this client went

    async with heartbeat(neighbour, NEIGHBOUR_PORT) as beat:
        for _ in range(4):
            await kill_once()
        before = await held_now(host)
        answers, beat.slowest, resets = beat.answers, 0.0, 0
        for _ in range(rounds):
            await kill_once()
        await beat.more(1)
        after = await held_now(host)
    assert resets == rounds * PEERS
    assert after.left_since(before, allowed_growth(rounds)) == []
    report(
        f"killed with {PEERS} connections: {rounds} rounds, {resets} resets,"
        f" {beat.answers - answers} answers meanwhile, the slowest in {beat.slowest * 1000:.0f} ms,"
        f" {(after.resident - before.resident) / 1048576:+.2f} MiB"
    )


async def _until_only_listening(workload: Workload) -> None:
    while {each.state for each in workload.network.sockets()} != {"listening"}:  # noqa: ASYNC110  # nothing tells
        await trio.sleep(0.001)


async def test_a_storm_of_restarts(
    host: Host, neighbour: Workload, wat_guest: Callable[[str], bytes], rounds: int, report: Report
) -> None:
    """Twenty services fail all at once, and again: each as often as it may, and later each time."""
    policy = RestartPolicy(backoff=0.01, backoff_max=0.04, jitter=0.5, budget=4)
    code = ComponentCode(wat_guest("trap"))
    spec = WorkloadSpec(
        name="storm",
        services=tuple(ServiceSpec(name=f"bad-{n}", code=code, restart=policy) for n in range(20)),
    )

    async def storm() -> None:
        workload = await host.start(spec)
        assert not await workload.wait()
        for status in workload.status().services:
            assert (status.state, status.restarts) == (State.FAILED, 4)
        await workload.stop(0)

    async with heartbeat(neighbour, NEIGHBOUR_PORT) as beat:
        for _ in range(4):
            await storm()
        before = await held_now(host)
        answers, beat.slowest = beat.answers, 0.0
        for _ in range(rounds):
            await storm()
        await beat.more(1)
        after = await held_now(host)
    assert after.left_since(before, allowed_growth(rounds)) == []
    report(
        f"storm of 20 services, 4 restarts each: {rounds} rounds, {beat.answers - answers} answers meanwhile,"
        f" the slowest in {beat.slowest * 1000:.0f} ms, {(after.resident - before.resident) / 1048576:+.2f} MiB"
    )


@pytest.mark.parametrize("guest", ["c-server-0.2.12", "rust-server", "python"])
@pytest.mark.parametrize("cause", ["asked", "ended"])
async def test_restarts_on_one_port(
    guest: str, cause: str, host: Host, guest_file: Callable[[str], Path], rounds: int, report: Report
) -> None:
    """A client asks after each; the guest ends by itself after that, or is restarted while it serves."""
    times = rounds * (50 if guest == "c-server-0.2.12" else 5)
    first = ("server",) if guest == "python" else ()
    connections = "1" if cause == "ended" else "1000000"
    workload = await host.start(server(guest_file, guest, *first, str(PORT), connections))
    taken: list[float] = []
    before = None
    with host.events.follow() as events:
        for number in range(times + 10):
            if number == 10:
                before = await held_now(host)
            await workload.until_ready()
            assert await answer(workload, PORT) == b"HELLO"
            if cause == "asked":
                began = time.perf_counter()
                workload.restart("api")
            async for event in events:
                if event.state is State.STARTING and cause == "ended":
                    began = time.perf_counter()
                if event.state is State.READY and event.incarnation == number + 2:
                    break
            taken.append(time.perf_counter() - began)
    assert before is not None
    assert workload.status().services[0].restarts == times + 10
    after = await held_now(host)
    assert after.left_since(before, allowed_growth(rounds)) == []
    taken = sorted(taken[10:])
    report(
        f"restarts of {guest}, {cause}: {times}, median {statistics.median(taken) * 1000:.2f} ms,"
        f" p99 {taken[int(len(taken) * 0.99)] * 1000:.2f} ms,"
        f" {(after.resident - before.resident) / 1048576:+.2f} MiB"
    )
