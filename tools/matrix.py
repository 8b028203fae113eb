"""The test suites on every supported version of wasmtime, and on every CPython at hand: `make test-matrix`.

Each version has an environment of its own in `build/matrix/`, where a report of the last run is left as well.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator

from wasmtime_environments import ROOT, SUITES, TESTED, environment, interpreters
from wasmtime_suites import Ran, run_suites

_REPORT = ROOT / "build" / "matrix" / "report.json"


def main() -> int:
    """0 when every suite passed everywhere."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wasmtime", nargs="*", default=TESTED, metavar="VERSION", help="default: all")
    parser.add_argument(
        "--python", nargs="*", metavar="3.N", help="default: this one on all, others on the newest wasmtime"
    )
    parser.add_argument("suites", nargs="*", default=SUITES, help=f"default: {' '.join(SUITES)}")
    arguments = parser.parse_args()

    rows: list[tuple[str, str, Ran]] = []
    for version, name, python in _combinations(arguments.wasmtime, arguments.python):
        print(f"\n=== wasmtime {version} on CPython {name}", flush=True)
        inside = environment(version, python)
        told = subprocess.run([str(inside), "-m", "service.cli", "doctor"], cwd=ROOT).returncode
        ran = run_suites(inside, arguments.suites)
        if told:
            ran = Ran(ran.passed, ("wasi-sockets doctor", *ran.failed), ran.skipped, ran.seconds)
        rows.append((version, name, ran))
    _print(rows)
    return 1 if any(ran.failed for _, _, ran in rows) else 0


def _combinations(versions: list[str], wanted: list[str] | None) -> Iterator[tuple[str, str, str]]:
    own = "{}.{}".format(*sys.version_info[:2])
    found = {**interpreters(), own: sys.executable}
    for name in sorted(wanted or found):
        if name not in found:
            print(f"CPython {name} is not at hand", file=sys.stderr)
            continue
        for version in versions if wanted or name == own else versions[-1:]:
            yield version, name, found[name]


def _print(rows: list[tuple[str, str, Ran]]) -> None:
    print(f"\n{'wasmtime':9} {'CPython':8} {'passed':>6} {'failed':>6} {'skipped':>7} {'seconds':>7}")
    for version, name, ran in rows:
        counts = f"{ran.passed:6} {len(ran.failed):6} {sum(ran.skipped.values()):7} {ran.seconds:7.0f}"
        print(f"{version:9} {name:8} {counts}")
    for reason in sorted({reason for _, _, ran in rows for reason in ran.skipped}):
        where = [f"{version}/{name}" for version, name, ran in rows if reason in ran.skipped]
        print(f"skipped on {'all' if len(where) == len(rows) else ', '.join(where)}: {reason}")
    for version, name, ran in rows:
        for test in ran.failed:
            print(f"FAILED {version} {name} {test}")
    _REPORT.write_text(
        json.dumps(
            [
                {
                    "wasmtime": version,
                    "python": name,
                    "passed": ran.passed,
                    "failed": ran.failed,
                    "skipped": ran.skipped,
                    "seconds": round(ran.seconds, 1),
                }
                for version, name, ran in rows
            ],
            indent=2,
        )
    )


if __name__ == "__main__":
    sys.exit(main())
