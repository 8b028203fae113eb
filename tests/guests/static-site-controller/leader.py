"""One of several replicas acts: the one that holds a Lease.

As client-go's `leaderelection`: a lease counts as expired when it has not been renewed for its duration as seen by the
own clock, so that clocks need not agree; and its holder stops acting well before others may take it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from api import Api, ApiError, Object

__all__ = ["Lease"]


class Lease:
    """A Lease object, as one of its candidates sees it.

    Args:
        api: where.
        namespace: of the object.
        name: of the object.
        identity: of the candidate.
        seconds: how long it is held without being renewed.
    """

    def __init__(self, api: Api, namespace: str, name: str, identity: str, seconds: int) -> None:
        self._api = api
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._name = name
        self._identity = identity
        self._seconds = seconds
        self._seen = ""
        self._seen_at = 0.0
        self._taken = False
        self._tried_at = 0.0

    async def while_held(self, act: Callable[[], Awaitable[None]]) -> None:
        """Run `act` whenever the lease is held, and cancel it when that is over; never returns."""
        while True:
            if not await self._tried():
                await asyncio.sleep(self._seconds / 5)
                continue
            print(f"{self._identity} acts", flush=True)
            acting = asyncio.ensure_future(act())
            try:
                await self._hold(acting)
            finally:
                acting.cancel()
                await asyncio.wait([acting])
            if not acting.cancelled() and (error := acting.exception()) is not None:
                raise error
            print(f"{self._identity} stands by", flush=True)

    async def _hold(self, acting: asyncio.Future[None]) -> None:
        """Renew it until that fails for two thirds of its duration, or `acting` ends.

        To the moment, whatever an attempt waits for: the last third is for requests that are under way.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self._tried_at + self._seconds * 2 / 3) as patience:
                while not acting.done():
                    if await self._tried():
                        patience.reschedule(self._tried_at + self._seconds * 2 / 3)
                    elif self._taken:
                        return
                    await asyncio.wait([acting], timeout=self._seconds / 5)

    async def _tried(self) -> bool:
        """Whether it was acquired or renewed just now."""
        self._taken = False
        self._tried_at = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._seconds / 5):
                return await self._try()
        except (ApiError, TimeoutError):
            return False

    async def _try(self) -> bool:
        path = f"{self._collection}/{self._name}"
        try:
            found = await self._api.request("GET", path)
        except ApiError as error:
            if error.code != 404:
                raise
            await self._api.request(
                "POST", self._collection, self._filled({"metadata": {"name": self._name}})
            )
            return True
        holder = found["spec"].get("holderIdentity") or ""
        now = asyncio.get_running_loop().time()
        version = found["metadata"]["resourceVersion"]
        if version != self._seen:
            self._seen, self._seen_at = version, now
        held = now < self._seen_at + found["spec"].get("leaseDurationSeconds", self._seconds)
        if holder not in ("", self._identity) and held:
            self._taken = True
            return False
        # With its version: of two that try, one gets a conflict.
        written = await self._api.request("PUT", path, self._filled(found))
        self._seen, self._seen_at = written["metadata"]["resourceVersion"], now
        return True

    def _filled(self, lease: Object) -> Object:
        spec = lease.setdefault("spec", {})
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if spec.get("holderIdentity") != self._identity:
            spec["leaseTransitions"] = spec.get("leaseTransitions", -1) + 1
            spec["acquireTime"] = moment
        spec.update(holderIdentity=self._identity, leaseDurationSeconds=self._seconds, renewTime=moment)
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", **lease}
