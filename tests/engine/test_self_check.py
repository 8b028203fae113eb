"""The self-check catches a wasmtime that was changed under it: by looking, by trying, and by its version."""

from __future__ import annotations

import ast
import ctypes
import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from wasi_sockets.engine import bindings_check
from wasi_sockets.engine.bindings_check import FUNCTIONS, installed, look, problems
from wasi_sockets.engine.self_check import (
    DISABLED_BY,
    UntestedVersionWarning,
    deep_problem,
    require_usable,
    verdict,
)
from wasi_sockets.engine.versions import NEWEST_TESTED, SUPPORTED

ENGINE = Path(bindings_check.__file__).parent
UNTESTED = f"{NEWEST_TESTED + 1}.0.0"


class Changed:
    """A module with some names replaced, and some gone (`None`)."""

    def __init__(self, original: Any, **changes: Any) -> None:
        self._original = original
        self._changes = changes

    def __getattr__(self, name: str) -> Any:
        value = self._changes[name] if name in self._changes else getattr(self._original, name)
        if value is None:
            raise AttributeError(name)
        return value


def with_bindings(**changes: Any) -> SimpleNamespace:
    modules = installed()
    return SimpleNamespace(**{**vars(modules), "bindings": Changed(modules.bindings, **changes)})


def with_ffi(**changes: Any) -> SimpleNamespace:
    modules = installed()
    return SimpleNamespace(**{**vars(modules), "ffi": Changed(modules.ffi, **changes)})


class LargerValue(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_uint8), ("of", ctypes.c_uint64 * 4))


class MovedValue(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_uint64), ("owner", ctypes.c_uint64), ("of", ctypes.c_uint64 * 2))


class ShortContinuation(ctypes.Structure):
    _fields_ = (("callback", ctypes.c_void_p), ("env", ctypes.c_void_p))


def declared(*parameters: Any, result: Any = None) -> SimpleNamespace:
    return SimpleNamespace(restype=result, argtypes=parameters)


SABOTAGE: dict[str, tuple[Callable[[], Any], str]] = {
    "a missing function": (
        lambda: with_ffi(dll=Changed(installed().ffi.dll, wasmtime_call_future_poll=None)),
        "there is no C function wasmtime_call_future_poll",
    ),
    "a function with another parameter": (
        lambda: with_bindings(
            _wasmtime_call_future_poll=declared(ctypes.c_void_p, ctypes.c_void_p, result=ctypes.c_bool)
        ),
        "the C function wasmtime_call_future_poll is b(p,p), not b(p)",
    ),
    "a function with a smaller parameter": (
        lambda: with_bindings(
            _wasmtime_context_set_epoch_deadline=declared(ctypes.c_void_p, ctypes.c_uint32)
        ),
        "the C function wasmtime_context_set_epoch_deadline is -(p,i4), not -(p,w)",
    ),
    "a larger value": (
        lambda: with_bindings(wasmtime_component_val_t=LargerValue),
        "wasmtime_component_val_t has 40 bytes, not 32",
    ),
    "a payload elsewhere": (
        lambda: with_bindings(wasmtime_component_val_t=MovedValue),
        "wasmtime_component_val_t.of is at 16, not 8",
    ),
    "a field less": (
        lambda: with_bindings(wasmtime_async_continuation_t=ShortContinuation),
        "wasmtime_async_continuation_t has 16 bytes, not 24; "
        "wasmtime_async_continuation_t.finalizer is at None, not 16",
    ),
    "a missing structure": (
        lambda: with_bindings(wasmtime_component_func_t=None),
        "there is no structure wasmtime_component_func_t",
    ),
    "another number of a kind": (
        lambda: with_ffi(WASMTIME_COMPONENT_STRING=ctypes.c_uint8(13)),
        "component values of kind STRING have number 13, not 12",
    ),
    "a missing kind": (
        lambda: SimpleNamespace(
            **{
                **vars(with_ffi(WASMTIME_COMPONENT_LIST=None)),
                "bindings": Changed(installed().bindings, WASMTIME_COMPONENT_LIST=None),
            }
        ),
        "there is no component value kind LIST",
    ),
    "another callback": (
        lambda: with_bindings(wasmtime_component_func_callback_t=ctypes.CFUNCTYPE(None, ctypes.c_void_p)),
        "callbacks of type wasmtime_component_func_callback_t are -(p), not w(p,p,p,p,w,p,w)",
    ),
    "a missing member": (
        lambda: SimpleNamespace(
            **{**vars(installed()), "package": Changed(installed().package, Store=object)}
        ),
        "Store has no _context; Store has no _consume",
    ),
}


