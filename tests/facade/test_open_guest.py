"""Any export of a component, with the world and the streams that `run` gives a command."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import wasmtime

import wasi_sockets
from wasi_sockets import Network

ADDER = b"""(component
  (core module $m
    (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
    (func (export "trap") unreachable))
  (core instance $i (instantiate $m))
  (func (export "add") (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add")))
  (func (export "trap") (canon lift (core func $i "trap"))))"""

GuestFile = Callable[[str], Path]


async def test_any_export_can_be_called() -> None:
    async with wasi_sockets.open_guest(
        ADDER, network=Network(), stdin=None, stdout=None, stderr=None
    ) as guest:
        assert await guest.call("add", 2, 3) == 5
        assert await guest.call("add", 4, 5) == 9
    assert guest.closed


async def test_what_the_caller_or_the_guest_raises_comes_out_as_it_is() -> None:
    class MineError(Exception):
        pass

    with pytest.raises(MineError):
        async with wasi_sockets.open_guest(ADDER, network=Network(), stdin=None):
            raise MineError
    with pytest.raises(wasmtime.WasmtimeError, match="unreachable"):
        async with wasi_sockets.open_guest(ADDER, network=Network(), stdin=None) as guest:
            await guest.call("trap")
    with trio.CancelScope() as scope:
        async with wasi_sockets.open_guest(ADDER, network=Network(), stdin=None) as guest:
            scope.cancel()
            await guest.call("add", 1, 1)
    assert scope.cancelled_caught


async def test_output_goes_to_functions_and_the_owner_of_sockets_has_the_guests_name(
    guest_file: GuestFile,
) -> None:
    network = Network()
    written: list[bytes] = []
    owners: list[str] = []

    async def take(data: bytes) -> None:
        written.append(data)

    async def answer(stream: trio.abc.Stream) -> None:
        owners.extend(str(each.owner) for each in network.sockets() if each.owner is not None)
        async for data in stream:
            await stream.send_all(data)

    async with trio.open_nursery() as nursery:
        await nursery.start(network.serve_tcp, answer, 7)
        code = await wasi_sockets.run(
            guest_file("c-echo-0.2.0"),
            ["127.0.0.1", "7"],
            network=network,
            name="shop/echo",
            stdin=None,
            stdout=take,
            stderr=take,
        )
        nursery.cancel_scope.cancel()
    assert code == 0
    assert b"".join(written)
    assert "shop/echo" in owners


async def test_what_is_read_only_can_be_read_and_not_written(tmp_path: Path, guest_file: GuestFile) -> None:
    with pytest.raises(ValueError, match="none of the directories"):
        await wasi_sockets.run(ADDER, network=Network(), directories={"/d": tmp_path}, read_only=["/data"])
    (tmp_path / "text").write_text("unchanged")
    written: list[bytes] = []

    async def take(data: bytes) -> None:
        written.append(data)

    async def run(*arguments: str) -> int:
        written.clear()
        return await wasi_sockets.run(
            guest_file("python"),
            arguments,
            network=Network(),
            directories={"/data": tmp_path},
            read_only=["/data"],
            stdin=None,
            stdout=take,
            stderr=take,
        )

    assert await run("file-content", "/data/text") == 0
    assert b"unchanged" in b"".join(written)
    with pytest.raises(wasmtime.WasmtimeError):
        await run("files", "/data")
    assert os.listdir(tmp_path) == ["text"]
