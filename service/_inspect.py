"""`wasi-sockets inspect`: what a component asks of its host, and what would be done about it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import groupby
from typing import Any

import wasi_sockets
from service._exits import CANNOT_RUN
from service._run import check_file, load_errors
from service._terminal import escaped, output
from wasi_sockets import Inspection

__all__ = ["inspect"]

_OUTGOING_HTTP = "wasi:http/outgoing-handler@"


def inspect(path: str, *, as_json: bool) -> int:
    """Prints what is known of a component without compiling it.

    Returns:
        0, or 126 for a component that `run` would refuse.

    Raises:
        CommandError: the file cannot be read, or is no component.
    """
    check_file(path)
    with load_errors(path):
        found = wasi_sockets.inspect(path)
    if as_json:
        output(json.dumps(_as_data(found), indent=2))
    else:
        for line in _lines(path, found):
            output(escaped(line))
    return 0 if found.refusal is None else CANNOT_RUN


def _as_data(found: Inspection) -> dict[str, Any]:
    refusal = found.refusal
    return {
        "imports": [asdict(each) for each in found.imports],
        "exports": [asdict(each) for each in found.exports],
        "interposed": found.interposed,
        "calls": [asdict(each) for each in found.calls],
        "around_policy": _around_policy(found),
        "refusal": None if refusal is None else {"construct": refusal.construct, "message": str(refusal)},
    }


def _lines(path: str, found: Inspection) -> Iterator[str]:
    yield path
    if found.refusal is not None:
        yield f"refused: {found.refusal}"
    yield from _externs("imports", found.imports)
    yield from _externs("exports", found.exports)
    if found.refusal is None:
        yield from _calls(found)
    around = _around_policy(found)
    if around:
        yield ""
        yield f"around every policy: {', '.join(around)}; 'run' refuses its requests unless told --http stock"


def _around_policy(found: Inspection) -> list[str]:
    """What of its imports reaches the real network through the stock host, which asks no policy."""
    return [each.name for each in found.imports if each.name.startswith(_OUTGOING_HTTP)]


def _externs(title: str, externs: Iterable[wasi_sockets.Extern]) -> Iterator[str]:
    yield ""
    yield f"{title}:"
    none = True
    for extern in externs:
        none = False
        yield f"  {extern.name}" + ("" if extern.sort == "instance" else f"  ({extern.sort})")
    if none:
        yield "  (none)"


def _calls(found: Inspection) -> Iterator[str]:
    yield ""
    if not found.interposed:
        yield "interposed: nothing; the component is used as it is"
    else:
        yield "interposed (function, realm, trampoline, answered by, * moves bytes):"
    replaced = [call for call in found.calls if call.trampoline != "none"]
    replaced.sort(key=lambda call: (call.interface, call.function, call.realm or 0))
    width = max((len(call.function) for call in replaced), default=0)
    for interface, calls in groupby(replaced, key=lambda call: call.interface):
        yield f"  {interface}"
        # A component may lower a function more than once: with other options, or for another of its modules.
        for call, times in Counter(calls).items():
            star = "  *" if call.moves_bytes else ""
            many = f"  ({times} times)" if times > 1 else ""
            yield f"    {call.function:{width}}  {call.realm}  {call.trampoline:9}  {call.answer}{star}{many}"
    stock = sorted({call.interface for call in found.calls if call.trampoline == "none"})
    yield ""
    yield "straight to the stock host: " + (", ".join(stock) if stock else "nothing")
