"""Where the API server is, and what proves who is asking. None of it ever reaches a guest, a log or a span."""

from __future__ import annotations

import os
import ssl
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

__all__ = ["ApiServer", "FixedToken", "NoToken", "TokenFile", "TokenSource", "in_cluster"]

_SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class TokenSource(Protocol):
    """What gives the bearer token of each request."""

    def token(self, *, rejected: str | None = None) -> Awaitable[str | None]:
        """The token; None for none.

        Args:
            rejected: the one that the API server has just answered with 401: time for a new one, if there is any.
        """
        ...


class NoToken:
    """For client certificates."""

    async def token(self, *, rejected: str | None = None) -> str | None:
        """None."""
        return None


class FixedToken:
    """One token for all time."""

    __slots__ = ("_token",)

    def __init__(self, token: str) -> None:
        self._token: Final = _checked(token, "the token")

    async def token(self, *, rejected: str | None = None) -> str | None:
        """The token."""
        return self._token


class TokenFile:
    """A token that somebody else renews, as the kubelet does every hour: the file is read again when it changed.

    Args:
        path: of the file.
    """

    __slots__ = ("_path", "_seen", "_token")

    def __init__(self, path: Path) -> None:
        self._path: Final = path
        self._seen: tuple[int, int, int] | None = None
        self._token = ""

    async def token(self, *, rejected: str | None = None) -> str | None:
        """What the file says now.

        Raises:
            OSError: it cannot be read.
            ValueError: it holds no token.
        """
        about = self._path.stat()  # of what a symbolic link, which the kubelet swaps, leads to
        seen = (about.st_mtime_ns, about.st_ino, about.st_size)
        if seen != self._seen or rejected == self._token:
            self._token = _checked(self._path.read_text("ascii", errors="replace").strip(), str(self._path))
            self._seen = seen
        return self._token


def _checked(token: str, where: str) -> str:
    if not token or any(not "!" <= each <= "~" for each in token):
        raise ValueError(f"{where}: a bearer token is printable ASCII without spaces, and not empty")
    return token


@dataclass(frozen=True, slots=True)
class ApiServer:
    """An API server and how to speak to it.

    Attributes:
        url: such as "https://10.0.0.1:6443", perhaps with a path.
        tls: None for plain HTTP, which is for this machine's own loopback only.
        tokens: of the requests.
        namespace: the default one of whoever it speaks for.
        server_name: in the server's certificate, where it is not the host of the URL.
    """

    url: str
    tls: ssl.SSLContext | None = field(repr=False)
    tokens: TokenSource = field(default_factory=NoToken, repr=False)
    namespace: str = "default"
    server_name: str = ""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(
                f"the API server's URL must be https://HOST[:PORT][/PATH], not {parts.geturl()!r}"
            )
        if parts.username is not None or parts.password is not None:
            raise ValueError("the API server's URL must not hold a user or password")
        parts.port  # noqa: B018 - says ValueError for what is no port
        if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
            raise ValueError(
                "plain HTTP would show all credentials to the network: the URL must be https://..."
            )
        if (parts.scheme == "https") is not (self.tls is not None):
            raise ValueError("an https URL needs `tls`, and an http one has none")


def in_cluster(
    environment: Mapping[str, str] | None = None, directory: Path | str = _SERVICE_ACCOUNT
) -> ApiServer:
    """The API server of the cluster that this process is a pod of, as the pod's service account.

    Args:
        environment: variables, this process's own by default.
        directory: where the service account's files are.

    Raises:
        LookupError: this is no pod: the variables are missing.
        OSError: a file is missing, which is so where `automountServiceAccountToken` is false.
        ssl.SSLError: the authority's file holds no certificate.
    """
    variables = os.environ if environment is None else environment
    host, port = (variables.get(f"KUBERNETES_SERVICE_{each}", "") for each in ("HOST", "PORT"))
    if not host or not port:
        raise LookupError(
            "this is no pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set; give a kubeconfig"
        )
    folder = Path(directory)
    token = folder / "token"
    token.read_bytes()  # a missing file is to be known now
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    namespace = (folder / "namespace").read_text("utf-8").strip() or "default"
    address = f"[{host}]" if ":" in host else host
    return ApiServer(f"https://{address}:{port}", context, TokenFile(token), namespace)
