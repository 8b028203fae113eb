"""Images in Debian's docker-registry: pushed with the package oras, which is somebody else's, and pulled back."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import oras.client
import pytest
import trio

from service.oci import Credentials, PulledComponent, PullError, pull
from tests.real_parts.parts import RealPartMissing
from tests.real_parts.servers import docker_registry

#: "secret", by bcrypt.
_PASSWORDS = "me:$2b$04$YAflUGC0DZzJn1ftYdrjeeXmsLvdSZLYJx61aBkH3h5.lZ3rZTRA.\n"


@contextmanager
def registry(directory: Path, passwords: Path | None = None) -> Iterator[str]:
    """The host of an empty registry; skips the test where there is no such program."""
    try:
        with docker_registry(directory, passwords) as port:
            yield f"127.0.0.1:{port}"
    except RealPartMissing as missing:
        pytest.skip(str(missing))


def push(reference: str, wasm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Push a component, as those who make one do."""
    monkeypatch.chdir(wasm.parent)
    client = oras.client.OrasClient(insecure=True, auth_backend="basic")
    pushed = client.push(reference, files=[f"{wasm.name}:application/wasm"], quiet=True)
    assert pushed.status_code == 201


def pulled(reference: str, **options: Any) -> PulledComponent:
    return trio.run(partial(pull, reference, **options))


@pytest.fixture(autouse=True)
def _own_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WASI_SOCKETS_CACHE", str(tmp_path / "cache"))


def test_what_was_pushed_is_pulled(
    guest_file: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest = guest_file("c-echo-0.2.12")
    with registry(tmp_path) as host:
        push(f"{host}/shop/echo:1", guest, monkeypatch)
        found = pulled(f"{host}/shop/echo:1")
        assert found.wasm == guest.read_bytes()
        assert (pulled(found.reference, cache=tmp_path / "other")).wasm == found.wasm
        assert (pulled(f"{host}/shop/echo:1", policy="always")).from_cache
        with pytest.raises(PullError) as told:
            pulled(f"{host}/shop/echo:2")
        assert told.value.reason == "no-such-image"
    assert (pulled(f"{host}/shop/echo:1")).from_cache
    with pytest.raises(PullError) as told:
        pulled(f"{host}/shop/echo:1", policy="always")
    assert told.value.reason == "unreachable"


def test_a_registry_that_wants_a_password(
    guest_file: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest = guest_file("c-echo-0.2.12")
    passwords = tmp_path / "passwords"
    passwords.write_text(_PASSWORDS)
    with registry(tmp_path, passwords) as host:
        with pytest.raises(PullError) as told:
            pulled(f"{host}/shop/echo:1")
        assert told.value.reason == "not-authorised"
        (tmp_path / "docker").mkdir()
        (tmp_path / ".docker").mkdir()
        login = json.dumps({"auths": {host: {"auth": base64.b64encode(b"me:secret").decode()}}})
        # oras looks below HOME only.
        for directory in ("docker", ".docker"):
            (tmp_path / directory / "config.json").write_text(login)
        push(f"{host}/shop/echo:1", guest, monkeypatch)
        assert (pulled(f"{host}/shop/echo:1")).wasm == guest.read_bytes()
        with pytest.raises(PullError) as told:
            pulled(f"{host}/shop/echo:1", policy="always", credentials=Credentials("me", "wrong"))
        assert told.value.reason == "not-authorised"


def test_up_pulls_with_a_secret_of_a_file(
    guest_file: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest = guest_file("c-echo-0.2.12")
    passwords = tmp_path / "passwords"
    passwords.write_text(_PASSWORDS)
    workload = tmp_path / "workload.yaml"
    secret = tmp_path / "secret.json"
    (tmp_path / "echoing.py").write_text(
        "async def echo(stream):\n    async for data in stream:\n        await stream.send_all(data)\n"
    )

    def up(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "service", "up", str(workload), *options]
        return subprocess.run(
            command,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    with registry(tmp_path, passwords) as host:
        (tmp_path / ".docker").mkdir()
        login = tmp_path / ".docker" / "config.json"
        login.write_text(json.dumps({"auths": {host: {"auth": base64.b64encode(b"me:secret").decode()}}}))
        push(f"{host}/shop/echo:1", guest, monkeypatch)
        login.rename(secret)  # so that the secret is all there is
        workload.write_text(
            f"""\
name: shop
services:
  echo:
    handler: echoing:echo
    ports: [7777]
components:
  client:
    image: {host}/shop/echo:1
    pull-secret: registry
    arguments: [127.0.0.1, "7777", "1", "5"]
    after: [echo]
"""
        )
        ended = up("--until-done")
        assert ended.returncode == 1
        assert "no pull secret 'registry' (there: none); give it by --pull-secret NAME=FILE" in ended.stderr
        ended = up("--until-done", "--pull-secret", f"registry={secret}")
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "me:secret" not in ended.stdout + ended.stderr
