"""Arguments of the wrong kind are refused before anything starts, by messages that say what to give."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
import wasmtime
import wasmtime.component

import wasi_sockets
from wasi_sockets import Network

MISSING = "no-such-component.wasm"  # would be the error of whatever is not refused before it


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arguments": "127.0.0.1 80"}, "arguments must be a list of strings, not one str"),
        ({"arguments": b"x"}, "arguments must be a list of strings, not one bytes"),
        ({"arguments": 8080}, "arguments must be a list of strings, not int"),
        ({"arguments": ["x", 8080]}, "arguments must be a list of strings, and holds 8080"),
        ({"network": "x"}, r"network must be a wasi_sockets\.Network, not str"),
        ({"environment": ["A=b"]}, "environment must be a mapping of strings to strings, not list"),
        ({"environment": {"A": 1}}, "environment must be a mapping of strings to strings, and holds 'A': 1"),
        ({"directories": ["/data"]}, "directories must be a mapping of strings to directories, not list"),
        ({"directories": {"/data": 3}}, "directories must be a mapping .* holds '/data': 3"),
        ({"stdout": sys.stdout}, r"stdout must be a file descriptor, an .* or None, .*: give its fileno\(\)"),
        ({"stdin": "x"}, "stdin must be a file descriptor or None, not str$"),
        ({"stderr": True}, "stderr must be a file descriptor, an async function or None, not bool"),
        ({"read_only": "/data"}, "read_only must be a list of strings, not one str"),
        ({"engine": "x"}, r"engine must be a wasmtime\.Engine, not str"),
        ({"limits": {"sockets": 1}}, r"limits must be a wasi_sockets\.Limits, not dict"),
    ],
)
async def test_run_refuses_arguments_of_the_wrong_kind(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        await wasi_sockets.run(MISSING, **{"network": Network(), **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arguments": ["x", "a\udcff"]}, r"arguments must be Unicode text, and 'a\\udcff' holds '\\udcff'"),
        ({"arguments": ["a\0b"]}, r"arguments must not hold NUL, as 'a\\x00b' does"),
        ({"environment": {"\udcff": ""}}, "environment must be Unicode text"),
        ({"environment": {"A": "\ud800"}}, r"environment\['A'\] must be Unicode text"),
        ({"environment": {"A": "\0"}}, r"environment\['A'\] must not hold NUL"),
        ({"directories": {"\udcff": "."}}, "directories must be Unicode text"),
        ({"name": "\udcff"}, "name must be Unicode text"),
    ],
)
async def test_what_is_no_text_is_refused_by_name(options: dict[str, Any], message: str) -> None:
    given = {"network": Network(), **options}
    with pytest.raises(ValueError, match=message):
        await wasi_sockets.run(MISSING, **given)
    with pytest.raises(ValueError, match=message):
        await wasi_sockets.open_guest(MISSING, **given).__aenter__()


async def test_files_may_be_called_what_is_no_utf_8_and_directories_may_not(tmp_path: Path) -> None:
    file = tmp_path / "guest\udcff.wat"
    try:
        file.write_text("(component)")
        (tmp_path / "data\udcff").mkdir()
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such name")
    component = wasi_sockets.load(wasmtime.Engine(wasi_sockets.config()), file, cache=False)
    assert component.name == "guest\N{REPLACEMENT CHARACTER}.wat"
    async with wasi_sockets.open_guest(file, network=Network(), cache=False):
        pass
    with pytest.raises(ValueError, match=r"directories must be named in UTF-8, and '.*data.udcff' is not"):
        await wasi_sockets.run(file, network=Network(), directories={"/data": tmp_path / "data\udcff"})


async def test_run_names_the_directory_that_does_not_exist(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(FileNotFoundError) as found:
        await wasi_sockets.run(MISSING, network=Network(), directories={"/data": missing})
    assert found.value.filename == str(missing)
    missing.write_text("")
    with pytest.raises(NotADirectoryError):
        await wasi_sockets.run(MISSING, network=Network(), directories={"/data": missing})


async def test_instantiate_refuses_arguments_of_the_wrong_kind() -> None:
    engine = wasmtime.Engine(wasi_sockets.config())
    component = wasi_sockets.load(engine, b"(component)", cache=False)
    linker: Any = wasmtime.component.Linker(engine)
    store: Any = wasmtime.Store(engine)
    network: Any = Network()
    mistakes: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
        (
            (store, linker, component),
            {},
            r"linker must be a wasmtime\.component\.Linker, not wasmtime\.Store",
        ),
        ((linker, engine, component), {}, r"store must be a wasmtime\.Store, not wasmtime\.Engine"),
        ((linker, store, component), {"network": "x"}, r"network must be a wasi_sockets\.Network, not str"),
        ((linker, store, component), {"limits": 3}, r"limits must be a wasi_sockets\.Limits, not int"),
    ]
    for arguments, options, message in mistakes:
        given: dict[str, Any] = {"network": network, **options}
        with pytest.raises(TypeError, match=message):
            async with wasi_sockets.instantiate(*arguments, **given):
                raise RuntimeError("it was instantiated")


def test_load_refuses_what_is_no_engine() -> None:
    linker: Any = wasmtime.component.Linker(wasmtime.Engine())
    with pytest.raises(
        TypeError, match=r"engine must be a wasmtime\.Engine, not wasmtime\.component\.Linker"
    ):
        wasi_sockets.load(linker, b"(component)", cache=False)


def test_asyncio_is_told_of_the_background_loop() -> None:
    with pytest.raises(RuntimeError, match=r"within trio\.run\(\).*asyncio.*BackgroundLoop"):
        asyncio.run(wasi_sockets.run(MISSING, network=Network()))

    async def instantiate() -> None:
        engine = wasmtime.Engine(wasi_sockets.config())
        component = wasi_sockets.load(engine, b"(component)", cache=False)
        linker = wasmtime.component.Linker(engine)
        async with wasi_sockets.instantiate(linker, wasmtime.Store(engine), component, network=Network()):
            raise RuntimeError("it was instantiated")

    with pytest.raises(RuntimeError, match=r"within trio\.run\(\).*asyncio.*BackgroundLoop"):
        asyncio.run(instantiate())


def test_a_linker_is_added_to_once() -> None:
    engine = wasmtime.Engine(wasi_sockets.config())
    for first, second in (("deny", "stock"), ("stock", "deny")):
        linker: Any = wasmtime.component.Linker(engine)
        linker.add_wasip2()
        options: dict[str, Any] = {"http": first}
        wasi_sockets.add_to_linker(linker, **options)
        wasi_sockets.add_to_linker(linker, **options)
        options["http"] = second
        with pytest.raises(ValueError, match=f"with http='{first}'; now http='{second}'"):
            wasi_sockets.add_to_linker(linker, **options)
    core: Any = wasmtime.Linker(engine)
    with pytest.raises(TypeError, match=r"must be a wasmtime\.component\.Linker, not wasmtime\.Linker"):
        wasi_sockets.add_to_linker(core)


def test_limits_below_nothing_are_refused() -> None:
    assert wasi_sockets.Limits(sockets=0).sockets == 0
    with pytest.raises(ValueError, match="sockets must be at least 0, not -1"):
        wasi_sockets.Limits(sockets=-1)
    text: Any = "5"
    with pytest.raises(TypeError, match="sockets must be an int, not '5'"):
        wasi_sockets.Limits(sockets=text)


async def test_serve_asgi_takes_a_list_of_listeners() -> None:
    from wasi_sockets.asgi import serve_asgi

    network = Network()
    listener: Any = network.listen_tcp(8080)
    with pytest.raises(TypeError, match="listeners must be a list, such as"):
        await serve_asgi(None, listener)
    await listener.aclose()
