"""`Network.serve_tcp`: handlers started by the connect itself."""

from __future__ import annotations

import contextvars
from collections import Counter
from ipaddress import IPv4Address

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from wasi_sockets.network import Network, SocketAddress, TcpStream

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="unset")


async def shout(stream: TcpStream) -> None:
    async for data in stream:
        await stream.send_all(data.upper())


async def ask(network: Network, port: int, question: bytes = b"hello") -> bytes:
    async with await network.connect_tcp("127.0.0.1", port) as stream:
        await stream.send_all(question)
        await stream.send_eof()
        return b"".join([data async for data in stream])


async def test_connections_are_served_and_closed() -> None:
    network = Network()
    async with trio.open_nursery() as nursery:
        await nursery.start(network.serve_tcp, shout, 8080)
        assert [await ask(network, 8080) for _ in range(3)] == [b"HELLO"] * 3
        await wait_all_tasks_blocked()
        assert [record.state for record in network.sockets()] == ["listening"]
        nursery.cancel_scope.cancel()
    assert network.sockets() == []


async def test_connects_in_one_turn_are_all_served() -> None:
    network = Network()
    answers: list[bytes] = []

    async def one(number: int) -> None:
        answers.append(await ask(network, 8080, b"%d" % number))

    async with trio.open_nursery() as nursery:
        await nursery.start(network.serve_tcp, shout, 8080)
        async with trio.open_nursery() as clients:
            for number in range(300):
                clients.start_soon(one, number)
        nursery.cancel_scope.cancel()
    assert sorted(answers, key=int) == [b"%d" % number for number in range(300)]


async def test_the_handler_sees_the_context_of_whoever_connected() -> None:
    network = Network()
    seen: list[str] = []

    async def look(stream: TcpStream) -> None:
        seen.append(VARIABLE.get())

    async def connect() -> None:
        VARIABLE.set("the client's")
        await (await network.connect_tcp("127.0.0.1", 8080)).aclose()

    async with trio.open_nursery() as nursery:
        await nursery.start(network.serve_tcp, look, 8080)
        async with trio.open_nursery() as clients:
            clients.start_soon(connect)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert seen == ["the client's"]


