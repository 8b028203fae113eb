"""Tokens from a program that the kubeconfig names: client-go's credential plugins.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import trio

__all__ = ["ExecPlugin"]

_VERSIONS: Final = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_SECONDS: Final = 30.0
_RENEWED_BEFORE: Final = timedelta(seconds=10)


class ExecPlugin:
    """Runs a program for a token, and again when that expires or is rejected.

    Args:
        words: the program and its arguments.
        variables: added to the environment.
        version: of the protocol.
    """

    def __init__(self, words: list[str], variables: Mapping[str, str], version: str) -> None:
        self._words: Final = words
        self._variables: Final = dict(variables)
        self._version: Final = version
        self._token: str | None = None
        self._expires: datetime | None = None
        self._running: Final = trio.Lock()

    @classmethod
    def of(cls, entry: Any, cluster: Mapping[str, Any]) -> ExecPlugin:
        """The plugin that a user's `exec` entry describes.

        Raises:
            ValueError: it is not complete, or of another version.
        """
        if not isinstance(entry, dict) or not entry.get("command"):
            raise ValueError("exec: 'command' is missing")
        version = str(entry.get("apiVersion") or "")
        if version not in _VERSIONS:
            raise ValueError(f"exec: apiVersion must be one of {', '.join(_VERSIONS)}, not {version!r}")
        if entry.get("provideClusterInfo"):
            raise ValueError("exec: provideClusterInfo is not supported here")
        words = [str(entry["command"]), *(str(word) for word in entry.get("args") or ())]
        variables = {str(each["name"]): str(each["value"]) for each in entry.get("env") or ()}
        return cls(words, variables, version)

    async def token(self, *, rejected: str | None = None) -> str | None:
        """The token.

        Raises:
            OSError: the program cannot be started, fails, or takes longer than half a minute.
            ValueError: what it says is no credential with a token.
        """
        async with self._running:
            late = self._expires is not None and datetime.now(UTC) >= self._expires - _RENEWED_BEFORE
            if self._token is None or late or rejected == self._token:
                self._token, self._expires = self._read(await self._run())
            return self._token

    async def _run(self) -> bytes:
        asked = {"apiVersion": self._version, "kind": "ExecCredential", "spec": {"interactive": False}}
        environment = {**os.environ, **self._variables, "KUBERNETES_EXEC_INFO": json.dumps(asked)}
        with trio.move_on_after(_SECONDS) as limit:
            ended = await trio.run_process(
                self._words,
                stdin=subprocess.DEVNULL,
                capture_stdout=True,
                check=False,
                env=environment,
            )
        if limit.cancelled_caught:
            raise TimeoutError(f"the credential plugin {self._words[0]!r} took longer than {_SECONDS:g} s")
        if ended.returncode:
            raise OSError(f"the credential plugin {self._words[0]!r} ended with {ended.returncode}")
        return bytes(ended.stdout or b"")

    def _read(self, said: bytes) -> tuple[str, datetime | None]:
        # Nothing of what it said goes into a message: it is a secret.
        wrong = ValueError(f"the credential plugin {self._words[0]!r} gave no ExecCredential with a token")
        try:
            status = json.loads(said)["status"]
            token, expires = status["token"], status.get("expirationTimestamp")
            moment = None if expires is None else datetime.fromisoformat(expires)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise wrong from None
        if not isinstance(token, str) or not token or any(not "!" <= each <= "~" for each in token):
            raise wrong
        if moment is not None and moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return token, moment
