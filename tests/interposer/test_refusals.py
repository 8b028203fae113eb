"""What cannot be rewritten is refused, each with a message that names it; what is imported but not used is not."""

from __future__ import annotations

from importlib import import_module

import pytest

from tests.interposer.checks import interposed
from tests.interposer.wasi_text import (
    MEMORY,
    Lowered,
    alias,
    binary,
    guest,
    imports,
    instance_type,
    memory,
    user,
)
from wasi_sockets.component import model
from wasi_sockets.component.reader import read_component
from wasi_sockets.component.writer import write_component
from wasi_sockets.errors import InvalidComponentError, UnsupportedComponentError
from wasi_sockets.interposer import flow, interpose

plan = import_module("wasi_sockets.interposer.plan")  # the package has a function of that name too

ERROR = "wasi:io/error"
POLL, STREAMS, CLOCK, TCP = (
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:clocks/monotonic-clock",
    "wasi:sockets/tcp",
)
READ = (STREAMS, "[method]input-stream.read")

TLS = f"""
  (import "wasi:tls/types@0.2.0-draft" (instance $tls
    (alias outer 1 {alias(STREAMS, "input-stream")} (type $outer)) (export "input-stream" (type $in (eq $outer)))
    (export "connect" (func (param "input" (own $in))))
    (export "make" (func (result (own $in))))
    (export "deep" (func (param "input" (list (tuple u8 (option (borrow $in)))))))))"""
WITH_STREAMS = imports([READ], resources=[(STREAMS, "input-stream"), (STREAMS, "output-stream")])


def refusal(wasm: bytes) -> str:
    with pytest.raises(UnsupportedComponentError) as caught:
        interpose(wasm)
    assert caught.value.construct
    return str(caught.value)


@pytest.mark.parametrize(
    ("wasm", "message"),
    [
        (b"", "empty"),
        (b"hello world", "not WebAssembly"),
        (b"(component)", "WebAssembly text"),
        (b"\0asm\x01\0\0\0", "core module"),
        (b"\0asm", "truncated"),
        (binary(guest([Lowered(*READ)]))[:-7], "truncated"),
    ],
)
def test_what_is_no_whole_component(wasm: bytes, message: str) -> None:
    with pytest.raises(InvalidComponentError, match=message):
        interpose(wasm)


@pytest.mark.parametrize(
    "name", ["wasi:sockets/types@0.3.0", "wasi:clocks/monotonic-clock@0.3.0-rc-2025-09-16"]
)
def test_a_component_of_the_next_wasi(name: str) -> None:
    message = refusal(binary(f'(component (import "{name}" (instance)))'))
    assert name in message
    assert "0.3" in message


def test_a_component_that_only_exports_the_next_wasi() -> None:
    wasm = binary('(component (instance $i) (export "wasi:cli/run@0.3.0" (instance $i)))')
    assert "wasi:cli/run@0.3.0" in refusal(wasm)


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_imports_of_the_host_namespace_at_any_depth(depth: int) -> None:
    text = '(import "wasi-sockets:shim/host@0.1.0" (instance))'
    for _ in range(depth):
        text = f"(component {text})"
    message = refusal(binary(f"(component {text})"))
    assert "wasi-sockets:shim/host@0.1.0" in message


def lowering(function: str) -> bytes:
    return binary(
        f"(component {WITH_STREAMS} {TLS} {MEMORY} {memory()}"
        f' (core func (canon lower (func $tls "{function}") (memory $memory) (realloc $realloc))))'
    )


@pytest.mark.parametrize("function", ["connect", "deep"])
def test_a_stock_function_that_takes_streams(function: str) -> None:
    message = refusal(lowering(function))
    assert "wasi:tls/types" in message
    assert repr(function) in message
    assert "wasi:io/streams.input-stream" in message


def test_a_stock_function_that_only_returns_streams_is_fine() -> None:
    assert interpose(lowering("make")).items == ()


def test_what_is_imported_but_never_used_is_fine() -> None:
    wasm = binary(f"(component {WITH_STREAMS} {TLS})")
    assert interpose(wasm).wasm is wasm
    used = binary(f"(component {WITH_STREAMS} {TLS} {MEMORY} {memory()} {user([Lowered(*READ)])})")
    assert interposed(used).items


def test_a_function_imported_by_itself_that_takes_streams() -> None:
    taken = f'(import "take" (func $take (param "s" (own {alias(STREAMS, "input-stream")}))))'
    message = refusal(binary(f"(component {WITH_STREAMS} {taken} (core func (canon lower (func $take))))"))
    assert "import 'take'" in message


