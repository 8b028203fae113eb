"""What the controller says of an API server that refuses: each reason once, in one line."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

SOURCES = Path(__file__).resolve().parents[1] / "guests" / "static-site-controller"


@pytest.fixture
def informer(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(SOURCES)
    yield importlib.import_module("informer")
    for name in ("informer", "api"):
        del sys.modules[name]


def test_a_refusal_is_said_once_until_another_comes(
    informer: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    api = sys.modules["api"]
    answers = [(404, b"404 page not found\n")] * 3 + [
        (403, b'{"code": 403, "reason": "Forbidden", "message": "no"}')
    ] * 2

    class Refusing:
        async def request(self, method: str, path: str) -> object:
            if not answers:
                raise asyncio.CancelledError
            raise api._failure(*answers.pop(0))

    async def at_once(seconds: float) -> None:
        pass

    monkeypatch.setattr(informer.asyncio, "sleep", at_once)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(informer.follow(Refusing(), "/sites", "", print))
    assert capsys.readouterr().out.splitlines() == [
        "/sites: 404: 404 page not found",
        "/sites: 403 Forbidden: no",
    ]
