"""The gateway before a real API server: credentials, watches, denials, an API server that goes and comes back."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest
import trio
import yaml

from service.kubernetes import AccessRule, ApiServer, Gateway, acting_as, load_kubeconfig
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.watching import watched
from tools.resident_memory import resident_bytes
from wasi_sockets import Network
from wasi_sockets.httpx_transport import NetworkTransport

RULES = [
    AccessRule(services=("client",), verbs=("*",), resources=("configmaps", "namespaces"), namespaces=("*",)),
    AccessRule(services=("client",), verbs=("get",), paths=("/version",)),
]


@asynccontextmanager
async def client(server: ApiServer, network: Network | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """A client on a network whose gateway leads to an API server."""
    network = network or Network()
    async with trio.open_nursery() as nursery:
        await nursery.start(Gateway(server, RULES).serve, network)
        with acting_as("client"):
            transport = NetworkTransport(network)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8001") as given:
                yield given
        nursery.cancel_scope.cancel()


def config_map(name: str, **data: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def test_objects_come_and_go(api_server: ApiServer, namespace: str) -> None:
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    async with client(api_server) as given:
        assert "gitVersion" in (await given.get("/version")).json()
        assert (await given.post(maps, json=config_map("a", colour="blue"))).status_code == 201
        applied = await given.patch(
            f"{maps}/a?fieldManager=test&force=true",
            content=json.dumps(config_map("a", colour="red")),
            headers={"Content-Type": "application/apply-patch+yaml"},
        )
        assert applied.json()["data"] == {"colour": "red"}
        assert (await given.delete(f"{maps}/a")).status_code == 200
        assert (await given.get(f"{maps}/a")).json()["reason"] == "NotFound"


async def test_what_the_rules_do_not_name_does_not_reach_the_api_server(
    api_server: ApiServer, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with client(api_server) as given:
        response = await given.get(f"/api/v1/namespaces/{namespace}/secrets")
        assert response.status_code == 403
        assert "the gateway does not allow" in response.json()["message"]
    assert any(
        f"denied to service 'client': list secrets in namespace {namespace}" in m for m in caplog.messages
    )


async def test_certificates_and_tokens(own_cluster: Cluster, tmp_path: Path) -> None:
    pem = base64.b64encode((own_cluster.directory / "client.pem").read_bytes()).decode()
    users = (
        ({"client-certificate-data": pem, "client-key-data": pem}, 200),
        ({"token": "other-token-71c2"}, 403),
        ({"token": "no-token-at-all"}, 401),
    )
    for user, code in users:
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(own_cluster.kubeconfig_for(user)))
        async with client(load_kubeconfig(path)) as given:
            response = await given.get("/api/v1/namespaces/default/configmaps")
            assert response.status_code == code


async def test_an_api_server_that_is_restarted(own_cluster: Cluster, api_server: ApiServer) -> None:
    maps = "/api/v1/namespaces/default/configmaps"
    async with client(api_server) as given:
        listed = (await given.get(maps)).json()
        version = listed["metadata"]["resourceVersion"]
        async with given.stream("GET", f"{maps}?watch=1&resourceVersion={version}", timeout=60) as watch:
            await trio.to_thread.run_sync(own_cluster.stop_server)
            # It may end in order, or break off.
            with suppress(httpx.RemoteProtocolError, httpx.ReadError):
                async for _ in watch.aiter_lines():
                    pass
        response = await given.get(maps)
        assert response.status_code == 503
        assert "cannot be reached" in response.json()["message"]
        await trio.to_thread.run_sync(own_cluster.start_server)
        assert (await given.get(maps)).status_code == 200


@pytest.mark.skipif(
    not os.environ.get("KUBERNETES_AT_LENGTH"), reason="takes half a minute: make test-kubernetes runs it"
)
async def test_a_watch_of_ten_thousand_events_loses_none_and_keeps_no_memory(
    api_server: ApiServer, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    writers, each = 8, 1250
    seen: dict[str, list[int]] = {}
    versions: list[int] = []
    memory: list[int] = []

    async def write(given: httpx.AsyncClient, name: str) -> None:
        (await given.post(maps, json=config_map(name, number="0"))).raise_for_status()
        for number in range(1, each):
            change = json.dumps({"data": {"number": str(number)}})
            headers = {"Content-Type": "application/merge-patch+json"}
            (await given.patch(f"{maps}/{name}", content=change, headers=headers)).raise_for_status()

    network = Network()
    async with client(api_server, network) as given, trio.open_nursery() as nursery:
        version = (await given.get(maps)).json()["metadata"]["resourceVersion"]
        for number in range(writers):
            nursery.start_soon(write, given, f"map-{number}")
        target = f"{maps}?watch=1&resourceVersion={version}&fieldSelector=metadata.name!=kube-root-ca.crt"
        async with aclosing(watched(network, target)) as events:
            async for event in events:
                metadata = event["object"]["metadata"]
                seen.setdefault(metadata["name"], []).append(int(event["object"]["data"]["number"]))
                versions.append(int(metadata["resourceVersion"]))
                if len(versions) % 1000 == 0:
                    memory.append(resident_bytes())
                if len(versions) == writers * each:
                    break
    assert seen == {f"map-{number}": list(range(each)) for number in range(writers)}
    assert versions == sorted(versions)
    with capsys.disabled():
        kib = ", ".join(f"{(each - memory[1]) // 1024:+d}" for each in memory[2:])
        print(
            f"\n{len(versions)} events in order; resident memory at 2,000: {memory[1] >> 20} MiB;"
            f" KiB more at 3,000, 4,000...: {kib}"
        )
    # 10 MB of events went through; of what grows here the lists of numbers are the most.
    assert memory[-1] - min(memory[1:]) < 2 * 1024 * 1024
