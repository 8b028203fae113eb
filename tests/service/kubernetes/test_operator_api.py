"""The operator's own client of the API."""

from __future__ import annotations

import gc
from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from service.kubernetes import ApiServer
from service.kubernetes.operator import Api, ApiError
from tests.service.kubernetes.fake_api_server import Answering, FakeApiServer, Received, json_answer


async def test_a_refusal_in_plain_words_is_one_line() -> None:
    async def unknown(received: Received, answering: Answering) -> None:
        await json_answer(answering, b"404 page not found\n", 404)

    server = FakeApiServer(unknown)
    async with server.running():
        api = Api(server.address())
        with pytest.raises(ApiError) as refused:
            await api.get("/apis/example.com/v1/things")
        await api.aclose()
    assert str(refused.value) == "404: 404 page not found"


async def test_a_change_that_is_cancelled_while_it_is_sent_leaves_nothing_behind() -> None:
    came = trio.Event()

    async def read_no_further(stream: trio.SocketStream) -> None:
        await stream.receive_some(1)
        came.set()
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, read_no_further, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        api = Api(ApiServer(f"http://127.0.0.1:{port}", None))
        async with trio.open_nursery() as sending:
            large = {"a": "x" * 50_000_000}  # of which the kernel's buffers hold a part
            sending.start_soon(api.merge, "/api/v1/namespaces/default/pods/a", large)
            await came.wait()
            await wait_all_tasks_blocked(0.05)
            sending.cancel_scope.cancel()
        await api.aclose()
        gc.collect()
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
