"""Credentials of the gateway: kubeconfigs, a pod's files, tokens from programs."""

from __future__ import annotations

import base64
import json
import os
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from service.kubernetes import ApiServer, in_cluster, load_kubeconfig
from service.kubernetes.credentials import FixedToken, TokenFile


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


class Folder:
    """Writes kubeconfigs."""

    def __init__(self, path: Path, authority: trustme.CA) -> None:
        self.path = path
        self.authority = base64.b64encode(authority.cert_pem.bytes()).decode()

    def config(self, name: str = "config", **parts: Any) -> Path:
        cluster = {"server": "https://api.example:6443", "certificate-authority-data": self.authority}
        config = {
            "current-context": parts.get("current", "here"),
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "mine"}}],
            "clusters": [{"name": "c", "cluster": {**cluster, **parts.get("cluster", {})}}],
            "users": [{"name": "u", "user": parts.get("user", {})}],
        }
        path = self.path / name
        path.write_text(yaml.safe_dump(config))
        return path


@pytest.fixture
def folder(tmp_path: Path, authority: trustme.CA) -> Folder:
    return Folder(tmp_path, authority)


async def test_a_token(folder: Folder) -> None:
    server = load_kubeconfig(folder.config(user={"token": "abc"}))
    assert (server.url, server.namespace) == ("https://api.example:6443", "mine")
    assert await server.tokens.token() == "abc"
    assert "abc" not in repr(server)
    assert server.tls is not None
    assert server.tls.verify_mode is ssl.CERT_REQUIRED
    assert server.tls.check_hostname


async def test_a_token_file_beside_the_kubeconfig(folder: Folder) -> None:
    (folder.path / "secret").write_text("from-file\n")
    server = load_kubeconfig(folder.config(user={"tokenFile": "secret", "token": "stale"}))
    assert await server.tokens.token() == "from-file"


def test_client_certificates_from_data_and_from_files(folder: Folder, authority: trustme.CA) -> None:
    issued = authority.issue_cert("a.example", key_type=trustme.KeyType.ECDSA)
    certificate = issued.cert_chain_pems[0].bytes()
    (folder.path / "key.pem").write_bytes(issued.private_key_pem.bytes())
    user = {"client-certificate-data": base64.b64encode(certificate).decode(), "client-key": "key.pem"}
    load_kubeconfig(folder.config(user=user))
    stranger = authority.issue_cert("b.example", key_type=trustme.KeyType.ECDSA)
    (folder.path / "key.pem").write_bytes(stranger.private_key_pem.bytes())
    with pytest.raises(ssl.SSLError):
        load_kubeconfig(folder.config(user=user))
    with pytest.raises(ValueError, match="one is missing"):
        load_kubeconfig(folder.config(user={"client-key": "key.pem"}))


def test_several_files_are_merged(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    first = folder.path / "first"
    first.write_text(
        yaml.safe_dump(
            {
                "current-context": "other",
                "contexts": [
                    {"name": "other", "context": {"cluster": "c", "user": "u", "namespace": "theirs"}}
                ],
            }
        )
    )
    missing = folder.path / "missing"
    second = folder.config("second")
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(map(str, (first, missing, second))))
    assert load_kubeconfig().namespace == "theirs"
    assert load_kubeconfig(context="here").namespace == "mine"
    monkeypatch.setenv("KUBECONFIG", str(missing))
    with pytest.raises(FileNotFoundError, match="KUBECONFIG"):
        load_kubeconfig()


def test_without_any_kubeconfig_it_says_where_one_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    usual = tmp_path / ".kube" / "config"
    with pytest.raises(FileNotFoundError) as error:
        load_kubeconfig()
    assert (
        str(error.value)
        == f"there is no kubeconfig: {usual} is not there; name one in the variable KUBECONFIG"
    )


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"current": "nowhere"}, "no context 'nowhere' .there: here"),
        ({"current": ""}, "no context is chosen"),
        ({"user": {"as": "root"}}, "'as', which is not supported"),
        ({"user": {"username": "u", "password": "secret"}}, "'username', which is not supported"),
        ({"user": {"auth-provider": {"name": "x"}}}, "'auth-provider'"),
        ({"user": {"token": "a b"}}, "bearer token"),
        ({"user": {"client-certificate-data": "!", "client-key-data": "!"}}, "no base64"),
        ({"user": {"exec": {"command": "x"}}}, "or name a user with a token"),
        ({"cluster": {"proxy-url": "http://p"}}, "'proxy-url'"),
        ({"cluster": {"insecure-skip-tls-verify": True}}, "certificate-authority"),
        ({"cluster": {"server": "http://api.example"}}, "plain HTTP"),
        ({"cluster": {"server": ""}}, "must be https://"),
        ({"cluster": {"server": "https://user:secret@api.example"}}, "user or password"),
        ({"cluster": {"server": "https://api.example:x"}}, "Port could not be cast"),
    ],
)
def test_what_is_refused_and_how_it_is_told(folder: Folder, parts: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told) as error:
        load_kubeconfig(folder.config(**parts))
    assert "secret" not in str(error.value)


