from __future__ import annotations

import pytest

from wasi_sockets.component import model
from wasi_sockets.component.layout import flatten, layout
from wasi_sockets.component.types import (
    FunctionType,
    List,
    Option,
    Own,
    Record,
    ResourceType,
    Result,
    resolve,
)
from wasi_sockets.errors import InvalidComponentError, UnsupportedComponentError


def test_references_are_replaced_by_what_they_lead_to() -> None:
    resource = ResourceType("wasi:io/streams", "input-stream")
    known = {0: resource, 1: Own(resource), 2: List("u8")}
    function = resolve(model.FunctionDef((("a", 1), ("b", "u8")), 2), known.__getitem__)
    assert function == FunctionType((("a", Own(resource)), ("b", "u8")), List("u8"))
    assert resolve(model.ResultDef(None, 2), known.__getitem__) == Result(None, List("u8"))
    assert resolve(model.PrimitiveDef("char"), known.__getitem__) == "char"


def test_host_resources_are_equal_by_name_and_guest_resources_never() -> None:
    assert ResourceType("wasi:io/poll", "pollable") == ResourceType("wasi:io/poll", "pollable")
    assert ResourceType("wasi:io/poll", "pollable") != ResourceType("wasi:io/error", "error")
    mine = ResourceType.of_guest("thing")
    assert mine == mine
    assert mine != ResourceType.of_guest("thing")
    assert Own(mine) != Own(ResourceType.of_guest("thing"))


def test_equal_types_have_equal_hashes() -> None:
    assert hash(Record((("a", Option("u8")),))) == hash(Record((("a", Option("u8")),)))
    assert len({List("u8"), List("u8"), Option("u8")}) == 2


@pytest.mark.parametrize("found", [ResourceType("a", "b"), FunctionType((), None), None])
def test_a_value_type_must_lead_to_a_value_type(found: object) -> None:
    with pytest.raises(InvalidComponentError, match="type 3 is used as the type of a value"):
        resolve(model.ListDef(3), lambda index: found)


def test_a_handle_must_lead_to_a_resource() -> None:
    with pytest.raises(InvalidComponentError, match="type 3 is used as a resource"):
        resolve(model.BorrowDef(3), lambda index: "u8")


def test_scopes_are_not_resolved_here() -> None:
    with pytest.raises(TypeError, match="InstanceDef"):
        resolve(model.InstanceDef(()), lambda index: "u8")


def test_types_that_double_are_cheap_until_they_are_refused() -> None:
    grown = ["u8"]

    def grow(times: int) -> None:
        for _ in range(times):
            grown.append(resolve(model.TupleDef((0, 0)), lambda index: grown[-1]))

    with pytest.raises(UnsupportedComponentError, match="made of"):
        grow(64)
    assert grown[-1].depth >= 18
    assert layout(grown[-1]) == (1 << grown[-1].depth, 1)
    assert flatten(grown[-1]) is None


def test_types_that_only_deepen_are_refused() -> None:
    grown = ["u8"]

    def grow(times: int) -> None:
        for _ in range(times):
            grown.append(resolve(model.OptionDef(0), lambda index: grown[-1]))

    with pytest.raises(UnsupportedComponentError, match="a type 101 deep"):
        grow(200)
    assert layout(grown[-1]) == (101, 1)
