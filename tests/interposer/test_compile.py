"""Whatever is rewritten compiles, and looks from outside as it did, but for the one host instance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interposer.checks import compiles, interposed
from tests.interposer.wasi_text import (
    ALL_FUNCTIONS,
    MEMORY,
    VERSIONS,
    Lowered,
    alias,
    binary,
    core_import,
    guest,
    imports,
    memory,
    needs_realloc,
    user,
)
from wasi_sockets.component.reader import read_component
from wasi_sockets.interposer import Item, interpose
from wasi_sockets.interposer.flow import FunctionEntity, InstanceEntity, look_through
from wasi_sockets.interposer.table import DROPS, FUNCTIONS

TEXTS = Path(__file__).resolve().parent.parent / "guests" / "wat"
IN, OUT = "[method]input-stream.", "[method]output-stream."
STREAMS, POLL, CLOCK = "wasi:io/streams", "wasi:io/poll", "wasi:clocks/monotonic-clock"


def replaced(items: tuple[Item, ...]) -> list[tuple[str, str]]:
    return [(item.interface, item.name) for item in items if item.interface != "shim"]


@pytest.mark.parametrize("name", sorted(path.stem for path in TEXTS.glob("*.wat")))
def test_guests_in_text(name: str, wat_guest: Callable[[str], bytes]) -> None:
    wasm = wat_guest(name)
    result = interposed(wasm)
    text = (TEXTS / f"{name}.wat").read_text()
    assert bool(result.items) == any(f'import "{interface}@' in text for interface in FUNCTIONS)


@pytest.mark.parametrize(
    "name",
    ["c-echo-0.2.0", "c-echo-0.2.12", "c-server-0.2.0", "c-server-0.2.12", "c-sockets-client", "rust-server"],
)
def test_built_guests(name: str, guest_file: Callable[[str], Path]) -> None:
    result = interposed(guest_file(name).read_bytes())
    assert any(interface == "wasi:sockets/tcp" for interface, _ in replaced(result.items))


def test_a_javascript_guest(guest_file: Callable[[str], Path]) -> None:
    assert interposed(guest_file("js-client").read_bytes()).items


def test_a_python_guest(guest_file: Callable[[str], Path]) -> None:
    # The one big guest: compiling it twice takes too long, so what the others show about the outside must do.
    wasm = guest_file("python").read_bytes()
    result = interpose(wasm)
    assert result.items
    compiles(result.wasm)


@pytest.mark.parametrize(("interface", "function"), ALL_FUNCTIONS)
def test_each_function_alone(interface: str, function: str) -> None:
    result = interposed(binary(guest([Lowered(interface, function)])))
    expected = [(interface, function)] if function in FUNCTIONS[interface] else []
    assert replaced(result.items) == expected


@pytest.mark.parametrize(("interface", "resource"), DROPS)
def test_each_drop_alone(interface: str, resource: str) -> None:
    result = interposed(binary(guest([], [(interface, resource)])))
    assert replaced(result.items) == [(interface, f"[resource-drop]{resource}")]
    assert [item.resource for item in result.items if item.resource] == [f"{interface}.{resource}"]


@pytest.mark.parametrize("encoding", ["utf8", "utf16", "latin1+utf16"])
def test_every_function_with_memory_and_realloc(encoding: str) -> None:
    options = f"(memory $memory) (realloc $realloc) string-encoding={encoding}"
    result = interposed(binary(guest([Lowered(*each, options) for each in ALL_FUNCTIONS], list(DROPS))))
    found = [item for item in result.items if item.interface != "shim" and item.resource is None]
    assert {(item.interface, item.name) for item in found} == {
        (interface, function) for interface, functions in FUNCTIONS.items() for function in functions
    }
    assert {item.encoding for item in found} == {encoding}
    assert all(item.allocates and item.memory is not None for item in found)


def test_every_function_with_memory_but_no_realloc_where_that_is_legal() -> None:
    lowered = [Lowered(*each, "(memory $memory)") for each in ALL_FUNCTIONS if not needs_realloc(*each)]
    result = interposed(binary(guest(lowered)))
    assert not any(item.allocates for item in result.items)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version(version: str) -> None:
    result = interposed(
        binary(guest([Lowered(*each) for each in ALL_FUNCTIONS], list(DROPS), version=version))
    )
    assert len(replaced(result.items)) == sum(map(len, FUNCTIONS.values())) + len(DROPS)


def declared_functions(wasm: bytes, interface: str) -> set[str]:
    """The functions that a component declares in the type of an import."""
    root = look_through(read_component(wasm))
    (found,) = [
        each
        for each in root.imports.values()
        if isinstance(each, InstanceEntity) and each.import_name.startswith(interface)
    ]
    return {name for name, entity in found.exports.items() if isinstance(entity, FunctionEntity)}


@pytest.mark.parametrize(
    ("interface", "function", "besides"),
    [
        (POLL, "poll", ["[method]pollable.ready"]),
        (POLL, "[method]pollable.block", ["[method]pollable.ready"]),
        (CLOCK, "subscribe-duration", ["now"]),
        (CLOCK, "subscribe-instant", ["now"]),
        (STREAMS, IN + "blocking-read", [IN + "read"]),
        (STREAMS, IN + "blocking-skip", [IN + "skip"]),
        (STREAMS, OUT + "blocking-flush", [OUT + "check-write", OUT + "flush"]),
        (STREAMS, OUT + "blocking-write-and-flush", [OUT + "check-write", OUT + "flush", OUT + "write"]),
        (
            STREAMS,
            OUT + "blocking-write-zeroes-and-flush",
            [OUT + "check-write", OUT + "flush", OUT + "write-zeroes"],
        ),
        (STREAMS, OUT + "blocking-splice", [OUT + "check-write", OUT + "flush", OUT + "splice"]),
    ],
)
def test_functions_that_the_shim_needs_are_declared(
    interface: str, function: str, besides: list[str]
) -> None:
    wasm = binary(guest([Lowered(interface, function)]))
    assert declared_functions(wasm, interface) == {function}
    assert declared_functions(interpose(wasm).wasm, interface) == {function, *besides}


@pytest.mark.parametrize(
    ("function", "besides"),
    [
        (IN + "blocking-read", [IN + "read", IN + "subscribe"]),
        (IN + "blocking-skip", [IN + "skip", IN + "subscribe"]),
        (OUT + "blocking-flush", [OUT + "check-write", OUT + "flush", OUT + "subscribe"]),
        (
            OUT + "blocking-splice",
            [OUT + "check-write", OUT + "flush", OUT + "splice", OUT + "subscribe", IN + "subscribe"],
        ),
    ],
)
def test_a_guest_that_polls_waits_for_stock_streams_through_pollables(
    function: str, besides: list[str]
) -> None:
    # Files go on only when they are asked through a pollable: without one a blocking read would never end.
    wasm = binary(guest([Lowered(POLL, "[method]pollable.block"), Lowered(STREAMS, function)]))
    assert declared_functions(interpose(wasm).wasm, STREAMS) == {function, *besides}


def test_the_same_guest_gives_the_same_bytes() -> None:
    wasm = binary(guest([Lowered(STREAMS, OUT + "blocking-write-and-flush"), Lowered(POLL, "poll")]))
    assert interpose(wasm).wasm == interpose(wasm).wasm


def test_two_memories_and_two_reallocs() -> None:
    read = (STREAMS, IN + "read")
    lowered = [
        Lowered(*read, "(memory $memory) (realloc $realloc)"),
        Lowered(*read, "(memory $memory) (realloc $realloc2)"),
        Lowered(*read, "(memory $memory-b) (realloc $realloc-b)"),
        Lowered(*read, "(memory $memory-alias) (realloc $realloc)"),
    ]
    again = '(alias core export $memory-instance "memory" (core memory $memory-alias))'
    text = f"(component {imports([read])} {MEMORY} {memory()} {memory('-b')} {again} {user(lowered)})"
    result = interposed(binary(text))
    assert [item.memory for item in result.items if item.name == IN + "read"] == [0, 0, 1, 0]
    assert sum(item.name == "recv" for item in result.items) == 2


def test_a_memory_in_a_bag_is_the_same_memory() -> None:
    read = (STREAMS, IN + "read")
    bag = """(core instance $bag (export "m" (memory $memory)))
      (alias core export $bag "m" (core memory $memory-b))"""
    lowered = [
        Lowered(*read, "(memory $memory) (realloc $realloc)"),
        Lowered(*read, "(memory $memory-b) (realloc $realloc)"),
    ]
    result = interposed(binary(f"(component {imports([read])} {MEMORY} {memory()} {bag} {user(lowered)})"))
    assert [item.memory for item in result.items if item.name == IN + "read"] == [0, 0]


def test_imports_after_other_sections_and_items_in_several_groups() -> None:
    first, second = [(CLOCK, "now"), (POLL, "poll")], [("wasi:cli/environment", "x")]
    text = f"""(component
      (core module $early (func (export "f")))
      (core instance (instantiate $early))
      (type $unused (record (field "a" u8)))
      {imports(first, resources=[(POLL, "pollable")])}
      {user([Lowered(CLOCK, "now")], [(POLL, "pollable")], "$before")}
      {MEMORY} {memory()}
      {user([Lowered(POLL, "poll"), Lowered(CLOCK, "now")], name="$after")}
      (import "{second[0][0]}@0.2.0" (instance (export "x" (func))))
      (import "wasi:cli/terminal-input@0.2.0" (instance (export "terminal-input" (type (sub resource)))))
      {user([Lowered(CLOCK, "now")], [(POLL, "pollable")], "$last")}
    )"""
    result = interposed(binary(text))
    assert len(replaced(result.items)) == 6
    assert {item.realm for item in result.items} == {0}


def test_a_lowered_function_that_is_lifted_directly() -> None:
    text = f"""(component
      {imports([(CLOCK, "now")])}
      (core func $now (canon lower (func {alias(CLOCK)} "now")))
      (func (export "time") (result u64) (canon lift (core func $now))))"""
    assert replaced(interposed(binary(text)).items) == [(CLOCK, "now")]


def test_a_drop_as_the_destructor_of_a_guest_resource() -> None:
    text = f"""(component
      {imports([], resources=[(POLL, "pollable")])}
      (core func $drop (canon resource.drop {alias(POLL, "pollable")}))
      (type $holder (resource (rep i32) (dtor (core func $drop))))
      (core func $new (canon resource.new $holder))
      (core func $drop-holder (canon resource.drop $holder))
      (core module $m (import "host" "new" (func (param i32) (result i32))) (import "host" "drop" (func (param i32))))
      (core instance (instantiate $m (with "host" (instance
        (export "new" (func $new)) (export "drop" (func $drop-holder)))))))"""
    result = interposed(binary(text))
    assert replaced(result.items) == [(POLL, "[resource-drop]pollable")]


def inner(functions: list[tuple[str, str]], names: dict[str, str]) -> str:
    """The inside of an inner component that imports under other names and lowers for itself."""
    lowered = [Lowered(*each) for each in functions]
    return f"{imports(functions, names=names)} {MEMORY} {memory()} {user(lowered)}"


STREAM_FUNCTIONS = [(STREAMS, IN + "blocking-read"), (STREAMS, OUT + "blocking-write-and-flush")]
OTHER_NAMES = {"wasi:io/error": "failures", POLL: "waiting", STREAMS: "data"}
HANDED = " ".join(f'(with "{name}" (instance {alias(interface)}))' for interface, name in OTHER_NAMES.items())
FULL_IMPORTS = imports(STREAM_FUNCTIONS, resources=[("wasi:io/error", "error"), (POLL, "pollable")])


def test_an_inner_component_instantiated_twice_has_two_realms() -> None:
    text = f"""(component {FULL_IMPORTS}
      (component $inner {inner(STREAM_FUNCTIONS, OTHER_NAMES)})
      (instance (instantiate $inner {HANDED}))
      (instance (instantiate $inner {HANDED})))"""
    result = interposed(binary(text))
    assert [(item.realm, item.memory) for item in result.items if item.interface == STREAMS] == [
        (0, 0),
        (0, 0),
        (1, 1),
        (1, 1),
    ]


def test_two_levels_of_composition_with_a_layer_that_only_passes_on() -> None:
    middle = imports(
        STREAM_FUNCTIONS, names=OTHER_NAMES, resources=[("wasi:io/error", "error"), (POLL, "pollable")]
    )
    text = f"""(component {FULL_IMPORTS}
      (component $middle {middle}
        (component $inner {inner(STREAM_FUNCTIONS, OTHER_NAMES)})
        (instance (instantiate $inner {HANDED})))
      (instance (instantiate $middle {HANDED})))"""
    result = interposed(binary(text))
    assert [item.name for item in result.items if item.interface == STREAMS] == [
        f for _, f in STREAM_FUNCTIONS
    ]


def test_inner_and_outer_component_both_lower() -> None:
    own = [Lowered(*each) for each in STREAM_FUNCTIONS]
    text = f"""(component {FULL_IMPORTS} {MEMORY} {memory()} {user(own)}
      (component $inner {inner(STREAM_FUNCTIONS, OTHER_NAMES)})
      (instance (instantiate $inner {HANDED})))"""
    result = interposed(binary(text))
    assert [(item.realm, item.memory) for item in result.items if item.interface == STREAMS] == [
        (0, 0),
        (0, 0),
        (1, 1),
        (1, 1),
    ]


def test_an_inner_component_with_outer_aliases_to_a_module_and_a_type() -> None:
    code = user([Lowered(CLOCK, "subscribe-duration")])
    module = code[code.index("(core module") : code.index("(core instance")]
    rest = code.replace(module, "(alias outer $top $main-module (core module $main-module))")
    text = f"""(component $top
      {imports([(CLOCK, "subscribe-duration")])}
      (type $shape (record (field "n" u8)))
      {module}
      (component $inner
        (alias outer $top $shape (type $shape))
        {imports([(CLOCK, "subscribe-duration")], names={CLOCK: "clock", POLL: "waiting"})}
        {rest}
        (type $list (list $shape)))
      (instance (instantiate $inner
        (with "clock" (instance {alias(CLOCK)})) (with "waiting" (instance {alias(POLL)})))))"""
    assert replaced(interposed(binary(text)).items) == [(CLOCK, "subscribe-duration")]


def test_an_inner_component_that_is_used_and_exported() -> None:
    middle = imports(
        STREAM_FUNCTIONS, names=OTHER_NAMES, resources=[("wasi:io/error", "error"), (POLL, "pollable")]
    )
    text = f"""(component {FULL_IMPORTS}
      (component $middle {middle}
        (component $inner {inner(STREAM_FUNCTIONS, OTHER_NAMES)})
        (instance (instantiate $inner {HANDED}))
        (export "again" (component $inner)))
      (instance (instantiate $middle {HANDED})))"""
    assert interposed(binary(text)).items


def test_parameters_reach_the_table_as_core_types() -> None:
    result = interposed(binary(guest([Lowered("wasi:sockets/tcp", "[method]tcp-socket.start-connect")])))
    (item,) = [each for each in result.items if each.interface == "wasi:sockets/tcp"]
    assert item.parameters == ("i32",) * 15
    assert item.results == ()
    assert core_import(item.interface, item.name).count("(param i32)") == 15
