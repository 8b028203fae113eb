"""The operator on a real API server: its manifests, its role, the command, and several hosts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import yaml

from service.hosting import Host
from service.kubernetes import ApiServer
from service.kubernetes.credentials import FixedToken
from service.kubernetes.operator import Allowance, Api, Operator
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.controllers import eventually
from tests.service.oci.conftest import FakeRegistry

MANIFESTS = Path(__file__).resolve().parents[2] / "service" / "kubernetes" / "operator" / "manifests"
GROUP_PATH = "/apis/wasi-sockets.dev/v1alpha1"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

Object = dict[str, Any]


class Workloads:
    """The `Workload` resources of a namespace, seen by an administrator."""

    def __init__(self, admin: httpx.Client, namespace: str) -> None:
        self.admin = admin
        self.namespace = namespace
        self.path = f"{GROUP_PATH}/namespaces/{namespace}/workloads"

    def create(self, name: str, spec: Object, **metadata: Any) -> None:
        body = {
            "apiVersion": "wasi-sockets.dev/v1alpha1",
            "kind": "Workload",
            "metadata": {"name": name, **metadata},
            "spec": spec,
        }
        self.admin.post(self.path, json=body).raise_for_status()

    def change(self, name: str, spec: Object) -> None:
        self.admin.patch(
            f"{self.path}/{name}",
            content=json.dumps({"spec": spec}),
            headers={"Content-Type": "application/merge-patch+json"},
        ).raise_for_status()

    def delete(self, name: str) -> None:
        self.admin.delete(f"{self.path}/{name}").raise_for_status()

    def status(self, name: str) -> Object:
        found: Object = self.admin.get(f"{self.path}/{name}").json().get("status", {})
        return found

    def condition(self, name: str, kind: str) -> Object:
        conditions = self.status(name).get("conditions", [])
        return next((each for each in conditions if each["type"] == kind), {})

    async def until(self, name: str, kind: str, status: str = "True") -> Object:
        await eventually(lambda: self.condition(name, kind).get("status") == status)
        return self.status(name)


@pytest.fixture(scope="module")
def workload_definition(admin: httpx.Client) -> None:
    answer = admin.post(DEFINITIONS, json=yaml.safe_load((MANIFESTS / "crd.yaml").read_text()))
    assert answer.status_code in (201, 409), answer.text


@pytest.fixture
async def workloads(admin: httpx.Client, namespace: str, workload_definition: None) -> Workloads:
    found = Workloads(admin, namespace)
    await eventually(lambda: admin.get(found.path).status_code == 200)
    return found


@pytest.fixture
def image(
    guest_file: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A server in a registry of this machine, which answers in capitals at port 8080."""
    registry = FakeRegistry()
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    yield registry.add(wasm=guest_file("c-server-0.2.0").read_bytes())
    registry.close()


@pytest.fixture
def served(image: str) -> Object:
    """The spec of a workload."""
    return {"services": {"api": {"image": image, "arguments": ["8080", "100"], "ports": [8080]}}}


@pytest.fixture
def as_operator(admin: httpx.Client, api_server: ApiServer, namespace: str) -> ApiServer:
    """The API server, with the rights of the service account in `rbac.yaml` and no others."""
    base = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    places = {
        "ServiceAccount": base,
        "Role": f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles",
        "RoleBinding": f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings",
    }
    for document in yaml.safe_load_all((MANIFESTS / "rbac.yaml").read_text()):
        for subject in document.get("subjects", ()):
            subject["namespace"] = namespace
        admin.post(places[document["kind"]], json=document).raise_for_status()
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    answer = admin.post(f"{base}/wasi-sockets-operator/token", json=asked)
    answer.raise_for_status()
    return replace(api_server, tokens=FixedToken(answer.json()["status"]["token"]), namespace=namespace)


@asynccontextmanager
async def operating(
    server: ApiServer, identity: str, allowed: frozenset[str] = frozenset({"*"}), **options: Any
) -> AsyncIterator[Host]:
    api = Api(server)
    options["allowance"] = Allowance(registries=allowed)
    async with Host(stop_within=1) as host, trio.open_nursery() as nursery:
        operator = Operator(host, api, identity=identity, namespace=server.namespace, **options)
        await nursery.start(operator.run)
        try:
            yield host
        finally:
            nursery.cancel_scope.cancel()
    await api.aclose()


async def ask(host: Host, name: str) -> bytes:
    async with await host.workloads[name].network.connect_tcp("127.0.0.1", 8080) as stream:
        await stream.send_all(b"hello")
        return bytes(await stream.receive_some())


def test_the_manifests_are_taken(admin: httpx.Client, namespace: str) -> None:
    deployment = yaml.safe_load((MANIFESTS / "deployment.yaml").read_text())
    answer = admin.post(f"/apis/apps/v1/namespaces/{namespace}/deployments?dryRun=All", json=deployment)
    assert answer.status_code == 201, answer.text


