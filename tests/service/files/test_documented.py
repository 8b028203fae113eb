"""README and docs/workloads.md show files that can be read, and the latter names every key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from service.files import read_workloads
from service.files._native import WORKLOAD
from service.files._shapes import MapOf, Record
from service.files._wasmcloud_shapes import DEPLOYMENT
from service.files._wasmcloud_shapes import WORKLOAD as MANIFEST

_ROOT = Path(__file__).resolve().parents[3]
_TEXT = (_ROOT / "docs" / "workloads.md").read_text()


@pytest.mark.parametrize(
    "text", re.findall(r"```yaml\n(.*?)```", (_ROOT / "README.md").read_text() + _TEXT, re.DOTALL)
)
def test_the_files_can_be_read(text: str) -> None:
    loaded = read_workloads("workload.yaml", text=text, environment={"TASKS_API_KEY": "x"}, look=False)
    assert loaded.workloads
    assert loaded.notes == ()


def _keys(record: Record) -> set[str]:
    found = set(record.fields)
    for field in record.fields.values():
        shape = field.shape
        if isinstance(shape, MapOf) and isinstance(shape.of, Record):
            found |= _keys(shape.of)
    return found


@pytest.mark.parametrize("record", [WORKLOAD, MANIFEST.fields["spec"].shape, DEPLOYMENT.fields["spec"].shape])
def test_every_key_is_named(record: Record) -> None:
    missing = [
        key for key in _keys(record) if f"`{key}" not in _TEXT and f"`localResources.{key}" not in _TEXT
    ]
    assert sorted(set(missing) - {"template"}) == []