def test_what_is_no_kubeconfig(tmp_path: Path) -> None:
    path = tmp_path / "config"
    for text in ("users: [secret", "- secret", "contexts: [secret]"):
        path.write_text(text)
        with pytest.raises(ValueError, match="config") as error:
            load_kubeconfig(path)
        assert "secret" not in str(error.value)
    with pytest.raises(FileNotFoundError):
        load_kubeconfig(tmp_path / "none")


def test_plain_http_on_loopback_only() -> None:
    assert ApiServer("http://127.0.0.1:8001", None).tls is None
    with pytest.raises(ValueError, match="plain HTTP"):
        ApiServer("http://10.0.0.1:8001", None)


PLUGIN = """
import json, os, pathlib, sys
asked = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
count = pathlib.Path(sys.argv[1])
number = int(count.read_text()) + 1 if count.exists() else 1
count.write_text(str(number))
token = f"{os.environ['PREFIX']}-{number}"
answer = {"apiVersion": asked["apiVersion"], "kind": "ExecCredential", "status": {"token": token}}
if len(sys.argv) > 2: answer["status"]["expirationTimestamp"] = sys.argv[2]
print(json.dumps(answer))
"""


def plugin(folder: Folder, *words: str, program: str = PLUGIN) -> ApiServer:
    (folder.path / "plugin.py").write_text(program)
    entry = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": [str(folder.path / "plugin.py"), str(folder.path / "count"), *words],
        "env": [{"name": "PREFIX", "value": "token"}],
    }
    return load_kubeconfig(folder.config(user={"exec": entry}), exec_plugins=True)


async def test_a_token_from_a_program_is_kept_until_it_is_rejected(folder: Folder) -> None:
    tokens = plugin(folder).tokens
    assert await tokens.token() == "token-1"
    assert await tokens.token() == "token-1"
    assert await tokens.token(rejected="token-1") == "token-2"
    assert await tokens.token(rejected="token-1") == "token-2"


async def test_a_token_from_a_program_expires(folder: Folder) -> None:
    tokens = plugin(folder, "2020-01-01T00:00:00Z").tokens
    assert [await tokens.token(), await tokens.token()] == ["token-1", "token-2"]
    (folder.path / "count").unlink()
    tokens = plugin(folder, "2920-01-01T00:00:00Z").tokens
    assert [await tokens.token(), await tokens.token()] == ["token-1", "token-1"]


@pytest.mark.parametrize(
    "said",
    ["secret", '{"status": {}}', '{"status": {"token": ""}}', '{"status": {"token": "a secret"}}', "[]"],
)
async def test_a_program_that_gives_no_token(folder: Folder, said: str) -> None:
    tokens = plugin(folder, program=f"print({said!r})").tokens
    with pytest.raises(ValueError, match="no ExecCredential") as error:
        await tokens.token()
    assert "secret" not in str(error.value)


async def test_a_program_that_fails(folder: Folder) -> None:
    with pytest.raises(OSError, match="ended with 3"):
        await plugin(folder, program="raise SystemExit(3)").tokens.token()


async def test_a_pod(tmp_path: Path, authority: trustme.CA) -> None:
    variables = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    with pytest.raises(LookupError, match="no pod"):
        in_cluster({}, tmp_path)
    with pytest.raises(FileNotFoundError):
        in_cluster(variables, tmp_path)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    (tmp_path / "namespace").write_text("mine")
    (tmp_path / "token").write_text("one")
    server = in_cluster(variables, tmp_path)
    assert (server.url, server.namespace) == ("https://[fd00::1]:443", "mine")
    assert await server.tokens.token() == "one"
    # As the kubelet does it: another file takes its place.
    (tmp_path / "renewed").write_text("two")
    (tmp_path / "renewed").replace(tmp_path / "token")
    assert await server.tokens.token() == "two"


async def test_a_token_file_without_a_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(" \n")
    with pytest.raises(ValueError, match="not empty"):
        await TokenFile(tmp_path / "token").token()
    with pytest.raises(ValueError, match="not empty"):
        FixedToken("")
    assert json.dumps(await FixedToken("a").token()) == '"a"'
