"""The same controller in plain Python, a trio service that uses lightkube, on a real API server."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from service.identity import acting_as
from service.kubernetes import ApiServer, Gateway
from tests.kubernetes.controllers import GROUP, Sites, eventually
from wasi_sockets import Network

pytest.importorskip("lightkube", reason="lightkube is not installed: pip install lightkube")


async def test_a_site_comes_changes_and_goes(api_server: ApiServer, namespace: str, sites: Sites) -> None:
    from examples.kubernetes.static_site.run import rules
    from examples.kubernetes.static_site.trio_controller import control

    network = Network()
    async with trio.open_nursery() as nursery:
        await nursery.start(Gateway(api_server, rules(namespace)).serve, network)
        with acting_as("controller"):
            await nursery.start(partial(control, network, namespace, "trio"))
        sites.create("shop", "first")
        await eventually(lambda: sites.applied_by("shop") == "trio")
        site = sites.get("shop")
        assert site is not None
        assert site["metadata"]["finalizers"] == [f"{GROUP}/static-site"]
        assert sites.text("shop") == "first"
        sites.change("shop", files={"index.html": "second"})
        await eventually(lambda: sites.text("shop") == "second")
        sites.delete("shop")
        await eventually(lambda: sites.get("shop") is None)
        assert all(sites.owned(kind, "shop") is None for kind in ("ConfigMap", "Deployment", "Service"))
        nursery.cancel_scope.cancel()
