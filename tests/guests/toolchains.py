"""The compilers that build the guests, fetched from PyPI, npm and Debian into `build/toolchains/`.

Nothing is installed outside that folder. Each toolchain lives in a directory named by the digest of what
pins it, so that changing a pin fetches anew and an interrupted fetch is never mistaken for a whole one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent.parent / "build"
DIRECTORY = BUILD / "toolchains"


class ToolchainUnavailable(Exception):
    """A toolchain could not be fetched or does not run here; the text says why, in one line."""


def digest(parts: Iterable[bytes]) -> str:
    """SHA-256 over `parts`, each preceded by its length so that no two lists of parts collide."""
    state = hashlib.sha256()
    for part in parts:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.hexdigest()


def run(*command: str | Path, cwd: Path | None = None, environment: dict[str, str] | None = None) -> str:
    """Run `command` and return its output.

    Args:
        cwd: Where to run it.
        environment: Variables added to our own.

    Raises:
        ToolchainUnavailable: When the program does not exist.
        subprocess.CalledProcessError: When it fails; both its outputs are in `stdout`.
    """
    try:
        finished = subprocess.run(
            [str(word) for word in command],
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        )
    except FileNotFoundError as error:
        raise ToolchainUnavailable(f"{command[0]} is not installed") from error
    return finished.stdout


def last_lines(output: str | None, count: int = 3) -> str:
    """The last `count` non-empty lines of `output` on one line, for a message."""
    lines = [line.strip() for line in (output or "").splitlines() if line.strip()]
    return " / ".join(lines[-count:]) or "no output"


@dataclass(frozen=True)
class Toolchain:
    """One set of tools: how it is pinned and how it is fetched."""

    name: str

    def pins(self) -> list[bytes]:
        """Whatever decides which files a fetch yields."""
        raise NotImplementedError

    def fetch(self, target: Path) -> None:
        """Put the tools into the empty directory `target`."""
        raise NotImplementedError

    def fingerprint(self) -> str:
        return digest([self.name.encode(), *self.pins()])

    def path(self) -> Path:
        """Where the tools are, or will be."""
        return DIRECTORY / f"{self.name}-{self.fingerprint()[:12]}"

    def ensure(self) -> Path:
        """The directory holding the tools, fetched now if needed.

        Raises:
            ToolchainUnavailable: When fetching failed.
        """
        final = self.path()
        # A virtual environment cannot be moved, so the tools are put in place and marked when complete.
        complete = final / ".complete"
        if complete.exists():
            return final
        shutil.rmtree(final, ignore_errors=True)
        final.mkdir(parents=True)
        try:
            self.fetch(final)
        except subprocess.CalledProcessError as error:
            raise ToolchainUnavailable(
                f"fetching the {self.name} toolchain failed: {last_lines(error.stdout)}"
            ) from error
        except OSError as error:
            raise ToolchainUnavailable(f"fetching the {self.name} toolchain failed: {error}") from error
        complete.touch()
        return final


@dataclass(frozen=True)
class PythonTools(Toolchain):
    """A virtual environment with `requirements.txt`: componentize-py and Zig's C compiler."""

    requirements: Path

    def pins(self) -> list[bytes]:
        return [self.requirements.read_bytes(), sys.version.encode(), str(DIRECTORY).encode()]

    def fetch(self, target: Path) -> None:
        run(sys.executable, "-m", "venv", target)
        python = target / "bin" / "python"
        run(python, "-m", "pip", "install", "--quiet", "--no-input", "-r", self.requirements)


@dataclass(frozen=True)
class PythonPackages(Toolchain):
    """Pure Python packages to go into a CPython guest, without what they depend on."""

    requirements: tuple[str, ...]

    def pins(self) -> list[bytes]:
        return [requirement.encode() for requirement in self.requirements]

    def fetch(self, target: Path) -> None:
        # The guest's Python is another than this one.
        command = (
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-input",
            "--no-deps",
            "--no-compile",
        )
        run(*command, "--only-binary", ":all:", "--target", target, *self.requirements)


@dataclass(frozen=True)
class NodeTools(Toolchain):
    """The locked npm packages: jco (wit-component) and componentize-qjs."""

    package: Path
    lock: Path

    def pins(self) -> list[bytes]:
        return [self.package.read_bytes(), self.lock.read_bytes()]

    def fetch(self, target: Path) -> None:
        shutil.copy(self.package, target)
        shutil.copy(self.lock, target)
        # `npm install` takes versions and checksums from the lock as `npm ci` does. `npm ci` also wants the
        # optional packages for all other platforms in the lock, and a registry that lacks one cannot make
        # such a lock. None of the packages needs its install scripts, so none gets to run one.
        run("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", cwd=target)


PYTHON_TOOLS = PythonTools("python", HERE / "requirements.txt")
REDIS_PY = PythonPackages("redis-py", ("redis==6.4.0",))
H11 = PythonPackages("h11", ("h11==0.16.0",))
NODE_TOOLS = NodeTools("node", HERE / "package.json", HERE / "package-lock.json")


def scratch_directory() -> tempfile.TemporaryDirectory[str]:
    """A temporary directory below `build/`, so that finished files can be renamed into place."""
    BUILD.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(dir=BUILD, prefix="guest-")