async def test_a_workload_by_image_runs_changes_and_goes_with_the_role_of_the_manifest(
    workloads: Workloads, as_operator: ApiServer, served: Object
) -> None:
    name = f"{workloads.namespace}/tasks"
    async with operating(as_operator, "host-a") as host:
        workloads.create("tasks", served)
        status = await workloads.until("tasks", "Ready")
        assert status["hostId"] == "host-a"
        assert status["observedGeneration"] == 1
        assert await ask(host, name) == b"HELLO"
        workloads.change("tasks", {"services": {"api": {"hold": "1s"}}})
        await eventually(lambda: workloads.status("tasks").get("observedGeneration") == 2)
        await workloads.until("tasks", "Ready")
        assert await ask(host, name) == b"HELLO"
        workloads.change("tasks", {"services": {"api": {"handler": "os:system"}}})
        status = await workloads.until("tasks", "Accepted", "False")
        assert await ask(host, name) == b"HELLO"
        workloads.delete("tasks")
        await eventually(lambda: not host.workloads)


async def test_hostile_resources_keep_no_other_from_being_run(
    workloads: Workloads, as_operator: ApiServer, served: Object
) -> None:
    deep: Object = {}
    for _ in range(900):
        deep = {"a": deep}
    large = {"services": {f"a{number}": {"image": "e.com/a:1"} for number in range(20_000)}}
    hostile = {
        "deep": deep,
        "large": large,
        "metadata": {"services": {"a": {"image": "169.254.169.254/a:1"}}},
    }
    workloads.create("before", served)
    registry = frozenset({served["services"]["api"]["image"].split("/")[0]})
    async with operating(as_operator, "host-a", allowed=registry):
        for name, spec in hostile.items():
            workloads.create(name, spec)
        workloads.create("after", served)
        for name in hostile:
            await workloads.until(name, "Accepted", "False")
        await workloads.until("before", "Ready")
        await workloads.until("after", "Ready")
        assert "--allow-registry" in workloads.condition("metadata", "Accepted")["message"]
    async with operating(as_operator, "host-b", allowed=registry):  # from a list, which has all of them
        await eventually(lambda: workloads.status("after").get("hostId") == "host-b")


async def test_only_what_the_selector_gives_is_run(
    workloads: Workloads, as_operator: ApiServer, served: Object
) -> None:
    async with operating(as_operator, "host-a", selector="host=a") as host:
        workloads.create("other", served, labels={"host": "b"})
        workloads.create("mine", served, labels={"host": "a"})
        await workloads.until("mine", "Ready")
        assert list(host.workloads) == [f"{workloads.namespace}/mine"]
        assert workloads.status("other") == {}


async def test_of_two_hosts_one_runs_it_and_the_other_after_it(
    workloads: Workloads, as_operator: ApiServer, served: Object
) -> None:
    workloads.create("tasks", served)
    both: list[int] = []
    async with operating(as_operator, "host-b", leases=True) as second:
        async with operating(as_operator, "host-a", leases=True) as first:
            await workloads.until("tasks", "Ready")
            for _ in range(60):
                both.append(len(first.workloads) + len(second.workloads))
                await trio.sleep(0.05)
            holder = workloads.status("tasks")["hostId"]
            assert len(first.workloads) == (holder == "host-a")
        await eventually(lambda: second.workloads)
        await eventually(lambda: workloads.status("tasks").get("hostId") == "host-b")
        await workloads.until("tasks", "Ready")
        assert await ask(second, f"{workloads.namespace}/tasks") == b"HELLO"
    assert set(both) == {1}


async def test_workloads_go_on_while_the_api_server_is_away(
    workloads: Workloads, as_operator: ApiServer, own_cluster: Cluster, served: Object
) -> None:
    name = f"{workloads.namespace}/tasks"
    workloads.create("tasks", served)
    async with operating(as_operator, "host-a") as host:
        await workloads.until("tasks", "Ready")
        await trio.to_thread.run_sync(own_cluster.stop_server)
        try:
            assert await ask(host, name) == b"HELLO"
        finally:
            await trio.to_thread.run_sync(own_cluster.start_server)
        workloads.create("later", served)
        await workloads.until("later", "Ready")
        assert len(host.workloads) == 2


async def test_the_command_runs_resources_until_it_is_told_to_stop(
    workloads: Workloads, own_cluster: Cluster, served: Object, tmp_path: Path
) -> None:
    environment = {
        **{key: value for key, value in os.environ.items() if key != "KUBECONFIG"},
        "WASI_SOCKETS_CONTROL": str(tmp_path / "control"),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-m", "service", "operator", "--kubeconfig", str(own_cluster.kubeconfig)]
    command += ["--namespace", workloads.namespace, "--name", "host-a", "--lease", "--allow-registry", "*"]
    process = await trio.lowlevel.open_process(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        workloads.create("tasks", served)
        await workloads.until("tasks", "Ready")
        ps = await trio.run_process(
            [sys.executable, "-m", "service", "ps", "--json"], env=environment, capture_stdout=True
        )
        told = json.loads(ps.stdout)
        assert (told["namespace"], told["name"]) == (workloads.namespace, "tasks")
        process.send_signal(signal.SIGTERM)
        with trio.fail_after(20):
            assert await process.wait() == 0
    finally:
        process.kill()
    lease = f"/apis/coordination.k8s.io/v1/namespaces/{workloads.namespace}/leases/wasi-sockets-tasks"
    assert workloads.admin.get(lease).json()["spec"].get("holderIdentity", "") == ""


async def test_a_cluster_that_is_not_there_is_said(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "KUBECONFIG": str(tmp_path / "missing"),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = await trio.run_process(
        [sys.executable, "-m", "service", "operator"],
        env=environment,
        capture_stderr=True,
        check=False,
    )
    assert done.returncode == 125
    assert b"no API server: " in done.stderr
