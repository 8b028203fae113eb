"""The controller in a component, on a real API server: what it makes of its sites, and what it survives."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, aclosing
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import wasmtime
import yaml

import wasi_sockets
from service.kubernetes import AccessRule, ApiServer, Gateway, load_kubeconfig
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.controllers import GROUP, LEASE_SECONDS, Replica, Sites, eventually, running
from tests.kubernetes.watching import watched

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "kubernetes" / "static_site"

Running = Callable[..., AbstractAsyncContextManager[list[Replica]]]


@pytest.fixture(scope="module")
def loaded(guest_file: Callable[[str], Path]) -> tuple[wasmtime.Engine, wasi_sockets.GuestComponent]:
    engine = wasmtime.Engine(wasi_sockets.config())
    return engine, wasi_sockets.load(
        engine, guest_file("static-site-controller"), cache=str(ROOT / "build" / "cache")
    )


@pytest.fixture
def controllers(loaded: Any, api_server: ApiServer, namespace: str) -> Running:
    return partial(running, *loaded, api_server, namespace)


def condition(site: dict[str, Any], kind: str) -> dict[str, Any]:
    (found,) = (each for each in site["status"]["conditions"] if each["type"] == kind)
    return dict(found)


async def test_create_update_drift_and_delete(controllers: Running, sites: Sites) -> None:
    async with controllers("one"):
        sites.create("shop", "first", replicas=2)
        await eventually(lambda: sites.applied_by("shop") == "one")
        site = sites.get("shop")
        assert site is not None
        assert site["metadata"]["finalizers"] == [f"{GROUP}/static-site"]
        assert condition(site, "Applied")["status"] == "True"
        assert condition(site, "Ready")["message"] == "0 of 2 pods are available"
        assert sites.text("shop") == "first"
        deployment = sites.owned("Deployment", "shop")
        assert deployment is not None
        assert deployment["spec"]["replicas"] == 2
        assert deployment["metadata"]["ownerReferences"][0]["uid"] == site["metadata"]["uid"]
        assert sites.owned("Service", "shop") is not None

        sites.change("shop", files={"index.html": "second"})
        await eventually(lambda: sites.text("shop") == "second")
        changed = await eventually(lambda: sites.applied_by("shop") and sites.get("shop"))
        assert (
            condition(changed, "Applied")["lastTransitionTime"]
            == condition(site, "Applied")["lastTransitionTime"]
        )

        sites.delete_owned("Service", "shop")
        await eventually(lambda: sites.owned("Service", "shop"))
        sites.change_owned("ConfigMap", "shop", {"data": {"index.html": "somebody's"}})
        await eventually(lambda: sites.text("shop") == "second")

        sites.create("broken", files={"readme": "no index"})
        broken = await eventually(lambda: sites.applied_by("broken") and sites.get("broken"))
        assert condition(broken, "Applied")["reason"] == "InvalidSpec"
        assert sites.owned("ConfigMap", "broken") is None

        sites.delete("shop")
        await eventually(lambda: sites.get("shop") is None)
        assert all(sites.owned(kind, "shop") is None for kind in ("ConfigMap", "Deployment", "Service"))
        sites.delete("broken")
        await eventually(lambda: sites.get("broken") is None)


async def test_what_happened_while_no_controller_ran(controllers: Running, sites: Sites) -> None:
    async with controllers("one"):
        sites.create("old")
        sites.create("gone")
        await eventually(lambda: sites.applied_by("old") and sites.applied_by("gone"))
    sites.delete("gone")
    assert sites.get("gone") is not None, "the finalizer keeps it"
    sites.change("old", files={"index.html": "changed"})
    sites.create("new")
    async with controllers("two"):
        await eventually(lambda: sites.get("gone") is None)
        await eventually(lambda: sites.text("old") == "changed" and sites.applied_by("new") == "two")
        for name in ("old", "new"):
            sites.delete(name)
        await eventually(lambda: sites.get("old") is None and sites.get("new") is None)


async def note_who_acts(
    api_server: ApiServer, namespace: str, actors: list[str], *, task_status: Any
) -> None:
    """Put down who wrote each status that comes to be, in the order of the API server."""
    network = wasi_sockets.Network()
    statuses: dict[str, Any] = {}
    rule = AccessRule(
        services=("test",), verbs=("watch",), groups=(GROUP,), resources=("*",), namespaces=("*",)
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(Gateway(api_server, [rule], identify=lambda connection: "test").serve, network)
        target = f"/apis/{GROUP}/v1/namespaces/{namespace}/staticsites?watch=1"
        task_status.started()
        async with aclosing(watched(network, target)) as events:
            async for event in events:
                name, status = event["object"]["metadata"]["name"], event["object"].get("status")
                # A change of the site itself still shows the status of before.
                if status is not None and status != statuses.get(name):
                    statuses[name] = status
                    actors.append(status["appliedBy"])


async def keep_changing(sites: Sites, names: list[str]) -> None:
    """Give the controllers work without an end."""
    number = 0
    while True:
        number += 1
        for name in names:
            sites.change(name, files={"index.html": str(number)})
        await trio.sleep(0.05)


async def test_of_two_replicas_never_both_act(
    controllers: Running, sites: Sites, api_server: ApiServer, namespace: str
) -> None:
    actors: list[str] = []
    names = [f"site-{number}" for number in range(4)]
    async with controllers("one", "two") as replicas, trio.open_nursery() as nursery:
        await nursery.start(partial(note_who_acts, api_server, namespace, actors))
        for name in names:
            sites.create(name)
        nursery.start_soon(keep_changing, sites, names)
        await eventually(lambda: len(actors) > 50)
        (first,) = (each for each in replicas if each.acts)
        # A lease that is lost while both live, and then a killed guest.
        sites.take_lease("thief", LEASE_SECONDS)
        await eventually(lambda: not first.acts)
        await eventually(lambda: any(each.acts for each in replicas))
        (second,) = (each for each in replicas if each.acts)
        since = len(actors)
        await eventually(lambda: len(actors) > since + 50)
        (third,) = (each for each in replicas if each is not second)
        second.kill()
        await eventually(lambda: third.acts)
        since = len(actors)
        await eventually(lambda: len(actors) > since + 50)
        nursery.cancel_scope.cancel()
    acted = [each.identity for each in (first, second, third)]
    assert [who for who, _ in groupby(actors)] == [who for who, _ in groupby(acted)]


async def test_of_two_replicas_one_acts_and_the_other_takes_over(controllers: Running, sites: Sites) -> None:
    async with controllers("one", "two") as replicas:
        await eventually(lambda: any(each.acts for each in replicas))
        for number in range(5):
            sites.create(f"site-{number}")
        await eventually(lambda: all(sites.applied_by(f"site-{number}") for number in range(5)))
        (acting,) = (each for each in replicas if each.acts)
        (standing,) = (each for each in replicas if not each.acts)
        assert {sites.applied_by(f"site-{number}") for number in range(5)} == {acting.identity}
        assert standing.lines == []

        acting.kill()
        sites.create("after")
        await eventually(lambda: sites.applied_by("after"))
        assert sites.applied_by("after") == standing.identity
        await eventually(
            lambda: {sites.applied_by(f"site-{number}") for number in range(5)} == {standing.identity}
        )
        for name in ("after", *(f"site-{number}" for number in range(5))):
            sites.delete(name)
        await eventually(lambda: all(sites.get(f"site-{number}") is None for number in range(5)))
        await eventually(lambda: sites.get("after") is None)


async def test_a_controller_that_loses_its_lease_stands_by(controllers: Running, sites: Sites) -> None:
    async with controllers("one") as (replica,):
        await eventually(lambda: replica.acts)
        sites.take_lease("thief", seconds=LEASE_SECONDS)
        await eventually(lambda: "one stands by" in replica.lines)
        sites.create("meanwhile")
        assert not replica.acts
        await eventually(lambda: replica.acts)
        await eventually(lambda: sites.applied_by("meanwhile"))
        sites.delete("meanwhile")
        await eventually(lambda: sites.get("meanwhile") is None)


def grant_role(admin: httpx.Client, namespace: str, user: str) -> None:
    """Let a user do what the example's role says, and nothing else."""
    roles = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    role = yaml.safe_load((EXAMPLE / "rbac.yaml").read_text())
    admin.post(f"{roles}/roles", json=role).raise_for_status()
    group = "rbac.authorization.k8s.io"
    binding = {
        "metadata": {"name": "controller"},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": role["metadata"]["name"]},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
    }
    admin.post(f"{roles}/rolebindings", json=binding).raise_for_status()


