from __future__ import annotations

import pytest
import wasmtime
import wasmtime.component

from tests.component.samples import COMPILABLE, GUESTS, TEXTS, sample
from wasi_sockets.component import model
from wasi_sockets.component.indices import map_indices, references
from wasi_sockets.component.model import Component, ExternName, ExternType, Sort
from wasi_sockets.component.reader import read_component
from wasi_sockets.component.writer import write_component

MODULE = bytes(wasmtime.wat2wasm('(module (memory (export "m") 1) (table (export "t") 1 funcref))'))

# One definition or more in every space that these samples use, before everything else.
PRELUDE: tuple[model.Definition, ...] = (
    model.TypeDefinition(model.InstanceDef(())),
    model.TypeDefinition(model.FunctionDef((), None)),
    model.CoreType(b"\x60\x00\x00"),
    model.CoreModule(MODULE),
    model.Import(ExternName("shift:test/instance"), ExternType("instance", 0)),
    model.Import(ExternName("shift-function"), ExternType("func", 1)),
    model.CoreInstantiate(0, ()),
    model.AliasCoreExport("core memory", 0, "m"),
    model.AliasCoreExport("core table", 0, "t"),
    model.Lower(0, ()),
    model.NestedComponent(Component(())),
)
SHIFTS: dict[Sort, int] = {}
for each in PRELUDE:
    space = model.defines(each)
    if space is not None:
        SHIFTS[space] = SHIFTS.get(space, 0) + 1


def shifted(component: Component) -> Component:
    moved = [
        map_indices(definition, lambda space, index: index + SHIFTS.get(space, 0))
        for definition in component.definitions
    ]
    return Component((*PRELUDE, *moved))


@pytest.mark.parametrize("name", TEXTS)
def test_the_identity_changes_nothing(name: str) -> None:
    component = read_component(sample(name))
    same = [map_indices(definition, lambda space, index: index) for definition in component.definitions]
    assert tuple(same) == component.definitions


@pytest.mark.parametrize("name", COMPILABLE)
def test_a_component_compiles_after_everything_was_shifted(name: str) -> None:
    component = shifted(read_component(sample(name)))
    wasmtime.component.Component(wasmtime.Engine(), write_component(component))


@pytest.mark.parametrize("path", sorted(GUESTS.glob("c-*.wasm")), ids=lambda path: path.stem)
def test_a_built_guest_compiles_after_everything_was_shifted(path) -> None:
    component = shifted(read_component(path.read_bytes()))
    wasmtime.component.Component(wasmtime.Engine(), write_component(component))


@pytest.mark.parametrize("name", TEXTS)
def test_shifting_moves_every_reference_once(name: str) -> None:
    component = read_component(sample(name))
    moved = shifted(component).definitions[len(PRELUDE) :]
    for before, after in zip(component.definitions, moved, strict=True):
        expected = [(space, index + SHIFTS.get(space, 0)) for space, index in references(before)]
        assert references(after) == expected


@pytest.mark.parametrize("name", TEXTS)
def test_references_lead_to_earlier_definitions(name: str) -> None:
    sizes: dict[Sort, int] = {}
    for definition in read_component(sample(name)).definitions:
        for referred, index in references(definition):
            assert index < sizes.get(referred, 0)
        own = model.defines(definition)
        if own is not None:
            sizes[own] = sizes.get(own, 0) + model.defined_count(definition)


def test_inside_a_type_only_what_leaves_it_is_mapped() -> None:
    local = model.TypeDefinition(model.ListDef(0))
    deep = model.TypeDefinition(
        model.ComponentDef(
            (
                model.AliasOuter("type", 1, 5),
                model.AliasOuter("type", 2, 5),
                model.AliasOuter("type", 3, 5),
                model.TypeDefinition(model.TupleDef((0, 1, 2))),
            )
        )
    )
    definition = model.TypeDefinition(
        model.InstanceDef((model.AliasOuter("type", 0, 0), model.AliasOuter("type", 1, 5), local, deep))
    )
    mapped = map_indices(
        definition,
        lambda space, index: index + 100,
        lambda space, count, index: index + 1000 * count,
    )
    assert mapped == model.TypeDefinition(
        model.InstanceDef(
            (
                model.AliasOuter("type", 0, 0),
                model.AliasOuter("type", 1, 105),
                local,
                model.TypeDefinition(
                    model.ComponentDef(
                        (
                            model.AliasOuter("type", 1, 5),
                            model.AliasOuter("type", 2, 105),
                            model.AliasOuter("type", 3, 1005),
                            model.TypeDefinition(model.TupleDef((0, 1, 2))),
                        )
                    )
                ),
            )
        )
    )


def test_inside_a_nested_component_only_what_leaves_it_is_mapped() -> None:
    def nested(*aliases: model.AliasOuter) -> model.NestedComponent:
        inner = model.NestedComponent(Component(aliases[2:]))
        return model.NestedComponent(Component((*aliases[:2], model.Lower(3, ()), inner)))

    before = nested(
        model.AliasOuter("core module", 1, 4),
        model.AliasOuter("type", 2, 4),
        model.AliasOuter("component", 2, 4),
        model.AliasOuter("type", 1, 4),
    )
    after = map_indices(
        before, lambda space, index: index + 10, lambda space, count, index: index + 100 * count
    )
    assert after == nested(
        model.AliasOuter("core module", 1, 14),
        model.AliasOuter("type", 2, 104),
        model.AliasOuter("component", 2, 14),
        model.AliasOuter("type", 1, 4),
    )


def test_references_of_core_types_are_mapped_in_place() -> None:
    # (func (param (ref null 1))) and (module (alias outer 1 2) (alias outer 2 3) (import "" "" (func 0)))
    function = model.CoreType(b"\x60\x01\x63\x01\x00")
    module = model.CoreType(b"\x50\x03\x02\x10\x01\x01\x02\x02\x10\x01\x02\x03\x00\x00\x00\x00\x00")

    def here(space: Sort, index: int) -> int:
        assert space == "core type"
        return index + 64

    def outer(space: Sort, count: int, index: int) -> int:
        assert (space, count) == ("core type", 1)
        return index + 128

    # 65 takes two bytes where it is signed, one where it is not.
    assert map_indices(function, here, outer).data == b"\x60\x01\x63\xc1\x00\x00"
    assert map_indices(module, here, outer).data == (
        b"\x50\x03\x02\x10\x01\x01\x42\x02\x10\x01\x02\x83\x01\x00\x00\x00\x00\x00"
    )
