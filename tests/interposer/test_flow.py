"""What each index stands for is followed from the imports inwards, whatever things are called on the way."""

from __future__ import annotations

import pytest

from tests.interposer.checks import interposed
from tests.interposer.wasi_text import (
    MEMORY,
    Lowered,
    alias,
    binary,
    imports,
    instance_type,
    memory,
    user,
)
from wasi_sockets.component import model
from wasi_sockets.component.reader import read_component
from wasi_sockets.component.writer import write_component
from wasi_sockets.errors import InvalidComponentError
from wasi_sockets.interposer import interpose
from wasi_sockets.interposer.flow import (
    FunctionEntity,
    InstanceEntity,
    Scope,
    TypeEntity,
    interface_of,
    look_through,
)

ERROR, POLL, STREAMS, CLOCK = (
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:clocks/monotonic-clock",
)
READ = "[method]input-stream.read"


def scopes(text: str) -> Scope:
    return look_through(read_component(binary(text)))


def lowered(scope: Scope) -> list[tuple[str, str]]:
    """What the lowered functions of a scope are, interface "" for those that are not the host's."""
    found = []
    for definition in scope.component.definitions:
        if isinstance(definition, model.Lower):
            entity = scope.at("func", definition.function)
            assert isinstance(entity, FunctionEntity)
            found.append((entity.interface, entity.name))
    return found


def replaced(text: str) -> list[str]:
    return [item.name for item in interposed(binary(text)).items if item.interface != "shim"]


@pytest.mark.parametrize(
    ("name", "interface"),
    [("wasi:io/poll@0.2.6", POLL), ("wasi:io/poll", POLL), ("run", "run"), ("a:b/c@0.1.0-rc.1+x@y", "a:b/c")],
)
def test_versions_are_stripped(name: str, interface: str) -> None:
    assert interface_of(name) == interface


def test_functions_of_the_host_know_their_interface_and_type() -> None:
    root = scopes(
        f"(component {imports([(STREAMS, READ)])} {MEMORY} {memory()} {user([Lowered(STREAMS, READ)])})"
    )
    assert lowered(root) == [(STREAMS, READ)]
    (streams,) = [
        each for each in root.imports.values() if getattr(each, "import_name", "").startswith(STREAMS)
    ]
    assert isinstance(streams, InstanceEntity)
    read = streams.exports[READ]
    assert isinstance(read, FunctionEntity)
    assert read.instance is streams
    assert read.type is not None
    assert read.type.parameters[1] == ("len", "u64")


def test_a_resource_is_the_one_of_the_interface_that_defines_it() -> None:
    root = scopes(f"(component {imports([], resources=[('wasi:sockets/tcp', 'tcp-socket')])})")
    (tcp,) = [
        each
        for each in root.imports.values()
        if getattr(each, "import_name", "") == "wasi:sockets/tcp@0.2.12"
    ]
    assert isinstance(tcp, InstanceEntity)
    pollable = tcp.exports["pollable"]
    assert isinstance(pollable, TypeEntity)
    assert (pollable.value.interface, pollable.value.name) == (POLL, "pollable")  # type: ignore[attr-defined]


RENAMED = {ERROR: "failures", POLL: "waiting", STREAMS: "wasi:http/types@0.2.0"}
HANDED = " ".join(f'(with "{name}" (instance {alias(interface)}))' for interface, name in RENAMED.items())
INSIDE = f"{imports([(STREAMS, READ)], names=RENAMED)} {MEMORY} {memory()} {user([Lowered(STREAMS, READ)])}"
OUTSIDE = imports([(STREAMS, READ)], resources=[(ERROR, "error"), (POLL, "pollable")])


def test_imports_of_inner_components_may_have_any_name() -> None:
    text = f"(component {OUTSIDE} (component $inner {INSIDE}) (instance (instantiate $inner {HANDED})))"
    (child,) = scopes(text).children.values()
    assert lowered(child) == [(STREAMS, READ)]
    assert replaced(text) == [READ]


