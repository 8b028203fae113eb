"""The guests themselves: that every one compiles and imports what its tests rely on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from wasmtime import Engine
from wasmtime.component import Component

from tests.text_format import translated

HERE = Path(__file__).resolve().parent
TEXTS = sorted((HERE / "wat").glob("*.wat"))

# What makes each text guest worth having: imports that it must have, and that it must not have.
SHAPES = {
    "echo": ({"wasi:sockets/tcp", "wasi:io/streams", "wasi:io/poll"}, set()),
    "sockets-without-streams": ({"wasi:sockets/tcp"}, {"wasi:io/streams", "wasi:io/error"}),
    "streams-without-sockets": ({"wasi:io/streams"}, {"wasi:sockets/tcp", "wasi:io/poll"}),
    "no-network": ({"wasi:random/random"}, {"wasi:sockets/tcp", "wasi:io/streams", "wasi:io/poll"}),
    "poll-without-ready": ({"wasi:io/poll", "wasi:cli/stdin"}, {"wasi:sockets/tcp"}),
    "spin": (set(), {"wasi:io/poll"}),
    "spin-on-poll": ({"wasi:io/poll"}, {"wasi:sockets/tcp"}),
}


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


def imports_of(engine: Engine, component: Component) -> set[str]:
    return {name.partition("@")[0] for name in component.type.imports(engine)}


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.stem)
def test_text_guest_compiles_from_its_file_alone(engine: Engine, text: Path) -> None:
    assert Component(engine, translated(text.read_text())).serialize()


@pytest.mark.parametrize("name", SHAPES)
def test_text_guest_has_the_imports_it_is_for(engine: Engine, name: str) -> None:
    needed, forbidden = SHAPES[name]
    imports = imports_of(engine, Component(engine, translated((HERE / "wat" / f"{name}.wat").read_text())))
    assert needed <= imports
    assert not forbidden & imports


@pytest.mark.parametrize("version", ["0.2.0", "0.2.12"])
@pytest.mark.parametrize("name", ["c-echo", "c-server"])
def test_c_guest_imports_the_version_in_its_name(
    engine: Engine, guest_file: Callable[[str], Path], name: str, version: str
) -> None:
    component = Component(engine, guest_file(f"{name}-{version}").read_bytes())
    assert {found.partition("@")[2] for found in component.type.imports(engine)} == {version}


@pytest.mark.parametrize(
    "name", ["js-client", "c-sockets-client", "c-sockets-server", "rust-client", "rust-server"]
)
def test_guest_imports_tcp_and_can_be_run(
    engine: Engine, guest_file: Callable[[str], Path], name: str
) -> None:
    component = Component(engine, guest_file(name).read_bytes())
    assert "wasi:sockets/tcp" in imports_of(engine, component)
    assert any(found.startswith("wasi:cli/run@0.2.") for found in component.type.exports(engine))


def test_c_udp_guest_imports_udp(engine: Engine, guest_file: Callable[[str], Path]) -> None:
    component = Component(engine, guest_file("c-sockets-udp").read_bytes())
    assert "wasi:sockets/udp" in imports_of(engine, component)


def test_building_again_finds_everything_up_to_date(guest_file: Callable[[str], Path]) -> None:
    before = guest_file("c-echo-0.2.0").stat().st_mtime_ns
    built = subprocess.run(
        [sys.executable, HERE / "build.py", "--json", "c-echo-0.2.0"],
        check=True,
        capture_output=True,
        text=True,
    )
    (record,) = json.loads(built.stdout)
    assert record["status"] == "built"
    assert guest_file("c-echo-0.2.0").stat().st_mtime_ns == before
    assert not built.stderr, "progress belongs on a terminal only"


def test_an_unknown_guest_is_refused_by_name() -> None:
    built = subprocess.run(
        [sys.executable, HERE / "build.py", "no-such-guest"], capture_output=True, text=True
    )
    assert built.returncode == 2
    assert "no such guest: no-such-guest" in built.stderr