@pytest.mark.parametrize(
    ("interface", "resource", "handle"), [(STREAMS, "output-stream", "borrow"), (TCP, "tcp-socket", "own")]
)
def test_an_export_that_passes_handles(interface: str, resource: str, handle: str) -> None:
    text = f"""(component {imports([], resources=[(interface, resource)])}
      (core module $m (func (export "f") (param i32)))
      (core instance $i (instantiate $m))
      (func (export "f") (param "s" ({handle} {alias(interface, resource)})) (canon lift (core func $i "f"))))"""
    message = refusal(binary(text))
    assert "exports" in message
    assert f"{interface}.{resource}" in message


def test_a_link_between_inner_components_that_passes_handles() -> None:
    stream = '(import "stream" (type $s (sub resource))) (import "take" (func $take (param "s" (own $s))))'
    text = f"""(component {WITH_STREAMS}
      (component $giver {stream} (core func (canon lower (func $take))))
      (component $taker (import "stream" (type $s (sub resource)))
        (core module $m (func (export "f") (param i32)))
        (core instance $i (instantiate $m))
        (func (export "take") (param "s" (own $s)) (canon lift (core func $i "f"))))
      (instance $t (instantiate $taker (with "stream" (type {alias(STREAMS, "input-stream")}))))
      (instance (instantiate $giver
        (with "stream" (type {alias(STREAMS, "input-stream")})) (with "take" (func $t "take")))))"""
    message = refusal(binary(text))
    assert "inner component" in message
    assert "cannot cross" in message


def test_an_unknown_function_of_a_replaced_interface() -> None:
    text = f"""(component
      (import "{POLL}@0.2.99" (instance $poll {instance_type(POLL, [])} (export "wait-for-all" (func))))
      (core func (canon lower (func $poll "wait-for-all"))))"""
    message = refusal(binary(text))
    assert "wasi:io/poll.wait-for-all" in message
    assert "newer" in message


def test_an_unknown_function_that_is_not_used() -> None:
    wasm = binary(
        f'(component (import "{POLL}@0.2.99" (instance {instance_type(POLL, [])} (export "wait-for-all" (func)))))'
    )
    assert interpose(wasm).wasm is wasm


@pytest.mark.parametrize(
    ("function", "options"),
    [
        ('(export "f" (func async))', ""),
        ('(export "now" (func async (result u64)))', ""),
        ('(export "now" (func (result u64)))', "async (memory $memory)"),
    ],
)
def test_async_lowers(function: str, options: str) -> None:
    name = "now" if "now" in function else "f"
    wasm = binary(
        f'(component (import "{CLOCK}@0.2.0" (instance $clock {function})) {MEMORY} {memory()}'
        f' (core func (canon lower (func $clock "{name}") {options})))'
    )
    if name == "f":
        assert interpose(wasm).wasm is wasm
    else:
        assert "async" in refusal(wasm)


def test_values_outside_linear_memory() -> None:
    component = read_component(binary(guest([Lowered(CLOCK, "now")])))
    changed = tuple(
        model.Lower(each.function, (*each.options, model.CanonOption("gc")))
        if isinstance(each, model.Lower)
        else each
        for each in component.definitions
    )
    assert "'gc'" in refusal(write_component(model.Component(changed)))


def test_single_functions_where_another_one_is_needed() -> None:
    text = f"""(component {imports([(CLOCK, "subscribe-duration")])}
      (component $inner
        (import "pollable" (type $pollable (sub resource)))
        (import "later" (func $later (param "when" u64) (result (own $pollable))))
        (core func $f (canon lower (func $later)))
        (core module $m (import "" "f" (func (param i64) (result i32))))
        (core instance (instantiate $m (with "" (instance (export "f" (func $f)))))))
      (instance (instantiate $inner
        (with "pollable" (type {alias(POLL, "pollable")}))
        (with "later" (func {alias(CLOCK)} "subscribe-duration")))))"""
    message = refusal(binary(text))
    assert "single functions of wasi:clocks/monotonic-clock" in message
    assert "'now'" in message


def test_single_functions_where_no_other_one_is_needed() -> None:
    text = f"""(component {imports([("wasi:cli/stdin", "get-stdin")])}
      (component $inner
        (import "stream" (type $stream (sub resource)))
        (import "get" (func $get (result (own $stream))))
        (core func $f (canon lower (func $get)))
        (core module $m (import "" "f" (func (result i32))))
        (core instance (instantiate $m (with "" (instance (export "f" (func $f)))))))
      (instance (instantiate $inner
        (with "stream" (type {alias(STREAMS, "input-stream")}))
        (with "get" (func {alias("wasi:cli/stdin")} "get-stdin")))))"""
    assert [item.name for item in interposed(binary(text)).items if item.interface != "shim"] == ["get-stdin"]


