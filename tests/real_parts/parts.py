"""Programs that others made, for tests beside them: fetched from Debian and npm to `build/real-parts/`, not installed.

    python tests/real_parts/parts.py        # fetch what is missing, and say what there is

They run on this machine's libc with the other libraries unpacked beside them. Where one cannot be had so, a program of
that name on PATH takes its place; where there is none either, tests are skipped with the reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "guests"))

from debian import DebianTools  # noqa: E402  # the guests' build program is no package
from toolchains import NodeTools, ToolchainUnavailable  # noqa: E402

DIRECTORY = ROOT / "build" / "real-parts"

#: Where Debian's packages put programs.
_FOLDERS = ("usr/bin", "usr/sbin", "usr/lib/postgresql/15/bin")

_SYSTEMD = ("libsystemd0", "libcap2", "libgcrypt20", "libgpg-error0", "liblz4-1", "liblzma5", "libzstd1")


class RealPartMissing(Exception):
    """A program is neither fetched nor on PATH, or does not run here; the text says why, in one line."""


@dataclass(frozen=True)
class RealPart(DebianTools):
    """Debian packages with the libraries that their programs need, libc excepted."""

    suite: str = "bookworm"
    packages: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()

    def path(self) -> Path:
        return DIRECTORY / f"{self.name}-{self.fingerprint()[:12]}"


PARTS = (
    RealPart(
        "redis",
        packages=(
            *("redis-server", "redis-tools", "libhiredis0.14", "libjemalloc2", "liblua5.1-0", "liblzf1"),
            *("libssl3", "lua-bitop", "lua-cjson", *_SYSTEMD),
        ),
        programs=("redis-server",),
    ),
    RealPart(
        "postgresql",
        packages=(
            *("postgresql-15", "libpq5", "libicu72", "libxml2", "libssl3", "zlib1g", "libpam0g", "libuuid1"),
            *("libselinux1", "libpcre2-8-0", "libaudit1", "libcap-ng0", "libgssapi-krb5-2", "libkrb5-3"),
            *(
                "libk5crypto3",
                "libkrb5support0",
                "libcom-err2",
                "libkeyutils1",
                "libldap-2.5-0",
                "libsasl2-2",
            ),
            *("libgnutls30", "libp11-kit0", "libidn2-0", "libunistring2", "libtasn1-6", "libnettle8"),
            *("libhogweed6", "libgmp10", "libffi8", "libstdc++6", "libgcc-s1", *_SYSTEMD),
        ),
        programs=("initdb", "postgres"),
    ),
    RealPart(
        "nginx",
        packages=("nginx", "libcrypt1", "libpcre2-8-0", "libssl3", "zlib1g"),
        programs=("nginx",),
    ),
    RealPart(
        "wrk",
        packages=("wrk", "libluajit-5.1-2", "libluajit-5.1-common", "libssl3"),
        programs=("wrk",),
    ),
    RealPart(
        "docker-registry",
        packages=("docker-registry",),
        programs=("docker-registry",),
    ),
)


@dataclass(frozen=True)
class NodePart(NodeTools):
    """Locked npm packages that tests run with node."""

    def path(self) -> Path:
        return DIRECTORY / f"{self.name}-{self.fingerprint()[:12]}"

    def modules(self) -> Path:
        """The directory for `NODE_PATH`.

        Raises:
            RealPartMissing: they are not fetched, or there is no node.
        """
        if shutil.which("node") is None:
            raise RealPartMissing("node is not installed")
        if not (self.path() / ".complete").exists():
            raise RealPartMissing(f"{self.name} is not fetched: run `make real-parts`")
        return self.path() / "node_modules"


_RECEIVER = Path(__file__).parent / "receiver"
OTLP_RECEIVER = NodePart("mockotlpserver", _RECEIVER / "package.json", _RECEIVER / "package-lock.json")

_HOLDERS = {program: part for part in PARTS for program in part.programs}

#: How a program is asked whether it runs.
_PROBES = {"nginx": "-v", "wrk": "-v"}


@dataclass(frozen=True)
class Program:
    """One that runs here.

    Attributes:
        path: the file.
        environment: what it needs besides this process's own.
        version: what it says of itself, one line.
    """

    path: Path
    environment: dict[str, str]
    version: str

    def variables(self) -> dict[str, str]:
        """The whole environment for it."""
        return {**os.environ, **self.environment}


def _probe(path: Path, environment: dict[str, str]) -> Program:
    words = [str(path), _PROBES.get(path.name, "--version")]
    try:
        ended = subprocess.run(
            words,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RealPartMissing(f"{path.name} does not run: {error}") from error
    said = ended.stdout.strip().splitlines() or ["it says nothing"]
    # wrk ends with 1 after saying its version.
    if ended.returncode not in (0, 1) or "error while loading shared libraries" in ended.stdout:
        raise RealPartMissing(f"{path.name} does not run: {said[-1]}")
    return Program(path, environment, said[0])


def _fetched(name: str) -> Program:
    root = _HOLDERS[name].path()
    if not (root / ".complete").exists():
        raise RealPartMissing(f"{name} is not fetched: run `make real-parts`")
    for folder in _FOLDERS:
        path = root / folder / name
        if path.exists():
            break
    else:
        raise RealPartMissing(f"the packages of {_HOLDERS[name].name} have no {name}")
    libraries = [str(each) for each in (*root.glob("usr/lib/*-linux-gnu*"), *root.glob("lib/*-linux-gnu*"))]
    return _probe(path, {"LD_LIBRARY_PATH": ":".join(libraries)})


def program(name: str) -> Program:
    """A program by its name, the fetched one rather than one on PATH.

    Raises:
        RealPartMissing: there is none that runs.
    """
    try:
        return _fetched(name)
    except RealPartMissing as missing:
        installed = shutil.which(name)
        if installed is None:
            raise RealPartMissing(f"{missing}; none on PATH either") from missing
        return _probe(Path(installed), {})


def _fetch(part: RealPart | NodePart) -> str | None:
    try:
        part.ensure()
    except ToolchainUnavailable as error:
        return str(error)
    return None


def main() -> int:
    """Fetch all parts. What cannot be had is said, and is no failure: the tests are skipped then."""
    with ThreadPoolExecutor() as executor:
        parts = (*PARTS, OTLP_RECEIVER)
        reasons = dict(zip(parts, executor.map(_fetch, parts), strict=True))
    for part, reason in reasons.items():
        if reason is not None:
            print(f"{part.name}: {reason}")
    for name in _HOLDERS:
        try:
            found = program(name)
            print(f"{name}: {found.version} ({found.path})")
        except RealPartMissing as missing:
            print(f"{name}: {missing}")
    try:
        print(f"{OTLP_RECEIVER.name}: {OTLP_RECEIVER.modules()}")
    except RealPartMissing as missing:
        print(f"{OTLP_RECEIVER.name}: {missing}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
