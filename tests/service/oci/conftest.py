"""A registry of 127.0.0.1 that does what a test wants, and nobody's own credentials."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

WASM = b"\0asm\x0d\0\1\0" + bytes(range(256)) * 20
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class FakeRegistry:
    """What a registry holds, and how it behaves.

    Attributes:
        requests: (path, Authorization) of each.
        user: NAME:PASSWORD that is wanted, or "".
        scheme: "bearer" or "basic".
        redirect: where blobs are redirected to.
        answers: path -> (status, headers, body) in place of what it would answer.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []
        self.user = ""
        self.scheme = "bearer"
        self.redirect = ""
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self._manifests: dict[str, tuple[str, bytes]] = {}
        self._blobs: dict[str, bytes] = {}
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                registry.requests.append((self.path, self.headers.get("Authorization", "")))
                status, headers, body = registry.answer(self.path, self.headers.get("Authorization", ""))
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.01], daemon=True)
        self._thread.start()
        self.host = f"127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def add(
        self, tag: str = "1", wasm: bytes = WASM, media_type: str = "application/wasm", **descriptor: Any
    ) -> str:
        """An image with one layer; gives its reference."""
        layer = {"mediaType": media_type, "digest": digest(wasm), "size": len(wasm), **descriptor}
        self._blobs[digest(wasm)] = wasm
        return self.add_manifest(tag, {"schemaVersion": 2, "mediaType": MANIFEST, "layers": [layer]})

    def add_manifest(self, tag: str, document: Any, media_type: str = MANIFEST) -> str:
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
        for name in (tag, digest(content)):
            self._manifests[name] = (media_type, content)
        return f"{self.host}/shop/tasks:{tag}"

    def digest_of(self, tag: str = "1") -> str:
        return digest(self._manifests[tag][1])

    def paths(self) -> list[str]:
        """The requests since this was last asked, by what they were for."""
        found = [path.removeprefix("/v2/shop/tasks/").partition("?")[0] for path, _ in self.requests]
        self.requests.clear()
        return found

    def answer(self, path: str, authorisation: str) -> tuple[int, dict[str, str], bytes]:
        if path in self.answers:
            return self.answers[path]
        parts = urlsplit(path)
        if parts.path == "/token":
            return self._token(parse_qs(parts.query), authorisation)
        if parts.path.startswith("/elsewhere/"):
            return 200, {}, self._blobs[parts.path.removeprefix("/elsewhere/")]
        wanted = self._basic() if self.scheme == "basic" else "Bearer let-me-in"
        if self.user and authorisation != wanted:
            challenge = 'Basic realm="fake"'
            if self.scheme == "bearer":
                scope = "repository:shop/tasks:pull"
                challenge = f'Bearer realm="http://{self.host}/token",service="fake",scope="{scope}"'
            return 401, {"WWW-Authenticate": challenge}, b"{}"
        kind, _, name = parts.path.removeprefix("/v2/shop/tasks/").partition("/")
        if kind == "manifests" and name in self._manifests:
            media_type, content = self._manifests[name]
            return 200, {"Content-Type": media_type, "Docker-Content-Digest": digest(content)}, content
        if kind == "blobs" and name in self._blobs:
            if self.redirect:
                return 307, {"Location": f"{self.redirect}/elsewhere/{name}"}, b""
            return 200, {}, self._blobs[name]
        return 404, {}, b"{}"

    def _basic(self) -> str:
        return f"Basic {base64.b64encode(self.user.encode()).decode()}"

    def _token(self, query: dict[str, list[str]], authorisation: str) -> tuple[int, dict[str, str], bytes]:
        if authorisation != self._basic() or query != {
            "service": ["fake"],
            "scope": ["repository:shop/tasks:pull"],
        }:
            return 401, {}, b"{}"
        return 200, {}, b'{"token": "let-me-in"}'


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    made = FakeRegistry()
    yield made
    made.close()


@pytest.fixture
def other_registry() -> Iterator[FakeRegistry]:
    made = FakeRegistry()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def docker_config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where Docker's configuration is looked for: an empty directory."""
    directory = tmp_path / "docker"
    directory.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(directory))
    monkeypatch.setenv("WASI_SOCKETS_CACHE", str(tmp_path / "cache"))
    return directory
