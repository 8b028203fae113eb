"""Forwards: ports of a network that lead to real hosts, plainly or by TLS."""

from __future__ import annotations

import errno
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from functools import partial

import pytest
import trio
import trio.testing
from real_world import BIG, CERTIFICATES, echo, real_server, reset_on_close, settled, tls_server_context

from wasi_sockets.network import Deny, Network, Policy, PolicyDenied
from wasi_sockets.network.bridges import kernel


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.fixture
async def running() -> AsyncIterator[trio.Nursery]:
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            yield nursery
            nursery.cancel_scope.cancel()


async def test_bytes_and_ends_go_both_ways(network: Network, running: trio.Nursery) -> None:
    async with real_server(echo) as port:
        address = await running.start(network.forward, 7, ("127.0.0.1", port))
        assert str(address) == "127.0.0.1:7"
        client = await network.connect_tcp("127.0.0.1", 7)
        await client.send_all(b"hello")
        assert await client.receive_some() == b"hello"
        await client.send_eof()
        assert await client.receive_some() == b""
        await client.aclose()
        await settled(network)


async def test_much_goes_through_unchanged(network: Network, running: trio.Nursery) -> None:
    data = bytes(range(256)) * (BIG // 256)
    async with real_server(echo) as port:
        await running.start(network.forward, 7, ("localhost", port))
        client = await network.connect_tcp("127.0.0.1", 7)
        received = bytearray()

        async def receive() -> None:
            async for piece in client:
                received.extend(piece)

        async with trio.open_nursery() as transfer:
            transfer.start_soon(receive)
            await client.send_all(data)
            await client.send_eof()
        assert received == data
        await client.aclose()
        await settled(network)


async def test_a_connect_fails_as_the_real_one_does(
    network: Network, running: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        await running.start(network.forward, 7, unused.getsockname())
        with pytest.raises(ConnectionRefusedError):
            await network.connect_tcp("127.0.0.1", 7)

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    await running.start(network.forward, 8, ("nobody.example", 80))
    with pytest.raises(OSError) as caught:  # noqa: PT011  # the number is the result
        await network.connect_tcp("127.0.0.1", 8)
    assert caught.value.errno == errno.EHOSTUNREACH
    # A bridge survives whatever became of its connections.
    assert [record.state for record in network.sockets()] == ["listening", "listening"]


async def test_resets_go_both_ways(network: Network, running: trio.Nursery) -> None:
    seen = []
    met = trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            data = await stream.receive_some()
            if data == b"reset me":
                await stream.send_all(b"as you like")
                reset_on_close(stream)
                return
            try:
                await stream.receive_some()
            except trio.BrokenResourceError as error:
                seen.append(error)
            met.set()

    async with real_server(serve) as port:
        await running.start(network.forward, 7, ("127.0.0.1", port))
        client = await network.connect_tcp("127.0.0.1", 7)
        await client.send_all(b"reset me")
        assert await client.receive_some() == b"as you like"
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()
        await client.aclose()
        client = await network.connect_tcp("127.0.0.1", 7)
        await client.send_all(b"hello")
        await trio.testing.wait_all_tasks_blocked()
        client.connection.abort()
        await met.wait()
        assert len(seen) == 1


async def test_a_connect_may_be_given_up(
    network: Network, running: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = trio.Event()

    async def never(*_: object) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    monkeypatch.setattr(kernel, "connect", never)
    await running.start(network.forward, 7, ("192.0.2.1", 80))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(network.connect_tcp, "127.0.0.1", 7)
        await trio.testing.wait_all_tasks_blocked()
        assert [record.state for record in network.sockets()] == ["listening", "connecting"]
        nursery.cancel_scope.cancel()
    await ended.wait()
    assert [record.state for record in network.sockets()] == ["listening"]


async def test_a_bridge_that_ends_takes_its_connections_along(network: Network) -> None:
    async with real_server(echo) as port:
        async with trio.open_nursery() as nursery:
            await nursery.start(network.forward, 7, ("127.0.0.1", port))
            client = await network.connect_tcp("127.0.0.1", 7)
            nursery.cancel_scope.cancel()
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()
        await client.aclose()
        with pytest.raises(ConnectionRefusedError):
            await network.connect_tcp("127.0.0.1", 7)
        assert network.sockets() == []


async def test_the_host_has_a_name(network: Network, running: trio.Nursery) -> None:
    async with real_server(echo) as port:
        await running.start(partial(network.forward, 5432, ("127.0.0.1", port), host="host.internal"))
        async with await network.connect_tcp("host.internal", 5432) as client:
            await client.send_all(b"hello")
            assert await client.receive_some() == b"hello"
        with pytest.raises(ConnectionRefusedError):
            await network.connect_tcp("127.0.0.1", 5432)


async def test_guests_can_be_denied_a_forward(running: trio.Nursery) -> None:
    network = Network(policy=Policy([Deny.bind(), Deny.connect(ports=7)]))
    await running.start(network.forward, 7, ("127.0.0.1", 9))
    with pytest.raises(PolicyDenied):
        await network.connect_tcp("127.0.0.1", 7)


def client_context(*, certificate: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=CERTIFICATES / "ca.pem")
    if certificate:
        context.load_cert_chain(CERTIFICATES / "client.pem")
    return context


async def test_tls_is_made_on_the_way(network: Network, running: trio.Nursery) -> None:
    seen = []
    data = bytes(range(256)) * 8192

    async def serve(stream: trio.SocketStream) -> None:
        tls = trio.SSLStream(stream, tls_server_context(client_certificate=True), server_side=True)
        async with tls:
            received = bytearray()
            # Ends with the guest's half-close: TLS carries that too.
            async for piece in tls:
                received += piece
            seen.append(tls.getpeercert()["subject"])
            # trio's stream has said goodbye by itself; an answer after that is beyond it.
            assert received == data

    async with real_server(serve) as port:
        await running.start(
            partial(
                network.forward,
                443,
                ("127.0.0.1", port),
                tls=client_context(certificate=True),
                server_hostname="server.example",
            )
        )
        client = await network.connect_tcp("127.0.0.1", 443)
        await client.send_all(data)
        await client.send_eof()
        assert await client.receive_some() == b""
        await client.aclose()
        assert seen == [((("commonName", "client"),),)]
        await settled(network)


async def test_an_answer_comes_after_a_half_close_in_tls(network: Network, running: trio.Nursery) -> None:
    def serve(listening: socket.socket) -> None:
        connected, _ = listening.accept()
        with connected:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = tls_server_context().wrap_bio(incoming, outgoing, server_side=True)
            request = bytearray()
            shaken = False
            while True:
                try:
                    if not shaken:
                        tls.do_handshake()
                        shaken = True
                    piece = tls.read(65536)
                    if not piece:
                        break
                    request += piece
                except ssl.SSLWantReadError:
                    connected.sendall(outgoing.read())
                    incoming.write(connected.recv(65536))
                except ssl.SSLZeroReturnError:
                    break
            for start in range(0, len(request), 1000):
                tls.write(bytes(request[start : start + 1000]).upper())
                connected.sendall(outgoing.read())
            try:
                tls.unwrap()
            except ssl.SSLWantReadError:
                pass
            connected.sendall(outgoing.read())
            connected.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        running.start_soon(trio.to_thread.run_sync, serve, listening)
        await running.start(
            partial(
                network.forward,
                443,
                listening.getsockname(),
                tls=client_context(),
                server_hostname="server.example",
            )
        )
        client = await network.connect_tcp("127.0.0.1", 443)
        await client.send_all(b"question " * 10_000)
        await client.send_eof()
        answer = bytearray()
        async for piece in client:
            answer += piece
        assert answer == b"QUESTION " * 10_000
        await client.aclose()
        await settled(network)


async def test_a_server_that_is_not_the_one_asked_for_gets_nothing(
    network: Network, running: trio.Nursery
) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        tls = trio.SSLStream(stream, tls_server_context(), server_side=True)
        with pytest.raises(trio.BrokenResourceError):
            await tls.receive_some()
        await trio.aclose_forcefully(tls)

    async with real_server(serve) as port:
        await running.start(
            partial(
                network.forward,
                443,
                ("127.0.0.1", port),
                tls=client_context(),
                server_hostname="other.example",
            )
        )
        with pytest.raises(OSError) as caught:  # noqa: PT011  # the number is the result
            await network.connect_tcp("127.0.0.1", 443)
        assert caught.value.errno == errno.ECONNABORTED


async def test_a_tls_stream_cut_short_is_no_end(network: Network, running: trio.Nursery) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        tls = trio.SSLStream(stream, tls_server_context(), server_side=True)
        await tls.send_all(b"half an ans")
        await stream.send_eof()
        await stream.receive_some()
        await stream.aclose()

    async with real_server(serve) as port:
        await running.start(
            partial(
                network.forward,
                443,
                ("127.0.0.1", port),
                tls=client_context(),
                server_hostname="server.example",
            )
        )
        client = await network.connect_tcp("127.0.0.1", 443)
        assert await client.receive_some() == b"half an ans"
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()
        await client.aclose()


async def test_a_resolver_that_does_not_answer_leaves_the_threads_of_others_alone(
    network: Network, running: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()

    def unanswered(*_: object, **__: object) -> list[object]:
        answers.wait()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", unanswered)
    await running.start(network.forward, 7, ("db.example.com", 5432))
    try:
        async with trio.open_nursery() as guests:
            for _ in range(trio.to_thread.current_default_thread_limiter().total_tokens + 1):
                guests.start_soon(network.connect_tcp, "127.0.0.1", 7)
            await trio.testing.wait_all_tasks_blocked()
            with trio.fail_after(60):
                await trio.to_thread.run_sync(str)
            guests.cancel_scope.cancel()
    finally:
        answers.set()
