"""A hostile guest at the gateway, with raw sockets: whatever it sends, the API server sees what the rules allow.

What arrives there is judged anew by how the API server itself reads a path, which is more lenient than the gateway.
"""

from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import trio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from service.kubernetes import acting_as
from tests.service.kubernetes.fake_api_server import FakeApiServer, Received
from tests.service.kubernetes.gateways import PODS, SECRET, Given, gateway, raw, status_of

#: What a request may bring to the API server. Whatever else there is speaks of somebody, or of one hop.
MAY_ARRIVE = {
    *(b"host", b"authorization", b"accept", b"accept-encoding", b"content-type", b"content-length"),
    *(b"transfer-encoding", b"user-agent", b"content-encoding", b"cache-control"),
}


def as_the_api_server_reads_it(method: str, target: str) -> tuple[str, str, str, str, str]:
    """Verb, namespace, resource, subresource, name: `RequestInfoFactory.NewRequestInfo` of k8s.io/apiserver."""
    url = urlsplit(target)
    parts = [part for part in unquote(url.path).split("/") if part]
    verbs = {
        "POST": "create",
        "GET": "get",
        "HEAD": "get",
        "PUT": "update",
        "PATCH": "patch",
        "DELETE": "delete",
    }
    verb = verbs.get(method, "")
    if len(parts) < 3 or parts[0] not in ("api", "apis"):
        return method.lower(), "", unquote(url.path), "", ""
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    if not rest:
        return method.lower(), "", unquote(url.path), "", ""
    if rest[0] in ("proxy", "watch"):
        verb, rest = rest[0], rest[1:]
    namespace = ""
    if rest and rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in ("status", "finalize"):
            rest = rest[2:]
    resource, name, subresource = (*rest, "", "", "")[:3]
    if not name and verb == "get":
        watch = parse_qs(url.query, keep_blank_values=True).get("watch", ["false"])[0]
        verb = "list" if watch.lower() in ("false", "0") else "watch"
    if not name and verb == "delete":
        verb = "deletecollection"
    return verb, namespace, resource, subresource, name


def assert_allowed(received: Received) -> None:
    """The rules of `gateway`: pods, their logs and status, anywhere; /version."""
    verb, namespace, resource, subresource, _ = as_the_api_server_reads_it(received.method, received.target)
    if resource == "/version":
        assert verb in ("get", "head")
    else:
        assert resource == "pods", received
        assert subresource in ("", "log", "status"), received
        assert verb not in ("watch", "proxy") or (verb == "watch" and namespace is not None)
    assert [value for name, value in received.headers if name == b"authorization"] == [
        b"Bearer " + SECRET.encode()
    ]
    assert {name for name, _ in received.headers} <= MAY_ARRIVE, received
    assert len([name for name, _ in received.headers if name == b"host"]) == 1


