"""The tables of docs/observability.md, from the library's own.

python tools/telemetry_tables.py          # write them
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from wasi_sockets.telemetry_table import ATTRIBUTES, EVENTS, METRICS, SPANS  # noqa: E402

__all__ = ["DOCUMENT", "with_tables"]

DOCUMENT = ROOT / "docs" / "observability.md"

_WORKLOAD = ("workload.id", "workload.name", "workload.namespace", "component.name")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _names(attributes: Sequence[str], whose: str) -> str:
    """Attributes in one cell; those that say whose it is under one word."""
    short = all(each in attributes for each in _WORKLOAD)
    names = [f"`{each}`" for each in attributes if not (short and each in _WORKLOAD)]
    return ", ".join([*names, *([whose] if short else [])])


def _tables() -> dict[str, str]:
    return {
        "spans": _table(
            ("span", "kind", "what", "attributes"),
            (
                (f"`{row.name}`", row.kind, row.meaning, _names(row.attributes, "the workload's"))
                for row in SPANS.values()
            ),
        ),
        "metrics": _table(
            ("metric", "instrument", "unit", "what", "attributes"),
            (
                (f"`{row.name}`", row.instrument, f"`{row.unit}`", row.meaning, _names(row.attributes, ""))
                for row in METRICS.values()
            ),
        ),
        "events": _table(
            ("event", "told as", "what", "attributes"),
            (
                (
                    f"`{row.name}`",
                    {"log": "log record", "span": "span event", "both": "log record and span event"}[
                        row.told
                    ],
                    row.meaning,
                    _names(row.attributes, "the workload's"),
                )
                for row in EVENTS.values()
            ),
        ),
        "attributes": _table(
            ("attribute", "what"), ((f"`{name}`", meaning) for name, meaning in ATTRIBUTES.items())
        ),
    }


def with_tables(text: str) -> str:
    """`text` with each table between its marks as the library has it."""
    for name, table in _tables().items():
        marks = re.compile(rf"(<!-- {name}: [^\n]*-->\n\n).*?(\n\n<!-- end of {name} -->)", re.DOTALL)
        text, found = marks.subn(lambda match, table=table: match[1] + table + match[2], text)
        if found != 1:
            raise ValueError(f"the document has {found} places for the table of {name}")
    return text


if __name__ == "__main__":
    DOCUMENT.write_text(with_tables(DOCUMENT.read_text("utf-8")), "utf-8")
