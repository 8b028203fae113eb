"""UDP sockets for trio programs."""

from __future__ import annotations

import errno
import socket

import pytest
import trio
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from wasi_sockets.network import Network


@pytest.fixture
def network() -> Network:
    return Network()


async def test_a_question_and_an_answer(network: Network) -> None:
    async def serve() -> None:
        async with network.open_udp(53) as server:
            question, asker = await server.receive()
            await server.send(question.upper(), asker)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        await wait_all_tasks_blocked()
        async with network.open_udp() as client:
            await client.send(bytearray(b"who?"), ("localhost", 53))
            answer, address = await client.receive()
            assert answer == b"WHO?"
            assert (str(address.ip), address.port) == ("127.0.0.1", 53)
    assert network.sockets() == []


async def test_names_are_looked_up_for_the_sockets_own_version(network: Network) -> None:
    network.add_name("db", "127.0.0.9", "::1")
    network.add_name("old", "127.0.0.9")
    async with network.open_udp(0, "db") as four, network.open_udp(0, "::1") as six:
        assert str(four.local_address.ip) == "127.0.0.9"
        six.connect(("db", six.local_address.port))
        assert six.remote_address == six.local_address
        await four.send(b"4", ("db", four.local_address.port))
        assert (await four.receive()).data == b"4"
        for unknown in ("old", "nowhere"):
            with pytest.raises(socket.gaierror):
                six.connect((unknown, 9))
        with pytest.raises(OSError, match="Address family") as caught:
            six.connect((four.local_address.ip, 9))
        assert caught.value.errno == errno.EAFNOSUPPORT


async def test_connect_and_disconnect(network: Network) -> None:
    async with network.open_udp() as one, network.open_udp() as other, network.open_udp() as third:
        assert one.remote_address is None
        one.connect(other.local_address)
        await one.send(b"hello")
        await third.send(b"filtered", one.local_address)
        assert (await other.receive()) == (b"hello", one.local_address)
        one.disconnect()
        await third.send(b"heard", one.local_address)
        assert (await one.receive()).data == b"heard"


async def test_a_refusal_wakes_a_waiting_receiver(network: Network) -> None:
    async with network.open_udp() as lonely:
        lonely.connect(("127.0.0.1", 9))

        async def expect_refusal() -> None:
            with pytest.raises(ConnectionRefusedError):
                await lonely.receive()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_refusal)
            await wait_all_tasks_blocked()
            await lonely.send(b"anybody?")


async def test_cancelling_a_receive_loses_nothing(network: Network) -> None:
    async with network.open_udp() as own:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(own.receive)
                await wait_all_tasks_blocked()
                scope.cancel()
        assert not own.endpoint.receivable
        await own.send(b"still here", own.local_address)
        with trio.CancelScope() as scope:
            scope.cancel()
            await own.receive()
        assert (await own.receive()).data == b"still here"


async def test_several_tasks_may_receive(network: Network) -> None:
    seen: list[bytes] = []
    async with network.open_udp() as own:

        async def receive_one() -> None:
            seen.append((await own.receive()).data)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(receive_one)
            await wait_all_tasks_blocked()
            for data in (b"a", b"b", b"c"):
                await own.send(data, own.local_address)
    assert sorted(seen) == [b"a", b"b", b"c"]


async def test_closing_ends_those_who_wait_and_everything_else(network: Network) -> None:
    own = network.open_udp(53)

    async def expect_closed() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await own.receive()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect_closed)
        await wait_all_tasks_blocked()
        assert repr(own) == "<UdpSocket 127.0.0.1:53>"
        await own.aclose()
    assert repr(own) == "<UdpSocket 127.0.0.1:53, closed>"
    with pytest.raises(trio.ClosedResourceError):
        await own.send(b"x", ("127.0.0.1", 9))
    with pytest.raises(trio.ClosedResourceError):
        own.connect(("127.0.0.1", 9))
    with trio.CancelScope() as scope:
        scope.cancel()
        async with network.open_udp(53):
            await trio.sleep_forever()
    assert network.sockets() == []


async def test_every_operation_is_a_checkpoint(network: Network) -> None:
    own = network.open_udp()
    with assert_checkpoints():
        await own.send(b"x", own.local_address)
    with assert_checkpoints():
        await own.receive()
    with assert_checkpoints():
        await own.aclose()


def test_opening(network: Network) -> None:
    with pytest.raises(ValueError, match="receive_buffer must be at least 1"):
        network.open_udp(receive_buffer=0)
    owner = object()
    opened = network.open_udp(53, "0.0.0.0", receive_buffer=7, owner=owner)
    assert opened.endpoint.receive_buffer == 7
    with pytest.raises(OSError, match="in use"):
        network.open_udp(53)
    network.release(owner)
    network.close()
    with pytest.raises(OSError, match="down"):
        network.open_udp(54)
