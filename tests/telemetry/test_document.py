"""docs/observability.md says what the library tells."""

from __future__ import annotations

import re

from tests.telemetry.test_traces import ONE_REQUEST
from tools.telemetry_tables import DOCUMENT, with_tables

TEXT = DOCUMENT.read_text("utf-8")


def test_its_tables_are_those_of_the_library() -> None:
    """If this fails: `python tools/telemetry_tables.py`."""
    assert with_tables(TEXT) == TEXT


def test_its_trace_is_that_of_the_test() -> None:
    (shown,) = re.findall(r"<!-- the trace of [^\n]* -->\n\n```\n(.*?)```", TEXT, re.DOTALL)
    assert shown.splitlines() == ONE_REQUEST
