"""Compiled guests on disk. Native code is loaded only from files that are ours and are what we wrote.

Compiling a CPython guest takes seconds, loading it from here milliseconds. Anything that is not as it should be is a
miss, never an error: a cache that cannot be used only costs time.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
import tempfile
from contextlib import suppress
from functools import cache
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from wasi_sockets._items_json import items_from_json, items_to_json
from wasi_sockets.interposer import Item

__all__ = ["CompiledCache", "Entry", "default_directory"]

_FORMAT = 1
_CHUNK = 1 << 20


class Entry(NamedTuple):
    """One guest in the cache: its open, verified code file and its item table. The reader closes the file."""

    descriptor: int
    items: tuple[Item, ...]


def default_directory() -> Path:
    """`$WASI_SOCKETS_CACHE`, else `wasi-sockets` in the user's cache directory."""
    chosen = os.environ.get("WASI_SOCKETS_CACHE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "wasi-sockets"


@cache
def _rewriter_version() -> str:
    """A digest of the code that decides how a rewritten guest looks, so that no release can forget to say so."""
    digest = hashlib.sha256()
    for package in ("wasi_sockets.interposer", "wasi_sockets.component"):
        for source in sorted(resources.files(package).iterdir(), key=lambda each: each.name):
            if source.name.endswith((".py", ".wat")):
                digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()


class CompiledCache:
    """A directory of compiled guests, private to its user.

    Args:
        directory: made with mode 0700 when it is not there. One that belongs to somebody else, that others may
            enter, or that is reached through a symbolic link as its last part, is not used.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def key(self, wasm: bytes, settings: str) -> str:
        """The name of a guest compiled by this version for an engine with these settings."""
        parts = (
            hashlib.sha256(wasm).hexdigest(),
            _rewriter_version(),
            version("wasmtime"),
            settings,
            sys.platform,
        )
        return hashlib.sha256("\0".join((str(_FORMAT), *parts)).encode()).hexdigest()

    def find(self, key: str) -> Entry | None:
        """The entry, its code verified against the digest noted when it was written; None for a miss."""
        try:
            if not self._usable(create=False):
                return None
            note = self._open(f"{key}.json")
            try:
                text = os.read(note, 1 << 26).decode()
            finally:
                os.close(note)
            digest, _, body = text.partition("\n")
            if hashlib.sha256(body.encode()).hexdigest() != digest:
                return None
            noted = json.loads(body)
            items = items_from_json(noted["items"])
            descriptor = self._open(f"{key}.cwasm")
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        try:
            if _digest(descriptor) == noted["code"]:
                return Entry(descriptor, items)
        except OSError:
            pass
        os.close(descriptor)
        return None

    def store(self, key: str, code: bytes | bytearray, items: tuple[Item, ...]) -> None:
        """Writes an entry; silently does not when the directory cannot be used or is full."""
        try:
            if not self._usable(create=True):
                return
            body = json.dumps({"code": hashlib.sha256(code).hexdigest(), "items": items_to_json(items)})
            self._write(f"{key}.cwasm", code)
            self._write(f"{key}.json", f"{hashlib.sha256(body.encode()).hexdigest()}\n{body}".encode())
        except OSError:
            return

    def discard(self, key: str) -> None:
        """Removes an entry that turned out to be unusable."""
        for suffix in ("json", "cwasm"):
            with suppress(OSError):
                (self.directory / f"{key}.{suffix}").unlink()

    def _usable(self, *, create: bool) -> bool:
        if create:
            self.directory.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                self.directory.mkdir(mode=0o700)
        found = os.lstat(self.directory)
        if not stat.S_ISDIR(found.st_mode):
            return False
        if not hasattr(os, "getuid"):
            return True
        return found.st_uid == os.getuid() and not stat.S_IMODE(found.st_mode) & 0o077

    def _open(self, name: str) -> int:
        descriptor = os.open(self.directory / name, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        found = os.fstat(descriptor)
        ours = not hasattr(os, "getuid") or found.st_uid == os.getuid()
        if stat.S_ISREG(found.st_mode) and ours and not stat.S_IMODE(found.st_mode) & 0o022:
            return descriptor
        os.close(descriptor)
        raise OSError(f"{name} is not a private regular file")

    def _write(self, name: str, data: bytes | bytearray) -> None:
        descriptor, temporary = tempfile.mkstemp(dir=self.directory, prefix=".new-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            os.replace(temporary, self.directory / name)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise


def _digest(descriptor: int) -> str:
    digest = hashlib.sha256()
    while chunk := os.read(descriptor, _CHUNK):
        digest.update(chunk)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return digest.hexdigest()
