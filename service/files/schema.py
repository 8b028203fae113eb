"""JSON Schema of workload files in the project's own format, for editors.

    python -m service.files.schema > service/files/workload.schema.json

It is made from the table that the reader uses. What goes over several entries, such as a port that two services want,
only the reader finds.
"""

from __future__ import annotations

import json
import sys
from importlib import resources
from typing import Any

from service.files._native import WORKLOAD

__all__ = ["bundled", "generated"]

_ID = "https://json-schema.org/draft/2020-12/schema"


def generated() -> dict[str, Any]:
    """The schema, made anew."""
    return {
        "$schema": _ID,
        "title": "A workload of wasi-sockets",
        "description": "Services and components that share a private network.",
        **WORKLOAD.schema(),
    }


def bundled() -> str:
    """The schema's text, as it is installed."""
    return resources.files("service.files").joinpath("workload.schema.json").read_text("utf-8")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(generated(), indent=2) + "\n")
