"""The controller in a component, on a real API server: what it makes of its sites, and what it survives."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import wasmtime

import wasi_sockets
from service.kubernetes import ApiServer
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.controllers import GROUP, LEASE_SECONDS, Replica, Sites, eventually, running

ROOT = Path(__file__).resolve().parents[2]

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


async def test_an_api_server_that_is_restarted(
    controllers: Running, sites: Sites, own_cluster: Cluster
) -> None:
    async with controllers("one") as (replica,):
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