METHODS = st.sampled_from(
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "get", "GE\x00T", "PRI"]
)
SEGMENTS = st.sampled_from(
    [
        *(
            "api",
            "apis",
            "v1",
            "apps",
            "namespaces",
            "default",
            "kube-system",
            "pods",
            "secrets",
            "version",
            "a",
        ),
        *(
            "exec",
            "proxy",
            "status",
            "log",
            "watch",
            ".",
            "..",
            "",
            "%2e%2e",
            "%2f",
            "%252f",
            "%00",
            "%0d%0a",
        ),
        *(
            "%c0%af",
            "%ef%bc%8e",
            "\u017fecrets".encode().decode("latin-1"),
            "secrets;x",
            "%70ods",
            "%",
            "%7",
            "a b",
        ),
    ]
)
PATHS = st.one_of(
    st.sampled_from(
        [PODS, "/version", "*", "http://10.0.0.1/api/v1/secrets", "//api/v1/secrets", "a:443", ""]
    ),
    st.lists(SEGMENTS, max_size=8).map(lambda parts: "/" + "/".join(parts)),
    st.lists(SEGMENTS, max_size=4).map(lambda parts: PODS + "/" + "/".join(parts)),
)
QUERIES = st.sampled_from(
    [
        *(
            "",
            "?",
            "?watch=1",
            "?watch=0&watch=1",
            "?watch=0;watch=1",
            "?%77atch=true",
            "?a=%0d%0aX-Remote-User:b",
        ),
        *("?fieldSelector=metadata.name%3Da", "?/../secrets", "#x", "?a#/b", "?a=\x00", "?a=%zz", "?a=\x85"),
    ]
)
VERSIONS = st.sampled_from(
    [" HTTP/1.1", " HTTP/1.0", " HTTP/2.0", " HTTP/0.9", "", " HTTP/1.1 ", "\tHTTP/1.1"]
)
ENDS = st.sampled_from(["\r\n"] * 6 + ["\n", "\r", "\r\r\n", "\n\n"])
FIELDS = st.sampled_from(
    [
        *("Host: x", "Host: x", "Host: 169.254.169.254", "Host:", "host: a\tb", "Connection: close"),
        *("Connection: authorization, host, content-length, transfer-encoding", "Connection: keep-alive"),
        *("Content-Length: 0", "Content-Length: 5", "Content-Length: 5, 5", "Content-Length: -1"),
        *(
            "Content-Length: 0x5",
            "Content-Length: 99999999999999999999",
            "Content-Length:5 ",
            "content-length : 5",
        ),
        *("Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding:\x0bchunked"),
        *(
            "Transfer-Encoding: chunked, identity",
            "TE: trailers",
            "Trailer: Authorization",
            "Expect: 100-continue",
        ),
        *(
            " folded: x",
            "\tfolded",
            "Authorization: Bearer mine",
            "Authorization : Bearer mine",
            "Impersonate-User: a",
        ),
        *("Impersonate-User\x00: a", "X-Remote-User: a", "X-Original-URL: /api/v1/secrets", "Cookie: a=b"),
        *(
            "X-HTTP-Method-Override: DELETE",
            "Upgrade: h2c",
            "HTTP2-Settings: AAAA",
            "Accept: a\rX-Remote-User: b",
        ),
        *(
            "Accept: a\x00b",
            "Accept: " + "a" * 70_000,
            ": x",
            "x",
            "Accept\xa0: a",
            "Sec-WebSocket-Protocol: a",
        ),
        *("Forwarded: for=a", "Proxy-Authorization: b", "Via: 1.1 a", "X-Real-IP: 10.0.0.1"),
    ]
)
BODIES = st.sampled_from(
    [
        *(
            "",
            "hello",
            "5\r\nhello\r\n0\r\n\r\n",
            "5;a=b\r\nhello\r\n0\r\nAuthorization: x\r\n\r\n",
            "0\r\n\r\n",
        ),
        *(
            "5\nhello\n0\n\n",
            "-1\r\n",
            "fffffffffffffffff\r\nx",
            "5\r\nhelloX\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
        ),
        "GET /api/v1/secrets HTTP/1.1\r\nHost: x\r\n\r\n",
        "0\r\n\r\nGET /api/v1/secrets HTTP/1.1\r\nHost: x\r\n\r\n",
    ]
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    lines = [draw(METHODS) + " " + draw(PATHS) + draw(QUERIES) + draw(VERSIONS)]
    lines += draw(st.lists(FIELDS, max_size=6))
    text = "".join(line + draw(ENDS) for line in lines)
    return (text + draw(ENDS) + draw(BODIES)).encode("latin-1")


CONNECTIONS = st.lists(
    st.lists(st.one_of(requests(), st.binary(max_size=60)), max_size=4), min_size=1, max_size=8
)
GOOD = f"GET {PODS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
HEAD = b"HEAD /version HTTP/1.1\r\nHost: x\r\n\r\n"


async def attacked(given: Given, sent: list[bytes]) -> None:
    """Send it all at once, and read whatever comes."""
    stream = await given.connect()
    answer = b""
    try:
        await stream.send_all(b"".join(sent))
        await stream.send_eof()
        while piece := await stream.receive_some():
            answer += piece
    except trio.BrokenResourceError:
        pass
    await stream.aclose()
    assert SECRET.encode() not in answer


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(connections=CONNECTIONS)
@example(connections=[[HEAD, b"nonsense\r\n\r\n"]])
@example(connections=[[HEAD, HEAD, b"GET /nothing HTTP/1.1\r\n\r\n"], [HEAD]])
async def test_whatever_is_sent_only_what_is_allowed_arrives(
    connections: list[list[bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.clear()
    with trio.fail_after(30):
        async with gateway(FakeApiServer()) as given_gateway:
            for sent in connections:
                await attacked(given_gateway, sent)
            for received in given_gateway.api.received:
                assert_allowed(received)
            answer = await raw(await given_gateway.connect(), GOOD)
            assert answer.startswith(b"HTTP/1.1 200 ")
    assert [each.getMessage() for each in caplog.records if each.levelname == "ERROR"] == []


async def test_a_guest_that_resets_while_it_is_refused_ends_nothing_else() -> None:
    async with gateway() as given_gateway:
        for sent in (b"nonsense\r\n\r\n", b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", GOOD):
            stream = await given_gateway.connect()
            await stream.send_all(sent)
            stream.connection.fail()
        await wait_all_tasks_blocked()
        assert (await raw(await given_gateway.connect(), GOOD)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "field",
    ["X-Original-URL: /api/v1/secrets", "X-HTTP-Method-Override: DELETE", "X-Client-Cert: a", "Sec-Token: a"],
)
async def test_fields_that_somebody_might_believe_do_not_arrive(field: str) -> None:
    async with gateway() as given_gateway:
        head = f"GET {PODS} HTTP/1.1\r\nHost: x\r\nTraceparent: 00-ab\r\n{field}\r\n\r\n"
        await raw(await given_gateway.connect(), head.encode())
        (received,) = given_gateway.api.received
        assert received.header("traceparent") == "00-ab"
        assert received.header(field.partition(":")[0]) is None


async def test_a_thousand_connections_of_one_service_leave_room_for_the_others() -> None:
    async with gateway(max_requests=4) as given_gateway:
        streams = [await given_gateway.connect() for _ in range(1000)]
        await wait_all_tasks_blocked()
        assert sum(stream.connection.send_pipe.permit() >= 0 for stream in streams) == 16
        with acting_as("other"):
            answer = await raw(await given_gateway.connect(), GOOD)
        assert status_of(answer)["code"] == 403
        for stream in streams:
            await stream.aclose()
        await wait_all_tasks_blocked()
        assert (await raw(await given_gateway.connect(), GOOD)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("sent", [b"", b"GET /version HTT"])
async def test_a_head_that_does_not_come_is_not_waited_for(sent: bytes, autojump_clock: MockClock) -> None:
    async with gateway() as given_gateway:
        stream = await given_gateway.connect()
        if sent:
            await stream.send_all(sent)
        began = trio.current_time()
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        assert trio.current_time() - began == pytest.approx(90)
        await stream.aclose()


async def test_a_body_that_does_not_come_is_not_waited_for(autojump_clock: MockClock) -> None:
    async with gateway() as given_gateway:
        stream = await given_gateway.connect()
        await stream.send_all(b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello")
        began = trio.current_time()
        answer = b""
        while piece := await stream.receive_some():
            answer += piece
        assert status_of(answer)["code"] == 403
        assert trio.current_time() - began == pytest.approx(60)
        await stream.aclose()