async def test_what_a_handler_raises_ends_the_serving() -> None:
    network = Network()

    async def fail(stream: TcpStream) -> None:
        raise ValueError("handler")

    async def client() -> None:
        async with await network.connect_tcp("127.0.0.1", 8080) as stream:
            assert await stream.receive_some() == b""

    with pytest.RaisesGroup(ValueError, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            await nursery.start(network.serve_tcp, fail, 8080)
            await client()
            await trio.sleep_forever()
    assert network.sockets() == []


async def test_cancelling_closes_listener_and_connections() -> None:
    network = Network()
    async with trio.open_nursery() as nursery:
        await nursery.start(network.serve_tcp, shout, 8080)
        client = await network.connect_tcp("127.0.0.1", 8080)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    with pytest.raises(ConnectionRefusedError):
        await network.connect_tcp("127.0.0.1", 8080)
    assert await client.receive_some() == b""
    await client.aclose()
    assert network.sockets() == []


async def test_it_returns_when_the_listener_is_closed_and_the_handlers_are_done() -> None:
    network = Network()
    returned = trio.Event()

    async def serve(task_status: trio.TaskStatus[object]) -> None:
        await network.serve_tcp(shout, task_status=task_status)
        returned.set()

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(serve)
        client = await network.connect_tcp("127.0.0.1", listener.local_address.port)
        await listener.aclose()
        await wait_all_tasks_blocked()
        assert not returned.is_set()
        await client.send_all(b"still here")
        assert await client.receive_some() == b"STILL HERE"
        await client.aclose()
        await returned.wait()


async def test_handlers_can_outlive_it_in_a_nursery_of_the_caller() -> None:
    network = Network()
    async with trio.open_nursery() as handlers:
        async with trio.open_nursery() as nursery:

            async def serve(task_status: trio.TaskStatus[object]) -> None:
                await network.serve_tcp(shout, 8080, handler_nursery=handlers, task_status=task_status)

            await nursery.start(serve)
            client = await network.connect_tcp("127.0.0.1", 8080)
            nursery.cancel_scope.cancel()
        await client.send_all(b"x")
        assert await client.receive_some() == b"X"
        await client.aclose()


async def test_a_taken_port_is_said_before_anything_is_served() -> None:
    network = Network()
    async with network.listen_tcp(8080), trio.open_nursery() as nursery:
        with pytest.raises(OSError, match="in use"):
            await nursery.start(network.serve_tcp, shout, 8080)


async def test_a_cancelled_service_refuses_while_its_handlers_still_end() -> None:
    network = Network()
    may_end = trio.Event()
    cancelled = trio.Event()

    async def slow_to_end(stream: TcpStream) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()
            with trio.CancelScope(shield=True):
                await may_end.wait()

    async with trio.open_nursery() as outer:
        scope = trio.CancelScope()

        async def serve(task_status: trio.TaskStatus[object]) -> None:
            with scope:
                await network.serve_tcp(slow_to_end, 8080, task_status=task_status)

        await outer.start(serve)
        async with await network.connect_tcp("127.0.0.1", 8080):
            scope.cancel()
            await cancelled.wait()
            await wait_all_tasks_blocked()
            with pytest.raises(ConnectionRefusedError):
                await network.connect_tcp("127.0.0.1", 8080)
            async with trio.open_nursery() as inner:  # and the port is free for the next
                await inner.start(network.serve_tcp, shout, 8080)
                assert await ask(network, 8080) == b"HELLO"
                inner.cancel_scope.cancel()
            may_end.set()


async def two_idle_tasks(network: Network) -> None:
    """Have a service keep two tasks for the next connections."""
    async with trio.open_nursery() as clients:
        clients.start_soon(ask, network, 8080)
        clients.start_soon(ask, network, 8080)
    await wait_all_tasks_blocked()


def connect_from(network: Network, opener: str) -> None:
    """Connect and close inside this operation, as a guest does that was woken by it."""

    def connect() -> None:
        VARIABLE.set(opener)
        attempt = network.start_connect(SocketAddress(IPv4Address("127.0.0.1"), 8080))
        assert attempt.connection is not None
        attempt.connection.close()

    contextvars.copy_context().run(connect)


async def test_a_connection_taken_over_from_another_task_has_the_context_of_whoever_opened_it() -> None:
    network = Network()
    tasks: list[trio.lowlevel.Task] = []
    seen: list[str] = []

    async def look(stream: TcpStream) -> None:
        await shout(stream)
        if VARIABLE.get() == "unset":
            return
        tasks.append(trio.lowlevel.current_task())
        if VARIABLE.get() == "first":
            connect_from(network, "second")
            return  # without a checkpoint, so that this task is the first that can handle the second
        for _ in range(3):
            seen.append(VARIABLE.get())
            assert trio.lowlevel.current_task().context[VARIABLE] == "second"
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        await nursery.start(network.serve_tcp, look, 8080)
        await two_idle_tasks(network)
        connect_from(network, "first")
        await wait_all_tasks_blocked()
        assert seen == ["second"] * 3
        assert tasks[0] is tasks[1]
        await two_idle_tasks(network)
        nursery.cancel_scope.cancel()


async def test_a_task_takes_over_connections_without_a_turn_of_the_loop_but_not_for_ever() -> None:
    network = Network()
    turns = 0
    served: list[int] = []  # the turn in which each connection was

    async def connect_again(stream: TcpStream) -> None:
        await shout(stream)
        if VARIABLE.get() == "unset":
            return
        served.append(turns)
        if len(served) < 100:
            connect_from(network, "again")

    async with trio.open_nursery() as nursery:
        await nursery.start(network.serve_tcp, connect_again, 8080)
        await two_idle_tasks(network)
        connect_from(network, "first")
        while len(served) < 100:
            turns += 1
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    in_one_turn = Counter(served)
    assert 4 <= max(in_one_turn.values()) <= 20
    assert network.sockets() == []


async def test_what_a_handler_raises_ends_the_serving_also_when_it_was_taken_over() -> None:
    network = Network()

    async def fail_second(stream: TcpStream) -> None:
        await shout(stream)
        if VARIABLE.get() == "first":
            connect_from(network, "second")
        elif VARIABLE.get() == "second":
            raise ValueError("handler")

    with pytest.RaisesGroup(ValueError, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            await nursery.start(network.serve_tcp, fail_second, 8080)
            await two_idle_tasks(network)
            connect_from(network, "first")
            await trio.sleep_forever()
    assert network.sockets() == []


async def test_a_connection_taken_over_is_cancelled_with_the_service() -> None:
    network = Network()
    ended: list[str] = []

    async def wait_for_ever(stream: TcpStream) -> None:
        await shout(stream)
        if VARIABLE.get() == "unset":
            return
        if VARIABLE.get() == "first":
            connect_from(network, "second")
            return
        try:
            await trio.sleep_forever()
        finally:
            ended.append(VARIABLE.get())

    async with trio.open_nursery() as nursery:
        await nursery.start(network.serve_tcp, wait_for_ever, 8080)
        await two_idle_tasks(network)
        connect_from(network, "first")
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert ended == ["second"]
    assert network.sockets() == []


async def test_a_handler_that_is_not_async_is_named() -> None:
    def plain(stream: TcpStream) -> None: ...

    network = Network()

    async def serve() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(network.serve_tcp, plain, 8080)
            async with await network.connect_tcp("127.0.0.1", 8080):
                await trio.sleep_forever()

    expected = r"serve_tcp expected an async function, but <function .*plain.*> returned None"
    with pytest.RaisesGroup(pytest.RaisesExc(TypeError, match=expected), flatten_subgroups=True):
        await serve()
    assert network.sockets() == []


async def test_a_callable_that_returns_an_awaitable_is_a_handler() -> None:
    network = Network()
    async with trio.open_nursery() as nursery:
        await nursery.start(network.serve_tcp, lambda stream: shout(stream), 8080)
        assert await ask(network, 8080) == b"HELLO"
        nursery.cancel_scope.cancel()
