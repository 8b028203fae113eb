"""Egress: what a policy allows is reached for real; nothing else ever gets to the kernel.

No rule can let a network reach this machine's 127.0.0.1, so the real servers of these tests stand in for addresses of
documentation (192.0.2.0/24), where `kernel.py` is told to connect.
"""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from ipaddress import ip_address

import pytest
import trio
import trio.testing
from real_world import BIG, echo, real_server, settled

from wasi_sockets.network import Allow, Deny, IpAddress, Network, Policy, PolicyDenied, Reason, SocketAddress
from wasi_sockets.network.bridges import kernel


@pytest.fixture
async def running() -> AsyncIterator[trio.Nursery]:
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            yield nursery
            nursery.cancel_scope.cancel()


def network_with(*rules: object, **options: object) -> Network:
    return Network(policy=Policy(rules), **options)


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> list[SocketAddress]:
    """The real addresses that were connected to, all of them standing for 127.0.0.1."""
    found: list[SocketAddress] = []
    connect = kernel.connect

    async def elsewhere(address: SocketAddress) -> kernel.KernelStream:
        found.append(address)
        return await connect(SocketAddress(ip_address("127.0.0.1"), address.port))

    monkeypatch.setattr(kernel, "connect", elsewhere)
    return found


async def test_what_is_allowed_is_connected(running: trio.Nursery, reached: list[SocketAddress]) -> None:
    async with real_server(echo) as port:
        network = network_with(Allow.connect("192.0.2.0/24", ports=port))
        await running.start(network.egress)
        client = await network.connect_tcp("192.0.2.7", port)
        assert str(client.remote_address) == f"192.0.2.7:{port}"
        assert str(client.local_address.ip) == "127.0.0.1"
        data = bytes(BIG)
        received = 0

        async def send() -> None:
            await client.send_all(data)
            await client.send_eof()

        running.start_soon(send)
        async for piece in client:
            received += len(piece)
        assert received == BIG
        await client.aclose()
        await settled(network)
        mapped = await network.connect_tcp("::ffff:192.0.2.8", port)
        await mapped.aclose()
        assert list(map(str, reached)) == [f"192.0.2.7:{port}", f"192.0.2.8:{port}"]
        for address, number in (("192.0.3.1", port), ("192.0.2.7", port + 1), ("::ffff:127.0.0.1", port)):
            with pytest.raises(PolicyDenied):
                await network.connect_tcp(address, number)
        assert len(reached) == 2


async def test_a_connect_fails_as_the_real_one_does(
    running: trio.Nursery, monkeypatch: pytest.MonkeyPatch, reached: list[SocketAddress]
) -> None:
    network = network_with(Allow.connect("192.0.2.0/24"))
    await running.start(network.egress)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            await network.connect_tcp("192.0.2.1", unused.getsockname()[1])

    async def unreachable(_: SocketAddress) -> None:
        raise OSError(errno.EHOSTUNREACH, "No route to host")

    monkeypatch.setattr(kernel, "connect", unreachable)
    with pytest.raises(OSError) as caught:  # noqa: PT011  # the number is the result
        await network.connect_tcp("192.0.2.1", 80)
    assert caught.value.errno == errno.EHOSTUNREACH
    assert network.sockets() == []


async def test_audit_lets_through(running: trio.Nursery, reached: list[SocketAddress]) -> None:
    async with real_server(echo) as port:
        network = Network(policy=Policy(mode="audit"))
        await running.start(network.egress)
        await (await network.connect_tcp("192.0.2.7", port)).aclose()
        assert network.statistics().denials == {"connect": 1}
        assert not network.denials()[0].enforced


async def test_egress_ends_with_its_task(running: trio.Nursery, reached: list[SocketAddress]) -> None:
    async with real_server(echo) as port:
        network = network_with(Allow.connect("192.0.2.0/24"))
        async with trio.open_nursery() as nursery:
            await nursery.start(network.egress)
            with pytest.raises(RuntimeError, match="running already"):
                await network.egress()
            client = await network.connect_tcp("192.0.2.7", port)
            nursery.cancel_scope.cancel()
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()
        await client.aclose()
        with pytest.raises(OSError, match="egress is not running"):
            await network.connect_tcp("192.0.2.7", port)
        assert network.sockets() == []
        await running.start(network.egress)
        await (await network.connect_tcp("192.0.2.7", port)).aclose()


