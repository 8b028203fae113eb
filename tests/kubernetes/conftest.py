"""A Kubernetes API server for the tests: that of `KUBECONFIG`, or a real one that lives as long as they run."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from service.kubernetes import ApiServer, load_kubeconfig
from tests.kubernetes.cluster import Cluster, administrator, started_or_skipped
from tests.kubernetes.controllers import GROUP, Sites, eventually

CRD = Path(__file__).resolve().parents[2] / "examples" / "kubernetes" / "static_site" / "crd.yaml"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster | None]:
    """The tests' own cluster; None where they use another's."""
    if os.environ.get("KUBECONFIG"):
        yield None
        return
    with started_or_skipped() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def api_server(cluster: Cluster | None) -> ApiServer:
    """The API server, with the credentials of an administrator."""
    return load_kubeconfig(None if cluster is None else cluster.kubeconfig, exec_plugins=True)


@pytest.fixture(scope="session")
def own_cluster(cluster: Cluster | None) -> Cluster:
    """One that may be stopped and started."""
    if cluster is None:
        pytest.skip("the API server of KUBECONFIG is not for the tests to stop")
    return cluster


@pytest.fixture(scope="session")
def admin(api_server: ApiServer) -> Iterator[httpx.Client]:
    """Looks at the API server, around every gateway."""
    with administrator(api_server) as client:
        yield client


@pytest.fixture
def namespace(admin: httpx.Client) -> Iterator[str]:
    """A namespace of the test's own."""
    name = f"wasi-sockets-{secrets.token_hex(4)}"
    admin.post("/api/v1/namespaces", json={"metadata": {"name": name}}).raise_for_status()
    yield name
    admin.delete(f"/api/v1/namespaces/{name}").raise_for_status()


@pytest.fixture(scope="session")
def definition(admin: httpx.Client) -> None:
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    answer = admin.post(definitions, json=yaml.safe_load(CRD.read_text()))
    assert answer.status_code in (201, 409), answer.text


@pytest.fixture
async def sites(admin: httpx.Client, namespace: str, definition: None) -> Sites:
    found = Sites(admin, namespace)
    path = f"/apis/{GROUP}/v1/namespaces/{namespace}/staticsites"
    await eventually(lambda: admin.get(path).status_code == 200)
    return found
