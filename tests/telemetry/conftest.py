"""What the tests of telemetry have in common."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.recording import Recording, recording


@pytest.fixture
def recorded() -> Iterator[Recording]:
    """Spans and metrics of this test."""
    with recording() as told:
        yield told
