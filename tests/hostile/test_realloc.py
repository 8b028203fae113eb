"""A realloc that lies, for each way in which memory is asked for: by the shim alone, and by Python's command."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
import wasmtime

import wasi_sockets
from tests.hostile.attack import ECHO_PORT, connect, handles_at, start
from tests.hostile.raw_guest import MEMORY_PAGES, Lie
from wasi_sockets.engine import Guest
from wasi_sockets.errors import GuestTrap
from wasi_sockets.network import TcpStream

RESULT = 2048
END = MEMORY_PAGES << 16
TRANSPORTS = pytest.mark.parametrize("direct_memory", [True, False], ids=["direct", "copy"])
Ask = Callable[[], Awaitable[object]]


async def prepare(guest: Guest, stream: TcpStream, incoming: int, outgoing: int, way: str) -> Ask:
    """Bring a guest to where one more call allocates, and give that call."""
    if way == "read":
        await stream.send_all(b"abcdefgh")
        return lambda: guest.call("input-stream-blocking-read", incoming, 8, RESULT)
    if way == "poll":
        await guest.call("store", 1024, await guest.call("subscribe-duration", 0))
        return lambda: guest.call("poll", 1024, 1, RESULT)
    stream.connection.abort()
    await guest.call("output-stream-write", outgoing, 0, 1, RESULT)
    error = await guest.call("load", RESULT + 8)
    return lambda: guest.call("error-to-debug-string", error, RESULT)


class Prepared:
    """A guest about to allocate."""

    def __init__(self, network: wasi_sockets.Network, way: str, direct_memory: bool) -> None:
        self.network = network
        self._way = way
        self._listener = network.listen_tcp(ECHO_PORT)
        self._start = start(network, direct_memory=direct_memory)

    async def __aenter__(self) -> tuple[Guest, Ask]:
        guest = await self._start.__aenter__()
        _, incoming, outgoing = await connect(guest)
        self._stream = await self._listener.accept()
        return guest, await prepare(guest, self._stream, incoming, outgoing, self._way)

    async def __aexit__(self, *error: object) -> None:
        await self._start.__aexit__(None, None, None)
        await self._stream.aclose()
        await self._listener.aclose()


@pytest.fixture(params=["read", "poll", "string"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@TRANSPORTS
async def test_an_honest_realloc_is_enough(way: str, direct_memory: bool) -> None:
    async with Prepared(wasi_sockets.Network(), way, direct_memory) as (guest, ask):
        await ask()
        at, size = await guest.call("load", RESULT), await guest.call("load", RESULT + 4)
        if way == "read":
            at, size = await handles_at(guest, 2)
            assert await guest.call("load", at) == int.from_bytes(b"abcd", "little")
        assert 65536 <= at < END
        assert size == {"read": 8, "poll": 1, "string": len("connection-reset")}[way]


@TRANSPORTS
@pytest.mark.parametrize("at", [END, END - 1, END + 65536, 1 << 31, (1 << 32) - 1, (1 << 32) - 4])
async def test_addresses_out_of_range(way: str, at: int, direct_memory: bool) -> None:
    async with Prepared(wasi_sockets.Network(), way, direct_memory) as (guest, ask):
        await guest.call("choose", at)
        await guest.call("misbehave", Lie.CHOSEN)
        with pytest.raises(GuestTrap, match="pointer"):
            await ask()
        assert guest.closed


@TRANSPORTS
async def test_an_unaligned_address(direct_memory: bool) -> None:
    async with Prepared(wasi_sockets.Network(), "poll", direct_memory) as (guest, ask):
        await guest.call("choose", 65537)
        await guest.call("misbehave", Lie.CHOSEN)
        with pytest.raises(GuestTrap, match="aligned"):
            await ask()


@TRANSPORTS
@pytest.mark.parametrize("at", [0, 16, 32, RESULT, RESULT - 4])
async def test_addresses_of_the_guests_own_are_its_own_affair(way: str, at: int, direct_memory: bool) -> None:
    """Null, where the nonce is written, or on top of the arguments: legal, if unwise."""
    async with Prepared(wasi_sockets.Network(), way, direct_memory) as (guest, ask):
        await guest.call("choose", at)
        await guest.call("misbehave", Lie.CHOSEN)
        await ask()
        assert not guest.closed


@TRANSPORTS
@pytest.mark.parametrize("lie", [Lie.CALLS_PYTHON, Lie.CALLS_SHIM])
async def test_a_realloc_that_calls_out(way: str, lie: Lie, direct_memory: bool) -> None:
    async with Prepared(wasi_sockets.Network(), way, direct_memory) as (guest, ask):
        await guest.call("misbehave", lie)
        with pytest.raises(GuestTrap, match="while the guest's realloc was running"):
            await ask()


@TRANSPORTS
async def test_a_realloc_that_traps(way: str, direct_memory: bool) -> None:
    async with Prepared(wasi_sockets.Network(), way, direct_memory) as (guest, ask):
        await guest.call("misbehave", Lie.TRAPS)
        with pytest.raises(wasmtime.WasmtimeError, match="unreachable"):
            await ask()
        assert guest.closed


@TRANSPORTS
async def test_a_realloc_that_grows_the_memory(way: str, direct_memory: bool) -> None:
    async with Prepared(wasi_sockets.Network(), way, direct_memory) as (guest, ask):
        await guest.call("misbehave", Lie.GROWS)
        await ask()
        at = (await handles_at(guest, 1))[0] if way == "read" else await guest.call("load", RESULT)
        assert END <= at < END + 65536
        expected = {"read": b"abcd", "poll": bytes(4), "string": b"conn"}[way]
        assert await guest.call("load", at & ~3) in (
            int.from_bytes(expected, "little"),
            int.from_bytes(b"\0" * (at & 3) + expected[: 4 - (at & 3)], "little"),
        )


@TRANSPORTS
async def test_a_realloc_that_overwrites_everything(way: str, direct_memory: bool) -> None:
    async with Prepared(wasi_sockets.Network(), way, direct_memory) as (guest, ask):
        await guest.call("misbehave", Lie.OVERWRITES)
        await ask()
        assert not guest.closed


@TRANSPORTS
async def test_a_realloc_that_never_returns_lets_others_run(way: str, direct_memory: bool) -> None:
    async with Prepared(wasi_sockets.Network(), way, direct_memory) as (guest, ask):
        await guest.call("misbehave", Lie.SPINS)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            for _ in range(20):
                await trio.lowlevel.checkpoint()
            assert not guest.closed
            nursery.cancel_scope.cancel()
        assert guest.closed


@TRANSPORTS
async def test_calls_from_the_bottom_of_the_stack(direct_memory: bool) -> None:
    """A host function has all the stack it needs, wherever the guest calls it."""
    low, high = 0, 1 << 22
    while high - low > 1:  # by halves towards the deepest call that still succeeds
        depth = (low + high) // 2
        async with start(wasi_sockets.Network(), direct_memory=direct_memory) as guest:
            try:
                await guest.call("deep", depth)
                low = depth
            except wasmtime.WasmtimeError as error:
                high, ended = depth, error
    assert low > 100
    assert "call stack exhausted" in str(ended)
