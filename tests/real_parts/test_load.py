"""A load from the real side on published ports: no request fails. How fast: `python -m benchmarks.publish_load`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.publish_load import load, server
from tests.real_parts.parts import RealPartMissing, program


@pytest.mark.parametrize("kind", ["published", "guest published"])
def test_no_request_fails(guest_file: Callable[[str], Path], kind: str) -> None:
    try:
        wrk = program("wrk")
    except RealPartMissing as missing:
        pytest.skip(str(missing))
    with server(kind, guest=guest_file("c-server-0.2.12")) as port:
        said = load(wrk, port, seconds=1, connections=32)
    assert said.failures == ()
    assert said.requests > 0