def test_an_instance_handed_on_by_a_sibling() -> None:
    declared = f'(import "clock" (instance $clock {instance_type_of_clock()}))'
    text = f"""(component {imports([(CLOCK, "subscribe-duration")])}
      (component $passer (import "pollable" (type $p (sub resource))) {declared} (export "clock" (instance $clock)))
      (component $inner (import "pollable" (type $p (sub resource))) {declared}
        (core func $f (canon lower (func $clock "subscribe-duration")))
        (core module $m (import "" "f" (func (param i64) (result i32))))
        (core instance (instantiate $m (with "" (instance (export "f" (func $f)))))))
      (instance $passed (instantiate $passer
        (with "pollable" (type {alias(POLL, "pollable")})) (with "clock" (instance {alias(CLOCK)}))))
      (alias export $passed "clock" (instance $clock))
      (instance (instantiate $inner
        (with "pollable" (type {alias(POLL, "pollable")})) (with "clock" (instance $clock)))))"""
    assert "by way of another inner component" in refusal(binary(text))


def instance_type_of_clock() -> str:
    return (
        '(alias outer 1 $p (type $outer)) (export "pollable" (type $q (eq $outer)))'
        ' (export "subscribe-duration" (func (param "when" u64) (result (own $q))))'
    )


def test_a_component_defined_elsewhere_than_it_is_instantiated() -> None:
    names = {CLOCK: "clock", POLL: "waiting"}
    declared = imports([(CLOCK, "now")], names=names)
    text = f"""(component $top {imports([(CLOCK, "now")])}
      (component $inner {declared} {user([Lowered(CLOCK, "now")])})
      (component $middle {declared}
        (alias outer $top $inner (component $there))
        (instance (instantiate $there
          (with "clock" (instance {alias(CLOCK)})) (with "waiting" (instance {alias(POLL)})))))
      (instance (instantiate $middle
        (with "clock" (instance {alias(CLOCK)})) (with "waiting" (instance {alias(POLL)})))))"""
    message = refusal(binary(text))
    assert "defined in one component and instantiated in another" in message
    assert CLOCK in message


@pytest.mark.parametrize(
    ("interface", "function", "options"),
    [
        (CLOCK, '(export "now" (func (result u32)))', ""),
        (CLOCK, '(export "subscribe-duration" (func (param "when" u64) (result u64)))', ""),
        (POLL, '(export "poll" (func (param "a" u32) (param "b" u32) (param "c" u32)))', ""),
        ("wasi:io/error", '(export "[static]x" (func)) (export "now" (func))', ""),
        ("wasi:cli/stdin", '(export "get-stdin" (func (result u64)))', ""),
        ("wasi:filesystem/types", '(export "filesystem-error-code" (func (result u32)))', ""),
    ],
)
def test_functions_of_an_unexpected_shape(interface: str, function: str, options: str) -> None:
    name = function.rsplit('(export "', 1)[1].split('"')[0]
    text = f"""(component
      (import "{interface}@0.2.0" (instance $i {function}))
      (core func (canon lower (func $i "{name}") {options})))"""
    message = refusal(binary(text))
    assert f"{interface}.{name}" in message


def test_a_stock_function_of_an_unexpected_shape() -> None:
    wrong = f"""(component
      (import "{POLL}@0.2.0" (instance $poll {instance_type(POLL, ["poll"])}
        (export "[method]pollable.ready" (func (param "self" (borrow $pollable)) (result u64)))))
      {MEMORY} {memory()}
      (core func (canon lower (func $poll "poll") (memory $memory) (realloc $realloc))))"""
    assert "pollable.ready" in refusal(binary(wrong))


def test_too_many_component_instances() -> None:
    twice = "(instance (instantiate $x)) (instance (instantiate $x)))"
    text = f"(component $a) (component $c0 (component $x) {twice}"
    for number in range(1, 10):
        text += f"(component $c{number} (alias outer 1 $c{number - 1} (component $x)) {twice}"
    message = refusal(binary(f"(component {text} (instance (instantiate $c9)))"))
    assert str(flow.MAX_SCOPES) in message


