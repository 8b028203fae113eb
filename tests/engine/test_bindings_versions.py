"""The shims for supported versions of wasmtime, on whichever is installed: `make test-matrix` runs them on each."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from packaging.specifiers import SpecifierSet
from wasmtime import Engine, Store, WasmtimeError, component

from tests.text_format import binary
from wasi_sockets.engine import bindings_versions
from wasi_sockets.engine.bindings_versions import (
    add_stock_http,
    external_type,
    instances_can_be_reopened,
    preopen_directory,
    set_stock_http,
    stock_version,
)
from wasi_sockets.engine.versions import SUPPORTED, installed_version, major

HANDLER = "wasi:http/outgoing-handler"
STOCK_WASI = {45: "0.2.6"}
"""By the first version of wasmtime that is known to have it; 0.2.12 from 46 on."""


def test_the_installed_version_is_a_supported_one() -> None:
    assert installed_version() == metadata("wasmtime")["Version"]
    assert installed_version() in SpecifierSet(SUPPORTED)


def test_the_project_asks_for_the_supported_versions() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8")
    assert f'"wasmtime{SUPPORTED}"' in text


@pytest.mark.parametrize(
    ("text", "number"), [("50.0.1", 50), ("51.0.0rc1", 51), ("45", 45), ("", None), ("dev", None)]
)
def test_major_numbers(text: str, number: int | None) -> None:
    assert major(text) == number


def test_the_type_of_an_export_is_found(engine: Engine) -> None:
    guest = component.Component(
        engine, '(component (import "i" (instance (export "f" (func)))) (import "g" (func)))'
    )
    types = {name: external_type(each) for name, each in guest.type.imports(engine).items()}
    assert isinstance(types["i"], component.ComponentInstanceType)
    assert isinstance(types["g"], component.FuncType)
    inner = types["i"].exports(engine)["f"]
    assert isinstance(external_type(inner), component.FuncType)


def test_stock_interfaces_are_found_under_their_version() -> None:
    expected = STOCK_WASI.get(major(installed_version()) or 0, "0.2.12")
    assert stock_version(HANDLER, "handle") == expected
    assert stock_version("wasi:sockets/network", "network") == expected
    assert stock_version("wasi:no/such", "thing") is None


@pytest.fixture
def stock(engine: Engine) -> Iterator[component.Linker]:
    with component.Linker(engine) as linker:
        linker.add_wasip2()
        add_stock_http(linker)
        yield linker


def test_stock_http_can_be_defined_once(stock: component.Linker) -> None:
    with pytest.raises(WasmtimeError, match="defined twice"):
        add_stock_http(stock)


def test_a_store_takes_stock_http(engine: Engine, stock: component.Linker) -> None:
    # Without it wasmtime aborts the process, so the call itself is what shows that it worked.
    text = """(component
      (import "wasi:http/types@0.2.0" (instance $types
        (export "fields" (type $fields (sub resource)))
        (export "[constructor]fields" (func (result (own $fields))))))
      (core func $new (canon lower (func $types "[constructor]fields")))
      (core module $m (import "h" "new" (func $new (result i32))) (func (export "f") (result i32) (call $new)))
      (core instance $i (instantiate $m (with "h" (instance (export "new" (func $new))))))
      (func (export "f") (result u32) (canon lift (core func $i "f"))))"""
    store = Store(engine)
    store.set_epoch_deadline(1 << 40)
    store.set_wasi(wasmtime.WasiConfig())
    set_stock_http(store)
    function = stock.instantiate(store, component.Component(engine, binary(text))).get_func(store, "f")
    assert function is not None
    assert isinstance(function(store), int)


def test_reopening_is_what_the_linker_does(engine: Engine) -> None:
    linker = component.Linker(engine)

    def define(name: str) -> None:
        with linker.root() as root, root.add_instance("a:b/c") as instance:
            instance.add_func(name, lambda store: None)

    define("one")
    if instances_can_be_reopened():
        define("two")
    else:
        with pytest.raises(WasmtimeError, match="defined twice"):
            define("two")


class OldWasi:
    """What 45 to 47 have."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def preopen_dir(self, *arguments: Any) -> None:
        self.calls.append(arguments)


class Permissions:
    READ_ONLY = "read"
    READ_WRITE = "both"


@pytest.mark.parametrize(("writable", "permission"), [(True, "both"), (False, "read")])
def test_directories_with_permissions_of_45_to_47(
    monkeypatch: pytest.MonkeyPatch, writable: bool, permission: str
) -> None:
    monkeypatch.setattr(wasmtime, "DirPerms", Permissions, raising=False)
    monkeypatch.setattr(wasmtime, "FilePerms", Permissions, raising=False)
    wasi: Any = OldWasi()
    preopen_directory(wasi, Path("/some"), "/guest", writable=writable)
    assert wasi.calls == [("/some", "/guest", permission, permission)]


def test_directories_with_the_flag_of_48(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(wasmtime, "DirPerms", raising=False)
    wasi: Any = OldWasi()
    preopen_directory(wasi, "/some", "/guest", writable=False)
    assert wasi.calls == [("/some", "/guest", False)]


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WasmtimeError):
        preopen_directory(wasmtime.WasiConfig(), tmp_path / "missing", "/")


def test_a_linker_that_fails_otherwise_is_not_taken_for_an_answer(stock: component.Linker) -> None:
    with pytest.raises(WasmtimeError, match="in use"), stock.root():
        bindings_versions._is_taken(stock, "a:b/c", "d")