async def test_without_a_policy_there_is_no_egress() -> None:
    with pytest.raises(ValueError, match="without a policy"):
        await Network().egress()


# Names


class Resolver:
    """Answers from a table, and remembers the questions."""

    def __init__(self, **answers: str) -> None:
        self.answers = {name.replace("_", "."): answer for name, answer in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, name: str) -> list[IpAddress]:
        self.asked.append(name)
        await trio.lowlevel.checkpoint()
        if name not in self.answers:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [ip_address(text) for text in self.answers[name].split()]


async def test_a_name_in_a_rule_allows_what_it_leads_to(
    running: trio.Nursery, reached: list[SocketAddress]
) -> None:
    resolver = Resolver(api_example_com="1.1.1.1 ::ffff:1.0.0.1 2606:4700::1111")
    async with real_server(echo) as port:
        network = network_with(Allow.connect("api.example.com", ports=port))
        await running.start(partial(network.egress, resolver=resolver))
        with pytest.raises(PolicyDenied):
            await network.connect_tcp("1.1.1.1", port)
        client = await network.connect_tcp("API.example.com.", port)
        assert str(client.remote_address.ip) == "1.1.1.1"
        await client.aclose()
        await (await network.connect_tcp("1.0.0.1", port)).aclose()
        with pytest.raises(PolicyDenied):
            await network.connect_tcp("api.example.com", port + 1)
        with pytest.raises(PolicyDenied):
            await network.connect_tcp("1.1.1.2", port)
        assert resolver.asked == ["api.example.com"] * 2


async def test_what_a_name_led_to_is_not_allowed_for_ever(running: trio.Nursery) -> None:
    now = 0.0
    network = network_with(Allow.connect("api.example.com"), clock=lambda: now)
    await running.start(partial(network.egress, resolver=Resolver(api_example_com="1.1.1.1")))
    await network.lookup("api.example.com")
    now = 3599.0
    attempt = network.start_connect(SocketAddress(ip_address("1.1.1.1"), 1))
    attempt.cancel()
    now = 3600.0
    with pytest.raises(PolicyDenied):
        network.start_connect(SocketAddress(ip_address("1.1.1.1"), 1))


@pytest.mark.parametrize(
    "answer",
    [
        "127.0.0.1",
        "0.0.0.0",
        "::1",
        "::ffff:127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "fe80::1",
        "224.0.0.1",
    ],
)
async def test_a_name_cannot_be_rebound_to_what_is_ours(running: trio.Nursery, answer: str) -> None:
    network = network_with(Allow.connect("*.example.com"))
    resolver = Resolver(evil_example_com=answer, half_example_com=f"{answer} 1.1.1.1")
    await running.start(partial(network.egress, resolver=resolver))
    listener = network.listen_tcp(80, "127.0.0.1")
    with pytest.raises(socket.gaierror) as caught:
        await network.connect_tcp("evil.example.com", 80)
    assert caught.value.errno == socket.EAI_FAIL
    assert network.denials()[-1].reason in (Reason.REBINDING, Reason.NEVER_LEAVES)
    assert network.denials()[-1].name == "evil.example.com"
    assert await network.lookup("half.example.com") == [ip_address("1.1.1.1")]
    assert listener.backlog.queued == 0


async def test_a_rule_with_the_address_allows_a_private_answer(running: trio.Nursery) -> None:
    network = network_with(Allow.lookup("db.corp.example"), Allow.connect("10.0.0.0/8"))
    await running.start(partial(network.egress, resolver=Resolver(db_corp_example="10.0.0.1 192.168.0.1")))
    assert await network.lookup("db.corp.example") == [ip_address("10.0.0.1")]


async def test_lookups_fail_with_their_reason(running: trio.Nursery) -> None:
    resolver = Resolver(empty_example="")
    network = network_with(Allow.lookup("*.example"))
    await running.start(partial(network.egress, resolver=resolver))
    expected = {
        "x.example": socket.EAI_NONAME,
        "empty.example": socket.EAI_NONAME,
        "x.example.com": socket.EAI_FAIL,
        "x.svc.internal": socket.EAI_NONAME,
        "no name": socket.EAI_NONAME,
    }
    for name, number in expected.items():
        with pytest.raises(socket.gaierror) as caught:
            await network.lookup(name)
        assert caught.value.errno == number
    assert resolver.asked == ["x.example", "empty.example"]


