"""What both worker processes have in common: one JSON request per line in, one answer per line out.

A request names a transport, a function of the guest, and its arguments after the port; the answer is the
nanoseconds that the function returned. Runs in the stock host's environment too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["Measure", "answer_requests"]

Measure = Callable[[str, str, Sequence[Any]], int]


def answer_requests(measure: Measure, facts: dict[str, str]) -> None:
    """Say `facts`, then measure what each line asks for, until standard input ends."""
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        nanoseconds = measure(request["transport"], request["function"], request["arguments"])
        print(json.dumps({"nanoseconds": nanoseconds}), flush=True)
