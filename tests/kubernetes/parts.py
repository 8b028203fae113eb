"""A real API server: kube-apiserver and kubectl built from Debian's source package, etcd taken from Debian.

    python tests/kubernetes/parts.py        # build what is missing (some minutes), and say what there is

No registry of packages carries a kube-apiserver, but Debian's source package `kubernetes` holds the whole tree with
all that it is built from, and Debian's Go compiles it. Everything is kept in `build/kubernetes/`; nothing is installed.
`GOFLAGS=-p=1` makes the compiler take one core only.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "guests"))

from debian import DebianTools, private_apt  # noqa: E402  # the guests' build program is no package
from toolchains import Toolchain, ToolchainUnavailable, run  # noqa: E402

DIRECTORY = ROOT / "build" / "kubernetes"

_SUITE: Final = "bookworm"
#: To be raised when a step of the build changes.
_STEPS: Final = b"3"

_IMPORT_PATH: Final = "k8s.io/kubernetes"
_OPENAPI: Final = "pkg/generated/openapi"
_OPENAPI_MARK: Final = re.compile(r"^\s*//\s*\+k8s:openapi-gen=", re.MULTILINE)


class KubernetesMissing(Exception):
    """A program is not there, or does not run here; the text says why, in one line."""


@dataclass(frozen=True)
class _Packages(DebianTools):
    """Debian packages, kept with the API server."""

    def path(self) -> Path:
        return DIRECTORY / f"{self.name}-{self.fingerprint()[:12]}"


ETCD = _Packages("etcd", _SUITE, ("etcd-server",))
_GO = _Packages("go", _SUITE, ("golang-1.19-go", "golang-1.19-src", "golang-github-modern-go-reflect2-dev"))


@dataclass(frozen=True)
class _Built(Toolchain):
    """Programs compiled from Debian's source package of Kubernetes."""

    programs: tuple[str, ...]

    def pins(self) -> list[bytes]:
        return [_SUITE.encode(), _STEPS, *(program.encode() for program in self.programs)]

    def path(self) -> Path:
        return DIRECTORY / f"{self.name}-{self.fingerprint()[:12]}"

    def fetch(self, target: Path) -> None:
        go = _GO.ensure()
        with tempfile.TemporaryDirectory(dir=DIRECTORY, prefix="go-path-") as scratch:
            go_path = Path(scratch)
            tree = go_path / "src" / _IMPORT_PATH
            tree.parent.mkdir(parents=True)
            taken = _unpack_source(tree)
            _replace_reflection(tree, go)
            environment = _go_environment(go, go_path)
            _generate_openapi(tree, environment)
            for program in self.programs:
                run(
                    *(*_go_command(go, "build", "-trimpath", "-ldflags", f"-s -w {_version(taken)}"), "-o"),
                    target / program,
                    f"{_IMPORT_PATH}/cmd/{program}",
                    cwd=tree,
                    environment=environment,
                )
        (target / "sources.json").write_text(json.dumps(taken, indent=2) + "\n")


KUBERNETES = _Built("kubernetes", ("kube-apiserver", "kubectl"))
_HOLDERS: Final[dict[str, tuple[Toolchain, str]]] = {
    "etcd": (ETCD, "usr/bin/etcd"),
    **{program: (KUBERNETES, program) for program in KUBERNETES.programs},
}


def _unpack_source(tree: Path) -> list[str]:
    """Puts Debian's source, its patches applied, at `tree`; apt has checked the signatures.

    Returns:
        the files that were fetched.
    """
    with private_apt(_SUITE, ("deb-src",)) as (downloads, environment):
        words = ("apt-get", "-q", "source", "--download-only", "kubernetes")
        run(*words, cwd=downloads, environment=environment)
        described = next(downloads.glob("kubernetes_*.dsc"))
        run("dpkg-source", "--no-check", "-x", described, tree, cwd=downloads)
        return sorted(each.name for each in downloads.iterdir())


