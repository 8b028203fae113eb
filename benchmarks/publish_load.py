"""`python -m benchmarks.publish_load`: wrk from the real side, on a published port and on what there was before.

The same handler behind `publish` and on `trio.serve_tcp`; the same guest behind `publish` and on stock wasmtime 47,
where its sockets are the kernel's. The servers run at the same time, and the load goes to one after the other within
every repetition. Ends with 1 when a request failed.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from benchmarks.machine import machine_facts
from benchmarks.publish_worker import KINDS
from benchmarks.stock_environment import stock_python
from tests.real_parts.parts import Program, RealPartMissing, program
from tests.real_parts.servers import free_port

__all__ = ["Load", "load", "main", "server"]

ROOT: Final = Path(__file__).resolve().parents[1]
GUEST: Final = ROOT / "build" / "guests" / "c-server-0.2.12.wasm"
_RESULTS: Final = ROOT / "benchmarks" / "results" / "publish.json"

_START_SECONDS: Final = 60.0
_RATIOS: Final = {
    "published / trio.serve_tcp": ("published", "trio.serve_tcp"),
    "guest published / guest on stock": ("guest published", "guest on stock"),
}


@dataclass(frozen=True)
class Load:
    """What wrk said of one run.

    Attributes:
        per_second: requests that were answered, in a second.
        requests: in all.
        failures: wrk's own words on errors of sockets and answers other than 2xx and 3xx; empty without any.
    """

    per_second: float
    requests: int
    failures: tuple[str, ...]


@contextmanager
def server(kind: str, python: Path = Path(sys.executable), guest: Path = GUEST) -> Iterator[int]:
    """A server in a process of its own, once it accepts connections; gives its port.

    Raises:
        TimeoutError: it does not.
        RuntimeError: it ended.
    """
    port = free_port()
    words = [str(python), "-m", "benchmarks.publish_worker", kind, str(port), str(guest)]
    process = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.DEVNULL)
    try:
        _wait_until_answered(process, kind, port)
        yield port
    finally:
        process.terminate()
        process.wait()


def _wait_until_answered(process: subprocess.Popen[bytes], kind: str, port: int) -> None:
    # Until the answer: a published port is there before the guest behind it is.
    request = b"GET / HTTP/1.1\r\n\r\n"
    limit = time.monotonic() + _START_SECONDS
    while time.monotonic() < limit:
        if process.poll() is not None:
            raise RuntimeError(f"the server {kind!r} ended with {process.returncode}")
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=_START_SECONDS) as client:
                client.sendall(request)
                if client.recv(1):
                    return
        except OSError:
            pass
        time.sleep(0.05)
    raise TimeoutError(f"the server {kind!r} does not answer")


def load(wrk: Program, port: int, *, seconds: int, connections: int) -> Load:
    """Let wrk ask a server for so long.

    Raises:
        RuntimeError: wrk failed.
    """
    words = [str(wrk.path), "-t1", f"-c{connections}", f"-d{seconds}s"]
    ended = subprocess.run(
        [*words, f"http://127.0.0.1:{port}/"],
        env=wrk.variables(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds + 60,
    )
    rate = re.search(r"^Requests/sec: +([0-9.]+)$", ended.stdout, re.MULTILINE)
    requests = re.search(r"^ +(\d+) requests in ", ended.stdout, re.MULTILINE)
    if ended.returncode or rate is None or requests is None:
        raise RuntimeError(f"wrk failed:\n{ended.stdout}")
    failures = re.findall(r"^ +((?:Socket errors|Non-2xx or 3xx responses): .*)$", ended.stdout, re.MULTILINE)
    return Load(float(rate[1]), int(requests[1]), tuple(failures))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.publish_load", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=2, help="of each load (2)")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--stock", metavar="PYTHON", help="the stock host's interpreter; else one is set up")
    parser.add_argument("--no-write", dest="write", action="store_false", help="store nothing")
    options = parser.parse_args(arguments)
    try:
        wrk = program("wrk")
    except RealPartMissing as missing:
        print(missing, file=sys.stderr)
        return 2
    results = _results(wrk, options)
    if options.write:
        _RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2) if options.json else _table(results))
    return int(any(each["failures"] for each in results["loads"]))


def _results(wrk: Program, options: argparse.Namespace) -> dict[str, Any]:
    stock = Path(options.stock) if options.stock else stock_python(_progress)
    loads: dict[str, list[Load]] = {kind: [] for kind in KINDS}
    with ExitStack() as stack:
        ports = {
            kind: stack.enter_context(
                server(kind, stock if kind == "guest on stock" else Path(sys.executable))
            )
            for kind in KINDS
        }
        for repetition in range(options.repetitions):
            for kind, port in ports.items():
                _progress(f"{kind}, {repetition + 1} of {options.repetitions}")
                loads[kind].append(load(wrk, port, seconds=options.seconds, connections=options.connections))
    _progress("")
    medians = {kind: statistics.median(each.per_second for each in runs) for kind, runs in loads.items()}
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine_facts(),
        "wrk": wrk.version,
        "connections": options.connections,
        "seconds": options.seconds,
        "medians": {kind: round(rate) for kind, rate in medians.items()},
        "ratios": {name: round(medians[one] / medians[other], 2) for name, (one, other) in _RATIOS.items()},
        "loads": [{"kind": kind, **asdict(each)} for kind, runs in loads.items() for each in runs],
    }


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _table(results: dict[str, Any]) -> str:
    lines = [f"wrk, {results['connections']} connections; requests in a second, medians", ""]
    for kind in KINDS:
        runs = [each for each in results["loads"] if each["kind"] == kind]
        rates = [each["per_second"] for each in runs]
        failures = [failure for each in runs for failure in each["failures"]]
        lines.append(
            f"{kind:18} {results['medians'][kind]:8,} [{min(rates):,.0f}-{max(rates):,.0f}]"
            f"  {sum(each['requests'] for each in runs):,} requests, {', '.join(failures) or 'none failed'}"
        )
    return "\n".join([*lines, "", *(f"{name}: {ratio:.2f}" for name, ratio in results["ratios"].items())])


if __name__ == "__main__":
    sys.exit(main())
