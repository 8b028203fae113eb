"""When a stream lets other tasks run: often enough for fairness, and no more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio.testing import assert_checkpoints, assert_no_checkpoints, wait_all_tasks_blocked

from wasi_sockets.network import Network, TcpStream


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[TcpStream, TcpStream]]:
    network = Network()
    listener = network.listen_tcp()
    client = await network.connect_tcp("127.0.0.1", listener.local_address.port)
    server = await listener.accept()
    yield client, server
    network.close()


async def test_only_the_first_send_after_a_receive_does_not_yield() -> None:
    async with connected() as (client, server):
        await client.send_all(b"request")
        with assert_checkpoints():
            assert await server.receive_some() == b"request"
        yielded = 0

        async def count() -> None:
            nonlocal yielded
            while True:
                await trio.lowlevel.checkpoint()
                yielded += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
            before = yielded
            await server.send_all(b"answer")
            assert yielded == before
            with assert_checkpoints():
                await server.send_all(b"more")
            with assert_checkpoints():
                await server.send_all(b"still more")
            nursery.cancel_scope.cancel()
        assert await client.receive_some() == b"answermorestill more"


async def test_a_send_that_does_not_yield_still_notices_cancellation() -> None:
    async with connected() as (client, server):
        await client.send_all(b"request")
        await server.receive_some()
        with trio.CancelScope() as scope:
            scope.cancel()
            await server.send_all(b"answer")
        assert scope.cancelled_caught
        await server.send_eof()
        assert await client.receive_some() == b""


async def test_a_server_that_answers_without_end_does_not_keep_the_loop() -> None:
    async with connected() as (client, server):

        async def echo() -> None:
            while data := await server.receive_some():
                await server.send_all(data)

        async def ask() -> None:
            while True:
                await client.send_all(b"x")
                await client.receive_some()

        with trio.move_on_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(echo)
                nursery.start_soon(ask)
                for _ in range(100):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
                return
        raise AssertionError("the two kept the loop")


async def test_closing_in_a_cancelled_scope_closes_without_a_checkpoint() -> None:
    async with connected() as (client, server):
        with trio.CancelScope() as scope:
            scope.cancel()
            with assert_no_checkpoints():
                await server.aclose()
            await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught  # the next checkpoint told
        assert await client.receive_some() == b""


async def test_closing_is_a_checkpoint_otherwise() -> None:
    async with connected() as (client, server):
        with assert_checkpoints():
            await server.aclose()
        with assert_checkpoints():
            await client.aclose()


async def test_serve_listeners_closes_what_it_accepted() -> None:
    network = Network()
    listener = network.listen_tcp()

    async def answer(stream: trio.abc.Stream) -> None:
        await stream.send_all(await stream.receive_some())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, answer, [listener])
        await wait_all_tasks_blocked()
        client = await network.connect_tcp("127.0.0.1", listener.local_address.port)
        await client.send_all(b"hello")
        assert await client.receive_some() == b"hello"
        assert await client.receive_some() == b""
        nursery.cancel_scope.cancel()
    await client.aclose()
    assert network.sockets() == []
