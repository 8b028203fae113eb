"""Running one guest to its end, on an interposed host or on the stock one, with what it wrote and how it ended."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any

import trio
import wasmtime
import wasmtime.component

import wasi_sockets
from wasi_sockets._cache import CompiledCache, default_directory
from wasi_sockets.engine.bindings_versions import preopen_directory

Source = Path | bytes

TRANSPORTS = {"direct": True, "copy": False}
"""Name of a transport -> the `direct_memory` argument that chooses it."""

RUN_COMMAND = ("wasi:cli/run@0.2", "run")


@dataclass(frozen=True)
class Ended:
    """How a guest ended.

    Attributes:
        code: its exit code; None when it trapped.
        stdout: all that it wrote there.
        stderr: likewise.
        trap: the error it ended with; None when it ended by itself.
    """

    code: int | None
    stdout: bytes
    stderr: bytes
    trap: BaseException | None = field(default=None, compare=False)

    @property
    def lines(self) -> list[str]:
        """What it wrote to stdout."""
        return self.stdout.decode().splitlines()

    def succeeded(self) -> Ended:
        """Itself, after checking that the exit code is 0."""
        if self.code != 0:
            said = (self.stdout + self.stderr).decode(errors="replace")[-2000:]
            raise AssertionError(f"the guest ended with {self.code}: {self.trap}\n{said}")
        return self


@dataclass(frozen=True)
class Inputs:
    """What a guest gets from outside, the same on either host.

    Attributes:
        arguments: after its own name, which is "guest".
        stdin: all of its input.
        environment: its variables.
        directories: guest path -> path here.
        read_only: these directories may not be changed.
    """

    arguments: Sequence[str] = ()
    stdin: bytes = b""
    environment: Mapping[str, str] = field(default_factory=dict)
    directories: Mapping[str, Path] = field(default_factory=dict)
    read_only: bool = False


@cache
def engine() -> wasmtime.Engine:
    """The one engine for interposed guests: compiling is what costs."""
    return wasmtime.Engine(wasi_sockets.config())


@cache
def interposed_component(source: Source) -> wasi_sockets.GuestComponent:
    """A guest ready for the interposed host, compiled once and cached on disk."""
    return wasi_sockets.load(engine(), source)


def compiled_already(guest_file: Callable[[str], Path]) -> Callable[[str], Path]:
    """As the fixture `guest_file`, which it is given, but the guest is compiled too: no time limit includes that."""

    def compiled(name: str) -> Path:
        path = guest_file(name)
        interposed_component(path)
        return path

    return compiled


@cache
def stock_engine() -> wasmtime.Engine:
    """An engine as any program would make it."""
    return wasmtime.Engine()


@cache
def stock_component(source: Source) -> wasmtime.component.Component:
    """The same guest unchanged, for the stock host; cached on disk likewise."""
    wasm = source if isinstance(source, bytes) else source.read_bytes()
    compiled = CompiledCache(default_directory())
    key = compiled.key(wasm, "stock engine of the tests")
    found = compiled.find(key)
    if found is not None:
        with os.fdopen(found.descriptor, "rb") as file:
            return wasmtime.component.Component.deserialize(stock_engine(), file.read())
    component = wasmtime.component.Component(stock_engine(), wasm)
    compiled.store(key, component.serialize(), ())
    return component


@contextmanager
def temporary_files(stdin: bytes) -> Iterator[tuple[IO[bytes], IO[bytes], IO[bytes]]]:
    """Files for the three standard streams, the first holding `stdin`."""
    with (
        tempfile.NamedTemporaryFile() as standard_in,
        tempfile.NamedTemporaryFile() as standard_out,
        tempfile.NamedTemporaryFile() as standard_error,
    ):
        standard_in.write(stdin)
        standard_in.flush()
        standard_in.seek(0)
        yield standard_in, standard_out, standard_error


def wasi_config(inputs: Inputs, files: tuple[IO[bytes], IO[bytes], IO[bytes]]) -> wasmtime.WasiConfig:
    """What an embedding program would set for these inputs, with stock standard streams."""
    wasi = wasmtime.WasiConfig()
    wasi.argv = ["guest", *inputs.arguments]
    wasi.env = list(inputs.environment.items())
    wasi.stdin_file, wasi.stdout_file, wasi.stderr_file = (file.name for file in files)
    for guest_path, directory in inputs.directories.items():
        preopen_directory(wasi, directory, guest_path, writable=not inputs.read_only)
    return wasi


def _exit_code(result: Any) -> int:
    return 1 if getattr(result, "tag", "ok") == "err" else 0


def _ended(code: int | None, trap: BaseException | None, files: tuple[IO[bytes], ...]) -> Ended:
    # By name: stock WASI opened the files anew, so these descriptors stand where they stood.
    return Ended(code, Path(files[1].name).read_bytes(), Path(files[2].name).read_bytes(), trap)


def run_stock(source: Source, inputs: Inputs) -> Ended:
    """Run a guest on the stock host of the same wasmtime, in this thread. It has no network."""
    component = stock_component(source)
    linker = wasmtime.component.Linker(stock_engine())
    linker.add_wasip2()
    store = wasmtime.Store(stock_engine())
    with temporary_files(inputs.stdin) as files:
        store.set_wasi(wasi_config(inputs, files))
        code: int | None = None
        trap: BaseException | None = None
        try:
            code = call_stock(linker, store, component)
        except wasmtime.WasmtimeError as error:
            trap = error
        return _ended(code, trap, files)


def call_stock(
    linker: wasmtime.component.Linker, store: wasmtime.Store, component: wasmtime.component.Component
) -> int:
    """Run a command on the stock host and return its exit code.

    Raises:
        wasmtime.WasmtimeError: it trapped.
    """
    try:
        instance = linker.instantiate(store, component)
        return _exit_code(_command(store, component, instance)(store))
    except wasmtime.ExitTrap as ended:
        return int(ended.code)


def _command(
    store: wasmtime.Store, component: wasmtime.component.Component, instance: wasmtime.component.Instance
) -> Callable[..., Any]:
    (name,) = [name for name in component.type.exports(store.engine) if name.startswith("wasi:cli/run@0.2")]
    interface = instance.get_export_index(store, name)
    function = instance.get_func(store, instance.get_export_index(store, "run", interface))
    if function is None:
        raise LookupError(f"{name} has no function `run`")
    return function


async def run_interposed(
    source: Source, inputs: Inputs, *, network: wasi_sockets.Network | None = None, **options: Any
) -> Ended:
    """Run a guest by `wasi_sockets.run`, which gives it virtual standard streams.

    Args:
        network: its own, when none is given.
        options: further ones of `wasi_sockets.run`.
    """
    component = interposed_component(source)
    with temporary_files(inputs.stdin) as files:
        code: int | None = None
        trap: BaseException | None = None
        try:
            code = await wasi_sockets.run(
                component,
                inputs.arguments,
                engine=engine(),
                network=network or wasi_sockets.Network(),
                environment=inputs.environment,
                directories=inputs.directories,
                stdin=files[0].fileno(),
                stdout=files[1].fileno(),
                stderr=files[2].fileno(),
                **options,
            )
        except wasmtime.WasmtimeError as error:
            trap = error
        return _ended(code, trap, files)


def interposed_linker(**options: Any) -> wasmtime.component.Linker:
    """Stock WASI and ours, as an embedding program sets it up."""
    linker = wasmtime.component.Linker(engine())
    linker.add_wasip2()
    wasi_sockets.add_to_linker(linker, **options)
    return linker


async def run_embedded(
    source: Source, inputs: Inputs, *, network: wasi_sockets.Network | None = None, **options: Any
) -> Ended:
    """Run a guest by `instantiate` with a `WasiConfig`, which leaves it the stock standard streams.

    Args:
        network: its own, when none is given.
        options: further ones of `wasi_sockets.instantiate`.
    """
    component = interposed_component(source)
    store = wasmtime.Store(engine())
    with temporary_files(inputs.stdin) as files:
        store.set_wasi(wasi_config(inputs, files))
        code: int | None = None
        trap: BaseException | None = None
        try:
            async with wasi_sockets.instantiate(
                interposed_linker(), store, component, network=network or wasi_sockets.Network(), **options
            ) as guest:
                code = _exit_code(await guest.call(*RUN_COMMAND))
        except wasmtime.ExitTrap as ended:
            code = ended.code
        except wasmtime.WasmtimeError as error:
            trap = error
        return _ended(code, trap, files)


async def echo(stream: trio.abc.HalfCloseableStream) -> None:
    """A service that sends back what it gets, and ends when its peer does."""
    async with stream:
        async for data in stream:
            await stream.send_all(data)
        await stream.send_eof()
