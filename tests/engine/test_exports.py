from __future__ import annotations

import pytest

from tests.engine.conftest import Run
from wasi_sockets.engine.exports import match_export

VERSIONS = {"wasi:cli/run@0.2.3": frozenset({"run"}), "a:b/c@1.4.0": frozenset({"f"}), "plain": None}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("wasi:cli/run@0.2.3", "wasi:cli/run@0.2.3"),
        ("wasi:cli/run@0.2", "wasi:cli/run@0.2.3"),
        ("wasi:cli/run@0.2.0", "wasi:cli/run@0.2.3"),
        ("wasi:cli/run@0.2.12", "wasi:cli/run@0.2.3"),
        ("wasi:cli/run@0", "wasi:cli/run@0.2.3"),
        ("wasi:cli/run", "wasi:cli/run@0.2.3"),
        ("wasi:cli/run@0.3", None),
        ("wasi:cli/run@0.3.0", None),
        ("wasi:cli/run@1", None),
        ("wasi:cli/run@0.2.3-rc.1", None),
        ("a:b/c@1.9", "a:b/c@1.4.0"),
        ("a:b/c@2", None),
        ("plain", "plain"),
        ("plain@1.0", "plain"),
        ("other", None),
    ],
)
def test_versions_on_the_same_track_are_found(wanted: str, found: str | None) -> None:
    assert match_export(VERSIONS, wanted) == found


def test_the_newest_of_several_is_chosen() -> None:
    several = {f"a:b/c@0.2.{patch}": frozenset[str]() for patch in (9, 12, 10)}
    assert match_export(several, "a:b/c@0.2") == "a:b/c@0.2.12"
    assert match_export(several, "a:b/c@0.2.9") == "a:b/c@0.2.9"


async def test_functions_inside_exported_interfaces_are_called(run: Run) -> None:
    text = """(component
      (core module $m (func (export "run") (result i32) (i32.const 0)))
      (core instance $i (instantiate $m))
      (func $run (result (result)) (canon lift (core func $i "run")))
      (component $c (import "f" (func $f (result (result)))) (export "run" (func $f)))
      (instance $e (instantiate $c (with "f" (func $run))))
      (export "wasi:cli/run@0.2.6" (instance $e)))"""
    async with run(text) as guest:
        result = await guest.call("wasi:cli/run@0.2", "run")
        assert result.tag == "ok"
        with pytest.raises(LookupError, match=r"run@0\.2\.6' has no function 'walk'; it has \['run'\]"):
            await guest.call("wasi:cli/run@0.2", "walk")
        for arguments in ((), (1,), ([],)):
            with pytest.raises(LookupError, match="is an interface: name one of its functions"):
                await guest.call("wasi:cli/run", *arguments)
        with pytest.raises(LookupError, match="does not export"):
            await guest.call("wasi:http/proxy", "run")