async def test_a_resolver_that_fails_ends_nothing(
    running: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(name: str) -> list[IpAddress]:
        await trio.lowlevel.checkpoint()
        raise KeyError(name)

    network = network_with(Allow.lookup())
    await running.start(partial(network.egress, resolver=broken))
    for _ in range(2):
        with pytest.raises(socket.gaierror) as caught:
            await network.lookup("a.example")
        assert caught.value.errno == socket.EAI_FAIL
    assert "the resolver failed for a.example" in caplog.text
    with pytest.raises(socket.gaierror) as caught:
        await kernel.resolve("a..b")
    assert caught.value.errno == socket.EAI_NONAME


async def test_a_lookup_can_be_given_up_and_too_many_are_refused(running: trio.Nursery) -> None:
    asked = 0
    ended = 0

    async def slow(_: str) -> list[IpAddress]:
        nonlocal asked, ended
        asked += 1
        try:
            await trio.sleep_forever()
        finally:
            ended += 1
        return []

    network = network_with(Allow.lookup())
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(network.egress, resolver=slow))
        lookups = [network.start_lookup(f"n{number}.example") for number in range(1100)]
        await trio.testing.wait_all_tasks_blocked()
        assert asked == 16
        assert sum(lookup.pending for lookup in lookups) == 1024
        error = lookups[-1].error
        assert isinstance(error, socket.gaierror)
        assert error.errno == socket.EAI_AGAIN
        for lookup in lookups[:500]:
            lookup.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert asked - ended == 16
        assert sum(lookup.pending for lookup in lookups) == 524
        nursery.cancel_scope.cancel()
    assert not any(lookup.pending for lookup in lookups)
    assert asked == ended


