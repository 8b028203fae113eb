"""What a component asks of its host and what would be done about it, without compiling or running it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from wasi_sockets._component import component_bytes
from wasi_sockets.component import model
from wasi_sockets.component.reader import read_component
from wasi_sockets.errors import UnsupportedComponentError
from wasi_sockets.interposer.flow import FunctionEntity, InstanceEntity, Scope, look_through
from wasi_sockets.interposer.plan import Plan, Replacement, plan
from wasi_sockets.interposer.table import Style

__all__ = ["Extern", "Inspection", "InterfaceUse", "inspect"]

Trampoline = Literal["fast path", "generated", "none"]
Answer = Literal["virtual", "virtual or stock", "stock"]


@dataclass(frozen=True, slots=True)
class Extern:
    """An import or export of a component.

    Attributes:
        name: with version, such as "wasi:sockets/tcp@0.2.6".
        sort: "instance" for an interface, "func", "type", "component"...
        functions: the names of the functions in an interface, as far as they are known.
    """

    name: str
    sort: str
    functions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InterfaceUse:
    """One function of the host that a core module in the component can call.

    Attributes:
        interface: without version, such as "wasi:sockets/tcp".
        function: such as "[method]tcp-socket.start-connect", or "[resource-drop]tcp-socket".
        realm: the number of the component instance inside the guest that calls it; None where nothing is replaced.
        trampoline: "fast path" for hand-written ones, which seldom need Python; "generated" for those that carry
            each call to Python; "none" where the call goes straight to the stock host.
        answer: "virtual" never reaches the stock host; "virtual or stock" depends on the handle that is passed.
        moves_bytes: it touches the guest's memory, by address or with strings, as the transport is.
    """

    interface: str
    function: str
    realm: int | None
    trampoline: Trampoline
    answer: Answer
    moves_bytes: bool


@dataclass(frozen=True, slots=True)
class Inspection:
    """What `inspect` found.

    Attributes:
        imports: of the whole component.
        exports: likewise.
        calls: what its core modules call; empty for a component that is refused.
        refusal: why it cannot be loaded, or None.
    """

    imports: tuple[Extern, ...]
    exports: tuple[Extern, ...]
    calls: tuple[InterfaceUse, ...]
    refusal: UnsupportedComponentError | None

    @property
    def interposed(self) -> bool:
        """Whether anything would be replaced."""
        return any(call.trampoline != "none" for call in self.calls)


def inspect(source: str | os.PathLike[str] | bytes | bytearray | memoryview) -> Inspection:
    """Looks at a component as `load` would, up to the point of compiling it.

    Args:
        source: as for `load`.

    Raises:
        OSError: the file cannot be read.
        InvalidComponentError: the bytes are no component, or damaged.
        UnsupportedComponentError: it cannot even be read, being of a kind that the reader does not know. Whatever
            else would be refused is told by `Inspection.refusal`.
    """
    component = read_component(component_bytes(source))
    scope: Scope | None = None
    calls: tuple[InterfaceUse, ...] = ()
    refusal: UnsupportedComponentError | None = None
    try:
        scope = look_through(component)
        planned, _ = plan(scope)
        calls = tuple(_calls(planned))
    except UnsupportedComponentError as error:
        refusal = error
    return Inspection(tuple(_imports(component, scope)), tuple(_exports(component, scope)), calls, refusal)


def _imports(component: model.Component, scope: Scope | None) -> Iterator[Extern]:
    for position, definition in enumerate(component.definitions):
        if isinstance(definition, model.Import):
            entity = None if scope is None else scope.imports.get(position)
            yield Extern(definition.name.name, definition.description.sort, _functions(entity))


def _exports(component: model.Component, scope: Scope | None) -> Iterator[Extern]:
    for definition in component.definitions:
        if isinstance(definition, model.Export):
            name = definition.name.name
            entity = None if scope is None else scope.exports.get(name)
            yield Extern(name, definition.sort, _functions(entity))


def _functions(entity: object) -> tuple[str, ...]:
    if not isinstance(entity, InstanceEntity):
        return ()
    return tuple(name for name, inside in entity.exports.items() if isinstance(inside, FunctionEntity))


def _calls(planned: Plan) -> Iterator[InterfaceUse]:
    scope = planned.scope
    for position, definition in enumerate(scope.component.definitions):
        replacement = planned.replacements.get(position)
        if replacement is not None:
            yield _replaced(replacement)
        elif isinstance(definition, model.Lower):
            function = scope.at("func", definition.function)
            if isinstance(function, FunctionEntity) and function.interface:
                yield InterfaceUse(function.interface, function.name, None, "none", "stock", False)
        elif position in planned.children:
            yield from _calls(planned.children[position])


def _replaced(replacement: Replacement) -> InterfaceUse:
    item, row = replacement.item, replacement.row
    trampoline: Trampoline = "fast path" if row is None or row.style is Style.SHIM else "generated"
    answer: Answer = "virtual" if item.interface.startswith("wasi:sockets/") else "virtual or stock"
    return InterfaceUse(item.interface, item.name, item.realm, trampoline, answer, item.memory is not None)
