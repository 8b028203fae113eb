"""Scratch environments, each with one version of wasmtime and otherwise the locked packages: `build/matrix/`."""

from __future__ import annotations

import re
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

__all__ = ["ROOT", "SUITES", "TESTED", "environment", "interpreters"]

ROOT = Path(__file__).resolve().parent.parent

TESTED = ("45.0.0", "46.0.1", "47.0.1", "48.0.0", "49.0.0", "50.0.1")
"""One release of every supported major version."""

SUITES = ("tests/engine", "tests/interposer", "tests/parity", "tests/conformance", "tests/facade")

_LOCK = ROOT / "requirements.lock"
# Only linters and what they need; everything else in the lock is installed.
_LEFT_OUT = ("ast-serialize", "librt", "mypy", "ruff", "towncrier", "wasmtime")


def interpreters() -> dict[str, str]:
    """Supported versions of CPython that are at hand: on the path, or installed by pyenv."""
    found: dict[str, str] = {}
    for minor in (11, 12, 13, 14):
        names = [shutil.which(f"python3.{minor}")]
        names += sorted(str(each) for each in Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python"))
        for name in names:
            # A shim of pyenv is there for every version, and starts only those that were chosen.
            if name and _version_of(name) == f"3.{minor}":
                found[f"3.{minor}"] = name
                break
    return found


def _version_of(python: str) -> str:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def environment(version: str, python: str) -> Path:
    """The interpreter of the environment for one version of wasmtime, made when it is not there.

    Args:
        version: of wasmtime.
        python: the interpreter to make it from.

    Raises:
        ValueError: the interpreter does not start.
        subprocess.CalledProcessError: it could not be made, such as for a version that does not exist.
    """
    name = _version_of(python)
    if not name:
        raise ValueError(f"{python} is no Python that starts")
    directory = ROOT / "build" / "matrix" / f"{version}-py{name}"
    mark = directory / "installed"
    wanted = sha256(_LOCK.read_bytes() + version.encode()).hexdigest()
    if mark.exists() and mark.read_text() == wanted:
        return directory / "bin" / "python"
    shutil.rmtree(directory, ignore_errors=True)
    directory.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([python, "-m", "venv", str(directory)], check=True)
    lock = directory / "requirements.txt"
    lock.write_text(_lock_without(_LOCK.read_text()))
    pip = [str(directory / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--require-hashes", "--requirement", str(lock)], check=True)
    subprocess.run([*pip, f"wasmtime=={version}"], check=True)
    # The checkout itself, as an editable install would, but without building anything.
    (site,) = directory.glob("lib/python*/site-packages")
    (site / "checkout.pth").write_text(f"{ROOT}\n")
    mark.write_text(wanted)
    return directory / "bin" / "python"


def _lock_without(text: str) -> str:
    blocks = re.split(r"\n(?=[a-z0-9])", text)
    return "\n".join(each for each in blocks if not each.startswith(tuple(f"{name}==" for name in _LEFT_OUT)))
