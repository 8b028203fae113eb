"""Replicas of the controller component, each on a network of its own with a gateway to the API server."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx
import trio
import wasmtime

import wasi_sockets
from examples.kubernetes.static_site.run import GROUP, rules
from service.identity import acting_as
from service.kubernetes import ApiServer, Gateway

__all__ = ["GROUP", "LEASE_SECONDS", "Replica", "Sites", "eventually"]

#: Short, as tests wait for it to expire; no shorter, as a busy machine must find time to renew it.
LEASE_SECONDS: Final = 5

_PATIENCE: Final = 60.0


async def eventually(check: Callable[[], Any]) -> Any:
    """What `check` gives once that is true; what happens at an API server happens in its own time.

    Raises:
        trio.TooSlowError: it does not become true.
    """
    with trio.fail_after(_PATIENCE):
        while not (found := check()):  # noqa: ASYNC110 - it happens in another process
            await trio.sleep(0.05)
        return found


class Replica:
    """One running controller.

    Attributes:
        identity: its name among the replicas.
        lines: what it wrote.
    """

    def __init__(self, identity: str, lease_seconds: int) -> None:
        self.identity: Final = identity
        self._lease_seconds: Final = lease_seconds
        self.lines: Final[list[str]] = []
        self._scope: Final = trio.CancelScope()
        self._rest = ""

    def kill(self) -> None:
        """End it without a word."""
        self._scope.cancel()

    @property
    def acts(self) -> bool:
        """Whether it says that it acts."""
        said = [line for line in self.lines if line.startswith(self.identity)]
        return bool(said) and said[-1].endswith(" acts")

    async def run(
        self,
        engine: wasmtime.Engine,
        component: wasi_sockets.GuestComponent,
        server: ApiServer,
        namespace: str,
    ) -> None:
        """Run until killed, or cancelled."""
        network = wasi_sockets.Network()
        async with trio.open_nursery() as nursery:
            await nursery.start(Gateway(server, rules(namespace)).serve, network)
            arguments = ["127.0.0.1", "8001", namespace, self.identity, str(self._lease_seconds)]
            with self._scope, acting_as("controller"):
                await wasi_sockets.run(
                    component, arguments, network=network, engine=engine, stdout=self._take, stderr=self._take
                )
            nursery.cancel_scope.cancel()
        if not self._scope.cancel_called and trio.current_effective_deadline() != -math.inf:
            raise AssertionError(f"the controller ended: {self.lines[-5:]}")

    async def _take(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data.decode()).split("\n")
        self.lines.extend(lines)


class Sites:
    """The sites of a namespace and what belongs to them, as an administrator sees them."""

    def __init__(self, admin: httpx.Client, namespace: str) -> None:
        self._admin: Final = admin
        self._path: Final = f"/apis/{GROUP}/v1/namespaces/{namespace}/staticsites"
        leases = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._lease: Final = f"{leases}/static-site-controller"
        self._paths: Final = {
            "ConfigMap": f"/api/v1/namespaces/{namespace}/configmaps",
            "Deployment": f"/apis/apps/v1/namespaces/{namespace}/deployments",
            "Service": f"/api/v1/namespaces/{namespace}/services",
        }

    def create(self, name: str, text: str = "hello", **spec: Any) -> None:
        body = {
            "apiVersion": f"{GROUP}/v1",
            "kind": "StaticSite",
            "metadata": {"name": name},
            "spec": {"files": {"index.html": text}, **spec},
        }
        self._admin.post(self._path, json=body).raise_for_status()

    def change(self, name: str, **spec: Any) -> None:
        headers = {"Content-Type": "application/merge-patch+json"}
        self._admin.patch(f"{self._path}/{name}", json={"spec": spec}, headers=headers).raise_for_status()

    def delete(self, name: str) -> None:
        self._admin.delete(f"{self._path}/{name}").raise_for_status()

    def get(self, name: str) -> dict[str, Any] | None:
        return self._found(f"{self._path}/{name}")

    def owned(self, kind: str, name: str) -> dict[str, Any] | None:
        return self._found(f"{self._paths[kind]}/{name}")

    def delete_owned(self, kind: str, name: str) -> None:
        self._admin.delete(f"{self._paths[kind]}/{name}").raise_for_status()

    def change_owned(self, kind: str, name: str, change: dict[str, Any]) -> None:
        headers = {"Content-Type": "application/merge-patch+json"}
        self._admin.patch(f"{self._paths[kind]}/{name}", json=change, headers=headers).raise_for_status()

    def text(self, name: str) -> str | None:
        """What is in the site's ConfigMap."""
        found = self.owned("ConfigMap", name)
        return None if found is None else found["data"].get("index.html")

    def applied_by(self, name: str) -> str | None:
        site = self.get(name)
        status = (site or {}).get("status", {})
        if status.get("observedGeneration") != (site or {}).get("metadata", {}).get("generation"):
            return None
        return status.get("appliedBy")

    def take_lease(self, thief: str, seconds: int) -> None:
        """Give the controllers' Lease to somebody else, who does not renew it."""
        headers = {"Content-Type": "application/merge-patch+json"}
        spec = {"holderIdentity": thief, "leaseDurationSeconds": seconds}
        self._admin.patch(self._lease, json={"spec": spec}, headers=headers).raise_for_status()

    def _found(self, path: str) -> dict[str, Any] | None:
        response = self._admin.get(path)
        if response.status_code == 404:
            return None
        response.raise_for_status()
        found: dict[str, Any] = response.json()
        return found


@asynccontextmanager
async def running(
    engine: wasmtime.Engine,
    component: wasi_sockets.GuestComponent,
    server: ApiServer,
    namespace: str,
    *identities: str,
    lease_seconds: int = LEASE_SECONDS,
) -> AsyncIterator[list[Replica]]:
    """Replicas that run during the block."""
    replicas = [Replica(identity, lease_seconds) for identity in identities]
    async with trio.open_nursery() as nursery:
        for replica in replicas:
            nursery.start_soon(replica.run, engine, component, server, namespace)
        yield replicas
        nursery.cancel_scope.cancel()
