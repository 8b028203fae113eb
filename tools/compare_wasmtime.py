"""What differs between two versions of wasmtime, for this library: `make compare OLD=50.0.1 NEW=51.0.0`.

Installs both in scratch environments, compares what they offer, and runs conformance checks and the parity suite on
both. Ends with 1 when the new one is worse: something we use is gone or changed, or a result is not what it was.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from wasmtime_environments import ROOT, environment
from wasmtime_suites import Ran, run_suites

_SURFACE = ROOT / "tools" / "wasmtime_surface.py"
_MOST_LINES = 40


def main() -> int:
    """1 when the new version asks for work."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--python", default=sys.executable, help="the interpreter for both")
    parser.add_argument("--no-tests", action="store_true", help="only what can be seen")
    arguments = parser.parse_args()

    pythons = [environment(version, arguments.python) for version in (arguments.old, arguments.new)]
    old, new = (_surface(python) for python in pythons)
    print(f"# wasmtime {old['version']} -> {new['version']}")
    work = _print_surfaces(old, new)
    if not arguments.no_tests:
        work |= _print_doctors(pythons)
        work |= _print_conformance(pythons)
        work |= _print_parity(pythons)
    said = "The lines marked !! are work to do." if work else "No function or structure of our list changed."
    print(f"\n{said}{' The tests were left out.' if arguments.no_tests else ''}")
    return 1 if work else 0


def _surface(python: Path) -> dict[str, Any]:
    output = subprocess.run([str(python), str(_SURFACE)], cwd=ROOT, capture_output=True, text=True)
    if output.returncode:
        raise SystemExit(f"{python}: {output.stderr}")
    found: dict[str, Any] = json.loads(output.stdout)
    return found


def _print_surfaces(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    work = False
    sections = (
        ("stock interfaces, as named in the library", "wasi", False),
        ("stock functions and resources", "stock", True),
        ("C functions that we use (p pointer, w word, b bool)", "ours", True),
        ("structures that we use, in bytes", "structures", False),
        ("kinds of component values", "kinds", False),
        ("C functions that we do not use", "c_functions", False),
        ("names of the Python package", "python", False),
        ("dialect of the text format", "text", False),
    )
    for title, key, matters in sections:
        lines = list(_differences(old[key], new[key]))
        print(f"\n## {title}: {'no change' if not lines else ''}")
        for sign, line in lines[:_MOST_LINES]:
            marked = matters and sign != "+"
            work |= marked
            print(f"  {'!!' if marked else '  '} {sign} {line}")
        if len(lines) > _MOST_LINES:
            print(f"     ... and {len(lines) - _MOST_LINES} more")
    print("\n## our list of what we rely on (wasi_sockets/engine/bindings_check.py), on the new version")
    for line in new["wrong"] or ["all as it should be"]:
        print(f"  {'!!' if new['wrong'] else '  '} {line}")
    return work or bool(new["wrong"])


def _differences(old: Any, new: Any) -> Iterator[tuple[str, str]]:
    if isinstance(old, list):
        old, new = dict.fromkeys(old), dict.fromkeys(new)
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            yield "-", name
        elif name not in old:
            yield "+", name
        elif old[name] != new[name]:
            yield "~", f"{name}: {old[name]} -> {new[name]}"


def _print_doctors(pythons: list[Path]) -> bool:
    old, new = ({each["name"]: each for each in _json(python, "doctor")["checks"]} for python in pythons)
    print("\n## wasi-sockets doctor: old, new")
    work = False
    for name in dict.fromkeys([*old, *new]):
        one, other = (_word(each.get(name, {}).get("ok")) for each in (old, new))
        worse = other != "ok"
        work |= worse
        detail = new.get(name, {}).get("detail", "") if worse else ""
        print(f"  {'!!' if worse else '  '} {name:22} {one:6} {other:6} {detail}")
    return work


def _word(ok: bool | None) -> str:
    return {True: "ok", False: "WRONG", None: "-"}[ok]


def _print_conformance(pythons: list[Path]) -> bool:
    old, new = ({each["name"]: each for each in _json(python, "conformance")["checks"]} for python in pythons)
    print("\n## conformance: old, new")
    for title, results in (("old", old), ("new", new)):
        print(f"     {title}: {dict(Counter(each['status'] for each in results.values()))}")
    refused = new.get("conformance")
    if refused is not None:
        print(f"  !! the new version could not run them: {refused['detail']}")
        return True
    work = not new
    for name in dict.fromkeys([*old, *new]):
        one, other = (each.get(name, {}).get("status", "missing") for each in (old, new))
        if one != other:
            worse = other in ("fail", "missing")
            work |= worse
            print(
                f"  {'!!' if worse else '  '} {name}: {one} -> {other} {new.get(name, {}).get('detail', '')}"
            )
    return work


def _print_parity(pythons: list[Path]) -> bool:
    old, new = (_parity(python) for python in pythons)
    print("\n## the same as stock (tests/parity)")
    print(f"     old: {old}")
    print(f"  {'!!' if new.failed else '  '} new: {new}")
    for test in new.failed:
        print(f"  !! {test}{' (on the old one too)' if test in old.failed else ''}")
    return bool(new.failed)


def _parity(python: Path) -> Ran:
    return run_suites(python, ["tests/parity"], quiet=True)


def _json(python: Path, command: str) -> dict[str, Any]:
    done = subprocess.run(
        [str(python), "-m", "service.cli", command, "--json"],
        cwd=ROOT,
        env={**os.environ, "WASI_SOCKETS_CACHE": str(ROOT / "build" / "cache")},
        capture_output=True,
        text=True,
    )
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return {
            "checks": [{"name": command, "ok": False, "status": "fail", "detail": done.stderr.strip()[-300:]}]
        }
    return found


if __name__ == "__main__":
    sys.exit(main())
