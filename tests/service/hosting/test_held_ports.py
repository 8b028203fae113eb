"""Ports whose connects wait while their service is not up, by MockClock."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from service.hosting import Host
from tests.service.hosting.test_supervisor import ask, live_on, service, shout, states, workload_of
from wasi_sockets import Network


async def test_a_connect_during_a_restart_waits_where_that_was_asked_for(autojump_clock: MockClock) -> None:
    for hold in (5.0, 0.0):
        lives = 0

        async def serve(network: Network, task_status: trio.TaskStatus[None]) -> None:
            nonlocal lives
            lives += 1
            if lives == 2:
                await trio.sleep(3)
            await network.serve_tcp(shout, 80)

        async with Host() as host:
            workload = await host.start(workload_of(service(serve, ports=(80,), hold=hold)))
            await workload.until_ready()
            workload.restart("api")
            await wait_all_tasks_blocked()
            if hold:
                assert await ask(workload, 80) == b"HELLO"
            else:
                with pytest.raises(ConnectionRefusedError):
                    await ask(workload, 80)


@pytest.mark.parametrize("passes", [0, 3, 9])
async def test_a_stop_while_ports_begin_to_be_held_is_a_stop(
    passes: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with Host() as host:
        workload = await host.start(workload_of(service(live_on, ports=tuple(range(80, 90)), hold=5)))
        for _ in range(passes):
            await trio.lowlevel.checkpoint()
        await workload.stop(0)
    assert states(host)[-1] == "stopped"
    assert not [each for each in caplog.records if each.exc_info]
