"""`python -m benchmarks.kubernetes`: from a change at a Kubernetes API server to the handler of who watches it.

Three watchers, with the same client's code: the component behind the gateway; CPython outside wasm behind the gateway;
and CPython with TLS to the API server itself. Each watches a ConfigMap of its own, and these are changed one after the
other, so that whatever else the machine does hits all alike. The time runs from before the change's request is sent
(so that it has the API server's and etcd's work in it) until the watcher has parsed the event. Needs `make kubernetes`
and `make guests`.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

import httpx

from benchmarks.machine import machine_facts
from tests.kubernetes.cluster import Cluster, started
from tests.kubernetes.parts import KubernetesMissing

__all__ = ["WAYS", "lines_of", "main", "measured", "summary"]

_RESULTS: Final = Path(__file__).parent / "results" / "kubernetes.json"
_NAMESPACE: Final = "default"
_MERGE: Final = {"Content-Type": "application/merge-patch+json"}

WAYS: Final = {
    "guest": "component, through the gateway",
    "gateway": "CPython outside wasm, through the gateway",
    "direct": "CPython outside wasm, TLS to the API server",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kubernetes", description=__doc__)
    parser.add_argument("--events", type=int, default=2000, help="of each watcher (2000)")
    parser.add_argument("--pause", type=float, default=0.002, help="seconds between two changes (0.002)")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument(
        "--no-write", dest="write", action="store_false", help="leave the results as they are"
    )
    options = parser.parse_args(arguments)
    try:
        with started() as cluster:
            latencies = measured(cluster, options.events, options.pause)
    except KubernetesMissing as missing:
        print(missing, file=sys.stderr)
        return 2
    results = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": machine_facts(),
        "events": options.events,
        "milliseconds": {way: summary(values) for way, values in latencies.items()},
    }
    print(json.dumps(results, indent=2) if options.json else "\n".join(lines_of(results)))
    if options.write:
        _RESULTS.write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    return 0


def measured(cluster: Cluster, events: int, pause: float) -> dict[str, list[float]]:
    """Milliseconds of each event, by way; one in ten more come before and do not count."""
    latencies: dict[str, list[float]] = {way: [] for way in WAYS}
    warming = events // 10 + 1
    with cluster.client() as admin, ExitStack() as watchers:
        for way in WAYS:
            _change(admin, way, create=True)
        outputs = {way: watchers.enter_context(_watcher(way, cluster)) for way in WAYS}
        for number in range(warming + events):
            for way, output in outputs.items():
                time.sleep(pause)
                _change(admin, way)
                found = int(output.readline()) / 1e6
                if number >= warming:
                    latencies[way].append(found)
    return latencies


def _change(admin: httpx.Client, name: str, *, create: bool = False) -> None:
    path = f"/api/v1/namespaces/{_NAMESPACE}/configmaps"
    data = {"sent": str(time.time_ns())}
    if create:
        answer = admin.post(path, json={"metadata": {"name": name}, "data": data})
    else:
        answer = admin.patch(f"{path}/{name}", json={"data": data}, headers=_MERGE)
    answer.raise_for_status()


@contextmanager
def _watcher(way: str, cluster: Cluster) -> Iterator[IO[bytes]]:
    command = [
        sys.executable,
        "-m",
        "benchmarks.kubernetes_worker",
        way,
        str(cluster.kubeconfig),
        _NAMESPACE,
        way,
    ]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=_RESULTS.parents[2]
    )
    assert process.stdout is not None
    with process, process.stdout as output:
        try:
            if output.readline() != b"watches\n":
                raise RuntimeError(f"the watcher {way!r} did not start")
            yield output
        finally:
            process.send_signal(signal.SIGINT)


def summary(values: Sequence[float]) -> dict[str, float]:
    """The median and the 99th percentile."""
    return {
        "median": round(statistics.median(values), 3),
        "p99": round(statistics.quantiles(values, n=100)[98], 3),
    }


def lines_of(results: dict[str, Any]) -> list[str]:
    """The report."""
    lines = [
        f"milliseconds from a change to its handler, {results['events']} events each",
        f"{'':45} median     p99",
    ]
    for way, found in results["milliseconds"].items():
        lines.append(f"{WAYS[way]:45} {found['median']:6.2f}  {found['p99']:6.2f}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
