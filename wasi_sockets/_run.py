"""The common cases in one call: a component on a network, with the streams and the world that programs expect."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias

import trio
import wasmtime
import wasmtime.component

from wasi_sockets._argument_checks import (
    check_descriptor,
    check_directory,
    check_kind,
    check_mapping,
    check_sink,
    check_text,
    check_trio,
    file_name,
    path_text,
    strings_checked,
)
from wasi_sockets._component import GuestComponent, Stage, load
from wasi_sockets._guest import add_to_linker, instantiate
from wasi_sockets._http import HttpPolicy
from wasi_sockets.engine import Guest, config
from wasi_sockets.engine.bindings_versions import preopen_directory
from wasi_sockets.network import Network
from wasi_sockets.wasi import InputPipe, Limits, OutputPipe, receive_from, send_to

__all__ = ["open_guest", "run"]

_STANDARD_DESCRIPTORS = (0, 1, 2)


Sink: TypeAlias = int | Callable[[bytes], Awaitable[object]] | None
"""Where output goes: a file descriptor, a function that returns when it has taken the bytes, or nowhere.

One that has a `fileno`, as an object that can be called may, stands for that descriptor: guests see whether it is a
terminal, and the order between standard output and error stays when both are one file.
"""


async def run(
    source: str | os.PathLike[str] | bytes | GuestComponent,
    arguments: Sequence[str] = (),
    *,
    network: Network,
    environment: Mapping[str, str] | None = None,
    directories: Mapping[str, str | os.PathLike[str]] | None = None,
    read_only: Collection[str] = (),
    name: str | None = None,
    stdin: int | None = _STANDARD_DESCRIPTORS[0],
    stdout: Sink = _STANDARD_DESCRIPTORS[1],
    stderr: Sink = _STANDARD_DESCRIPTORS[2],
    engine: wasmtime.Engine | None = None,
    http: HttpPolicy = "deny",
    limits: Limits | None = None,
    thread: bool = False,
    direct_memory: bool = True,
    cache: bool | str | os.PathLike[str] = True,
    progress: Callable[[Stage], None] | None = None,
) -> int:
    """Runs a component that exports `wasi:cli/run` until it ends.

    Standard input, output and error are virtual streams between the guest and the descriptors, so that an unread
    pipe or a slow terminal makes only the guest wait.

    Args:
        source: a file, the component's bytes, or what `load` gave.
        arguments: what the guest sees after its own name.
        network: what its sockets reach.
        environment: its environment; nothing of this process's own.
        directories: guest path -> directory of this machine, opened for reading and writing.
        read_only: those guest paths of `directories` where nothing may be changed.
        name: the guest's own name, its argument 0; the file's name by default.
        stdin: a file descriptor, or None for an empty input.
        stdout: a file descriptor, or an async function that takes bytes, or None to throw the output away.
        stderr: likewise.
        engine: from `wasmtime.Engine(wasi_sockets.config())`; one of its own by default. Needed with a `source`
            from `load`, which belongs to an engine.
        http: as for `add_to_linker`.
        limits: as for `instantiate`.
        thread: as for `instantiate`.
        direct_memory: as for `instantiate`.
        cache: as for `load`.
        progress: as for `load`; called from another thread.

    Returns:
        The guest's exit code: what it exited with, 0 when `run` returned ok, 1 when it returned an error.

    Raises:
        OSError: the file or a directory cannot be opened.
        TypeError: an argument of the wrong kind.
        RuntimeError: trio does not run the caller.
        ComponentError: the component cannot be loaded.
        LookupError: it does not export `wasi:cli/run`.
        ValueError: a `source` from `load` without its engine, a path in `read_only` that is no directory's, or a string
            for the guest that is not Unicode text (`"\\udcff"`, which Python has for a byte that is not UTF-8) or
            holds NUL.
        GuestLimitError: one of the `limits` ended it, or this process has no room for another guest.
        wasmtime.WasmtimeError: it trapped, or an import is missing.
    """
    check_trio("wasi_sockets.run")
    async with open_guest(
        source,
        arguments,
        network=network,
        environment=environment,
        directories=directories,
        read_only=read_only,
        name=name,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        engine=engine,
        http=http,
        limits=limits,
        thread=thread,
        direct_memory=direct_memory,
        cache=cache,
        progress=progress,
    ) as guest:
        return await _exit_code(guest)


@asynccontextmanager
async def open_guest(
    source: str | os.PathLike[str] | bytes | GuestComponent,
    arguments: Sequence[str] = (),
    *,
    network: Network,
    environment: Mapping[str, str] | None = None,
    directories: Mapping[str, str | os.PathLike[str]] | None = None,
    read_only: Collection[str] = (),
    name: str | None = None,
    stdin: int | None = _STANDARD_DESCRIPTORS[0],
    stdout: Sink = _STANDARD_DESCRIPTORS[1],
    stderr: Sink = _STANDARD_DESCRIPTORS[2],
    engine: wasmtime.Engine | None = None,
    http: HttpPolicy = "deny",
    limits: Limits | None = None,
    thread: bool = False,
    direct_memory: bool = True,
    cache: bool | str | os.PathLike[str] = True,
    progress: Callable[[Stage], None] | None = None,
) -> AsyncIterator[Guest]:
    """Like `run`, for any component: gives the guest, whose exports the caller calls.

        async with wasi_sockets.open_guest("prices.wasm", network=network) as guest:
            price = await guest.call("demo:shop/prices", "price-of", "apples")

    Args and exceptions are those of `run`, with which it shares the linker, store and streams that it makes.
    """
    check_trio("wasi_sockets.open_guest")
    words = strings_checked("arguments", arguments)
    check_kind("network", network, Network)
    if environment is not None:
        check_mapping("environment", environment, str, "strings")
    if directories is not None:
        check_mapping("directories", directories, str | os.PathLike, "directories")
        for directory in directories.values():
            check_directory(directory)
    for path in strings_checked("read_only", read_only):
        if path not in (directories or {}):
            raise ValueError(f"read_only names {path!r}, which is none of the directories")
    if name is not None:
        check_kind("name", name, str)
        check_text("name", name)
    check_descriptor("stdin", stdin)
    check_sink("stdout", stdout)
    check_sink("stderr", stderr)
    if engine is not None:
        check_kind("engine", engine, wasmtime.Engine)
    if limits is not None:
        check_kind("limits", limits, Limits)
    if isinstance(source, GuestComponent):
        if engine is None:
            raise ValueError("a component from load() belongs to an engine: give that engine too")
        component = source
    else:
        engine = engine or wasmtime.Engine(config())
        component = await trio.to_thread.run_sync(
            _load, engine, source, cache, progress, abandon_on_cancel=True
        )
    linker = wasmtime.component.Linker(engine)
    linker.add_wasip2()
    add_to_linker(linker, http=http)
    store = wasmtime.Store(engine)
    own_name = name if name is not None else _name_of(source)
    wasi = wasmtime.WasiConfig()
    wasi.argv = [own_name, *words]
    wasi.env = list((environment or {}).items())
    for guest_path, directory in (directories or {}).items():
        preopen_directory(
            wasi, path_text("directories", directory), guest_path, writable=guest_path not in read_only
        )
    _tell_of_terminals(wasi, stdin, stdout, stderr)
    store.set_wasi(wasi)

    pipes = _Pipes(stdin, stdout, stderr)
    # What the guest raises goes to the caller as it is, not in a group: the pipes' tasks never raise.
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        pipes.start(nursery)
        try:
            try:
                async with instantiate(
                    linker,
                    store,
                    component,
                    network=network,
                    name=own_name,
                    stdin=pipes.stdin,
                    stdout=pipes.stdout,
                    stderr=pipes.stderr,
                    limits=limits,
                    thread=thread,
                    direct_memory=direct_memory,
                ) as guest:
                    yield guest
            finally:
                pipes.finish()
        except BaseException as error:
            failure = error
    if failure is not None:
        raise failure


def _load(
    engine: wasmtime.Engine,
    source: str | os.PathLike[str] | bytes,
    cache: bool | str | os.PathLike[str],
    progress: Callable[[Stage], None] | None,
) -> GuestComponent:
    return load(engine, source, cache=cache, progress=progress)


def _name_of(source: object) -> str:
    return file_name(source) if isinstance(source, str | os.PathLike) else "guest"


async def _exit_code(guest: Any) -> int:
    try:
        result = await guest.call("wasi:cli/run@0.2", "run")
    except wasmtime.ExitTrap as ended:
        return int(ended.code)
    # `result<_, _>` comes as None or as a variant, by wasmtime's rules for results without payloads.
    return 1 if getattr(result, "tag", "ok") == "err" else 0


def _tell_of_terminals(wasi: wasmtime.WasiConfig, stdin: int | None, stdout: Sink, stderr: Sink) -> None:
    # The guest never uses these streams, but stock WASI tells from them whether it has a terminal.
    for sink, number, inherit in (
        (stdin, 0, wasi.inherit_stdin),
        (stdout, 1, wasi.inherit_stdout),
        (stderr, 2, wasi.inherit_stderr),
    ):
        if _descriptor_of(sink) == number and _is_terminal(number):
            inherit()


def _descriptor_of(sink: Sink) -> int | None:
    if sink is None or isinstance(sink, int):
        return sink
    fileno = getattr(sink, "fileno", None)
    return int(fileno()) if fileno is not None else None


def _is_terminal(descriptor: int) -> bool:
    with suppress(OSError):
        return os.isatty(descriptor)
    return False


class _Pipes:
    """The virtual standard streams of one guest, with the tasks that move their bytes."""

    def __init__(self, stdin: int | None, stdout: Sink, stderr: Sink) -> None:
        self.ends = (stdin, stdout, stderr)
        self.stdin = InputPipe()
        self.stdout = OutputPipe()
        # One pipe for one file: the order between what goes to the two is the guest's.
        self.stderr = self.stdout if _same_file(stdout, stderr) else OutputPipe()
        self.reading = trio.CancelScope()

    def start(self, nursery: trio.Nursery) -> None:
        stdin, stdout, stderr = self.ends
        for stream in (sys.stdout, sys.stderr):
            with suppress(AttributeError, OSError, ValueError):
                stream.flush()  # what this program wrote before comes before what the guest writes
        nursery.start_soon(self.feed, stdin)
        nursery.start_soon(self.stdout.drain, _sending(stdout))
        if self.stderr is not self.stdout:
            nursery.start_soon(self.stderr.drain, _sending(stderr))

    async def feed(self, descriptor: int | None) -> None:
        with self.reading:
            await self.stdin.feed(_nothing if descriptor is None else receive_from(descriptor))

    def finish(self) -> None:
        self.reading.cancel()
        self.stdout.finish()
        self.stderr.finish()


def _same_file(one: Sink, other: Sink) -> bool:
    if one is None or other is None:
        return False
    first, second = _descriptor_of(one), _descriptor_of(other)
    if first is None or second is None:
        return one == other
    try:
        return first == second or os.path.samestat(os.fstat(first), os.fstat(second))
    except OSError:
        return False


def _sending(sink: Sink) -> Callable[[bytes], Awaitable[object]]:
    if sink is None:
        return _discard
    return send_to(sink) if isinstance(sink, int) else sink


async def _discard(_: bytes) -> None:
    await trio.lowlevel.checkpoint()


async def _nothing(_: int) -> bytes:
    await trio.lowlevel.checkpoint()
    return b""
