"""The controller: what changed goes into a queue by the site's name, and each site is made as it wants to be."""

from __future__ import annotations

import asyncio

from api import APPLY, MERGE, Api, ApiError, Object
from informer import follow
from leader import Lease
from static_site import FINALIZER, LABEL, OWNED, collection, new_status, owned_objects, problem
from work_queue import WorkQueue

__all__ = ["control"]

_NAME = "static-site-controller"
_WORKERS = 4


async def control(host: str, port: int, namespace: str, identity: str, lease_seconds: int) -> None:
    """Look after the sites of a namespace whenever this replica holds the lease; never returns.

    Args:
        host: of the API gateway.
        port: of it.
        namespace: whose sites.
        identity: of this replica.
        lease_seconds: after which another takes over when this one is gone.
    """
    api = Api(host, port)
    lease = Lease(api, namespace, _NAME, identity, lease_seconds)
    await lease.while_held(_Controller(api, namespace, identity).act)


class _Controller:
    def __init__(self, api: Api, namespace: str, identity: str) -> None:
        self._api = api
        self._namespace = namespace
        self._identity = identity

    async def act(self) -> None:
        queue = WorkQueue()
        async with asyncio.TaskGroup() as tasks:
            sites = collection(self._namespace)
            tasks.create_task(follow(self._api, sites, "", lambda site: queue.add(site["metadata"]["name"])))
            for owned in OWNED:
                path = owned.format(self._namespace)
                tasks.create_task(
                    follow(self._api, path, LABEL, lambda each: queue.add(each["metadata"]["labels"][LABEL]))
                )
            for _ in range(_WORKERS):
                tasks.create_task(self._work(queue))

    async def _work(self, queue: WorkQueue) -> None:
        while True:
            name = await queue.take()
            try:
                await self._reconcile(name)
            except ApiError as error:
                # A conflict only says that somebody was faster, and that there is something new to be read.
                if error.code != 409:
                    print(f"{name}: {error}", flush=True)
                queue.failed(name)
            else:
                queue.done(name)

    async def _reconcile(self, name: str) -> None:
        """Make all that a site owns as it wants it, from what is there now: it does not matter what happened."""
        path = f"{collection(self._namespace)}/{name}"
        site = await self._find(path)
        if site is None:
            return
        if site["metadata"].get("deletionTimestamp"):
            await self._clean_up(path, site)
            return
        if FINALIZER not in site["metadata"].get("finalizers", ()):
            site = await self._set_finalizers(
                path, site, [*site["metadata"].get("finalizers", ()), FINALIZER]
            )
        wrong = problem(site)
        applied = (
            []
            if wrong
            else [await self._apply(each) for each in zip(OWNED, owned_objects(site), strict=True)]
        )
        status = new_status(site, wrong, applied[1] if applied else None, self._identity)
        if status != site.get("status"):
            await self._api.request("PATCH", f"{path}/status", {"status": status}, MERGE)

    async def _find(self, path: str) -> Object | None:
        try:
            return await self._api.request("GET", path)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    async def _apply(self, wanted: tuple[str, Object]) -> Object:
        where, what = wanted
        path = f"{where.format(self._namespace)}/{what['metadata']['name']}"
        return await self._api.request("PATCH", f"{path}?fieldManager={_NAME}&force=true", what, APPLY)

    async def _set_finalizers(self, path: str, site: Object, finalizers: list[str]) -> Object:
        version = site["metadata"]["resourceVersion"]
        change = {"metadata": {"resourceVersion": version, "finalizers": finalizers}}
        return await self._api.request("PATCH", path, change, MERGE)

    async def _clean_up(self, path: str, site: Object) -> None:
        """A site is on its way out: what it owns goes first, then the finalizer that keeps it."""
        rest = [each for each in site["metadata"].get("finalizers", ()) if each != FINALIZER]
        if len(rest) == len(site["metadata"].get("finalizers", ())):
            return
        for where in OWNED:
            owned = f"{where.format(self._namespace)}/{site['metadata']['name']}"
            try:
                await self._api.request("DELETE", f"{owned}?propagationPolicy=Background")
            except ApiError as error:
                if error.code != 404:
                    raise
        await self._set_finalizers(path, site, rest)
