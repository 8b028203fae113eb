"""Toolchains made of Debian packages, unpacked into a directory; nothing is installed in the system.

apt runs with a configuration, a package list and a status file of its own, so the machine's own lists, sources
and database are neither used nor touched, and no privileges are needed.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from toolchains import Toolchain, ToolchainUnavailable, run

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
ARCHIVE = "http://deb.debian.org/debian"

# How this machine reaches archives and what age of their signatures it accepts is its owner's decision, so
# these settings are taken over from the system's apt; everything else is ours.
INHERITED_SETTINGS = (
    "Acquire::http::",
    "Acquire::https::",
    "Acquire::Check-Valid-Until",
    "Acquire::ForceIPv",
    "Acquire::Retries",
)


def _apt_configuration(root: Path, suite: str, architecture: str, kinds: tuple[str, ...]) -> Path:
    for folder in ("etc/parts", "state/lists/partial", "cache/archives/partial"):
        (root / folder).mkdir(parents=True)
    (root / "state" / "status").touch()
    (root / "etc" / "sources.list").write_text(
        "".join(f"{kind} [signed-by={KEYRING}] {ARCHIVE} {suite} main\n" for kind in kinds)
    )
    settings = {
        "Dir": root,
        "Dir::State": root / "state",
        "Dir::State::status": root / "state" / "status",
        "Dir::Cache": root / "cache",
        "Dir::Etc": root / "etc",
        "Dir::Etc::sourcelist": root / "etc" / "sources.list",
        "Dir::Etc::sourceparts": root / "etc" / "parts",
        "Dir::Etc::parts": root / "etc" / "parts",
        "Dir::Etc::preferencesparts": root / "etc" / "parts",
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
    }
    lines = [f'{name} "{value}";' for name, value in settings.items()]
    lines += [line for line in run("apt-config", "dump").splitlines() if line.startswith(INHERITED_SETTINGS)]
    configuration = root / "apt.conf"
    configuration.write_text("\n".join(lines) + "\n")
    return configuration


@contextmanager
def private_apt(suite: str, kinds: tuple[str, ...] = ("deb",)) -> Iterator[tuple[Path, dict[str, str]]]:
    """An apt that knows one suite, with its lists fetched: an empty directory for downloads, and its environment.

    Args:
        suite: of Debian.
        kinds: of packages, "deb" and "deb-src".

    Raises:
        ToolchainUnavailable: the keys that the archive's signatures are checked with, or apt itself, are not there.
        subprocess.CalledProcessError: the lists cannot be fetched.
    """
    if not KEYRING.exists():
        raise ToolchainUnavailable(f"{KEYRING} is missing, so Debian packages cannot be verified")
    architecture = run("dpkg", "--print-architecture").strip()
    with tempfile.TemporaryDirectory(prefix="apt-") as scratch:
        root = Path(scratch)
        environment = {"APT_CONFIG": str(_apt_configuration(root, suite, architecture, kinds))}
        run("apt-get", "-q", "update", environment=environment)
        downloads = root / "downloads"
        downloads.mkdir()
        yield downloads, environment


@dataclass(frozen=True)
class DebianTools(Toolchain):
    """Packages of one Debian suite.

    A suite moves on, so the versions are not pinned: apt checks the archive's signature, and what was taken
    is recorded with its SHA-256 in `packages.json`.
    """

    suite: str
    packages: tuple[str, ...]

    def pins(self) -> list[bytes]:
        return [self.suite.encode(), *(package.encode() for package in self.packages)]

    def fetch(self, target: Path) -> None:
        with private_apt(self.suite) as (downloads, environment):
            run("apt-get", "-q", "download", *self.packages, cwd=downloads, environment=environment)
            taken = {}
            for archive in sorted(downloads.glob("*.deb")):
                taken[archive.name] = hashlib.sha256(archive.read_bytes()).hexdigest()
                run("dpkg", "-x", archive, target)
        (target / "packages.json").write_text(json.dumps(taken, indent=2) + "\n")


# wasm32-wasip2 with BSD sockets came after trixie. Data only: headers and static libraries.
WASI_LIBC = DebianTools("wasi-libc", "sid", ("wasi-libc",))

# rustc with the libraries it runs on, because the machine's own may be older.
RUST = DebianTools(
    "rust",
    "trixie",
    (
        "rustc",
        "libstd-rust-1.85",
        "libstd-rust-dev-wasm32",
        "libllvm19",
        "libc6",
        "libgcc-s1",
        "libstdc++6",
        "libbsd0",
        "libedit2",
        "libffi8",
        "libicu76",
        "liblzma5",
        "libmd0",
        "libtinfo6",
        "libxml2",
        "libz3-4",
        "libzstd1",
        "zlib1g",
    ),
)
