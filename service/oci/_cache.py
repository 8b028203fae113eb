"""Images that were pulled, on disk: contents by their digests, and which digest a tag led to.

    oci/blobs/<sha256>       a component
    oci/manifests/<sha256>   a manifest
    oci/tags/<sha256>        the digest of the manifest that a tag led to, by the digest of the reference

Contents are verified whenever they are read; what is not as it should be counts as not there. Files come into being
whole, by renaming, so that processes do not disturb each other.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from service.oci._errors import PullError
from service.oci._reference import DIGEST, Reference
from wasi_sockets._cache import default_directory

__all__ = ["ImageCache", "PartialBlob", "digest_of"]

_KINDS: Final = ("blobs", "manifests", "tags")


def digest_of(content: bytes) -> str:
    """The digest as registries write it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class ImageCache:
    """A directory of images, private to its user.

    Args:
        directory: made with mode 0700; by default `oci` beside compiled code.

    Raises:
        PullError: it cannot be made, or belongs to somebody else, or others may write there: they could say what a
            tag means.
    """

    def __init__(self, directory: str | os.PathLike[str] | None = None) -> None:
        self.directory = default_directory() / "oci" if directory is None else Path(directory)
        try:
            for each in (self.directory.parent, self.directory, *(self.directory / kind for kind in _KINDS)):
                each.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = os.stat(self.directory)
        except OSError as error:
            raise PullError(
                "cache", f"the image cache {self.directory}: {error.strerror or error}"
            ) from error
        if hasattr(os, "getuid") and (found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o022):
            raise PullError(
                "cache", f"the image cache {self.directory} is not private: others may write there"
            )

    def blob_path(self, digest: str) -> Path:
        """Where a component is, or would be."""
        return self._path("blobs", digest)

    def blob(self, digest: str) -> bytes | None:
        """A component, verified; None when it is not there."""
        return self._verified("blobs", digest)

    def manifest(self, digest: str) -> bytes | None:
        """A manifest, verified; None when it is not there."""
        return self._verified("manifests", digest)

    def tagged(self, reference: Reference) -> str | None:
        """The digest that a tag led to when it was last looked up."""
        try:
            text = self._tag_path(reference).read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            return None
        return text if DIGEST.fullmatch(text) else None

    def keep_manifest(self, content: bytes) -> None:
        """Keep a manifest."""
        self._write(self._path("manifests", digest_of(content)), content)

    def keep_tag(self, reference: Reference, digest: str) -> None:
        """Note what a tag leads to."""
        self._write(self._tag_path(reference), f"{digest}\n".encode("ascii"))

    def new_blob(self) -> PartialBlob:
        """A file for a component that is on its way."""
        return PartialBlob(self)

    def _path(self, kind: str, digest: str) -> Path:
        return self.directory / kind / digest.removeprefix("sha256:")

    def _tag_path(self, reference: Reference) -> Path:
        name = f"{reference.registry}/{reference.repository}:{reference.tag}"
        return self._path("tags", digest_of(name.encode()))

    def _verified(self, kind: str, digest: str) -> bytes | None:
        try:
            content = self._path(kind, digest).read_bytes()
        except OSError:
            return None
        return content if digest_of(content) == digest else None

    def _write(self, path: Path, content: bytes) -> None:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise


class PartialBlob:
    """A component that is being received: written and counted, and kept under its digest only if that is right."""

    def __init__(self, cache: ImageCache) -> None:
        self._cache = cache
        self._digest = hashlib.sha256()
        self.size = 0
        descriptor, self._temporary = tempfile.mkstemp(dir=cache.directory / "blobs", prefix=".new-")
        self._file: IO[bytes] = os.fdopen(descriptor, "wb")

    def write(self, chunk: bytes) -> None:
        """Add bytes."""
        self._file.write(chunk)
        self._digest.update(chunk)
        self.size += len(chunk)

    def keep(self, digest: str) -> bool:
        """Whether it has this digest, and then it is kept."""
        self._file.close()
        if f"sha256:{self._digest.hexdigest()}" != digest:
            return False
        os.replace(self._temporary, self._cache.blob_path(digest))
        return True

    def close(self) -> None:
        """Remove it, unless it was kept."""
        with suppress(OSError):  # of a full disk, which cannot take what is still in the buffer
            self._file.close()
        with suppress(OSError):
            os.unlink(self._temporary)