async def test_the_systems_resolver_is_asked_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(name: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        assert name == "a.example"
        kind = (socket.AF_INET6, socket.SOCK_STREAM, 6, "")
        return [
            (*kind, ("2001:db8::1", 0, 0, 0)),
            (*kind, ("fe80::1%eth0", 0, 0, 2)),
            (*kind, ("192.0.2.1", 0)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    assert list(map(str, await kernel.resolve("a.example"))) == ["2001:db8::1", "192.0.2.1"]


# UDP


class Elsewhere:
    """A real UDP socket for which 192.0.2.x is 127.0.0.1."""

    def __init__(self, real: socket.socket) -> None:
        self._real = real

    def sendto(self, data: bytes, address: tuple[str, int]) -> int:
        assert address[0].startswith("192.0.2.")
        return self._real.sendto(data, ("127.0.0.1", address[1]))

    def recvfrom(self, size: int) -> tuple[bytes, tuple[str, int]]:
        data, (_, port) = self._real.recvfrom(size)
        return data, ("192.0.2.1", port)

    def fileno(self) -> int:
        return self._real.fileno()

    def getsockname(self) -> tuple[str, int]:
        return ("127.0.0.1", self._real.getsockname()[1])

    def close(self) -> None:
        self._real.close()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Elsewhere]:
    """The real UDP sockets that were made."""
    found: list[Elsewhere] = []
    open_udp = kernel.open_udp

    def elsewhere(address: SocketAddress) -> Elsewhere:
        found.append(Elsewhere(open_udp(address)))
        return found[-1]

    monkeypatch.setattr(kernel, "open_udp", elsewhere)
    return found


@pytest.fixture
def peer() -> AsyncIterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.settimeout(10)
        yield made


async def test_datagrams_go_out_and_answers_come_in(
    running: trio.Nursery, opened: list[Elsewhere], peer: socket.socket
) -> None:
    port = peer.getsockname()[1]
    network = network_with(Allow.send("192.0.2.1", ports=port))
    await running.start(network.egress)
    async with network.open_udp() as client:
        for data in (b"one", b""):
            await client.send(data, (ip_address("192.0.2.1"), port))
            received, source = peer.recvfrom(100)
            assert received == data
            peer.sendto(data.upper(), source)
            answer = await client.receive()
            assert (answer.data, str(answer.source)) == (data.upper(), f"192.0.2.1:{port}")
        client.connect((ip_address("192.0.2.1"), port))
        await client.send(b"connected")
        assert peer.recv(100) == b"connected"
        assert len(opened) == 1
        for address, number in (("192.0.2.2", port), ("192.0.2.1", port + 1), ("224.0.0.1", port)):
            with pytest.raises(PolicyDenied):
                await client.send(b"", (ip_address(address), number))
    await trio.testing.wait_all_tasks_blocked()
    assert opened[0].fileno() == -1


async def test_a_datagram_can_be_sent_to_a_name_outside(
    running: trio.Nursery, opened: list[Elsewhere], peer: socket.socket
) -> None:
    port = peer.getsockname()[1]
    network = network_with(Allow.lookup("*.example"), Allow.send("192.0.2.1", ports=port))
    resolver = Resolver(time_example="2001:db8::1 192.0.2.1", v6_example="2606:4700::1111")
    await running.start(partial(network.egress, resolver=resolver))
    async with network.open_udp() as client:
        await client.send(b"what time?", ("time.example", port))
        assert peer.recv(100) == b"what time?"
        for name in ("v6.example", "unknown.example"):
            with pytest.raises(socket.gaierror):
                await client.send(b"", (name, port))


async def test_nobody_else_gets_in(
    running: trio.Nursery, opened: list[Elsewhere], peer: socket.socket
) -> None:
    port = peer.getsockname()[1]
    network = network_with(Allow.send("192.0.2.1", ports=port))
    await running.start(network.egress)
    async with network.open_udp() as client:
        await client.send(b"hello", (ip_address("192.0.2.1"), port))
        _, source = peer.recvfrom(100)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"who is there?", source)
            while not network.denials():
                await trio.lowlevel.checkpoint()
        assert network.denials()[-1].use == "receive"
        peer.sendto(b"hello back", source)
        assert (await client.receive()).data == b"hello back"


async def test_mapped_addresses_are_no_way_out_for_datagrams(running: trio.Nursery) -> None:
    network = network_with(Allow.send())
    await running.start(network.egress)
    async with network.open_udp(host="::1") as client:
        with pytest.raises(OSError) as caught:  # noqa: PT011  # the number is the result
            await client.send(b"", (ip_address("::ffff:192.0.2.1"), 53))
        assert caught.value.errno == errno.ENETUNREACH


# The kernel

_watchers: list[Callable[[str], None]] = []


def _audit(event: str, _: tuple[object, ...]) -> None:
    if event.startswith("socket.") and _watchers:
        for watch in _watchers:
            watch(event)


async def test_nothing_reaches_the_kernel_unless_a_rule_allows_it(running: trio.Nursery) -> None:
    network = network_with(
        Deny.connect("203.0.113.0/24"),
        Deny.lookup("no.example"),
        Allow.connect("192.0.2.1", ports=443),
        Allow.lookup("*.example.org"),
    )
    asked = Resolver()
    await running.start(partial(network.egress, resolver=asked))
    seen: list[str] = []
    sys.addaudithook(_audit)  # there for good, but idle without watchers
    _watchers.append(seen.append)
    try:
        for address in (
            "203.0.113.1",
            "192.0.2.1",
            "198.51.100.1",
            "::ffff:192.0.2.1",
            "::ffff:127.0.0.1",
            "fe80::1",
        ):
            ip = ip_address(address)
            with pytest.raises(OSError):  # noqa: PT011  # the codes are tested elsewhere
                await network.connect_tcp(ip, 80)
            async with network.open_udp(host="127.0.0.1" if ip.version == 4 else "::1") as client:
                with pytest.raises(OSError):  # noqa: PT011
                    await client.send(b"", (ip, 443))
                with pytest.raises(OSError):  # noqa: PT011
                    client.connect((ip, 443))
        for name in ("no.example", "other.test", "a.internal", "localhost.example.com"):
            with pytest.raises(socket.gaierror):
                await network.lookup(name)
        network.listen_tcp(80, "0.0.0.0")
        await (await network.connect_tcp("127.0.0.1", 80)).aclose()
        assert seen == []
        assert asked.asked == []
        kernel.open_udp(SocketAddress(ip_address("127.0.0.1"), 0)).close()
        assert "socket.bind" in seen  # the hook would have noticed
    finally:
        _watchers.clear()
