"""Watching `Workload` resources, and making a host run what they say."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import trio

from service.hosting import Host, Workload, WorkloadError
from service.kubernetes.operator._admission import Allowance, NotAdmittedError, admitted
from service.kubernetes.operator._api import Api, ApiError, Object
from service.kubernetes.operator._leases import Lease
from service.kubernetes.operator._pace import Pace
from service.kubernetes.operator._status import status_of
from service.kubernetes.upstream import ApiServerUnavailable, BrokenAnswer

__all__ = ["GROUP", "Operator"]

GROUP: Final = "wasi-sockets.dev"
_VERSION: Final = "v1alpha1"
_WATCH_SECONDS: Final = 300
_BETWEEN_LISTS: Final = 1.0
"""Seconds, at least: an API server, or a proxy before it, may end each watch at once."""
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0
_BETWEEN_LOOKS: Final = 5.0
"""Seconds, while the resource type is not there: somebody who has just applied it waits for this host."""
_DEFINITION: Final = Path(__file__).parent / "manifests" / "crd.yaml"
_LEASE_STOP_SECONDS: Final = 3.0
"""For finishing after a lost Lease: less than what is left until another host may take it."""

_STATUS_BURST: Final = 20
_STATUSES_PER_SECOND: Final = 1.0
"""Statuses are stored and watched by others: what restarts without end must not be a load on the API server."""

_logger: Final = logging.getLogger("wasi_sockets.kubernetes")

_FAILURES: Final = (ApiError, ApiServerUnavailable, BrokenAnswer, ValueError, KeyError)


class Operator:
    """Runs the `Workload` resources of a namespace, or of all, on a host.

    Args:
        host: where they run; it may run others too.
        api: where the resources are.
        identity: this host's name, for Leases and in the status of resources.
        namespace: "" for all.
        selector: labels of those that are this host's, as for `kubectl --selector`; "" for all.
        leases: run only those whose Lease this host holds, since others see the same ones.
        allowance: what resources may name.
        stop_within: seconds that a workload has to finish when its resource is gone or changed.
    """

    def __init__(
        self,
        host: Host,
        api: Api,
        *,
        identity: str,
        namespace: str = "",
        selector: str = "",
        leases: bool = False,
        allowance: Allowance | None = None,
        stop_within: float = 10.0,
    ) -> None:
        where = f"namespaces/{namespace}/" if namespace else ""
        self.host: Final = host
        self.api: Final = api
        self.identity: Final = identity
        self.allowance: Final = allowance or Allowance()
        self.stop_within: Final = stop_within
        self.leases: Final = leases
        self._path: Final = f"/apis/{GROUP}/{_VERSION}/{where}workloads"
        self._query: Final = {"labelSelector": selector} if selector else {}
        self._managed: Final[dict[str, _Managed]] = {}
        self._pause = _FIRST_PAUSE
        self._told_missing = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the resources until cancelled. `task_status` is told once it has seen all that there are.

        While the API server is away, or does not know the resource type, what runs goes on.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow_events)
            started = False
            while True:
                began = trio.current_time()
                try:
                    version = await self._list(nursery)
                    self._pause, self._told_missing = _FIRST_PAUSE, False
                    if not started:
                        started = True
                        task_status.started()
                    await self._watch(nursery, version)
                except _FAILURES as error:
                    await self._wait_after(error)
                await trio.sleep_until(began + _BETWEEN_LISTS)

    async def _wait_after(self, error: Exception) -> None:
        code = error.code if isinstance(error, ApiError) else None
        if code == 410:
            return  # the version is too old: list anew
        if code == 404:
            self._tell_missing()
            await trio.sleep(_BETWEEN_LOOKS)
            return
        _logger.warning("workloads cannot be watched: %s; again in %g s", error, self._pause)
        await trio.sleep(self._pause)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _tell_missing(self) -> None:
        if not self._told_missing:
            self._told_missing = True
            _logger.warning(
                "the API server has no resource type workloads.%s/%s yet; this host goes on looking for it. To add it:"
                " kubectl apply -f %s",
                GROUP,
                _VERSION,
                shlex.quote(str(_DEFINITION)),
            )

    async def _list(self, nursery: trio.Nursery) -> str:
        listed = await self.api.get(self._path, self._query)
        there: set[str] = set()
        for resource in listed["items"]:
            there.add(self._update(nursery, resource))
        for key, managed in self._managed.items():
            if key not in there:
                managed.want(None)
        version: str = listed["metadata"]["resourceVersion"]
        return version

    async def _watch(self, nursery: trio.Nursery, version: str) -> None:
        query = {**self._query, "resourceVersion": version, "timeoutSeconds": str(_WATCH_SECONDS)}
        async for kind, resource in self.api.watch(self._path, query):
            if kind in ("ADDED", "MODIFIED"):
                self._update(nursery, resource)
            elif kind == "DELETED" and (managed := self._managed.get(_key(resource))) is not None:
                managed.want(None)

    def _update(self, nursery: trio.Nursery, resource: Object) -> str:
        key = _key(resource)
        managed = self._managed.get(key)
        if managed is None:
            managed = self._managed[key] = _Managed(self, resource)
            nursery.start_soon(self._manage, key, managed, name=f"workload {key}")
        else:
            managed.want(resource)
        return key

    async def _manage(self, key: str, managed: _Managed) -> None:
        while True:
            try:
                await managed.run()
            finally:
                del self._managed[key]
            if managed.resource is None:
                return
            # It came back while what it described was stopped.
            managed = self._managed[key] = _Managed(self, managed.resource)

    async def _follow_events(self) -> None:
        with self.host.events.follow() as events:
            async for event in events:
                managed = self._managed.get(event.workload)
                if managed is not None:
                    managed.look_again()


class _Managed:
    """One resource, and the workload that it describes.

    Attributes:
        resource: as it is; None when it is gone.
    """

    def __init__(self, operator: Operator, resource: Object) -> None:
        metadata = resource["metadata"]
        self.resource: Object | None = resource
        self._operator: Final = operator
        self._namespace: Final[str] = metadata["namespace"]
        self._name: Final[str] = metadata["name"]
        self._uid: Any = metadata.get("uid")
        self._changed = trio.Event()
        self._urgent = trio.Event()
        self._pace: Final = Pace(_STATUS_BURST, _STATUSES_PER_SECOND, trio.current_time())
        self._telling = trio.CancelScope()
        self._workload: Workload | None = None
        self._stopping: Workload | None = None
        self._judged: tuple[Any, str] | None = None
        """The last spec that was looked at, and why it does not run."""
        self._told: Mapping[str, Any] | None = resource.get("status")
        self._lease: Final = (
            Lease(
                operator.api,
                self._namespace,
                f"wasi-sockets-{self._name}",
                operator.identity,
                self._lease_changed,
            )
            if operator.leases
            else None
        )

    def want(self, resource: Object | None) -> None:
        """The resource is this now; None: it is gone."""
        self.resource = resource
        if resource is None:
            self._urgent.set()
        elif resource["metadata"].get("uid") != self._uid:
            # Another one of that name, which has not been told anything yet.
            self._uid, self._told = resource["metadata"].get("uid"), resource.get("status")
        self.look_again()

    def look_again(self) -> None:
        """Something may have to be done."""
        self._changed.set()

    async def run(self) -> None:
        """Keep the host as the resource says, until that is gone or this is cancelled; then the workload is stopped."""
        leasing = trio.CancelScope(shield=True)  # nobody else may begin before this host has ended it
        async with trio.open_nursery() as nursery:
            if self._lease is not None:
                nursery.start_soon(self._keep_lease, self._lease, leasing)
            try:
                while self.resource is not None:
                    self._changed, self._urgent = trio.Event(), trio.Event()
                    await self._converge(self.resource)
                    await self._changed.wait()
                    with trio.move_on_after(self._pace.take(trio.current_time())):
                        await self._urgent.wait()
            finally:
                with trio.CancelScope(shield=True):
                    await self._stop(self._operator.stop_within)
                leasing.cancel()

    def _may_run(self) -> bool:
        return self._lease is None or self._lease.held

    def _lease_changed(self) -> None:
        if not self._may_run():
            # All three may wait for longer than others wait for the Lease.
            self._telling.cancel()
            self._urgent.set()
            if self._stopping is not None:
                self._stopping.tell_to_stop(_LEASE_STOP_SECONDS)
        self.look_again()

    async def _keep_lease(self, lease: Lease, scope: trio.CancelScope) -> None:
        with scope:
            await lease.keep()

    async def _converge(self, resource: Object) -> None:
        if resource["metadata"].get("deletionTimestamp"):
            await self._stop(self._operator.stop_within)
            return
        if not self._may_run():
            await self._stop(_LEASE_STOP_SECONDS)
            return
        wanted = resource.get("spec")
        runs = self._workload is not None and not self._workload.over
        # Judging takes its time, and much becomes of services: it is done once.
        if not runs or self._judged is None or self._judged[0] != wanted:
            problem = await self._run(resource)
            if problem is None:
                return
            self._judged = wanted, problem
        await self._tell(resource, self._judged[1])

    async def _run(self, resource: Object) -> str | None:
        """Have it run as the resource says. What is not admitted leaves what ran before as it is.

        Returns:
            Why it does not run like that; "" when it does; None when there is something else to be done now.
        """
        try:
            spec = admitted(resource, self._operator.allowance)
            workload = self._workload
            if workload is None or workload.over or workload.spec != spec:
                await self._stop(self._operator.stop_within)
                if self.resource is not resource or not self._may_run():
                    return None  # stopping took a while
                self._workload = await self._operator.host.start(spec)
        except (NotAdmittedError, WorkloadError) as error:
            return str(error)
        # None is known; the workloads of other resources are to go on all the same.
        except Exception as error:
            _logger.exception("workload %s/%s cannot be run", self._namespace, self._name)
            return f"this host cannot run it: {type(error).__name__}, see its log"
        return ""

    async def _stop(self, within: float) -> None:
        workload, self._workload = self._workload, None
        if workload is not None and not workload.over:
            self._stopping = workload
            try:
                await workload.stop(within)
            finally:
                self._stopping = None

    async def _tell(self, resource: Object, problem: str) -> None:
        status = status_of(resource, self._workload, problem, self._operator.identity, self._told)
        if status == self._told:
            return
        path = f"/apis/{GROUP}/{_VERSION}/namespaces/{self._namespace}/workloads/{self._name}/status"
        try:
            with trio.CancelScope() as self._telling:
                await self._operator.api.merge(path, {"status": status})
                if resource["metadata"].get("uid") == self._uid:
                    self._told = status
        except _FAILURES as error:
            if not (isinstance(error, ApiError) and error.code == 404):  # it is gone, and the watch will tell
                _logger.warning("the status of workload %s/%s: %s", self._namespace, self._name, error)


def _key(resource: Mapping[str, Any]) -> str:
    metadata = resource["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}"
