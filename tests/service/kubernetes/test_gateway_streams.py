"""Requests and answers on their way through the gateway: bodies, watches, and what goes away meanwhile."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from service.kubernetes import Gateway, acting_as
from service.kubernetes.credentials import FixedToken, TokenFile
from tests.service.kubernetes.fake_api_server import Answering, FakeApiServer, Received, json_answer
from tests.service.kubernetes.gateways import ALL_PODS, PODS, SECRET, Given, gateway, raw
from wasi_sockets import Network, TcpStream

WATCH = f"GET {PODS}?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode()


async def test_a_request_arrives_with_the_gateways_credentials_and_its_answer_comes_back() -> None:
    async def handler(received: Received, answering: Answering) -> None:
        await json_answer(answering, b'{"items": []}')

    async with gateway(FakeApiServer(handler)) as given, given.client() as client:
        response = await client.get(f"{PODS}?labelSelector=a%3Db", headers={"Accept": "application/json"})
        assert response.json() == {"items": []}
        (received,) = given.api.received
        assert received.target == f"{PODS}?labelSelector=a%3Db"
        assert received.header("authorization") == f"Bearer {SECRET}"
        assert received.header("accept") == "application/json"
        assert received.header("host") == f"127.0.0.1:{given.api.port}"


async def test_bodies_with_a_length_and_chunked_ones_arrive() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(20):
            yield b"%d" % number * 10_000

    whole = b"".join([piece async for piece in pieces()])
    async with gateway() as given, given.client() as client:
        await client.post(PODS, content=whole)
        await client.post(PODS, content=pieces())
        await client.post(PODS, content=b"")
        first, second, third = given.api.received
        assert first.body == second.body == whole
        assert first.header("content-length") == str(len(whole))
        assert second.header("transfer-encoding") == "chunked"
        assert third.body == b""


async def test_100_continue_is_answered_only_for_what_is_allowed() -> None:
    async with gateway() as given:
        head = "POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        stream = await given.connect()
        await stream.send_all(head.format(PODS).encode())
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 100 ")
        await stream.send_all(b"{}")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")
        await stream.aclose()
        assert given.api.received[0].header("expect") is None
        stream = await given.connect()
        await stream.send_all(head.format("/metrics").encode())
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 403 ")
        await stream.aclose()


async def test_a_watch_comes_event_by_event() -> None:
    go_on = trio.Event()

    async def handler(received: Received, answering: Answering) -> None:
        await answering.head(200, ("transfer-encoding", "chunked"))
        await answering.piece(b'{"type":"ADDED"}\n')
        await go_on.wait()
        await answering.piece(b'{"type":"DELETED"}\n')
        await answering.end()

    async with gateway(FakeApiServer(handler)) as given, given.client() as client:
        seen = []
        async with client.stream("GET", f"{PODS}?watch=1") as response:
            async for line in response.aiter_lines():
                seen.append(json.loads(line)["type"])
                go_on.set()  # the second one is sent only once the first is here
        assert seen == ["ADDED", "DELETED"]


async def _quiet_watch(received: Received, answering: Answering) -> None:
    if "watch" not in received.target:
        await json_answer(answering)
        return
    await answering.head(200, ("transfer-encoding", "chunked"))
    await answering.piece(b"first\n")
    await answering.wait_until_gone()


@pytest.mark.parametrize("end", [TcpStream.aclose, lambda stream: _abort(stream)])
async def test_a_guest_that_goes_ends_its_watch_at_the_api_server(end: object) -> None:
    async with gateway(FakeApiServer(_quiet_watch)) as given:
        stream = await given.connect()
        await stream.send_all(WATCH)
        while b"first" not in await stream.receive_some():
            pass
        assert not given.api.ended.is_set()
        await end(stream)  # type: ignore[operator]
        with trio.fail_after(20):
            await given.api.ended.wait()


async def _read_to_the_end(stream: TcpStream) -> None:
    while await stream.receive_some():
        pass


async def _abort(stream: TcpStream) -> None:
    stream.connection.abort()


async def test_a_guest_that_ends_only_its_sending_half_still_gets_its_answer() -> None:
    async with gateway() as given:
        answer = await raw(await given.connect(), f"GET {PODS} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 200 ")


async def test_an_answer_that_breaks_off_is_a_reset_for_the_guest() -> None:
    async def handler(received: Received, answering: Answering) -> None:
        await answering.head(200, ("content-length", "100"))
        await answering.piece(b"a beginning")

    async with gateway(FakeApiServer(handler)) as given:
        stream = await given.connect()
        await stream.send_all(WATCH)
        with pytest.raises(trio.BrokenResourceError):
            await _read_to_the_end(stream)
        await stream.aclose()


async def test_a_guest_that_does_not_read_holds_the_api_server_back() -> None:
    sent, most = 0, 10_000

    async def handler(received: Received, answering: Answering) -> None:
        nonlocal sent
        await answering.head(200, ("transfer-encoding", "chunked"))
        while sent < most:
            await answering.piece(bytes(16 * 1024))
            sent += 1

    async with gateway(FakeApiServer(handler)) as given:
        stream = await given.connect()
        await stream.send_all(WATCH)
        while b"\0" not in await stream.receive_some():
            pass
        before = -1
        while before != sent:
            before = sent
            await trio.testing.wait_all_tasks_blocked(0.05)
        assert 0 < sent < most  # only what the kernel's buffers hold
        await stream.aclose()
        with trio.fail_after(20):
            await given.api.ended.wait()


async def test_without_an_api_server_there_is_a_503_and_afterwards_all_is_well() -> None:
    api, network = FakeApiServer(), Network()
    async with api.running():
        pass
    async with trio.open_nursery() as nursery:
        await nursery.start(Gateway(api.address(FixedToken(SECRET)), [ALL_PODS]).serve, network)
        with acting_as("controller"):
            async with Given(api, network).client() as client:
                response = await client.get(PODS)
                assert response.status_code == 503
                assert response.json()["reason"] == "ServiceUnavailable"
                assert response.headers["retry-after"] == "1"
                assert "cannot be reached" in response.json()["message"]
                async with api.running():
                    assert (await client.get(PODS)).status_code == 200
                assert (await client.get(PODS)).status_code == 503
                async with api.running():
                    assert (await client.post(PODS, content=b"{}")).status_code == 200
        nursery.cancel_scope.cancel()


async def test_only_reads_are_tried_again() -> None:
    async def hang_up(received: Received, answering: Answering) -> None:
        await trio.aclose_forcefully(answering.stream)

    async def hang_up_once(received: Received, answering: Answering) -> None:
        answer = json_answer if len(api.received) > 1 else hang_up
        await (answer(answering) if answer is json_answer else hang_up(received, answering))

    api = FakeApiServer(hang_up_once)
    async with gateway(api) as given, given.client() as client:
        assert (await client.get(PODS)).status_code == 200
        assert [each.method for each in api.received] == ["GET", "GET"]
        api.handler = hang_up
        for method in ("POST", "DELETE", "PATCH"):
            api.received.clear()
            response = await client.request(method, f"{PODS}/a", content=b"{}")
            assert response.status_code == 502
            assert [each.method for each in api.received] == [method]


async def test_a_token_that_was_rotated_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one\n")
    valid = "one"

    async def handler(received: Received, answering: Answering) -> None:
        await json_answer(
            answering, status=200 if received.header("authorization") == f"Bearer {valid}" else 401
        )

    async with gateway(FakeApiServer(handler), tokens=TokenFile(file)) as given, given.client() as client:
        assert (await client.get(PODS)).status_code == 200
        valid = "two"
        assert (await client.get(PODS)).status_code == 401
        file.write_text("two\n")
        assert (await client.get(PODS)).status_code == 200
        file.unlink()
        response = await client.get(PODS)
        assert response.status_code == 503
        assert "credentials" in response.json()["message"]
        assert str(tmp_path) not in response.text


async def test_a_new_token_is_fetched_when_the_old_one_is_rejected() -> None:
    class Renewed:
        async def token(self, *, rejected: str | None = None) -> str:
            return "old" if rejected is None else "new"

    async def handler(received: Received, answering: Answering) -> None:
        await json_answer(answering, status=200 if received.header("authorization") == "Bearer new" else 401)

    async with gateway(FakeApiServer(handler), tokens=Renewed()) as given, given.client() as client:
        assert (await client.get(PODS)).status_code == 200
        assert len(given.api.received) == 2
        # A body is gone by then.
        assert (await client.post(PODS, content=b"{}")).status_code == 401
        assert len(given.api.received) == 3


async def test_an_answer_that_rejects_a_token_is_closed_when_there_is_no_other() -> None:
    class Lost:
        async def token(self, *, rejected: str | None = None) -> str:
            if rejected is not None:
                raise OSError("the program that gives tokens is gone")
            return "old"

    async def handler(received: Received, answering: Answering) -> None:
        await answering.head(401)
        await answering.wait_until_gone()

    async with gateway(FakeApiServer(handler), tokens=Lost()) as given, given.client() as client:
        assert (await client.get(PODS)).status_code == 503
        with trio.fail_after(60):
            await given.api.ended.wait()


async def test_more_requests_at_a_time_than_allowed_are_told_to_wait() -> None:
    async with gateway(FakeApiServer(_quiet_watch), max_requests=1) as given, given.client() as client:
        async with client.stream("GET", f"{PODS}?watch=1"):
            response = await client.get(PODS)
            assert response.status_code == 429
            assert response.json()["details"]["retryAfterSeconds"] == 1
        with trio.fail_after(20):
            await given.api.ended.wait()
            while (await client.get("/version")).status_code == 429:
                await trio.lowlevel.checkpoint()


async def test_a_certificate_of_another_authority_is_not_trusted() -> None:
    api, network = FakeApiServer(), Network()
    async with api.running(), trio.open_nursery() as nursery:
        address = FakeApiServer(port=api.port).address(FixedToken(SECRET))
        await nursery.start(Gateway(address, [ALL_PODS]).serve, network)
        with acting_as("controller"):
            async with Given(api, network).client() as client:
                response = await client.get(PODS)
        assert response.status_code == 503
        assert "certificate" in response.json()["message"].lower()
        assert api.received == []
        nursery.cancel_scope.cancel()


async def test_what_is_installed_in_trios_place_does_not_keep_the_gateway_from_the_api_server() -> None:
    async with gateway() as given, given.client() as client:
        with given.network.installed():
            assert (await client.get(PODS)).status_code == 200
