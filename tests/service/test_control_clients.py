"""Clients of the control socket that do not behave as `ps` and `logs` do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from service.control import serve_control
from service.hosting import Host
from service.spec import ServiceSpec, TaskCode, WorkloadSpec
from wasi_sockets import Network


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
