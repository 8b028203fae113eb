"""What each index of a component stands for: types, functions and instances followed from the imports inwards.

An inner component is looked at once for each time it is instantiated, with what it is really given: only this tells
a host's `wasi:io/streams` from one that a sibling component provides, whatever the import is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from wasi_sockets.component import model
from wasi_sockets.component.types import FunctionType, ResourceType, resolve
from wasi_sockets.errors import InvalidComponentError, UnsupportedComponentError

__all__ = [
    "ComponentEntity",
    "Entity",
    "FunctionEntity",
    "InstanceEntity",
    "Opaque",
    "Scope",
    "TypeEntity",
    "interface_of",
    "look_through",
]

MAX_SCOPES = 256
"""Component instances in one guest. Nesting that doubles at each level would otherwise never end."""

MAX_DEPTH = 50
"""Component instances inside each other: each costs Python's stack some frames, here and when it is rewritten."""

MAX_DEFINITIONS = 250_000
"""Definitions and declarations looked at in all, each counted as often as its surroundings are instantiated.
Python looks at some 200,000 in a second."""

MAX_START_RESULTS = 1_000
"""Values that a start function may return; `MAX_WASM_START_ARGS` of wasmparser."""


@dataclass(frozen=True, slots=True)
class TypeEntity:
    """A type. `value` is resolved; an instance or component type is kept with the scope that it stands in."""

    value: object
    scope: Scope | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class FunctionEntity:
    """A function.

    Attributes:
        type: its resolved type; None where it cannot be known (an export of an imported component).
        interface: for a function of the host, the interface without version; else "".
        name: its name there; for a function that is imported by itself, the name of that import.
        instance: the host instance that it came from, None for all others.
    """

    type: FunctionType | None
    interface: str = ""
    name: str = ""
    instance: InstanceEntity | None = None


@dataclass(slots=True, eq=False)
class InstanceEntity:
    """An instance. `import_name` is set for those that the host provides."""

    exports: dict[str, Entity]
    import_name: str = ""
    known: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class ComponentEntity:
    """A component with the scope that it was written in."""

    component: model.Component
    scope: Scope


@dataclass(frozen=True, slots=True, eq=False)
class Opaque:
    """Something that is not followed: core modules, values, components that are imported."""


Entity: TypeAlias = TypeEntity | FunctionEntity | InstanceEntity | ComponentEntity | Opaque
_OPAQUE = Opaque()


@dataclass(slots=True, eq=False)
class Scope:
    """One component instance inside the guest.

    Attributes:
        component: what it is an instance of.
        written_in: the scope around its definition, None for the guest itself.
        made_in: the scope that instantiates it; the same for all but components handed about by alias.
        path: how messages name it.
        depth: how many component instances lie inside each other here, this one included.
        spaces: what each index of a component-level index space stands for.
        children: position of an `Instantiate` in `component.definitions` -> the scope that it makes.
        imports: position of an `Import` -> what was given for it.
        exports: name -> what it is.
        wanted: position of an `Import` -> functions of that host instance that the shim needs declared.
    """

    component: model.Component
    written_in: Scope | None
    made_in: Scope | None
    path: str
    depth: int = 1
    spaces: dict[str, list[Entity]] = field(default_factory=dict)
    children: dict[int, Scope] = field(default_factory=dict)
    imports: dict[int, Entity] = field(default_factory=dict)
    exports: dict[str, Entity] = field(default_factory=dict)
    wanted: dict[int, set[str]] = field(default_factory=dict)

    def at(self, space: str, index: int) -> Entity:
        """What an index stands for. Raises InvalidComponentError when there is no such index."""
        entities = self.spaces.get(space, ())
        if index >= len(entities):
            raise InvalidComponentError(
                f"{self.path} refers to {space} {index} but has only {len(entities)};"
                " the file is damaged, build it again"
            )
        return entities[index]

    def is_import(self, instance: int) -> bool:
        """Whether an instance index is an import of this scope, not something that passed through another one."""
        definitions = self.component.definitions
        positions = [
            position for position, each in enumerate(definitions) if model.defines(each) == "instance"
        ]
        definition = definitions[positions[instance]] if instance < len(positions) else None
        while isinstance(definition, model.Export):
            definition = (
                definitions[positions[definition.index]] if definition.index < len(positions) else None
            )
        return isinstance(definition, model.Import)

    def outer(self, count: int) -> Scope:
        """The scope `count` components out, by where the text stands."""
        scope = self
        for _ in range(count):
            if scope.written_in is None:
                raise InvalidComponentError(
                    f"{self.path} has an outer alias that leads outside the component"
                )
            scope = scope.written_in
        return scope

    def type_at(self, index: int) -> object:
        entity = self.at("type", index)
        return entity.value if isinstance(entity, TypeEntity) else _OPAQUE


