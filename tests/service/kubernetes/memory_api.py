"""The Kubernetes API of an operator in memory: what `Api` offers, with versions and conflicts."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Mapping
from typing import Any

import trio

from service.kubernetes.operator import Api, ApiError

Object = dict[str, Any]


class MemoryApi(Api):
    """Objects by path.

    Attributes:
        away: requests are not answered.
        missing: the resource type is not there.
        broken: what the next watch raises instead of waiting on.
    """

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.version = 0
        self.away = False
        self.missing = False
        self.history: list[tuple[str, Object]] = []
        self.calls: list[str] = []
        self._changed = trio.Event()
        self.broken: Exception | None = None

    # What tests do
    def put(self, path: str, new: Object) -> Object:
        """Add or change an object."""
        known = path in self.objects
        stored = self._store(path, new)
        self._tell("MODIFIED" if known else "ADDED", stored)
        return stored

    def delete(self, path: str) -> None:
        self._tell("DELETED", self.objects.pop(path))

    def break_watches(self, error: Exception) -> None:
        self.broken = error
        self._wake()

    def _store(self, path: str, new: Object) -> Object:
        self.version += 1
        stored = copy.deepcopy(new)
        collection, _, name = path.rpartition("/")
        parts = collection.split("/")
        stored.setdefault("metadata", {})["name"] = name
        stored["metadata"]["resourceVersion"] = str(self.version)
        if "namespaces" in parts:
            stored["metadata"]["namespace"] = parts[parts.index("namespaces") + 1]
        self.objects[path] = stored
        return stored

    def _tell(self, kind: str, told: Object) -> None:
        self.history.append((kind, copy.deepcopy(told)))
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    # What an operator does
    async def _answered(self, call: str) -> None:
        await trio.lowlevel.checkpoint()
        self.calls.append(call)
        if self.away:
            raise ApiError(503, "away")

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Object:
        await self._answered(f"GET {path}")
        if path.endswith("/workloads"):
            if self.missing:
                raise ApiError(404, "404 page not found")
            items = [copy.deepcopy(each) for key, each in self.objects.items() if key.startswith(f"{path}/")]
            return {"items": items, "metadata": {"resourceVersion": str(len(self.history))}}
        if path not in self.objects:
            raise ApiError(404, "not found")
        return copy.deepcopy(self.objects[path])

    async def create(self, path: str, new: Object) -> Object:
        await self._answered(f"POST {path}")
        place = f"{path}/{new['metadata']['name']}"
        if place in self.objects:
            raise ApiError(409, "already exists")
        return copy.deepcopy(self._store(place, new))

    async def replace(self, path: str, changed: Object) -> Object:
        await self._answered(f"PUT {path}")
        if changed["metadata"]["resourceVersion"] != self.objects[path]["metadata"]["resourceVersion"]:
            raise ApiError(409, "conflict")
        return copy.deepcopy(self._store(path, changed))

    async def merge(self, path: str, changes: Object) -> Object:
        await self._answered(f"PATCH {path}")
        place = path.removesuffix("/status")
        if place not in self.objects:
            raise ApiError(404, "not found")
        return copy.deepcopy(self.put(place, {**self.objects[place], **copy.deepcopy(changes)}))

    async def watch(self, path: str, query: Mapping[str, str]) -> AsyncIterator[tuple[str, Object]]:
        await self._answered(f"WATCH {path}")
        seen = int(query["resourceVersion"])
        while True:
            while seen < len(self.history):
                kind, told = self.history[seen]
                seen += 1
                yield kind, copy.deepcopy(told)
            if self.broken is not None:
                error, self.broken = self.broken, None
                raise error
            await self._changed.wait()
