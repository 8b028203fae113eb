"""What the gateway refuses, how it says so, and what of a request does not pass."""

from __future__ import annotations

import contextvars
import logging

import pytest
import trio

from service.kubernetes import Gateway, acting_as
from service.kubernetes.credentials import FixedToken
from tests.service.kubernetes.fake_api_server import FakeApiServer
from tests.service.kubernetes.gateways import PODS, SECRET, gateway, raw, status_of


async def test_what_a_guest_says_of_itself_is_dropped() -> None:
    headers = {
        "Authorization": "Bearer mine",
        "Impersonate-User": "admin",
        "Impersonate-Group": "system:masters",
        "Impersonate-Extra-scopes": "x",
        "X-Remote-User": "admin",
        "X-Forwarded-For": "10.0.0.1",
        "Cookie": "a=b",
        "Connection": "keep-alive, X-Hop",
        "X-Hop": "1",
    }
    async with gateway() as given, given.client() as client:
        await client.get(PODS, headers=headers)
        (received,) = given.api.received
        passed = {b"host", b"accept", b"accept-encoding", b"user-agent", b"authorization"}
        assert {name for name, _ in received.headers} <= passed
        assert [value for name, value in received.headers if name == b"authorization"] == [
            f"Bearer {SECRET}".encode()
        ]


async def test_what_no_rule_allows_is_refused_with_a_status_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with gateway() as given, given.client() as client:
        for method, target in (
            ("GET", "/api/v1/namespaces/default/secrets/password"),
            ("DELETE", "/apis/apps/v1/namespaces/default/deployments/web"),
            ("GET", "/metrics"),
            ("POST", "/version"),
        ):
            response = await client.request(method, target)
            assert response.status_code == 403
            assert response.json()["reason"] == "Forbidden"
        assert (
            response.json()["message"] == "the gateway does not allow service 'controller' to post /version"
        )
        assert given.api.received == []
    assert "denied to service 'controller': get secrets password in namespace default" in caplog.messages
    assert (
        "denied to service 'controller': delete deployments.apps web in namespace default" in caplog.messages
    )


async def test_a_service_that_is_not_named_and_one_without_a_name_may_nothing() -> None:
    async with gateway() as given:
        with acting_as("other"):
            async with given.client() as client:
                assert (await client.get(PODS)).status_code == 403

        async def nobody() -> None:
            async with given.client() as client:
                assert (await client.get(PODS)).status_code == 403

        async with trio.open_nursery() as nursery:
            contextvars.Context().run(nursery.start_soon, nobody)
        assert given.api.received == []


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("GET http://127.0.0.1/api/v1/pods HTTP/1.1", 400),
        ("CONNECT 127.0.0.1:6443 HTTP/1.1", 405),
        ("OPTIONS * HTTP/1.1", 405),
        ("GET /api/v1/namespaces/default/pods/../secrets HTTP/1.1", 400),
        ("GET /api/v1/namespaces/default/pods/%2e%2e/secrets HTTP/1.1", 400),
        ("GET /api/v1/namespaces/default%2fpods HTTP/1.1", 400),
        ("GET //api/v1/pods HTTP/1.1", 400),
        ("GET /api/v1/namespaces/default/pods/a/exec?command=sh HTTP/1.1", 403),
        ("GET /api/v1/namespaces/default/pods/a/attach HTTP/1.1", 403),
        ("POST /api/v1/namespaces/default/pods/a/portforward HTTP/1.1", 403),
        ("GET /api/v1/namespaces/default/pods/a/proxy/index.html HTTP/1.1", 403),
        ("GET /api/v1/watch/pods HTTP/1.1", 403),
    ],
)
async def test_targets_that_never_pass(line: str, code: int) -> None:
    async with gateway() as given:
        answer = await raw(await given.connect(), f"{line}\r\nHost: x\r\n\r\n".encode())
        assert status_of(answer)["code"] == code
        assert answer.startswith(f"HTTP/1.1 {code} ".encode())
        assert given.api.received == []


@pytest.mark.parametrize(
    "fields",
    [
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
        "Content-Length: 2\r\nContent-Length: 3",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Content-Length: +2",
        "Content-Length : 2",
        "Upgrade: websocket\r\nConnection: Upgrade",
        "Upgrade: SPDY/3.1",
        "Connection: upgrade",
        "Impersonate_User: admin",
        "A B: c",
        "Host: y",
    ],
)
async def test_smuggling_shapes_and_upgrades_never_pass(fields: str) -> None:
    async with gateway() as given:
        head = f"POST {PODS} HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n"
        answer = await raw(await given.connect(), head.encode())
        assert status_of(answer)["code"] in (400, 403, 501)
        assert given.api.received == []


async def test_a_request_is_not_smuggled_behind_a_body() -> None:
    inner = b"GET /api/v1/secrets HTTP/1.1\r\nHost: x\r\n\r\n"
    async with gateway() as given:
        head = f"POST {PODS} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(inner)}\r\n\r\n"
        await raw(await given.connect(), head.encode() + inner)
        (received,) = given.api.received
        assert received.body == inner


async def test_a_refused_request_with_a_body_leaves_the_connection_usable() -> None:
    async with gateway() as given:
        refused = b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
        wanted = b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        answer = await raw(await given.connect(), refused + wanted)
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert b"HTTP/1.1 200 " in answer
        assert [each.target for each in given.api.received] == ["/version"]


async def test_what_is_no_http_is_answered_and_ended(caplog: pytest.LogCaptureFixture) -> None:
    async with gateway() as given:
        answer = await raw(await given.connect(), b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
        assert status_of(answer)["code"] == 400
        answer = await raw(await given.connect(), b"GET /" + b"a" * 70_000)
        assert status_of(answer)["code"] == 431
    assert any("no HTTP/1.1" in message for message in caplog.messages)


def test_mistakes_are_told() -> None:
    server = FakeApiServer(port=1).address()
    with pytest.raises(TypeError, match="load_kubeconfig"):
        Gateway("https://x", [])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="AccessRule"):
        Gateway(server, ["*"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="max_requests"):
        Gateway(server, [], max_requests=0)


async def test_logs_show_nothing_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "wasi_sockets")
    async with gateway() as given, given.client() as client:
        await client.get(f"{PODS}?token=in-the-query")
        await client.get("/metrics?token=in-the-query")
        await client.get(f"{PODS}/a/exec?token=in-the-query")
        assert SECRET not in repr(given.api.address(FixedToken(SECRET)))
    ours = [each.getMessage() for each in caplog.records if each.name.startswith("wasi_sockets")]
    assert len(ours) >= 2
    assert not any(SECRET in each or "in-the-query" in each for each in ours)