VIRTUAL_STREAMS = """
  (component $provider
    (type $error (resource (rep i32))) (export $error-out "error" (type $error))
    (type $pollable (resource (rep i32))) (export $pollable-out "pollable" (type $pollable))
    (type $in (resource (rep i32))) (export $in-out "input-stream" (type $in))
    (type $out (resource (rep i32))) (export $out-out "output-stream" (type $out))
    (type $failure (variant (case "last-operation-failed" (own $error-out)) (case "closed")))
    (export $failure-out "stream-error" (type $failure))
    (core module $m (memory (export "memory") 1) (func (export "f") (param i32 i64) (result i32) i32.const 16))
    (core instance $i (instantiate $m))
    (func $read (param "self" (borrow $in-out)) (param "len" u64)
      (result (result (list u8) (error $failure-out)))
      (canon lift (core func $i "f") (memory (core memory $i "memory"))))
    (export "read" (func $read)))
  (instance $provided (instantiate $provider))
  (instance $errors (export "error" (type $provided "error")))
  (instance $polls (export "pollable" (type $provided "pollable")))
  (component $wrapper
    (import "error" (type $error (sub resource))) (import "pollable" (type $pollable (sub resource)))
    (import "in" (type $in (sub resource))) (import "out" (type $out (sub resource)))
    (type $failure (variant (case "last-operation-failed" (own $error)) (case "closed")))
    (import "stream-error" (type $stream-error (eq $failure)))
    (import "read" (func $read (param "self" (borrow $in)) (param "len" u64)
      (result (result (list u8) (error $stream-error)))))
    (export "error" (type $error)) (export "pollable" (type $pollable))
    (export $failure-out "stream-error" (type $stream-error))
    (export $in-out "input-stream" (type $in)) (export "output-stream" (type $out))
    (export "[method]input-stream.read" (func $read) (func (param "self" (borrow $in-out)) (param "len" u64)
      (result (result (list u8) (error $failure-out))))))
  (instance $streams (instantiate $wrapper
    (with "error" (type $provided "error")) (with "pollable" (type $provided "pollable"))
    (with "in" (type $provided "input-stream")) (with "out" (type $provided "output-stream"))
    (with "stream-error" (type $provided "stream-error")) (with "read" (func $provided "read"))))
"""
SIBLING_HANDED = (
    f'(with "{ERROR}@0.2.12" (instance $errors)) (with "{POLL}@0.2.12" (instance $polls))'
    f' (with "{STREAMS}@0.2.12" (instance $streams))'
)
CONSUMER = f"{imports([(STREAMS, READ)])} {MEMORY} {memory()} {user([Lowered(STREAMS, READ)])}"


def test_streams_that_a_sibling_provides_are_not_the_host_s() -> None:
    text = f"""(component {VIRTUAL_STREAMS}
      (component $inner {CONSUMER}) (instance (instantiate $inner {SIBLING_HANDED})))"""
    root = scopes(text)
    assert [lowered(child) for child in root.children.values()][-1] == [("", "")]
    assert replaced(text) == []


def test_the_same_component_with_the_host_s_streams_and_with_a_sibling_s() -> None:
    handed = " ".join(f'(with "{name}@0.2.12" (instance {alias(name)}))' for name in (ERROR, POLL, STREAMS))
    text = f"""(component {OUTSIDE} {VIRTUAL_STREAMS}
      (component $inner {CONSUMER})
      (instance (instantiate $inner {SIBLING_HANDED}))
      (instance (instantiate $inner {handed})))"""
    assert [lowered(child) for child in scopes(text).children.values()][-2:] == [
        [("", "")],
        [(STREAMS, READ)],
    ]
    assert replaced(text) == [READ]


