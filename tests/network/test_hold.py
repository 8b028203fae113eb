"""Connects that wait for a listener instead of being refused, and listeners that refuse what is new."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from wasi_sockets.network import Deny, Network, Policy


async def test_a_held_connect_reaches_whoever_listens_later(nursery: trio.Nursery) -> None:
    network = Network()
    await nursery.start(network.hold, 80, 5.0)
    connected: list[bytes] = []

    async def connect() -> None:
        async with await network.connect_tcp("127.0.0.1", 80) as stream:
            connected.append(await stream.receive_some())

    nursery.start_soon(connect)
    await wait_all_tasks_blocked()
    assert [each.state for each in network.sockets()] == ["connecting"]
    async with network.listen_tcp(80) as listener:
        await wait_all_tasks_blocked()
        async with await listener.accept() as stream:
            await stream.send_all(b"hello")
        await wait_all_tasks_blocked()
    assert connected == [b"hello"]
    assert network.sockets() == []


async def test_a_connect_is_held_no_longer_than_was_said(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    network = Network()
    await nursery.start(network.hold, 80, 5.0)
    refused: list[float] = []

    async def connect(after: float) -> None:
        await trio.sleep(after)
        with pytest.raises(ConnectionRefusedError):
            await network.connect_tcp("127.0.0.1", 80)
        refused.append(trio.current_time())

    began = trio.current_time()
    async with trio.open_nursery() as connecting:
        connecting.start_soon(connect, 0)
        connecting.start_soon(connect, 3)
    assert [round(each - began, 6) for each in refused] == [5, 8]
    assert network.statistics().connections_refused == 2
    assert network.sockets() == []


async def test_what_is_held_when_holding_ends_is_refused_and_what_gave_up_is_forgotten() -> None:
    network = Network()
    async with trio.open_nursery() as nursery:
        await nursery.start(network.hold, 80, 5.0)
        with trio.CancelScope() as impatient:
            async with trio.open_nursery() as connecting:
                connecting.start_soon(network.connect_tcp, "127.0.0.1", 80)
                await wait_all_tasks_blocked()
                impatient.cancel()
        assert network.sockets() == []

        async def connect() -> None:
            with pytest.raises(ConnectionRefusedError):
                await network.connect_tcp("127.0.0.1", 80)

        async with trio.open_nursery() as connecting:
            connecting.start_soon(connect)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await wait_all_tasks_blocked()
    with pytest.raises(ConnectionRefusedError):
        await network.connect_tcp("127.0.0.1", 80)


async def test_other_ports_and_other_networks_are_not_held(nursery: trio.Nursery) -> None:
    network = Network()
    await nursery.start(network.hold, 80, 5.0)
    for elsewhere, port in ((network, 81), (Network(), 80)):
        with pytest.raises(ConnectionRefusedError):
            await elsewhere.connect_tcp("127.0.0.1", port)


async def test_the_policy_is_asked_when_somebody_listens_at_last(nursery: trio.Nursery) -> None:
    network = Network(policy=Policy([Deny.accept(ports=80)]))
    await nursery.start(network.hold, 80, 5.0)

    async def connect() -> None:
        with pytest.raises(ConnectionRefusedError):
            await network.connect_tcp("127.0.0.1", 80)

    async with trio.open_nursery() as connecting:
        connecting.start_soon(connect)
        await wait_all_tasks_blocked()
        listener = network.listen_tcp(80)
        connecting.start_soon(connect)
    assert listener.backlog.queued == 0
    await listener.aclose()


async def test_a_full_backlog_takes_held_connects_over(nursery: trio.Nursery) -> None:
    network = Network()
    await nursery.start(network.hold, 80, 5.0)
    streams: list[trio.abc.Stream] = []

    async def connect() -> None:
        streams.append(await network.connect_tcp("127.0.0.1", 80))

    async with trio.open_nursery() as connecting:
        for _ in range(3):
            connecting.start_soon(connect)
        await wait_all_tasks_blocked()
        async with network.listen_tcp(80, backlog=1) as listener:
            await wait_all_tasks_blocked()
            assert len(streams) == 1
            for count in (2, 3, 3):
                await (await listener.accept()).aclose()
                await wait_all_tasks_blocked()
                assert len(streams) == count
    for stream in streams:
        await stream.aclose()
    assert network.sockets() == []


async def test_holding_says_what_it_cannot_do(nursery: trio.Nursery) -> None:
    network = Network()
    await nursery.start(network.hold, 80, 5.0)
    with pytest.raises(ValueError, match="held already"):
        await network.hold(80, 5.0)
    with pytest.raises(ValueError, match="positive"):
        await network.hold(81, 0)
    for port in (0, -1, 65536):
        with pytest.raises(ValueError, match=r"port must be in 1\.\.65535"), trio.move_on_after(0):
            await network.hold(port, 5.0)


async def test_a_network_that_closes_ends_what_is_held(nursery: trio.Nursery) -> None:
    network = Network()
    await nursery.start(network.hold, 80, 5.0)

    async def connect() -> None:
        with pytest.raises(ConnectionResetError):
            await network.connect_tcp("127.0.0.1", 80)

    async with trio.open_nursery() as connecting:
        connecting.start_soon(connect)
        await wait_all_tasks_blocked()
        network.close()


async def test_until_listening_waits_for_all_ports(nursery: trio.Nursery) -> None:
    network = Network()
    seen: list[str] = []

    async def watch() -> None:
        await network.until_listening(80, 81)
        seen.append("up")
        await network.until_not_listening(80, 81)
        seen.append("down")

    nursery.start_soon(watch)
    first = network.listen_tcp(80, "::1")
    await wait_all_tasks_blocked()
    assert seen == []
    second = network.listen_tcp(81, "0.0.0.0")
    await wait_all_tasks_blocked()
    assert seen == ["up"]
    await first.aclose()
    await wait_all_tasks_blocked()
    assert seen == ["up", "down"]
    await second.aclose()


async def test_a_drained_listener_refuses_and_still_gives_what_was_queued() -> None:
    network = Network()
    owner = object()
    async with (
        network.listen_tcp(80, owner=owner, backlog=1) as listener,
        network.listen_tcp(81) as other,
        await network.connect_tcp("127.0.0.1", 80) as queued,
    ):

        async def wait_in_the_backlog() -> None:
            with pytest.raises(ConnectionRefusedError):
                await network.connect_tcp("127.0.0.1", 80)

        async with trio.open_nursery() as connecting:
            connecting.start_soon(wait_in_the_backlog)
            await wait_all_tasks_blocked()
            network.drain(owner)
        with pytest.raises(ConnectionRefusedError):
            await network.connect_tcp("127.0.0.1", 80)
        assert not network.listens(80)
        assert network.listens(81)
        with pytest.raises(OSError, match="in use"):
            network.listen_tcp(80)
        await queued.send_all(b"still")
        async with await listener.accept() as stream:
            assert await stream.receive_some() == b"still"
        assert other.backlog.queued == 0
    network.listen_tcp(80).backlog.close()
    with pytest.raises(ValueError, match="no owner"):
        network.drain(None)


async def test_what_nobody_owns_at_a_port_can_be_adopted() -> None:
    network = Network()
    mine, others = object(), object()
    async with (
        network.listen_tcp(80, "127.0.0.1") as forgotten,
        network.listen_tcp(80, "::1", owner=others) as owned,
        network.listen_tcp(81) as elsewhere,
        await network.connect_tcp("127.0.0.1", 80) as client,
        await forgotten.accept() as server,
    ):
        network.adopt(mine, 80)
        await client.send_all(b"it goes on")
        assert await server.receive_some() == b"it goes on"
        assert {
            (each.state, str(each.local)): each.owner
            for each in network.sockets()
            if each.local is not None and each.local.port < 1024
        } == {
            ("listening", "127.0.0.1:80"): mine,
            ("established", "127.0.0.1:80"): mine,
            ("listening", "[::1]:80"): others,
            ("listening", "127.0.0.1:81"): None,
        }
        network.release(mine)
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()
        with pytest.raises(trio.ClosedResourceError):
            await forgotten.accept()
        assert network.listens(80)
        assert not owned.backlog.closed
        assert not elsewhere.backlog.closed
    with pytest.raises(ValueError, match="no owner"):
        network.adopt(None, 80)