async def test_the_role_in_the_example_is_all_that_it_needs(
    loaded: Any,
    own_cluster: Cluster,
    admin: httpx.Client,
    namespace: str,
    sites: Sites,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    grant_role(admin, namespace, user="other")
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(own_cluster.kubeconfig_for({"token": "other-token-71c2"})))
    async with running(*loaded, load_kubeconfig(kubeconfig), namespace, "one") as (replica,):
        sites.create("shop")
        await eventually(lambda: sites.applied_by("shop") == "one")
        assert sites.owned("Service", "shop") is not None
        sites.delete("shop")
        await eventually(lambda: sites.get("shop") is None)
        assert replica.lines == ["one acts"]
    assert "denied" not in caplog.text


async def test_an_api_server_that_is_restarted(
    controllers: Running, sites: Sites, own_cluster: Cluster
) -> None:
    # So long that it keeps its lease meanwhile, and goes on where it was.
    async with controllers("one", lease_seconds=60) as (replica,):
        sites.create("before")
        await eventually(lambda: sites.applied_by("before"))
        await trio.to_thread.run_sync(own_cluster.stop_server)
        await eventually(lambda: any("503" in line or "broken" in line for line in replica.lines))
        await trio.to_thread.run_sync(own_cluster.start_server)
        sites.create("after")
        await eventually(lambda: sites.applied_by("after") == "one")
        sites.change("before", files={"index.html": "changed"})
        await eventually(lambda: sites.text("before") == "changed")
        # What it watched from is older than what the new API server remembers: 410 Gone.
        assert any(
            "listing again: Expired" in line or "listing again: Gone" in line for line in replica.lines
        )
        for name in ("before", "after"):
            sites.delete(name)
        await eventually(lambda: sites.get("before") is None and sites.get("after") is None)
