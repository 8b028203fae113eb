"""When a stream lets other tasks run: often enough for fairness, and no more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio
from trio.testing import assert_checkpoints, assert_no_checkpoints, wait_all_tasks_blocked

from wasi_sockets.network import Network, TcpConnection, TcpStream


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


async def count_turns(turns: list[int]) -> None:
    """Another task: how often the loop came round."""
    while True:
        turns[0] += 1
        await trio.lowlevel.checkpoint()


def answer_inside(connection: TcpConnection) -> None:
    """Plays a guest at the other end: answers in the operation that wakes it."""

    def answer() -> None:
        while connection.receive_pipe.buffered:
            connection.send_pipe.write(connection.receive_pipe.read(1000))
        connection.receive_pipe.readable.add(answer)

    connection.receive_pipe.readable.add(answer)


async def test_an_answer_that_came_inside_the_send_is_received_without_a_turn_of_the_loop() -> None:
    async with connected() as (client, server), trio.open_nursery() as nursery:
        answer_inside(client.connection)
        turns = [0]
        await server.send_all(b"first")
        assert await server.receive_some() == b"first"
        nursery.start_soon(count_turns, turns)
        await trio.lowlevel.checkpoint()
        before = turns[0]
        await server.send_all(b"second")
        assert await server.receive_some() == b"second"
        assert turns[0] == before
        nursery.cancel_scope.cancel()


async def test_such_round_trips_cannot_keep_the_loop() -> None:
    async with connected() as (client, server), trio.open_nursery() as nursery:
        answer_inside(client.connection)
        turns = [0]
        nursery.start_soon(count_turns, turns)
        for _ in range(200):
            await server.send_all(b"x")
            assert await server.receive_some() == b"x"
        assert turns[0] >= 200 // 17
        nursery.cancel_scope.cancel()


async def test_such_a_receive_still_notices_cancellation() -> None:
    async with connected() as (client, server):
        answer_inside(client.connection)
        await server.send_all(b"x")
        with trio.CancelScope() as scope:
            scope.cancel()
            await server.receive_some()
        assert scope.cancelled_caught
        assert await server.receive_some() == b"x"


async def test_a_handler_finds_what_was_sent_before_it_began_in_its_first_turn() -> None:
    network = Network()
    seen: list[tuple[bytes, int]] = []
    turns = [0]

    async def handler(stream: TcpStream) -> None:
        before = turns[0]
        seen.append((await stream.receive_some(), turns[0] - before))

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(network.serve_tcp, handler, 0)
        attempt = network.start_connect(listener.local_address)
        assert attempt.connection is not None
        attempt.connection.send_pipe.write(b"hello")
        nursery.start_soon(count_turns, turns)
        await wait_until(lambda: bool(seen))
        attempt.connection.close()
        nursery.cancel_scope.cancel()
    assert seen == [(b"hello", 0)]
    network.close()


async def wait_until(condition: Callable[[], bool]) -> None:
    """Turns of the loop until it holds; a failure when it never does."""
    for _ in range(100):
        if condition():
            return
        await trio.lowlevel.checkpoint()
    raise AssertionError("it never came")
