"""A Kubernetes API server to test against: a real one on free ports of 127.0.0.1, or that of `KUBECONFIG`."""

from __future__ import annotations

import json
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import trio
import trustme
import yaml

from service.kubernetes import ApiServer
from service.kubernetes.credentials import FixedToken
from tests.kubernetes.parts import KubernetesMissing, program
from tests.real_parts.servers import free_port

__all__ = ["ADMIN_TOKEN", "Cluster", "administrator", "started", "started_or_skipped"]

ADMIN_TOKEN: Final = "admin-token-a9f3"

_START_SECONDS: Final = 60.0


@dataclass
class Cluster:
    """etcd and an API server, without anything that would act on objects.

    Attributes:
        directory: of their data, logs and keys.
        url: of the API server.
        kubeconfig: for it, as an administrator by token.
        audited: whether it writes down each request, see `audit`.
    """

    directory: Path
    audited: bool = False
    etcd_port: int = field(default_factory=free_port)
    peer_port: int = field(default_factory=free_port)
    port: int = field(default_factory=free_port)
    _etcd: subprocess.Popen[bytes] | None = None
    _server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "kubeconfig"

    def tls(self) -> ssl.SSLContext:
        """Trusts the API server's certificate."""
        return ssl.create_default_context(cafile=str(self.directory / "ca.crt"))

    def client(self) -> httpx.Client:
        """An administrator, around every gateway."""
        return administrator(ApiServer(self.url, self.tls(), FixedToken(ADMIN_TOKEN)))

    def prepare(self) -> None:
        """Writes keys, tokens and the kubeconfig."""
        authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        server = authority.issue_cert("127.0.0.1", "kubernetes", key_type=trustme.KeyType.ECDSA)
        # It signs the tokens of service accounts, too.
        signing = trustme.CA(key_type=trustme.KeyType.RSA)
        authority.cert_pem.write_to_path(str(self.directory / "ca.crt"))
        server.private_key_and_cert_chain_pem.write_to_path(str(self.directory / "tls.pem"))
        signing.private_key_pem.write_to_path(str(self.directory / "sa.key"))
        client = authority.issue_cert("unused", common_name="certified", organization_name="system:masters")
        client.private_key_and_cert_chain_pem.write_to_path(str(self.directory / "client.pem"))
        (self.directory / "tokens.csv").write_text(
            f'{ADMIN_TOKEN},admin,1,"system:masters"\nother-token-71c2,other,2\n'
        )
        self.kubeconfig.write_text(yaml.safe_dump(self.kubeconfig_for({"token": ADMIN_TOKEN})))

    def kubeconfig_for(self, user: dict[str, Any]) -> dict[str, Any]:
        """A kubeconfig with these credentials."""
        cluster = {"server": self.url, "certificate-authority": str(self.directory / "ca.crt")}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": user}],
        }

    def start_etcd(self) -> None:
        client, peer = (f"http://127.0.0.1:{port}" for port in (self.etcd_port, self.peer_port))
        words = [
            *("--data-dir", str(self.directory / "etcd"), "--unsafe-no-fsync", "--log-level", "error"),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", f"default={peer}"),
        ]
        self._etcd = self._start("etcd", words)

    def start_server(self) -> None:
        """Start the API server, and wait until it is ready.

        Raises:
            KubernetesMissing: it ends, or is not ready in time.
        """
        keys = self.directory
        words = [
            *("--etcd-servers", f"http://127.0.0.1:{self.etcd_port}", "--authorization-mode", "RBAC"),
            *("--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1"),
            *("--secure-port", str(self.port), "--insecure-port=0", "--cert-dir", str(keys)),
            *("--tls-cert-file", str(keys / "tls.pem"), "--tls-private-key-file", str(keys / "tls.pem")),
            *("--client-ca-file", str(keys / "ca.crt"), "--token-auth-file", str(keys / "tokens.csv")),
            *("--service-account-key-file", str(keys / "sa.key")),
            *("--service-account-signing-key-file", str(keys / "sa.key")),
            *("--service-account-issuer", "https://kubernetes.default.svc"),
            *("--service-cluster-ip-range", "10.0.0.0/24", "--disable-admission-plugins", "ServiceAccount"),
        ]
        if self.audited:
            policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}]}
            (keys / "policy.yaml").write_text(yaml.safe_dump(policy))
            words += ["--audit-policy-file", str(keys / "policy.yaml")]
            words += ["--audit-log-path", str(keys / "audit.log"), "--audit-log-mode", "blocking"]
        self._server = self._start("kube-apiserver", words)
        if not self._is_ready():
            raise KubernetesMissing(f"kube-apiserver does not start: {self._last_words('kube-apiserver')}")

    def audit(self) -> list[dict[str, Any]]:
        """What the API server made of the requests so far: verb, objectRef, user, userAgent..."""
        lines = (self.directory / "audit.log").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def stop_server(self) -> None:
        """End the API server at once: asked to stop, it would wait for its watches. etcd keeps what it knew."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None

    def ended(self) -> str:
        """Which of the two has ended by itself, with its last words; "" while both run."""
        for name, process in (("etcd", self._etcd), ("kube-apiserver", self._server)):
            if process is not None and process.poll() is not None:
                return f"{name} has ended: {self._last_words(name)}"
        return ""

    def stop(self) -> None:
        """Stop all."""
        self.stop_server()
        if self._etcd is not None:
            self._etcd.kill()
            self._etcd.wait()
            self._etcd = None

    def _start(self, name: str, words: list[str]) -> subprocess.Popen[bytes]:
        path = program(name)
        with (self.directory / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [str(path), *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory
            )

    def _last_words(self, name: str) -> str:
        lines = (self.directory / f"{name}.log").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def _is_ready(self) -> bool:
        deadline = time.monotonic() + _START_SECONDS
        with self.client() as client:
            while self._server is not None and self._server.poll() is None and time.monotonic() < deadline:
                try:
                    # The namespace is the last thing that clients cannot do without.
                    if (
                        client.get("/readyz").status_code == 200
                        and client.get("/api/v1/namespaces/default").status_code == 200
                    ):
                        return True
                except httpx.TransportError:
                    pass
                time.sleep(0.05)
        return False


@contextmanager
def started(*, audited: bool = False, directory: Path | None = None) -> Iterator[Cluster]:
    """A new cluster, which is gone after the block.

    Args:
        audited: whether it writes down each request.
        directory: an empty one for its files, which stay; by default a temporary one.

    Raises:
        KubernetesMissing: it is not built, or does not start here.
    """
    for name in ("etcd", "kube-apiserver"):
        program(name)
    with ExitStack() as stack:
        if directory is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kubernetes-")))
        cluster = Cluster(directory, audited)
        cluster.prepare()
        try:
            cluster.start_etcd()
            cluster.start_server()
            yield cluster
        finally:
            cluster.stop()


def administrator(server: ApiServer) -> httpx.Client:
    """A client with an API server's own credentials, around every gateway."""
    token = trio.run(server.tokens.token)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    verify = server.tls if server.tls is not None else True
    return httpx.Client(base_url=server.url, verify=verify, headers=headers, timeout=30, trust_env=False)


@contextmanager
def started_or_skipped(*, audited: bool = False) -> Iterator[Cluster]:
    """As `started`, for fixtures: what needs it is skipped where it cannot be had, with the reason."""
    with ExitStack() as stack:
        try:
            cluster = stack.enter_context(started(audited=audited))
        except KubernetesMissing as missing:
            pytest.skip(str(missing))
        yield cluster
