"""The controller of static sites as a trio service: plain Python and lightkube, beside the same gateway.

    pip install lightkube
    python examples/kubernetes/static_site/trio_controller.py [NAMESPACE]

What a site wants is told by the component's own module; only the way to the API server is another. lightkube opens its
connections by trio's sockets, which are the workload's network here (`Network.installed`).
"""

from __future__ import annotations

import sys
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

import trio
from lightkube import AsyncClient, KubeConfig
from lightkube.codecs import from_dict
from lightkube.config.models import Cluster, User
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import create_namespaced_resource
from lightkube.types import PatchType

from service.hosting import Host
from service.kubernetes import Gateway
from service.spec import ServiceSpec, TaskCode, WorkloadSpec
from wasi_sockets import Network

ROOT = Path(__file__).resolve().parents[3]
sys.path += [str(ROOT), str(ROOT / "tests" / "guests" / "static-site-controller")]

from static_site import FINALIZER, GROUP, new_status, owned_objects, problem  # noqa: E402

from examples.kubernetes.static_site.run import exit_code, rules, usable_api_server  # noqa: E402

FIELD_MANAGER = "static-site-controller"
StaticSite = create_namespaced_resource(GROUP, "v1", "StaticSite", "staticsites")


async def control(network: Network, namespace: str, identity: str, *, task_status: Any) -> None:
    """Look after the sites of a namespace; the target of a `TaskCode`.

    An error ends it, and the host starts it again after a pause: it then begins with all sites that there are.
    """
    config = KubeConfig.from_one(cluster=Cluster(server="http://127.0.0.1:8001"), user=User())
    with network.installed():
        client = AsyncClient(config, namespace, field_manager=FIELD_MANAGER, trust_env=False)
        try:
            task_status.started()
            async with aclosing(client.watch(StaticSite)) as events:
                async for kind, seen in events:
                    name = seen.metadata.name
                    print(kind, name, flush=True)
                    # As it is now: what was seen may be what this controller changed meanwhile.
                    site = await get_if_there(client, StaticSite, name)
                    if site is not None:
                        await reconcile(client, site.to_dict(), identity)
        finally:
            with trio.CancelScope(shield=True):
                await client.close()


async def reconcile(client: AsyncClient, site: dict[str, Any], identity: str) -> None:
    """Make what a site owns as it wants it."""
    name, metadata = site["metadata"]["name"], site["metadata"]
    finalizers = metadata.get("finalizers") or []
    owned = [from_dict(each) for each in owned_objects(site)]
    if metadata.get("deletionTimestamp"):
        if FINALIZER in finalizers:
            for each in owned:
                await delete_if_there(client, type(each), name)
            rest = [each for each in finalizers if each != FINALIZER]
            await client.patch(
                StaticSite, name, {"metadata": {"finalizers": rest}}, patch_type=PatchType.MERGE
            )
        return
    if FINALIZER not in finalizers:
        await client.patch(
            StaticSite,
            name,
            {"metadata": {"finalizers": [*finalizers, FINALIZER]}},
            patch_type=PatchType.MERGE,
        )
        return  # which is a change, and comes back as one
    wrong = problem(site)
    applied = [] if wrong else [await client.apply(each, force=True) for each in owned]
    status = new_status(site, wrong, applied[1].to_dict() if applied else None, identity)
    if status != site.get("status"):
        await client.patch(StaticSite.Status, name, {"status": status}, patch_type=PatchType.MERGE)


async def get_if_there(client: AsyncClient, kind: Any, name: str) -> Any:
    """An object, None when there is none."""
    try:
        return await client.get(kind, name)
    except ApiError as error:
        if error.status.code != 404:
            raise
        return None


async def delete_if_there(client: AsyncClient, kind: Any, name: str) -> None:
    """Delete an object that may be gone already."""
    try:
        await client.delete(kind, name)
    except ApiError as error:
        if error.status.code != 404:
            raise


async def main(namespace: str, identity: str) -> None:
    gateway = Gateway(await usable_api_server(namespace), rules(namespace))
    controller = partial(control, namespace=namespace, identity=identity)
    spec = WorkloadSpec(
        name="static-sites",
        services=(
            ServiceSpec(name="gateway", code=TaskCode(gateway.serve), ports=(8001,)),
            ServiceSpec(name="controller", code=TaskCode(controller), after=("gateway",)),
        ),
    )
    async with Host() as host:
        await (await host.start(spec)).wait()


if __name__ == "__main__":
    sys.exit(exit_code(main, sys.argv[1] if len(sys.argv) > 1 else "default", "trio"))
