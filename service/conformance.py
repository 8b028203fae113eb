"""`wasi-sockets conformance`: the checks of `wasi:sockets` on this host and on others, as a matrix."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service._exits import FAILED, USAGE, CommandError
from service._terminal import escaped, output

if TYPE_CHECKING:
    from wasi_sockets.conformance import Check, Result, Status

__all__ = ["add_parser", "conformance"]

_HOSTS = ("virtual", "stock")
_MARKS: dict[Status, str] = {
    "pass": "pass",
    "fail": "FAIL",
    "expected-difference": "differs",
    "skipped": "skipped",
}


def add_parser(commands: Any) -> None:
    """Adds the sub-command to argparse's."""
    parser = commands.add_parser(
        "conformance",
        help="check, from inside components, that a host keeps the rules of wasi:sockets",
        description="Run a small component for each rule of wasi:sockets, and show which rules the hosts keep.",
        epilog="exit codes: 0; 1 when a check failed (a difference that is expected is no failure); 125 when a host"
        " could not be started.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--host",
        action="append",
        choices=_HOSTS,
        help="virtual: this library (the default). stock: wasmtime 47.0.1, the last whose package gives components"
        " the machine's network; it is installed below build/stock47 when it is not there. May be repeated.",
    )
    parser.add_argument(
        "--adapter",
        type=Path,
        metavar="MODULE.py",
        help="Run on another runtime, which this module knows how to start; see docs/conformance.md.",
    )
    parser.add_argument(
        "--filter",
        action="append",
        default=[],
        metavar="NAME",
        help="Only checks whose names begin so, or fit this pattern ('*/ipv6'). May be repeated.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--list", action="store_true", help="run nothing: list the checks, their rules and sources"
    )
    parser.add_argument(
        "--export",
        type=Path,
        metavar="DIR",
        help="Run nothing: write each check as a component of its own, with a manifest of what to expect.",
    )


def conformance(options: argparse.Namespace) -> int:
    """Runs, lists or writes checks.

    Returns:
        0, or 1 when a check failed.

    Raises:
        CommandError: no check has such a name, or a host cannot be started.
    """
    from wasi_sockets.conformance import as_json, checks, export

    chosen = checks(options.filter)
    if not chosen:
        raise CommandError("no check fits the filter; --list shows all", USAGE)
    if options.list:
        _list(chosen, as_data=options.json)
        return 0
    if options.export is not None:
        try:
            export(chosen, options.export)
        except OSError as error:
            raise CommandError(f"{options.export}: {error.strerror or error}") from error
        output(f"{len(chosen)} components and manifest.json written to {escaped(str(options.export))}")
        return 0
    results = [result for run in _runs(options, chosen) for result in run]
    if options.json:
        output(json.dumps(as_json(results), indent=2))
    else:
        for line in _matrix(chosen, results):
            output(escaped(line))
    return 1 if any(result.status == "fail" for result in results) else 0


def _list(chosen: Sequence[Check], *, as_data: bool) -> None:
    if as_data:
        data = [{"name": check.name, "rule": check.about, "source": check.source} for check in chosen]
        output(json.dumps({"checks": data}, indent=2))
        return
    for check in chosen:
        output(f"{check.name}\n    {check.about}\n    source: {check.source}")


def _runs(options: argparse.Namespace, chosen: Sequence[Check]) -> Iterator[list[Result]]:
    hosts = list(dict.fromkeys(options.host or ([] if options.adapter else ["virtual"])))
    if "virtual" in hosts:
        yield _virtual(chosen)
    if "stock" in hosts:
        from service.conformance_stock import stock_python
        from wasi_sockets.conformance import StockHostError, run_stock

        python = stock_python(Path("build/stock47"))
        with _Progress("stock", len(chosen)) as progress:
            try:
                yield list(run_stock(python, chosen, started=progress.begin))
            except StockHostError as error:
                raise CommandError(f"the stock host: {error}") from error
    if options.adapter is not None:
        from wasi_sockets.conformance import AdapterError, load_adapter, run_adapter

        try:
            adapter = load_adapter(options.adapter)
            with _Progress(adapter.name, len(chosen)) as progress:
                yield list(run_adapter(adapter, chosen, started=progress.begin))
        except AdapterError as error:
            raise CommandError(str(error), FAILED) from error


def _virtual(chosen: Sequence[Check]) -> list[Result]:
    import trio

    from wasi_sockets.conformance import run_virtual

    async def collect() -> list[Result]:
        with _Progress("virtual", len(chosen)) as progress:
            return [result async for result in run_virtual(chosen, started=progress.begin)]

    return trio.run(collect)


class _Progress:
    """The check that is running, in one line on standard error, on a terminal only."""

    def __init__(self, host: str, count: int) -> None:
        self._host = escaped(host)
        self._count = count
        self._number = 0
        self._terminal = sys.stderr is not None and sys.stderr.isatty()

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._write("\r\x1b[K")

    def begin(self, check: Check) -> None:
        """This one is next."""
        self._number += 1
        self._write(f"\r\x1b[K{self._host} {self._number}/{self._count} {check.name}")

    def _write(self, text: str) -> None:
        if self._terminal:
            sys.stderr.write(text)
            sys.stderr.flush()


def _matrix(chosen: Sequence[Check], results: Sequence[Result]) -> Iterator[str]:
    """Names grouped by area, a column for each host, and why, where there is something to say."""
    hosts = list(dict.fromkeys(result.host for result in results))
    by_place = {(result.name, result.host): result for result in results}
    width = max(len(_rest(check)) for check in chosen) + 2
    columns = [max(len(host), len("differs")) + 2 for host in hosts]
    head = "".join(host.ljust(column) for host, column in zip(hosts, columns, strict=True))
    for area, group in groupby(sorted(chosen, key=_area_order(chosen)), key=lambda check: check.area):
        yield f"{area.ljust(width + 2)}{head}".rstrip()
        for check in group:
            row = [by_place[check.name, host] for host in hosts]
            marks = "".join(
                _MARKS[each.status].ljust(column) for each, column in zip(row, columns, strict=True)
            )
            yield f"  {_rest(check).ljust(width)}{marks}".rstrip()
            for each in row:
                if each.detail:
                    yield f"      {each.host}: {each.detail}"
                if each.status == "fail":
                    yield f"      the rule: {check.about}"
                    yield f"      source: {each.source}"
        yield ""
    yield from (_summary(host, results) for host in hosts)


def _area_order(chosen: Sequence[Check]) -> Callable[[Check], int]:
    areas = {area: number for number, area in enumerate(dict.fromkeys(check.area for check in chosen))}
    return lambda check: areas[check.area]


def _rest(check: Check) -> str:
    return check.name.partition("/")[2]


def _summary(host: str, results: Sequence[Result]) -> str:
    counts = dict.fromkeys(_MARKS, 0)
    for result in results:
        if result.host == host:
            counts[result.status] += 1
    total = sum(counts.values())
    said = {
        "pass": "passed",
        "fail": "failed",
        "expected-difference": "differ as expected",
        "skipped": "skipped",
    }
    parts = [
        f"{count} {said[status]}" for status, count in counts.items() if count or status in ("pass", "fail")
    ]
    return f"{host}: {total} checks, {', '.join(parts)}"