def test_a_host_function_that_went_through_bags_and_exports() -> None:
    text = f"""(component {imports([("wasi:cli/stdin", "get-stdin")])}
      (instance $bag (export "anything" (func {alias("wasi:cli/stdin")} "get-stdin")))
      (alias export $bag "anything" (func $get))
      (core func $f (canon lower (func $get)))
      (core module $m (import "" "f" (func (result i32))))
      (core instance (instantiate $m (with "" (instance (export "f" (func $f)))))))"""
    assert replaced(text) == ["get-stdin"]


def test_a_host_type_through_outer_aliases() -> None:
    text = f"""(component $top {imports([], resources=[(POLL, "pollable")])}
      (component $middle (import "p" (type $p (sub resource)))
        (component $inner (import "q" (type $q (sub resource)))
          (core func $d (canon resource.drop $q))
          (core module $m (import "" "d" (func (param i32))))
          (core instance (instantiate $m (with "" (instance (export "d" (func $d)))))))
        (instance (instantiate $inner (with "q" (type $p)))))
      (instance (instantiate $middle (with "p" (type {alias(POLL, "pollable")})))))"""
    assert replaced(text) == ["[resource-drop]pollable"]


def test_a_resource_of_the_guest_s_own_is_left_alone() -> None:
    text = """(component
      (type $pollable (resource (rep i32)))
      (core func $d (canon resource.drop $pollable))
      (core module $m (import "" "d" (func (param i32))))
      (core instance (instantiate $m (with "" (instance (export "d" (func $d)))))))"""
    assert replaced(text) == []


def test_a_declared_type_of_an_enclosing_component() -> None:
    # The instance type stands in the outer component, and refers to nothing there: it can be copied and enlarged.
    declared = instance_type(POLL, ["[method]pollable.block"])
    text = f"""(component $top
      (type $type (instance {declared}))
      (import "{POLL}@0.2.0" (instance $poll (type $type)))
      (component $inner (alias outer $top $type (type $there)) (import "waiting" (instance $poll (type $there)))
        (core func $f (canon lower (func $poll "[method]pollable.block")))
        (core module $m (import "" "f" (func (param i32))))
        (core instance (instantiate $m (with "" (instance (export "f" (func $f)))))))
      (instance (instantiate $inner (with "waiting" (instance $poll)))))"""
    assert replaced(text) == ["[method]pollable.block"]


def test_a_lookalike_interface_is_left_alone() -> None:
    text = f"""(component
      (import "wasi:io/poll2@0.2.0" (instance $poll {instance_type(POLL, [])} (export "poll" (func))))
      (core func $f (canon lower (func $poll "poll")))
      (core module $m (import "" "f" (func)))
      (core instance (instantiate $m (with "" (instance (export "f" (func $f)))))))"""
    assert replaced(text) == []


_BROKEN_TYPE = model.InstanceDef((model.TypeDefinition(model.ListDef(5)),))


@pytest.mark.parametrize(
    "definitions",
    [
        (model.AliasExport("func", 0, "f"),),
        (model.Lower(3, ()),),
        (model.AliasOuter("type", 1, 0),),
        (model.Instantiate(0, ()),),
        (model.ResourceDrop(0),),
        (model.Export(model.ExternName("x"), "func", 7),),
        (model.Export(model.ExternName("x"), "func", 0),),
        (model.Bag(((model.ExternName("f"), "func", 2),)),),
        (model.Import(model.ExternName("x"), model.ExternType("instance", 4)),),
        (model.TypeDefinition(model.ListDef(5)),),
        (
            model.TypeDefinition(_BROKEN_TYPE),
            model.Import(model.ExternName("x"), model.ExternType("instance", 0)),
        ),
    ],
)
def test_indices_that_lead_nowhere(definitions: tuple[model.Definition, ...]) -> None:
    wasm = write_component(model.Component(definitions))
    with pytest.raises(InvalidComponentError):
        interpose(wasm)


def test_an_export_that_an_instance_does_not_have() -> None:
    with pytest.raises(InvalidComponentError, match="no such export"):
        interpose(binary(f'(component {imports([])} (instance $i) (alias export $i "f" (func)))'))
