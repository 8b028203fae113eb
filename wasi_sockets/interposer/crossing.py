"""Which functions would carry a handle that may be virtual over the border of a component."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

from wasi_sockets.component.types import Borrow, FunctionType, Own, ResourceType
from wasi_sockets.interposer.table import VIRTUAL_RESOURCES

__all__ = ["Crossings"]


class Crossings:
    """Looks into types, each once: a small file can name a type whose parts are shared a million times."""

    def __init__(self) -> None:
        # By identity, because comparing types that share their parts takes as long as writing them out. The type
        # is kept beside the answer so that its identity stays its own.
        self._known: dict[int, tuple[object, ResourceType | None]] = {}

    def first(self, function: FunctionType, *, results: bool) -> ResourceType | None:
        """The first resource that may be virtual among parameters and, if asked for, results."""
        for _, valtype in function.parameters:
            found = self._inside(valtype)
            if found is not None:
                return found
        return self._inside(function.result) if results else None

    def _inside(self, part: object) -> ResourceType | None:
        if isinstance(part, Own | Borrow):
            resource = part.resource
            return resource if (resource.interface, resource.name) in VIRTUAL_RESOURCES else None
        if not isinstance(part, tuple) and not is_dataclass(part):
            return None
        known = self._known.get(id(part))
        if known is None:
            known = part, self._first_of(part)
            self._known[id(part)] = known
        return known[1]

    def _first_of(self, part: object) -> ResourceType | None:
        if isinstance(part, tuple):
            parts: list[object] = list(part)
        else:
            parts = [getattr(part, each.name) for each in fields(part) if each.init]  # type: ignore[arg-type]
        for each in parts:
            found = self._inside(each)
            if found is not None:
                return found
        return None
