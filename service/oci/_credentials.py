"""Credentials for registries, where Docker keeps them: its config.json and credential helpers."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import trio

from service.oci._errors import PullError
from service.oci._reference import DOCKER_HUB

__all__ = ["Credentials", "Secret", "docker_credentials", "secret_credentials"]

_HELPER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_HELPER_SECONDS: Final = 30
_MAX_CONFIG_BYTES: Final = 1 << 20
#: What the helpers print when they have nothing for a registry.
_NOT_FOUND: Final = "credentials not found"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A name and a password, or a token in its place."""

    username: str
    password: str = field(repr=False)


#: Credentials, or the path of a file like Docker's config.json that has those of some registries.
Secret: TypeAlias = Credentials | str | os.PathLike[str]


async def docker_credentials(
    registry: str, environment: Mapping[str, str] | None = None
) -> Credentials | None:
    """What `docker login` has left for a registry, in $DOCKER_CONFIG/config.json or ~/.docker/config.json.

    Args:
        registry: host, with its port if it has one.
        environment: this process's by default.

    Returns:
        None when there are none.

    Raises:
        PullError: there are some, and they cannot be read.
    """
    variables = os.environ if environment is None else environment
    directory = variables.get("DOCKER_CONFIG") or os.path.join(variables.get("HOME") or "~", ".docker")
    path = Path(directory, "config.json")
    try:
        return await _from_config(path, registry)
    except FileNotFoundError:
        return None


async def secret_credentials(secret: Secret, registry: str) -> Credentials:
    """What a secret has for a registry. A file's credentials are for the registries that it names, and no others.

    Raises:
        PullError: nothing, or what cannot be read.
    """
    if isinstance(secret, Credentials):
        return secret
    path = Path(secret)
    try:
        found = await _from_config(path, registry)
    except FileNotFoundError as error:
        raise PullError("credentials", f"{path}: no such file") from error
    if found is None:
        raise PullError("credentials", f"{path} has no credentials for {registry}")
    return found


async def _from_config(path: Path, registry: str) -> Credentials | None:
    found = await trio.to_thread.run_sync(_config, path, abandon_on_cancel=True)
    helpers = found.get("credHelpers")
    helper = _of(helpers, registry) if isinstance(helpers, dict) else None
    if helper is None:
        auths = found.get("auths")
        entry = _of(auths, registry) if isinstance(auths, dict) else None
        if isinstance(entry, dict) and entry:
            return _from_entry(entry, path, registry)
        helper = found.get("credsStore")
    return None if not helper else await _from_helper(str(helper), registry)


def _config(path: Path) -> dict[str, Any]:
    try:
        with path.expanduser().open("rb") as file:
            content = file.read(_MAX_CONFIG_BYTES + 1)
        found = json.loads(content)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise PullError("credentials", f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise PullError("credentials", f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise PullError("credentials", f"{path} holds no JSON object")
    return found


def _of(entries: Mapping[str, Any], registry: str) -> Any:
    """The entry of a registry; Docker writes some with a scheme and a path."""
    if registry == DOCKER_HUB:
        names = [DOCKER_HUB, "index.docker.io", "registry-1.docker.io"]
    else:
        names = [registry]
    for key, entry in entries.items():
        if key.partition("://")[2].partition("/")[0] in names or key.partition("/")[0] in names:
            return entry
    return None


def _from_entry(entry: Mapping[str, Any], path: Path, registry: str) -> Credentials:
    if entry.get("identitytoken"):
        raise PullError(
            "credentials",
            f"{path}: the identity token for {registry} cannot be used; log in with a name and a password",
        )
    if "auth" in entry:
        try:
            text = base64.b64decode(str(entry["auth"]), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            text = ""
        username, colon, password = text.partition(":")
        if colon:
            return Credentials(username, password.rstrip("\0"))
    elif "username" in entry and "password" in entry:
        return Credentials(str(entry["username"]), str(entry["password"]))
    raise PullError(
        "credentials", f"{path}: `auth` for {registry} is not base64 of NAME:PASSWORD; log in again"
    )


async def _from_helper(helper: str, registry: str) -> Credentials | None:
    program = f"docker-credential-{helper}"
    if _HELPER.fullmatch(helper) is None:
        raise PullError("credentials", f"{helper!r} is no name of a credential helper")
    server = "https://index.docker.io/v1/" if registry == DOCKER_HUB else registry
    try:
        with trio.fail_after(_HELPER_SECONDS):
            ended = await trio.run_process(
                [program, "get"],
                stdin=server.encode(),
                capture_stdout=True,
                stderr=subprocess.DEVNULL,
                check=False,
            )
    except FileNotFoundError as error:
        raise PullError(
            "credentials", f"the credential helper {program} is not on PATH; it has those for {registry}"
        ) from error
    except OSError as error:
        raise PullError("credentials", f"{program} does not run: {error.strerror or error}") from error
    except trio.TooSlowError as error:
        raise PullError(
            "credentials", f"{program} did not answer within {_HELPER_SECONDS} seconds"
        ) from error
    if ended.returncode:
        if _NOT_FOUND in ended.stdout.decode(errors="replace").lower():
            return None
        raise PullError("credentials", f"{program} failed with {ended.returncode} for {registry}")
    try:
        found = json.loads(ended.stdout)
        return Credentials(found["Username"], found["Secret"])
    except (ValueError, KeyError, TypeError) as error:
        raise PullError("credentials", f"{program} gave no Username and Secret for {registry}") from error
