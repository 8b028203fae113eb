"""kubeconfig files: which API server the current context names, and its credentials.

https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from service.kubernetes.credentials import ApiServer, FixedToken, NoToken, TokenFile, TokenSource
from service.kubernetes.exec_plugin import ExecPlugin

try:
    import yaml
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"reading a kubeconfig needs PyYAML ({error.name} is missing): pip install 'wasi-sockets[kubernetes]'",
        name=error.name,
    ) from error

__all__ = ["load_kubeconfig"]

# What would change who asks, or the way there, if it were passed over in silence.
_UNSUPPORTED: Final = {
    "user": ("as", "as-uid", "as-groups", "as-user-extra", "username", "password", "auth-provider"),
    "cluster": ("proxy-url",),
}


def load_kubeconfig(
    path: str | os.PathLike[str] | None = None, *, context: str | None = None, exec_plugins: bool = False
) -> ApiServer:
    """The API server that a kubeconfig's context names.

    Args:
        path: of the file; by default those of the variable KUBECONFIG, merged as kubectl merges them, or
            ~/.kube/config.
        context: its name, the current one by default.
        exec_plugins: run the program that the user's entry names for a token. It runs with this process's rights, so
            it is off unless the operator wants it.

    Raises:
        OSError: a file that it names cannot be read.
        ValueError: it is no kubeconfig, lacks something, or uses what is not supported here; the text says what.
        ssl.SSLError: a certificate or key is none.
    """
    config = _Kubeconfig(_paths(path))
    chosen = config.entry("context", context or config.current)
    cluster_name, user_name = str(chosen.get("cluster") or ""), str(chosen.get("user") or "")
    cluster = config.entry("cluster", cluster_name)
    user = config.entry("user", user_name) if user_name else {}
    url = str(cluster.get("server") or "")
    server_name = str(cluster.get("tls-server-name") or "")
    tls = _tls(cluster, user) if url.lower().startswith("https:") else None
    return ApiServer(
        url.rstrip("/"),
        tls,
        _tokens(user, cluster, exec_plugins),
        str(chosen.get("namespace") or "default"),
        server_name,
    )


def _paths(path: str | os.PathLike[str] | None) -> list[Path]:
    if path is not None:
        return [Path(path)]
    named = [Path(each) for each in os.environ.get("KUBECONFIG", "").split(os.pathsep) if each]
    if not named:
        usual = Path.home() / ".kube" / "config"
        if not usual.exists():
            raise FileNotFoundError(
                f"there is no kubeconfig: {usual} is not there; name one in the variable KUBECONFIG"
            )
        return [usual]
    there = [each for each in named if each.exists()]
    if not there:
        raise FileNotFoundError(f"no file of KUBECONFIG is there: {', '.join(map(str, named))}")
    return there


class _Kubeconfig:
    """One or more files, merged: of an entry that is in several of them, the first counts."""

    def __init__(self, paths: list[Path]) -> None:
        self._where: Final = ", ".join(map(str, paths))
        self._entries: Final[dict[tuple[str, str], dict[str, Any]]] = {}
        self.current = ""
        for path in paths:
            self._merge(path)

    def entry(self, kind: str, name: str) -> dict[str, Any]:
        """The context, cluster or user of a name.

        Raises:
            ValueError: there is none.
        """
        if not name:
            raise ValueError(f"{self._where}: no {kind} is chosen (current-context)")
        try:
            found = self._entries[kind, name]
        except KeyError:
            known = ", ".join(sorted(each for what, each in self._entries if what == kind)) or "none"
            raise ValueError(f"{self._where}: there is no {kind} {name!r} (there: {known})") from None
        for key in _UNSUPPORTED.get(kind, ()):
            if found.get(key):
                raise ValueError(f"{self._where}: {kind} {name!r} uses {key!r}, which is not supported here")
        return found

    def _merge(self, path: Path) -> None:
        try:
            read = yaml.safe_load(path.read_text("utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError):
            # What the error quotes may be a secret.
            raise ValueError(f"{path} is no YAML") from None
        if not isinstance(read, dict):
            raise ValueError(f"{path} is no kubeconfig: its top level is no mapping")
        self.current = self.current or str(read.get("current-context") or "")
        for kind in ("context", "cluster", "user"):
            for item in read.get(f"{kind}s") or ():
                if not isinstance(item, dict) or not isinstance(item.get(kind) or {}, dict):
                    raise ValueError(f"{path}: {kind}s must be a list of {{name, {kind}}}")
                entry = _with_whole_paths(item.get(kind) or {}, path.absolute().parent)
                self._entries.setdefault((kind, str(item.get("name") or "")), entry)


def _with_whole_paths(entry: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Paths in a kubeconfig are relative to its own folder."""
    files = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
    return {
        key: str(folder / value) if key in files and isinstance(value, str) and value else value
        for key, value in entry.items()
    }


def _decoded(entry: Mapping[str, Any], key: str) -> bytes | None:
    """What stands in an entry itself (`key`-data), or in the file that it names."""
    inline = entry.get(f"{key}-data")
    if inline:
        try:
            return base64.b64decode(inline, validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise ValueError(f"{key}-data is no base64") from None
    return Path(entry[key]).read_bytes() if entry.get(key) else None


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ssl.SSLContext:
    if cluster.get("insecure-skip-tls-verify"):
        raise ValueError(
            "insecure-skip-tls-verify would give the credentials to anybody: name the certificate-authority instead"
        )
    authority = _decoded(cluster, "certificate-authority")
    context = ssl.create_default_context(cadata=None if authority is None else authority.decode("ascii"))
    certificate, key = _decoded(user, "client-certificate"), _decoded(user, "client-key")
    if (certificate is None) is not (key is None):
        raise ValueError("client-certificate and client-key go together: one is missing")
    if certificate is not None and key is not None:
        # OpenSSL takes them from files only; others may not read these, and they are gone at once.
        with tempfile.TemporaryDirectory(prefix="kubeconfig-") as folder:
            both = Path(folder) / "client.pem"
            both.touch(0o600)
            both.write_bytes(certificate.rstrip() + b"\n" + key)
            context.load_cert_chain(both)
    return context


def _tokens(user: Mapping[str, Any], cluster: Mapping[str, Any], exec_plugins: bool) -> TokenSource:
    if user.get("exec"):
        if not exec_plugins:
            raise ValueError(
                "the user's token comes from a program (exec), which only load_kubeconfig(exec_plugins=True) runs:"
                " switch that on, or name a user with a token or a client certificate"
            )
        return ExecPlugin.of(user["exec"], cluster)
    # In the order of kubectl: the file wins, as what stands beside it may be out of date.
    if user.get("tokenFile"):
        return TokenFile(Path(user["tokenFile"]))
    if user.get("token"):
        return FixedToken(str(user["token"]))
    return NoToken()
