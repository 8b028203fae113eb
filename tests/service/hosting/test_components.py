"""Component services and components on a host: real guests, how they end, and what is left of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
import wasmtime

import wasi_sockets
from service.hosting import Host, State, Workload, WorkloadError
from service.hosting._programs import ComponentProgram, Place
from service.spec import (
    ComponentCode,
    ComponentSpec,
    ExportCall,
    HandlerCode,
    PublishSpec,
    RestartPolicy,
    ServiceSpec,
    Volume,
    WorkloadSpec,
)
from wasi_sockets import Limits, Network, TcpStream

GuestFile = Callable[[str], Path]
NEVER = RestartPolicy(when="never")
QUICK = RestartPolicy(backoff=0.001, backoff_max=0.001, budget=2)

ADDER = b"""(component
  (core module $m
    (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))
  (core instance $i (instantiate $m))
  (func (export "add") (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add"))))"""


@pytest.fixture(scope="module")
def engine() -> wasmtime.Engine:
    return wasmtime.Engine(wasi_sockets.config())


def of_components(*components: ComponentSpec, **more: Any) -> WorkloadSpec:
    return WorkloadSpec(name="shop", components=components, **more)


def python(guest_file: GuestFile, *arguments: str, **more: Any) -> ComponentCode:
    return ComponentCode(guest_file("python"), arguments=arguments, **more)


def said(host: Host, stream: str) -> list[str]:
    return [each.text for each in host.lines.last() if each.stream == stream]


async def echo(stream: TcpStream) -> None:
    async for data in stream:
        await stream.send_all(data)


async def test_services_and_components_of_all_kinds_work_together(
    engine: wasmtime.Engine, guest_file: GuestFile
) -> None:
    server = ComponentCode(guest_file("c-server-0.2.0"), arguments=("8080",))
    spec = WorkloadSpec(
        name="shop",
        services=(
            ServiceSpec(name="echo", code=HandlerCode(echo), ports=(7,)),
            ServiceSpec(name="server", code=server, ports=(8080,)),
        ),
        components=(
            ComponentSpec(
                name="client",
                code=ComponentCode(guest_file("c-echo-0.2.0"), arguments=("127.0.0.1", "7")),
                after=("echo", "server"),
            ),
        ),
        publish=(PublishSpec(8080),),
    )
    async with Host(engine=engine) as host:
        workload = await host.start(spec)
        await workload.until_ready()
        owners = {str(each.owner) for each in workload.network.sockets() if each.state == "listening"}
        assert owners == {"default/shop/echo", "default/shop/server"}
        (real,) = workload.status().published
        address, _, port = real.rpartition(":")
        async with await trio.open_tcp_stream(address, int(port)) as stream:
            await stream.send_all(b"from outside")
            assert await stream.receive_some() == b"FROM OUTSIDE"
        await workload.until("client", State.COMPLETED)
        assert "echoed 32 bytes in 1 round trips" in said(host, "stdout")


@pytest.mark.parametrize(
    ("arguments", "reason", "code"),
    [
        (["exit", "failure"], "it exited with code 1", 1),
        (["exit", "os", "3"], "it exited with code 1", 1),
        (["exit", "abort"], "trapped: ", None),
        (["exit", "raise"], "trapped: ", None),
    ],
)
async def test_every_way_to_fail_counts_as_one(
    engine: wasmtime.Engine, guest_file: GuestFile, arguments: list[str], reason: str, code: int | None
) -> None:
    async with Host(engine=engine) as host:
        component = ComponentSpec(name="work", code=python(guest_file, *arguments), restart=QUICK)
        workload = await host.start(of_components(component))
        assert not await workload.wait()
        (status,) = workload.status().services
    assert status.state is State.FAILED
    assert reason in status.reason
    assert status.reason.endswith("the budget of 2 restarts is used up")
    assert (status.restarts, status.exit_code) == (2, code)


async def test_what_cannot_run_is_not_tried_again(engine: wasmtime.Engine, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.wasm"
    damaged.write_bytes(b"\0asm\x0d\0\1\0\xff")
    for code, reason in (
        (ComponentCode(tmp_path / "missing.wasm"), "missing.wasm: no such file"),
        (ComponentCode(tmp_path), "is a directory, not a component"),
        (ComponentCode(damaged), "damaged.wasm: "),
        (ComponentCode(ADDER), "the component exports no wasi:cli/run"),
        (ComponentCode(ADDER, call=ExportCall("sub")), "does not export 'sub'"),
        (ComponentCode(image="example.com/shop:1", pull="never"), "not in the image cache"),
        (ComponentCode(image="example.com/Shop:1"), "example.com/Shop:1"),
        (ComponentCode(image="example.com/shop:1", pull_secret="key"), "no pull secret 'key'"),
        (ComponentCode(b'(component (import "a" (func)))'), "cannot be run: "),
    ):
        async with Host(engine=engine) as host:
            workload = await host.start(of_components(ComponentSpec(name="work", code=code, restart=QUICK)))
            assert not await workload.wait()
            (status,) = workload.status().services
        assert reason in status.reason
        assert status.restarts == 0


async def test_any_export_can_be_the_work(engine: wasmtime.Engine) -> None:
    async with Host(engine=engine) as host:
        code = ComponentCode(ADDER, call=ExportCall("add", arguments=(2, 3)))
        workload = await host.start(of_components(ComponentSpec(name="sum", code=code)))
        assert await workload.wait()
    assert said(host, "host") == ["add returned 5"]


async def test_output_comes_in_lines_with_its_stream(engine: wasmtime.Engine, guest_file: GuestFile) -> None:
    taken: list[tuple[str, str]] = []

    async def take(lines: Any) -> None:
        taken.extend((each.stream, each.text) for each in lines)

    async with Host(engine=engine, output=take) as host:
        code = python(guest_file, "stderr")
        workload = await host.start(of_components(ComponentSpec(name="work", code=code)))
        assert await workload.wait()
        kept = [(each.stream, each.text) for each in host.lines.last()]
    assert taken == kept
    assert {stream for stream, _ in taken} == {"stdout", "stderr"}
    assert not any("\n" in text for _, text in taken)


async def test_a_guest_server_is_restarted_on_its_port_and_its_peers_see_a_reset(
    engine: wasmtime.Engine, guest_file: GuestFile
) -> None:
    code = ComponentCode(guest_file("c-server-0.2.0"), arguments=("8080",))
    spec = WorkloadSpec(name="shop", services=(ServiceSpec(name="server", code=code, ports=(8080,)),))
    async with Host(engine=engine) as host:
        workload = await host.start(spec)
        for _ in range(50):
            await workload.until_ready()
            stream = await workload.network.connect_tcp("127.0.0.1", 8080)
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"HELLO"
            workload.restart("server")
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()
            await stream.aclose()
        await workload.until_ready()
        assert workload.status().services[0].restarts == 50
        assert len(workload.network.sockets()) == 1


async def test_two_workloads_do_not_see_each_other(engine: wasmtime.Engine, guest_file: GuestFile) -> None:
    """Asked from inside: the same guest finds its service in one workload, and is refused in the other."""
    client = ComponentCode(guest_file("c-echo-0.2.0"), arguments=("127.0.0.1", "7"))
    served = of_components(
        ComponentSpec(name="client", code=client, after=("echo",)),
        services=(ServiceSpec(name="echo", code=HandlerCode(echo), ports=(7,)),),
    )
    alone = WorkloadSpec(name="alone", components=(ComponentSpec(name="client", code=client),))
    async with Host(engine=engine) as host:
        with_service = await host.start(served)
        await with_service.until_ready()
        without = await host.start(alone)
        assert not await without.wait()
        await with_service.until("client", State.COMPLETED)
        texts = {each.workload: each.text for each in host.lines.last() if each.stream == "stdout"}
    assert texts == {
        "default/shop": "echoed 32 bytes in 1 round trips",
        "default/alone": "finish-connect failed with code 14",  # connection-refused
    }


async def test_two_workloads_listen_at_the_same_port(engine: wasmtime.Engine, guest_file: GuestFile) -> None:
    code = ComponentCode(guest_file("c-server-0.2.0"), arguments=("8080",))
    services = (ServiceSpec(name="server", code=code, ports=(8080,)),)
    async with Host(engine=engine) as host:
        workloads: list[Workload] = [
            await host.start(WorkloadSpec(name=name, services=services)) for name in ("one", "two")
        ]
        for workload in workloads:
            await workload.until_ready()
        await workloads[0].stop()
        async with await workloads[1].network.connect_tcp("127.0.0.1", 8080) as stream:
            await stream.send_all(b"still")
            assert await stream.receive_some() == b"STILL"


async def test_a_real_port_that_is_taken_is_said_and_nothing_is_left(
    engine: wasmtime.Engine, guest_file: GuestFile
) -> None:
    code = ComponentCode(guest_file("c-server-0.2.0"), arguments=("8080",))
    services = (ServiceSpec(name="server", code=code, ports=(8080,)),)
    (taken,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = taken.socket.getsockname()[1]
    async with taken, Host(engine=engine) as host:
        spec = WorkloadSpec(name="shop", services=services, publish=(PublishSpec(8080, real_port=port),))
        with pytest.raises(WorkloadError, match=f"publish 8080: Address already in use: 127.0.0.1:{port}"):
            await host.start(spec)
        assert host.workloads == {}
        await taken.aclose()
        workload = await host.start(spec)
        await workload.until_ready()


async def test_a_volume_is_shared_and_goes_with_its_workload(
    engine: wasmtime.Engine, guest_file: GuestFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    mounted = {"/data": Volume("scratch")}
    write = python(guest_file, "files", "/data", directories=mounted)
    read = python(guest_file, "file-content", "/data/kept.txt", directories=mounted)
    async with Host(engine=engine) as host:
        workload = await host.start(of_components(ComponentSpec(name="write", code=write)))
        assert await workload.wait()
        (directory,) = tmp_path.iterdir()  # noqa: ASYNC240
        assert (directory / "kept.txt").is_file()
        assert directory.stat().st_mode & 0o077 == 0
        await workload.stop()
        assert not directory.exists()
        assert read.directories == mounted


def component_program(engine: wasmtime.Engine, code: ComponentCode) -> ComponentProgram:
    async def say(service: str, stream: str, lines: Sequence[str]) -> None:
        await trio.lowlevel.checkpoint()

    place = Place("default/shop", Network(), engine, False, {}, lambda each: str(each), say)
    return ComponentProgram("adder", code, Limits(), place)


async def test_what_is_to_be_had_anew_while_it_is_loaded_is_loaded_again(
    engine: wasmtime.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = component_program(engine, ComponentCode(ADDER))
    loads = 0
    load = wasi_sockets.load

    def forgotten_meanwhile(*arguments: Any, **options: Any) -> wasi_sockets.GuestComponent:
        nonlocal loads
        loads += 1
        if loads == 1:
            program.forget()
        return load(*arguments, **options)

    monkeypatch.setattr(wasi_sockets, "load", forgotten_meanwhile)
    await program.prepare()
    assert loads == 2
    await program.prepare()
    assert loads == 2


async def test_a_load_that_was_given_up_says_no_more_what_it_does(
    engine: wasmtime.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = component_program(engine, ComponentCode(ADDER))
    began, goes_on, ended = threading.Event(), threading.Event(), threading.Event()

    def load(*_: Any, progress: Callable[[str], None], **__: Any) -> None:
        progress("interposing")
        began.set()
        goes_on.wait()
        progress("compiling")
        ended.set()

    monkeypatch.setattr(wasi_sockets, "load", load)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(program.prepare)
        await trio.to_thread.run_sync(began.wait)
        assert program.stage == "interposing"
        nursery.cancel_scope.cancel()
    goes_on.set()
    await trio.to_thread.run_sync(ended.wait)
    assert program.stage == ""


async def test_a_pull_that_was_given_up_is_no_longer_shown(
    engine: wasmtime.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = component_program(engine, ComponentCode(image="registry.example.com/adder:1"))
    pulling = trio.Event()

    async def pull(*_: Any, **__: Any) -> None:
        pulling.set()
        await trio.sleep_forever()

    monkeypatch.setattr("service.hosting._programs.pull", pull)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(program.prepare)
        await pulling.wait()
        assert program.stage == "pulling registry.example.com/adder:1"
        nursery.cancel_scope.cancel()
    assert program.stage == ""
