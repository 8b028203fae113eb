"""A network is for one trio loop: other threads that listen or bind are told so, at once and without a trace."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import trio

from wasi_sockets import BackgroundLoop, Network

CALLS = ["listen_tcp", "open_udp"]


def _in_a_thread(function: Callable[[], object]) -> BaseException | None:
    raised: list[BaseException] = []

    def call() -> None:
        try:
            function()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    return raised[0] if raised else None


@pytest.mark.parametrize("call", CALLS)
def test_another_thread_is_told_where_to_call(call: str) -> None:
    with BackgroundLoop() as loop:
        network = Network()
        loop.run_sync(network.listen_tcp, 7)
        with pytest.raises(RuntimeError, match=rf"loop\.run_sync\(network\.{call}, "):
            getattr(network, call)(8)
        assert len(loop.run_sync(network.sockets)) == 1
        loop.run_sync(getattr(network, call), 8)
        assert len(loop.run_sync(network.sockets)) == 2


async def test_a_thread_of_trio_comes_back_for_it() -> None:
    network = Network()
    network.listen_tcp(7)
    refused = await trio.to_thread.run_sync(_in_a_thread, lambda: network.listen_tcp(8))
    assert isinstance(refused, RuntimeError)
    await trio.to_thread.run_sync(trio.from_thread.run_sync, network.listen_tcp, 8)


async def test_another_loop_is_told_too_while_the_first_one_runs() -> None:
    network = Network()
    network.listen_tcp(7)

    async def listen() -> None:
        await trio.lowlevel.checkpoint()
        network.listen_tcp(8)

    refused = await trio.to_thread.run_sync(_in_a_thread, lambda: trio.run(listen))
    assert isinstance(refused, RuntimeError)


def test_before_a_loop_after_it_and_in_the_next_one_all_is_well() -> None:
    network = Network()
    network.listen_tcp(1)

    async def listen(port: int) -> None:
        await trio.lowlevel.checkpoint()
        network.listen_tcp(port)

    trio.run(listen, 2)
    network.listen_tcp(3)
    assert _in_a_thread(lambda: network.listen_tcp(4)) is None
    assert _in_a_thread(lambda: trio.run(listen, 5)) is None
    trio.run(listen, 6)
    assert len(network.sockets()) == 6
