"""Whether a component has the pollables through which the shim waits for stock streams."""

from __future__ import annotations

from wasi_sockets.component import model
from wasi_sockets.interposer.flow import InstanceEntity, Scope, TypeEntity, interface_of

__all__ = ["can_subscribe", "declares_pollable", "pollable_import"]


def declares_pollable(declared: model.InstanceDef) -> bool:
    """Whether the type of `wasi:io/streams` says what a pollable is."""
    return any(
        isinstance(each, model.ExportDeclaration)
        and each.name.name == "pollable"
        and each.description.sort == "type"
        for each in declared.declarations
    )


def pollable_import(scope: Scope, position: int) -> InstanceEntity | None:
    """What is imported as `wasi:io/poll` before a position, with the type of pollables."""
    for earlier, entity in scope.imports.items():
        if (
            earlier < position
            and isinstance(entity, InstanceEntity)
            and interface_of(entity.import_name) == "wasi:io/poll"
            and isinstance(entity.exports.get("pollable"), TypeEntity)
        ):
            return entity
    return None


def can_subscribe(scope: Scope, instance: InstanceEntity | None) -> bool:
    """Whether every component that hands in this instance can declare a function of it that gives a pollable."""
    around: Scope | None = scope
    while around is not None:
        for position, entity in around.imports.items():
            definition = around.component.definitions[position]
            if entity is not instance or not isinstance(definition, model.Import):
                continue
            index = definition.description.type
            declared = around.at("type", index) if isinstance(index, int) else None
            if not isinstance(declared, TypeEntity) or not isinstance(declared.value, model.InstanceDef):
                return False
            if not declares_pollable(declared.value) and (
                around.made_in is not None or around is not scope or pollable_import(around, position) is None
            ):
                return False
        around = around.made_in
    return True
