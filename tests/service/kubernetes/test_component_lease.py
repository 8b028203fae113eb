"""The component's leader election, by itself, in a loop whose time passes when nothing is to be done."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SOURCES = Path(__file__).resolve().parents[2] / "guests" / "static-site-controller"


class _Skipping(asyncio.SelectorEventLoop):
    """Never waits: its clock goes on instead."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        selector: Any = self.__dict__["_selector"]
        selector.select = self._skip

    def time(self) -> float:
        return self._now

    def _skip(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "nothing will ever happen"
        self._now += timeout
        return []


@pytest.fixture
def leader() -> Iterator[Any]:
    sys.path.insert(0, str(SOURCES))
    before = set(sys.modules)
    try:
        yield importlib.import_module("leader")
    finally:
        sys.path.remove(str(SOURCES))
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(SOURCES)):
                del sys.modules[name]


class _Api:
    """Takes the Lease, renews it, and answers no more after `hangs_at`."""

    def __init__(self, hangs_at: float) -> None:
        self._hangs_at = hangs_at
        self._lease: dict[str, Any] = {"metadata": {"resourceVersion": "1"}, "spec": {}}
        self.renewed: list[float] = []

    async def request(self, method: str, path: str, body: Any = None, content_type: str = "") -> Any:
        now = asyncio.get_running_loop().time()
        if now >= self._hangs_at:
            await asyncio.sleep(1000)
        if method == "PUT":
            self.renewed.append(now)
            self._lease = body
        return self._lease


@pytest.mark.parametrize("hangs_at", [0.1, 3.5, 7.0, 20.1])
def test_whoever_cannot_renew_the_lease_stops_acting_well_before_others_may_take_it(
    leader: Any, hangs_at: float
) -> None:
    seconds = 15
    api = _Api(hangs_at)
    stopped: list[float] = []

    async def act() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            stopped.append(asyncio.get_running_loop().time())

    async def run() -> None:
        lease = leader.Lease(api, "default", "x", "me", seconds)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await lease.while_held(act)

    with asyncio.Runner(loop_factory=_Skipping) as runner:
        runner.run(run())
    assert len(stopped) == 1
    assert stopped[0] - api.renewed[-1] == pytest.approx(seconds * 2 / 3)
