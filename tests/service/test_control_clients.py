"""Clients of the control socket that do not behave as `ps` and `logs` do."""

from __future__ import annotations

import gc
import json
import os
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from service.control import (
    ControlDirectoryError,
    ControlError,
    control_directory,
    hosts,
    serve_control,
)
from service.hosting import Host, OutputLine
from service.spec import HandlerCode, ServiceSpec, TaskCode, WorkloadSpec
from wasi_sockets import Network, TcpStream


async def live_on(network: Network) -> None:
    await trio.sleep_forever()


SPECS = [
    WorkloadSpec(name=f"shop-{number}", services=(ServiceSpec(name="api", code=TaskCode(live_on)),))
    for number in range(5)
]


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setenv("WASI_SOCKETS_CONTROL", str(tmp_path))


async def test_who_has_nothing_more_to_say_gets_all_answers() -> None:
    async with trio.open_nursery() as nursery, Host() as host:
        path = await nursery.start(serve_control, host)
        for spec in SPECS:
            await host.start(spec)
        async with await trio.open_unix_socket(os.fspath(path)) as client:
            await client.send_all(b'{"command": "ps"}\n')
            await client.send_eof()
            answers = b"".join([piece async for piece in client])
        assert len(answers.splitlines()) == len(SPECS) + 1
        assert answers.endswith(b'\n{"ok": true}\n')
        nursery.cancel_scope.cancel()


async def test_who_goes_away_is_followed_no_further() -> None:
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery, Host() as host:
            path = await nursery.start(serve_control, host)
            async with await trio.open_unix_socket(os.fspath(path)) as client:
                await client.send_all(b'{"command": "events", "follow": true}\n')
                while not host.events._followers:
                    await trio.lowlevel.checkpoint()
            while host.events._followers:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()


async def test_who_goes_away_in_the_middle_of_an_answer_leaves_nothing(
    recwarn: pytest.WarningsRecorder,
) -> None:
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery, Host() as host:
            path = await nursery.start(serve_control, host)
            await host.start(SPECS[0])
            for _ in range(5000):
                host.lines.publish(OutputLine(0.0, SPECS[0].id, "api", "stdout", "x" * 1000))
            async with await trio.open_unix_socket(os.fspath(path)) as client:
                await client.send_all(b'{"command": "logs", "follow": true}\n')
                await client.receive_some(1)
            while host.lines._followers:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    gc.collect()
    assert not [each for each in recwarn if issubclass(each.category, ResourceWarning)]


async def hold_on(stream: TcpStream) -> None:
    await trio.sleep_forever()


async def test_all_workloads_are_stopped_at_the_same_time(autojump_clock: MockClock) -> None:
    specs = [
        WorkloadSpec(
            name=f"shop-{number}",
            services=(ServiceSpec(name="api", code=HandlerCode(hold_on), ports=(7,)),),
        )
        for number in range(4)
    ]
    async with trio.open_nursery() as nursery, Host() as host:
        path = await nursery.start(serve_control, host)
        for spec in specs:
            workload = await host.start(spec)
            await workload.until_ready()
            await workload.network.connect_tcp("127.0.0.1", 7)
        began = trio.current_time()
        async with await trio.open_unix_socket(os.fspath(path)) as client:
            await client.send_all(b'{"command": "stop", "within": 100}\n')
            answers = b"".join([piece async for piece in client])
        assert [json.loads(each) for each in answers.splitlines()] == [
            *({"stopped": spec.id} for spec in specs),
            {"ok": True},
        ]
        assert 100 <= trio.current_time() - began < 110
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("workload", [b"0", b"false", b"[]", b"{}"])
async def test_who_names_no_workload_by_mistake_does_not_stop_all(workload: bytes) -> None:
    async with trio.open_nursery() as nursery, Host() as host:
        path = await nursery.start(serve_control, host)
        await host.start(SPECS[0])
        answer = await ask(path, b'{"command": "stop", "workload": ' + workload + b"}\n")
        assert answer == b'{"error": "workload must be a string"}\n'
        assert len(host.workloads) == 1
        nursery.cancel_scope.cancel()


async def test_a_number_beyond_all_others_is_without_end() -> None:
    async with trio.open_nursery() as nursery, Host() as host:
        path = await nursery.start(serve_control, host)
        await host.start(SPECS[0])
        answer = await ask(path, b'{"command": "stop", "within": 1' + b"0" * 400 + b"}\n")
        assert answer == b'{"stopped": "default/shop-0"}\n{"ok": true}\n'
        nursery.cancel_scope.cancel()


async def test_a_directory_that_is_gone_is_no_reason_to_fail(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery, Host() as host:
        await nursery.start(serve_control, host)
        await trio.Path(tmp_path).rename(tmp_path.with_name("moved"))
        await trio.Path(tmp_path).touch()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("below", ["a" * 300, "file/below"])
def test_a_directory_that_cannot_be_looked_at_is_said(
    below: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("WASI_SOCKETS_CONTROL", str(tmp_path / below))
    for create in (False, True):
        with pytest.raises(ControlDirectoryError, match="name another directory in WASI_SOCKETS_CONTROL"):
            control_directory(create=create)
    with pytest.raises(ControlError, match="name another directory"):
        hosts()


async def ask(path: Path, request: bytes) -> bytes:
    async with await trio.open_unix_socket(os.fspath(path)) as client:
        await client.send_all(request)
        return b"".join([piece async for piece in client])