def _version(taken: list[str]) -> str:
    """Flags for the linker that make the programs say their version, which Kubernetes' own build takes from git."""
    version = re.search(r"really(\d+)\.(\d+)(\.\d+)", next(each for each in taken if each.endswith(".dsc")))
    if version is None:
        raise ToolchainUnavailable(f"Debian's Kubernetes has another version than is known here: {taken}")
    major, minor, patch = version.groups()
    said = {"gitMajor": major, "gitMinor": minor, "gitVersion": f"v{major}.{minor}{patch}"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(
        f"-X {_IMPORT_PATH}/vendor/{package}.{name}={value}"
        for package in packages
        for name, value in said.items()
    )


def _replace_reflection(tree: Path, go: Path) -> None:
    """Newer `reflect2`: with the vendored one a server made by this Go crashes as it encodes its first map."""
    vendored = tree / "vendor" / "github.com" / "modern-go" / "reflect2"
    shutil.rmtree(vendored)
    shutil.copytree(
        go / "usr" / "share" / "gocode" / "src" / "github.com" / "modern-go" / "reflect2", vendored
    )


def _generate_openapi(tree: Path, environment: dict[str, str]) -> None:
    """Writes the description of all types, which Kubernetes' own build makes and the source package lacks."""
    packages = []
    for folder in ("pkg", "vendor/k8s.io"):
        for directory, _, files in os.walk(tree / folder, followlinks=True):
            sources = [each for each in files if each.endswith(".go") and not each.endswith("_test.go")]
            if any(_OPENAPI_MARK.search((Path(directory) / each).read_text("utf-8")) for each in sources):
                packages.append(f"{_IMPORT_PATH}/{Path(directory).relative_to(tree)}")
    header = tree / "boilerplate.txt"
    header.write_text("")
    run(
        *(Path(environment["GOROOT"]) / "bin" / "go", "run"),
        f"{_IMPORT_PATH}/vendor/k8s.io/kube-openapi/cmd/openapi-gen",
        *("-i", ",".join(sorted(packages)), "-p", f"{_IMPORT_PATH}/{_OPENAPI}"),
        *("-O", "zz_generated.openapi", "-h", header, "-r", tree / "violations.txt"),
        cwd=tree,
        environment=environment,
    )


def _go_command(go: Path, *words: str) -> tuple[str | Path, ...]:
    return (go / "usr" / "lib" / "go-1.19" / "bin" / "go", *words)


def _go_environment(go: Path, go_path: Path) -> dict[str, str]:
    return {
        "GOROOT": str(go / "usr" / "lib" / "go-1.19"),
        "GOPATH": str(go_path),
        "GOCACHE": str(go_path / "cache"),
        # The tree's go.mod names versions that its vendor directory does not have.
        "GO111MODULE": "off",
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
    }


def program(name: str) -> Path:
    """The file of etcd, kube-apiserver or kubectl.

    Raises:
        KubernetesMissing: it is not built, or not fetched.
    """
    holder, file = _HOLDERS[name]
    path = holder.path() / file
    if not (holder.path() / ".complete").exists() or not path.exists():
        raise KubernetesMissing(f"{name} is not there: run `make kubernetes`")
    return path


def main() -> int:
    """Fetch and build all. What cannot be had is said, and is no failure: the tests are skipped then."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    for holder in (ETCD, KUBERNETES):
        try:
            holder.ensure()
        except ToolchainUnavailable as error:
            print(f"{holder.name}: {error}")
    for name in _HOLDERS:
        try:
            path = program(name)
            words = [str(path), *(("version", "--client") if name == "kubectl" else ("--version",))]
            said = subprocess.run(words, capture_output=True, text=True, timeout=60).stdout.splitlines()
            print(f"{name}: {said[0] if said else 'it says nothing'} ({path})")
        except (KubernetesMissing, OSError, subprocess.TimeoutExpired) as missing:
            print(f"{name}: {missing}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
