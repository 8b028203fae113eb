"""`wasi-sockets doctor`: whether this library can work with the installed wasmtime, line by line.

Nothing of wasmtime is loaded into this process, and nothing of `wasi_sockets`, which loads it: a check that crashes
takes only its own process along, and is named.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from service._exits import CANNOT_RUN, CommandError
from service._terminal import escaped, output

__all__ = ["Line", "doctor", "findings"]

_SECONDS = 120
_INSTALL = "install a supported wasmtime (python -m pip install 'wasi-sockets' chooses one)"
_DEEP_MODULE = "wasi_sockets.doctor"


class Line(NamedTuple):
    """One thing that was checked.

    Attributes:
        ok: None when it was not tried.
        detail: what was seen, or what is wrong.
        advice: what to do; empty when all is well.
    """

    name: str
    ok: bool | None
    detail: str
    advice: str = ""


def doctor(*, as_json: bool) -> int:
    """Prints what works and what does not.

    Returns:
        0, or 126 when a check failed.

    Raises:
        CommandError: this library is not where Python finds it.
    """
    lines = list(findings())
    failed = any(each.ok is False for each in lines)
    if as_json:
        report = {"ok": not failed, "versions": _versions(), "checks": [each._asdict() for each in lines]}
        output(json.dumps(report, indent=2))
        return CANNOT_RUN if failed else 0
    output(", ".join(f"{name} {version}" for name, version in _versions().items()))
    width = max(len(each.name) for each in lines)
    for each in lines:
        word = {True: "ok", False: "WRONG", None: "-"}[each.ok]
        output(escaped(f"{each.name:{width}}  {word:5}  {each.detail}"))
        if each.advice:
            output(escaped(f"{'':{width}}         -> {each.advice}"))
    return CANNOT_RUN if failed else 0


def findings(environment: Mapping[str, str] | None = None) -> Iterator[Line]:
    """Every check: first what can be seen, then what happens when it is tried.

    Args:
        environment: variables for the processes that check, this process's own by default.

    Raises:
        CommandError: this library is not where Python finds it.
    """
    package = importlib.util.find_spec("wasi_sockets")
    if package is None or not package.submodule_search_locations:
        raise CommandError("the package wasi_sockets is not installed")
    # Not from outside: a variable that leaves checks out, which is for imports, must not leave these out.
    environment = {**(os.environ if environment is None else environment), "WASI_SOCKETS_SELF_CHECK": "0"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    engine = Path(package.submodule_search_locations[0]) / "engine"
    version = _version_line(runpy.run_path(str(engine / "versions.py")))
    yield version
    seen = [version, *_look(engine / "bindings_check.py", environment)]
    yield from seen[1:]
    if all(line.ok for line in seen):
        yield from _try_out(environment)
    else:
        yield Line("everything else", None, "not tried: it could crash while the above is wrong")


def _version_line(supported: Mapping[str, Any]) -> Line:
    text = supported["installed_version"]()
    number = supported["major"](text)
    known = f"supported is wasmtime{supported['SUPPORTED']}"
    if number is None:
        return Line("version", False, f"wasmtime is not installed, or its version {text!r} is none", _INSTALL)
    if number < supported["OLDEST_SUPPORTED"]:
        return Line("version", False, f"wasmtime {text} is too old; {known}", _INSTALL)
    if number > supported["NEWEST_TESTED"]:
        return Line(
            "version", True, f"wasmtime {text} was not tested; {known}; it runs if all of this is right"
        )
    return Line("version", True, f"wasmtime {text}; {known}")


def _look(by_path: Path, environment: Mapping[str, str]) -> Iterator[Line]:
    child = _child([str(by_path)], environment)
    try:
        found: list[dict[str, Any]] = json.loads(child.stdout)
    except ValueError:
        yield Line("package", False, _ending(child), _INSTALL)
        return
    for each in found:
        wrong = "; ".join(each["wrong"])
        yield Line(each["name"], not wrong, wrong or each["seen"], _INSTALL if wrong else "")


def _try_out(environment: Mapping[str, str]) -> Iterator[Line]:
    """Run the deep checks, starting again behind each one that took its process along."""
    listed = _child(["-c", f"import {_DEEP_MODULE} as d; print('\\n'.join(d.CHECKS))"], environment)
    if listed.returncode:
        yield Line("import", False, _ending(listed), _INSTALL)
        return
    names = listed.stdout.splitlines()
    yield Line("import", True, "wasi_sockets loads")
    while names:
        child = _child(["-m", _DEEP_MODULE, *names], environment)
        begun = names[0]
        for text in child.stdout.splitlines():
            told = json.loads(text)
            begun = told["name"]
            if "ok" in told:
                names.remove(begun)
                yield Line(**told)
        if names:
            detail = f"the process that checked it ended: {_ending(child)}"
            if begun in names:
                names.remove(begun)
                yield Line(begun, False, detail, f"{_INSTALL}, and report this")
            else:
                yield Line("the rest", False, detail, f"{_INSTALL}, and report this")
                return


def _child(words: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *words]
    try:
        return subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired as late:
        output = late.stdout.decode("utf-8", "replace") if isinstance(late.stdout, bytes) else ""
        return subprocess.CompletedProcess(command, 1, output, f"it did not end within {_SECONDS} s")


def _ending(child: subprocess.CompletedProcess[str]) -> str:
    last = (child.stderr.strip().splitlines() or ["it said nothing"])[-1]
    if child.returncode < 0:
        return f"killed by signal {-child.returncode}"
    return last


def _versions() -> dict[str, str]:
    versions = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in ("wasi-sockets", "wasmtime", "trio"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "(not installed)"
    return versions