def interface_of(import_name: str) -> str:
    """The interface without its version: "wasi:io/poll@0.2.6" -> "wasi:io/poll"."""
    return import_name.partition("@")[0]


def look_through(component: model.Component) -> Scope:
    """The guest's scope, with those of all component instances inside.

    Raises:
        InvalidComponentError: an index or name leads nowhere.
        UnsupportedComponentError: too many component instances.
    """
    return _Walk().root(component)


class _Walk:
    def __init__(self) -> None:
        self.scopes = 0
        self.spent = 0
        self.sizes: dict[int, int] = {}

    def spend(self, count: int) -> None:
        self.spent += count
        if self.spent > MAX_DEFINITIONS:
            raise UnsupportedComponentError(
                "a component with very many definitions",
                f"more than {MAX_DEFINITIONS}, those of inner components counted once for each instance;"
                " make it smaller, or instantiate fewer components in it",
            )

    def size(self, holder: model.Component | model.InstanceDef | model.ComponentDef) -> int:
        """Definitions and declarations in a component or type, at any depth."""
        known = self.sizes.get(id(holder))
        if known is None:
            known = 0
            inside = holder.definitions if isinstance(holder, model.Component) else holder.declarations
            for definition in inside:
                known += 1
                if isinstance(definition, model.NestedComponent):
                    known += self.size(definition.component)
                elif isinstance(definition, model.TypeDefinition) and isinstance(
                    definition.type, model.InstanceDef | model.ComponentDef
                ):
                    known += self.size(definition.type)
            self.sizes[id(holder)] = known
        return known

    def root(self, component: model.Component) -> Scope:
        scope = Scope(component, None, None, "the component")
        self.fill(scope, None)
        return scope

    def fill(self, scope: Scope, given: Mapping[str, Entity] | None) -> None:
        self.scopes += 1
        if self.scopes > MAX_SCOPES or scope.depth > MAX_DEPTH:
            raise UnsupportedComponentError(
                "component instances inside component instances",
                f"more than {MAX_SCOPES} of them, or more than {MAX_DEPTH} levels; merge them into fewer components",
            )
        self.spend(self.size(scope.component))
        for position, definition in enumerate(scope.component.definitions):
            space = model.defines(definition)
            if space is None or (space.startswith("core ") and space != "core module"):
                continue
            entity = self.entity(scope, position, definition, given)
            entities = scope.spaces.setdefault(space, [])
            count = model.defined_count(definition)
            if count > MAX_START_RESULTS:
                raise InvalidComponentError(
                    f"{scope.path} has a start function with {count} results; the file is damaged, build it again"
                )
            entities.extend([entity] * count)

    def entity(
        self, scope: Scope, position: int, definition: model.Definition, given: Mapping[str, Entity] | None
    ) -> Entity:
        match definition:
            case model.TypeDefinition(type=defined):
                return _type_entity(defined, scope.type_at, scope)
            case model.Import(name=name, description=description):
                entity = given.get(name.name) if given is not None else None
                if entity is None:
                    entity = self.imported(scope, name.name, description)
                scope.imports[position] = entity
                return entity
            case model.AliasExport(instance=instance, name=name):
                return self.exported(scope, instance, name)
            case model.AliasOuter(sort=sort, count=count, index=index):
                return scope.outer(count).at(sort, index)
            case model.NestedComponent(component=component):
                return ComponentEntity(component, scope)
            case model.Instantiate():
                return self.instantiate(scope, position, definition)
            case model.Bag(exports=exports):
                return InstanceEntity({name.name: scope.at(sort, index) for name, sort, index in exports})
            case model.Lift(type=index):
                lifted = scope.type_at(index)
                return FunctionEntity(lifted if isinstance(lifted, FunctionType) else None)
            case model.Export(name=name, sort=sort, index=index):
                entity = scope.at(sort, index)
                scope.exports[name.name] = entity
                return entity
        return _OPAQUE

    def exported(self, scope: Scope, instance: int, name: str) -> Entity:
        entity = scope.at("instance", instance)
        if not isinstance(entity, InstanceEntity) or not entity.known:
            return _OPAQUE
        if name not in entity.exports:
            raise InvalidComponentError(
                f"{scope.path} uses {name!r} of an instance that has no such export;"
                " the file is damaged, build it again"
            )
        return entity.exports[name]

    def instantiate(self, scope: Scope, position: int, definition: model.Instantiate) -> Entity:
        entity = scope.at("component", definition.component)
        given = {name: scope.at(sort, index) for name, sort, index in definition.arguments}
        if not isinstance(entity, ComponentEntity):
            return InstanceEntity({}, known=False)
        child = Scope(
            entity.component,
            entity.scope,
            scope,
            f"inner component {definition.component} of {scope.path}",
            scope.depth + 1,
        )
        self.fill(child, given)
        scope.children[position] = child
        return InstanceEntity(child.exports)

    def imported(self, scope: Scope, name: str, description: model.ExternType) -> Entity:
        """What an import of the whole guest stands for, by its declared type."""
        root = scope.made_in is None
        match description.sort:
            case "instance" if isinstance(description.type, int):
                entity = scope.at("type", description.type)
                if isinstance(entity, TypeEntity) and isinstance(entity.value, model.InstanceDef):
                    self.spend(len(entity.value.declarations))
                return _instance_of(entity, name if root else "")
            case "func" if isinstance(description.type, int):
                declared = scope.type_at(description.type)
                return FunctionEntity(declared if isinstance(declared, FunctionType) else None, "", name)
            case "type":
                if description.type is None:
                    return TypeEntity(ResourceType("" if not root else name, name))
                return (
                    TypeEntity(scope.type_at(description.type))
                    if isinstance(description.type, int)
                    else _OPAQUE
                )
        return _OPAQUE