def test_component_instances_too_deep_inside_each_other() -> None:
    text = "(component $c0)"
    for number in range(1, flow.MAX_DEPTH + 5):
        text += f"(component $c{number} (alias outer 1 $c{number - 1} (component $x)) (instance (instantiate $x)))"
    message = refusal(binary(f"(component {text} (instance (instantiate $c{number})))"))
    assert f"{flow.MAX_DEPTH} levels" in message


def test_a_start_function_with_results_for_which_there_is_no_memory() -> None:
    wasm = write_component(model.Component((model.Start(0, (), 0xFFFF_FFFF),)))
    with pytest.raises(InvalidComponentError, match="4294967295 results"):
        interpose(wasm)


def test_so_many_definitions_that_it_would_take_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "MAX_DEFINITIONS", 1_000)
    declared = model.InstanceDef((model.TypeDefinition(model.PrimitiveDef("u8")),) * 100)
    used = [
        model.Import(model.ExternName(f"i{number}"), model.ExternType("instance", 0)) for number in range(20)
    ]
    wasm = write_component(model.Component((model.TypeDefinition(declared), *used)))
    assert "1000" in refusal(wasm)


def test_so_many_trampolines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "MAX_ITEMS", 50)
    wasm = binary(guest([Lowered(CLOCK, "now")] * 60))
    assert "trampolines" in refusal(wasm)


def test_so_many_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "MAX_COPIED", 1_000)
    names = {CLOCK: "clock", POLL: "waiting"}
    handed = f'(with "clock" (instance {alias(CLOCK)})) (with "waiting" (instance {alias(POLL)}))'
    inner = f"(component $inner {imports([(CLOCK, 'now')], names=names)} {user([Lowered(CLOCK, 'now')])})"
    instance = f"(instance (instantiate $inner {handed}))"
    text = f"(component {imports([(CLOCK, 'now')], resources=[(POLL, 'pollable')])} {inner} {instance * 20})"
    assert "copy" in refusal(binary(text))


def test_types_whose_parts_are_shared_are_looked_at_once() -> None:
    # Written out, either type has half a million parts; comparing the two would take that many steps.
    types = ["(type (list u8))", "(type (list u8))"]
    for level in range(18):
        types += [
            f"(type (tuple {2 * level} {2 * level}))",
            f"(type (tuple {2 * level + 1} {2 * level + 1}))",
        ]
    functions = "".join(
        f'(type (func (param "a" {36 + number % 2}))) (import "f{number}" (func (type {38 + number})))'
        f" (core func (canon lower (func {number}) (memory $memory) (realloc $realloc)))"
        for number in range(200)
    )
    wasm = binary(f"(component {MEMORY} {memory()} {' '.join(types)} {functions})")
    assert interpose(wasm).wasm is wasm


def test_a_replaced_function_of_astronomical_type() -> None:
    types = ["(type $t0 (list u8))"]
    types += [f"(type $t{level + 1} (tuple $t{level} $t{level}))" for level in range(15)]
    text = f"""(component
      (import "{CLOCK}@0.2.0" (instance $clock {" ".join(types)} (export "now" (func (param "a" $t15)))))
      {MEMORY} {memory()}
      (core func (canon lower (func $clock "now") (memory $memory) (realloc $realloc))))"""
    assert "parts" in refusal(binary(text))


def test_a_stack_that_is_nearly_used_up() -> None:
    text = "(component)"
    for _ in range(90):
        text = f"(component {text})"
    wasm = binary(text)

    def deeper(frames: int) -> UnsupportedComponentError | None:
        if frames:
            return deeper(frames - 1)
        try:
            interpose(wasm)
        except UnsupportedComponentError as error:
            return error
        return None

    found = [deeper(frames) for frames in range(0, 900, 20)]
    assert found[0] is None
    assert "Python's stack" in str(found[-1])


def test_a_blocking_splice_without_its_two_streams() -> None:
    # The core signature is that of the real one.
    splice = "[method]output-stream.blocking-splice"
    text = f"""(component
      {imports([(POLL, "poll")], resources=[(ERROR, "error"), (POLL, "pollable")])}
      (import "{STREAMS}@0.2.12" (instance $streams {instance_type(STREAMS, [])}
        (type $r (record (field "a" u32) (field "b" u32) (field "c" u64))) (export "r" (type $q (eq $r)))
        (export "{splice}" (func (param "a" $q) (result (result u64 (error $stream-error)))))))
      {MEMORY} {memory()}
      (core func (canon lower (func {alias(POLL)} "poll") (memory $memory) (realloc $realloc)))
      (core func (canon lower (func $streams "{splice}") (memory $memory))))"""
    assert splice in refusal(binary(text))
