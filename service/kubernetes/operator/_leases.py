"""Who of several hosts runs a workload: whoever holds its Lease, and renews it.

1. A Lease that is nobody's, or that has not been renewed for its duration as this host saw it, may be taken. Clocks of
   other machines are not looked at. (`client-go/tools/leaderelection`)
2. Whoever could not renew for `RENEW_SECONDS` has lost it, before anybody else may take it.
3. Taking and renewing replace the Lease as it was seen: of two that try, one gets a conflict.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import trio

from service.kubernetes.operator._api import Api, ApiError, Object
from service.kubernetes.upstream import ApiServerUnavailable, BrokenAnswer

__all__ = ["DURATION_SECONDS", "Lease"]

DURATION_SECONDS: Final = 15
RENEW_SECONDS: Final = 10.0
_RETRY_SECONDS: Final = 2.0

_logger: Final = logging.getLogger("wasi_sockets.kubernetes")


class Lease:
    """One Lease, of a workload of the same namespace.

    Args:
        api: where it is.
        namespace: where in it.
        name: its own.
        identity: who holds it, if this host does.
        changed: called when `held` has.

    Attributes:
        held: whether this host holds it.
    """

    def __init__(
        self, api: Api, namespace: str, name: str, identity: str, changed: Callable[[], object]
    ) -> None:
        self.held = False
        self._api: Final = api
        self._collection: Final = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._name: Final = name
        self._identity: Final = identity
        self._changed: Final = changed
        self._seen: tuple[Any, ...] = ()
        self._seen_at = 0.0

    async def keep(self) -> None:
        """Take it when that is possible, and renew it, until cancelled; then give it back."""
        renewed = 0.0
        try:
            while True:
                # To the moment, whatever an attempt waits for: others count from when they saw it renewed.
                with trio.move_on_at(renewed + RENEW_SECONDS if self.held else math.inf):
                    began = trio.current_time()
                    got = await self._attempt()
                    if got:
                        renewed = began
                        self._set(True)
                    elif got is False:
                        self._set(False)
                    await trio.sleep(_RETRY_SECONDS)
                if trio.current_time() >= renewed + RENEW_SECONDS:
                    self._set(False)
        finally:
            with trio.move_on_after(_RETRY_SECONDS) as hurry:
                hurry.shield = True
                await self._give_back()

    def _set(self, held: bool) -> None:
        if held is not self.held:
            self.held = held
            self._changed()

    async def _attempt(self) -> bool | None:
        """Take or renew it once. None when nobody knows."""
        with trio.move_on_after(RENEW_SECONDS / 2):
            try:
                return await self._take()
            except ApiError as error:
                if error.code == 409:
                    return False
                _logger.warning("lease %s: %s", self._name, error)
            except (ApiServerUnavailable, BrokenAnswer, ValueError) as error:
                _logger.warning("lease %s: %s", self._name, error)
        return None

    async def _take(self) -> bool:
        path = f"{self._collection}/{self._name}"
        try:
            found = await self._api.get(path)
        except ApiError as error:
            if error.code != 404:
                raise
            new: Object = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self._name},
                "spec": self._spec(0),
            }
            await self._api.create(self._collection, new)
            return True
        spec = found.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        seen = (holder, spec.get("renewTime"), found["metadata"]["resourceVersion"])
        if seen != self._seen:
            self._seen, self._seen_at = seen, trio.current_time()
        duration = max(spec.get("leaseDurationSeconds") or 0, DURATION_SECONDS)
        if holder not in ("", self._identity) and trio.current_time() - self._seen_at < duration:
            return False
        transitions = (spec.get("leaseTransitions") or 0) + (holder != self._identity)
        kept = (
            {"acquireTime": spec["acquireTime"]} if holder == self._identity and "acquireTime" in spec else {}
        )
        await self._api.replace(path, {**found, "spec": {**self._spec(transitions), **kept}})
        return True

    def _spec(self, transitions: int) -> Object:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": DURATION_SECONDS,
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }

    async def _give_back(self) -> None:
        if not self.held:
            return
        self.held = False
        path = f"{self._collection}/{self._name}"
        try:
            found = await self._api.get(path)
            if (found.get("spec") or {}).get("holderIdentity") == self._identity:
                await self._api.replace(path, {**found, "spec": {**found["spec"], "holderIdentity": ""}})
        except (ApiError, ApiServerUnavailable, BrokenAnswer, ValueError) as error:
            _logger.info("lease %s: %s", self._name, error)
