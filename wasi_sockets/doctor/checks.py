"""What the deep self-check tries, each thing by itself."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, NamedTuple

import trio
import wasmtime
import wasmtime.component

import wasi_sockets
from wasi_sockets.doctor import guests
from wasi_sockets.doctor.surface import SURFACE
from wasi_sockets.engine.bindings_versions import instances_can_be_reopened, stock_version
from wasi_sockets.engine.memory import direct_memory_is_possible
from wasi_sockets.engine.versions import SUPPORTED, installed_version

__all__ = ["CHECKS", "CheckFailedError", "Outcome", "run_check"]

_REPORT = "use a supported wasmtime, and report this with the version"
_ALL_BYTES: Final = bytes(range(256)) * 96  # 24 KiB: several reads, and more than one page of latin1
_SECONDS = 20
"""For one check; all of them together take less than two."""


class CheckFailedError(Exception):
    """wasmtime does not do what this library expects."""


class Outcome(NamedTuple):
    """How a check ended.

    Attributes:
        detail: what was seen, or what is wrong.
        advice: what to do; empty when all is well.
    """

    name: str
    ok: bool
    detail: str
    advice: str


async def _async_calls() -> str:
    async with _guest(guests.SLEEP) as guest:
        await guest.call("sleep", 1_000_000)
    return "a guest was suspended in a host function and went on"


async def _epoch_yields() -> str:
    turns = 0
    async with _guest(guests.ENDLESS) as guest, trio.open_nursery() as nursery:
        nursery.start_soon(guest.call, "spin")
        for _ in range(5):
            await trio.sleep(0.005)
            turns += 1
        nursery.cancel_scope.cancel()
    return f"an endless loop left {turns} turns to others, and was cancelled"


async def _values() -> str:
    async with _guest(guests.VALUES) as guest:
        _same(await guest.call("bytes", _ALL_BYTES), _ALL_BYTES, "bytes")
        text = "\0a\xe9\u20ac\U0001d11e"
        _same(await guest.call("text", text), text, "a string")
        _same(await guest.call("add", (1 << 64) - 2, True), (1 << 64) - 1, "numbers")
    return "bytes, strings and numbers go to a guest and come back"


async def _errors() -> str:
    try:
        async with _guest(guests.FAILING) as guest:
            await guest.call("fail")
    except wasmtime.WasmtimeError as error:
        if "unreachable" not in str(error):
            raise CheckFailedError(f"a trap has an unknown message: {error}") from error
        return "a trap arrives as WasmtimeError with its backtrace"
    raise CheckFailedError("a guest that traps seemed to return")


async def _string_encodings() -> str:
    await _copy(direct_memory=False)
    return "every byte crosses as a latin1 string, in and out"


async def _direct_memory() -> str:
    if not direct_memory_is_possible():
        return "not possible here: bytes cross as strings"
    if not await _copy(direct_memory=True):
        raise CheckFailedError(
            "the memory of a guest was not found at any address; bytes still cross as strings"
        )
    return "the memory of a guest was found, read and written"


async def _semver() -> str:
    linker = _linker(_engine())
    stock = stock_version("wasi:io/poll", "pollable")
    if stock is None:
        raise CheckFailedError("the stock host defines no wasi:io/poll of WASI 0.2")
    newest = int(stock.rpartition(".")[2])
    for patch in (0, 3, newest, newest + 5):
        store = wasmtime.Store(linker.engine)
        store.set_wasi(wasmtime.WasiConfig())
        text = guests.importing(f"wasi:io/poll@0.2.{patch}", "pollable")
        linker.instantiate(store, wasmtime.component.Component(linker.engine, text))
    return f"imports of 0.2.0 to 0.2.{newest + 5} find {stock}"


async def _surface() -> str:
    found = {name: stock_version(name, member) for name, member in SURFACE.items()}
    missing = [name for name, version in found.items() if version is None]
    if missing:
        raise CheckFailedError(f"the stock host does not define {', '.join(missing)}")
    versions = sorted(set(map(str, found.values())))
    extended = "can" if instances_can_be_reopened() else "cannot (45 to 47: no network-error-code)"
    return f"{len(found)} interfaces at {', '.join(versions)}; functions {extended} be added to them"


CHECKS: Final[dict[str, tuple[Callable[[], Any], str]]] = {
    "stock surface": (_surface, f"guests that import what is missing will not link; {_REPORT}"),
    "semver matching": (_semver, f"guests built against other versions of WASI 0.2 will not link; {_REPORT}"),
    "async calls": (_async_calls, _REPORT),
    "values": (_values, _REPORT),
    "errors": (_errors, _REPORT),
    "epoch yields": (_epoch_yields, f"guests that only compute would stop the whole program; {_REPORT}"),
    "string encodings": (_string_encodings, _REPORT),
    "direct memory": (
        _direct_memory,
        "nothing is broken, but bytes move several times slower; /proc/self/maps and /proc/self/mem must be readable,"
        " or set WASI_SOCKETS_DIRECT_MEMORY=0 to leave it at that",
    ),
}
"""Name -> the check, which returns what it saw, and what to do when it fails."""


def run_check(name: str) -> Outcome:
    """Try one thing. It may end the process, if wasmtime broke a rule; it raises nothing.

    Raises:
        KeyError: there is no such check.
    """
    check, advice = CHECKS[name]

    async def within_time() -> str:
        with trio.move_on_after(_SECONDS):
            return str(await check())
        raise CheckFailedError(f"it did not end within {_SECONDS} s")

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Outcome(name, True, trio.run(within_time), "")
    except BaseException as error:
        text = " ".join(_innermost(error).split())
        return Outcome(
            name, False, text, f"{advice} (wasmtime {installed_version()}; supported is {SUPPORTED})"
        )


def _innermost(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) if isinstance(error, CheckFailedError) else f"{type(error).__name__}: {error}"


def _same(found: object, expected: object, what: str) -> None:
    if found != expected:
        raise CheckFailedError(f"{what} came back changed")


def _engine() -> wasmtime.Engine:
    return wasmtime.Engine(wasi_sockets.config())


def _linker(engine: wasmtime.Engine) -> wasmtime.component.Linker:
    linker = wasmtime.component.Linker(engine)
    linker.add_wasip2()
    wasi_sockets.add_to_linker(linker)
    return linker


def _guest(text: str, **options: Any) -> AbstractAsyncContextManager[wasi_sockets.Guest]:
    engine = _engine()
    component = wasi_sockets.load(engine, text.encode(), cache=False)
    store = wasmtime.Store(engine)
    store.set_wasi(wasmtime.WasiConfig())
    network = wasi_sockets.Network()
    return wasi_sockets.instantiate(_linker(engine), store, component, network=network, **options)


async def _copy(*, direct_memory: bool) -> bool:
    """Send bytes through a guest and back. Returns whether that went through its memory by address."""
    stdin, stdout = wasi_sockets.InputPipe(), wasi_sockets.OutputPipe()
    sent, received = [_ALL_BYTES], bytearray()

    async def source(_size: int) -> bytes:
        await trio.lowlevel.checkpoint()
        return sent.pop() if sent else b""

    async def sink(data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        received.extend(data)

    options = {"stdin": stdin, "stdout": stdout, "direct_memory": direct_memory}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stdin.feed, source)
        nursery.start_soon(stdout.drain, sink)
        async with _guest(guests.COPY, **options) as guest:
            await guest.call("copy")
            direct = guest.uses_direct_memory
        stdout.finish()
    _same(bytes(received), _ALL_BYTES, "bytes of a stream")
    return direct