def _type_entity(defined: model.DefinedType, lookup: object, scope: Scope) -> Entity:
    if isinstance(defined, model.ResourceDef):
        return TypeEntity(ResourceType.of_guest())
    if isinstance(defined, model.InstanceDef | model.ComponentDef):
        return TypeEntity(defined, scope)
    return TypeEntity(resolve(defined, lookup))  # type: ignore[arg-type]


def _instance_of(entity: Entity, import_name: str) -> InstanceEntity:
    """An instance made up from its type, as the host will provide it."""
    if (
        not isinstance(entity, TypeEntity)
        or not isinstance(entity.value, model.InstanceDef)
        or entity.scope is None
    ):
        return InstanceEntity({}, import_name, known=False)
    instance = InstanceEntity({}, import_name)
    _Declared(entity.scope, instance, interface_of(import_name)).read(entity.value)
    return instance


class _Declared:
    """The scope of an instance type: local indices, outer ones by alias only."""

    def __init__(self, around: Scope, instance: InstanceEntity, interface: str) -> None:
        self.around = around
        self.instance = instance
        self.interface = interface
        self.spaces: dict[str, list[Entity]] = {}

    def at(self, space: str, index: int) -> Entity:
        entities = self.spaces.get(space, [])
        if index >= len(entities):
            raise InvalidComponentError(
                f"the type of import {self.instance.import_name!r} refers to {space} {index}"
                f" but has only {len(entities)}; the file is damaged, build it again"
            )
        return entities[index]

    def type_at(self, index: int) -> object:
        entity = self.at("type", index)
        return entity.value if isinstance(entity, TypeEntity) else _OPAQUE

    def read(self, defined: model.InstanceDef) -> None:
        for declaration in defined.declarations:
            space = model.defines(declaration)
            if space is None:
                continue
            entity = self.entity(declaration)
            self.spaces.setdefault(space, []).append(entity)
            if isinstance(declaration, model.ExportDeclaration):
                self.instance.exports[declaration.name.name] = entity

    def entity(self, declaration: model.Declaration) -> Entity:
        match declaration:
            case model.TypeDefinition(type=model.InstanceDef() | model.ComponentDef()):
                return _OPAQUE
            case model.TypeDefinition(type=defined):
                return _type_entity(defined, self.type_at, self.around)
            case model.AliasOuter(sort=sort, count=count, index=index):
                return self.at(sort, index) if count == 0 else self.around.outer(count - 1).at(sort, index)
            case model.ExportDeclaration(name=name, description=description):
                return self.export(name.name, description)
        return _OPAQUE

    def export(self, name: str, description: model.ExternType) -> Entity:
        if description.sort == "type":
            if description.type is None:
                return TypeEntity(ResourceType(self.interface, name))
            return (
                TypeEntity(self.type_at(description.type)) if isinstance(description.type, int) else _OPAQUE
            )
        if description.sort == "func" and isinstance(description.type, int):
            declared = self.type_at(description.type)
            return FunctionEntity(
                declared if isinstance(declared, FunctionType) else None, self.interface, name, self.instance
            )
        return _OPAQUE
