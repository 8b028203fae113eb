"""References to images, such as registry.example.com:5000/shop/tasks:1.2@sha256:...

The grammar is that of the OCI distribution specification and of Docker's `reference` package. (The parser of the
package `oras` takes spaces, upper case and digests of any form.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["DIGEST", "DOCKER_HUB", "Reference"]

DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")

DOCKER_HUB: Final = "docker.io"
_DOCKER_HUB_HOST: Final = "registry-1.docker.io"

_HOST: Final = re.compile(
    r"(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)(:(?P<port>[0-9]{1,5}))?"
)
_PART: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY: Final = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_LOCAL: Final = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Reference:
    """Where an image is.

    Attributes:
        registry: host, with a port if one was given.
        repository: path in the registry.
        tag: "" when only a digest was given.
        digest: of the manifest; "" for whatever the tag leads to.
    """

    registry: str
    repository: str
    tag: str = "latest"
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Reads `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]`; without a registry it is Docker Hub, without a tag `latest`.

        Raises:
            ValueError: it is none; the message says what is wrong.
        """
        rest, at, digest = text.partition("@")
        if at and DIGEST.fullmatch(digest) is None:
            raise ValueError(
                f"image {text!r}: {digest!r} is no digest, such as sha256: and 64 hexadecimal digits"
            )
        first, slash, path = rest.partition("/")
        if slash and (first == "localhost" or "." in first or ":" in first):
            registry = first
        else:
            registry, path = DOCKER_HUB, rest
        path, colon, tag = path.partition(":")
        if registry == DOCKER_HUB and "/" not in path:
            path = f"library/{path}"
        host = _HOST.fullmatch(registry)
        if host is None or not 1 <= int(host["port"] or "1") <= 65535:
            raise ValueError(f"image {text!r}: {registry!r} is no host of a registry")
        if _REPOSITORY.fullmatch(path) is None or len(path) > 255:
            raise ValueError(
                f"image {text!r}: {path!r} is no repository: lower case, digits, '.', '_', '-' and '/'"
            )
        if colon and _TAG.fullmatch(tag) is None:
            raise ValueError(f"image {text!r}: {tag!r} is no tag")
        return cls(registry.lower(), path, tag or ("" if digest else "latest"), digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.registry}/{self.repository}{tag}{digest}"

    @property
    def host(self) -> str:
        """The host that is asked."""
        return _DOCKER_HUB_HOST if self.registry == DOCKER_HUB else self.registry

    @property
    def is_local(self) -> bool:
        """Whether the registry is on this machine."""
        return _LOCAL.fullmatch(self.registry) is not None
