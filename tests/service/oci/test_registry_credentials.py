"""What `docker login` leaves: config.json and credential helpers."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from service.oci import Credentials, PullError, docker_credentials, pull
from tests.service.oci.conftest import WASM, FakeRegistry

_ME = Credentials("me", "pa:ss")
_AUTH = {"auth": base64.b64encode(b"me:pa:ss").decode()}


def write(directory: Path, config: Any) -> None:
    (directory / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))


@pytest.mark.parametrize(
    ("key", "registry"),
    [
        ("r.io", "r.io"),
        ("https://r.io", "r.io"),
        ("https://r.io/v2/", "r.io"),
        ("r.io:5000", "r.io:5000"),
        ("https://index.docker.io/v1/", "docker.io"),
    ],
)
async def test_an_entry_of_the_registry(docker_config: Path, key: str, registry: str) -> None:
    write(docker_config, {"auths": {"x.io": {"auth": "!"}, key: _AUTH}})
    assert await docker_credentials(registry) == _ME
    assert await docker_credentials("other.io") is None


async def test_other_forms_of_entries(docker_config: Path) -> None:
    write(docker_config, {"auths": {"r.io": {"username": "me", "password": "pa:ss"}, "empty.io": {}}})
    assert await docker_credentials("r.io") == _ME
    assert await docker_credentials("empty.io") is None


async def test_none_at_all(docker_config: Path, tmp_path: Path) -> None:
    assert await docker_credentials("r.io") is None
    home = tmp_path / "home" / ".docker"
    home.mkdir(parents=True)
    write(home, {"auths": {"r.io": _AUTH}})
    assert await docker_credentials("r.io", {"HOME": str(home.parent)}) == _ME


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "config.json is not JSON"),
        ("[]", "config.json holds no JSON object"),
        ({"auths": {"r.io": {"auth": "!"}}}, "`auth` for r.io is not base64 of NAME:PASSWORD; log in again"),
        (
            {"auths": {"r.io": {"auth": "bWU="}}},
            "`auth` for r.io is not base64 of NAME:PASSWORD; log in again",
        ),
        (
            {"auths": {"r.io": {"auth": "", "identitytoken": "x"}}},
            "the identity token for r.io cannot be used",
        ),
        ({"credHelpers": {"r.io": "missing"}}, "docker-credential-missing is not on PATH"),
        ({"credHelpers": {"r.io": "../x"}}, "'../x' is no name of a credential helper"),
        ({"credHelpers": {"r.io": "broken"}}, "docker-credential-broken failed with 3 for r.io"),
        ({"credsStore": "odd"}, "docker-credential-odd gave no Username and Secret for r.io"),
    ],
)
async def test_what_cannot_be_read(
    docker_config: Path, config: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(docker_config, config)
    helper(tmp_path, "broken", "exit 3", monkeypatch)
    helper(tmp_path, "odd", "echo {}", monkeypatch)
    with pytest.raises(PullError) as told:
        await docker_credentials("r.io")
    assert told.value.reason == "credentials"
    assert message in str(told.value)


def helper(directory: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = directory / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")


async def test_helpers(docker_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = '[ "$1" = get ] && read host; echo "{\\"Username\\": \\"me\\", \\"Secret\\": \\"for $host\\"}"'
    helper(tmp_path, "here", answer, monkeypatch)
    helper(tmp_path, "store", 'echo "credentials not found in native keychain"; exit 1', monkeypatch)
    write(docker_config, {"credHelpers": {"r.io": "here"}, "credsStore": "store", "auths": {"r.io": {}}})
    assert await docker_credentials("r.io") == Credentials("me", "for r.io")
    assert await docker_credentials("other.io") is None


async def test_they_are_used_for_a_pull(docker_config: Path, registry: FakeRegistry) -> None:
    registry.user = "me:pa:ss"
    reference = registry.add()
    write(docker_config, {"auths": {registry.host: _AUTH}})
    assert (await pull(reference)).wasm == WASM