@pytest.mark.parametrize(("sabotage", "message"), SABOTAGE.values(), ids=SABOTAGE)
def test_what_was_changed_is_named(sabotage: Callable[[], Any], message: str) -> None:
    modules = sabotage()
    assert "; ".join(problems(modules)) == message
    with pytest.raises(ImportError) as caught:
        require_usable("50.0.1", lambda: problems(modules))
    assert str(caught.value).endswith(message)
    assert f"wasmtime{SUPPORTED}" in str(caught.value)


def test_the_installed_package_is_as_it_should_be() -> None:
    assert [each for each in look(installed()) if each.wrong] == []


def test_every_c_function_that_is_used_is_in_the_list() -> None:
    used: set[str] = set()
    for path in ENGINE.glob("bindings*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Name) and called.id == "raw_function":
                (name,) = [each.value for each in node.args[:1] if isinstance(each, ast.Constant)]  # type: ignore[attr-defined]
                used.add(str(name))
            elif isinstance(called, ast.Attribute) and ast.unparse(called.value) == "_capi":
                used.add(called.attr)
    assert {name for name in used if not name.endswith("_t")} == set(FUNCTIONS)


def test_an_older_version_is_refused_before_anything_else() -> None:
    def look_at_nothing() -> list[str]:
        raise AssertionError("looked")

    with pytest.raises(ImportError, match=rf"wasmtime 44\.0\.1 is too old.*{SUPPORTED}"):
        require_usable("44.0.1", look_at_nothing)


def test_a_newer_version_that_works_warns() -> None:
    with pytest.warns(UntestedVersionWarning, match=f"not tested with wasmtime {UNTESTED}.*check passed"):
        require_usable(UNTESTED, list, lambda: "")


def test_a_newer_version_that_fails_is_refused_with_the_reason() -> None:
    with pytest.raises(ImportError, match=f"does not work with wasmtime {UNTESTED}.*values: changed"):
        require_usable(UNTESTED, list, lambda: "values: changed")


def test_the_deep_check_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DISABLED_BY, "0")
    with warnings.catch_warnings(record=True) as caught:
        require_usable(UNTESTED, list, lambda: "never asked")
    assert caught == []


def test_supported_versions_are_not_tried_out() -> None:
    require_usable(f"{NEWEST_TESTED}.9.9", list, lambda: "never asked")


def test_the_installed_version_passes_the_deep_check() -> None:
    assert deep_problem() == ""


def line(**values: object) -> str:
    return json.dumps(values)


@pytest.mark.parametrize(
    ("code", "output", "message"),
    [
        (0, [line(name="a"), line(name="a", ok=True, detail="")], ""),
        (3, [line(name="a"), line(name="a", ok=False, detail="changed")], "a: changed"),
        (3, [line(name="direct memory"), line(name="direct memory", ok=False, detail="none")], ""),
        (-11, [line(name="a")], "the self-check ended with signal 11 in a: last words"),
        (1, [], "the self-check ended with exit code 1 in the start: last words"),
    ],
)
def test_verdicts(code: int, output: list[str], message: str) -> None:
    assert verdict(code, "\n".join(output), "first\nlast words\n") == message


def test_the_list_is_checked_by_path_without_the_package() -> None:
    child = subprocess.run(
        [sys.executable, "-I", bindings_check.__file__], capture_output=True, text=True, check=True
    )
    found = json.loads(child.stdout)
    assert [each["name"] for each in found] == [each.name for each in look(installed())]
    assert all(each["wrong"] == [] for each in found)
