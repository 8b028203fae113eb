"""`wasi-sockets conformance`."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from service.cli import main
from service.conformance_stock import STOCK_VERSION, stock_python
from wasi_sockets.conformance import StockHostError, checks, run_stock
from wasi_sockets.conformance.differences import STOCK_47
from wasi_sockets.wasi.p2.tcp import FUNCTIONS

ROOT = Path(__file__).parent.parent.parent
STOCK = ROOT / "build" / "stock47"
IS_LISTENING = ("wasi:sockets/tcp", "[method]tcp-socket.is-listening")


def command(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["conformance", *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_matrix(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = command(capsys, "--filter", "denied", "--filter", "tcp-bind/broadcast")
    assert (code, err) == (0, "")
    assert out == textwrap.dedent("""\
        tcp-bind                    virtual
          broadcast                 pass

        denied                      virtual
          tcp                       pass
          udp                       pass
          ip-name-lookup            pass
          ip-name-lookup-localhost  pass

        virtual: 5 checks, 5 passed, 0 failed
        """)


def test_a_failure_says_which_rule_and_ends_with_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FUNCTIONS, IS_LISTENING, lambda socket: False)
    code, out, _ = command(capsys, "--filter", "tcp-states/listening/ipv4")
    assert code == 1
    assert "listening/ipv4  FAIL" in out
    assert "is-listening: expected 1, got 0" in out
    assert "source: wasmtime p2_tcp_states: test_tcp_listening_state_invariants" in out
    assert "1 checks, 0 passed, 1 failed" in out


def test_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FUNCTIONS, IS_LISTENING, lambda socket: False)
    code, out, _ = command(
        capsys, "--json", "--filter", "tcp-states/listening/ipv4", "--filter", "denied/tcp"
    )
    assert code == 1
    first, second = json.loads(out)["checks"]
    assert set(first) == {"name", "host", "status", "source", "detail"}
    assert (first["name"], first["host"], first["status"]) == ("tcp-states/listening/ipv4", "virtual", "fail")
    assert second == {
        "name": "denied/tcp",
        "host": "virtual",
        "status": "pass",
        "source": "wasmtime p2_cli_no_tcp",
        "detail": "",
    }


def test_a_filter_that_fits_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = command(capsys, "--filter", "nothing")
    assert (code, out) == (2, "")
    assert "no check fits" in err


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = command(capsys, "--list", "--filter", "denied/tcp")
    assert code == 0
    assert out.splitlines() == [
        "denied/tcp",
        "    Without TCP, create-tcp-socket gives access-denied.",
        "    source: wasmtime p2_cli_no_tcp",
    ]
    code, out, _ = command(capsys, "--list", "--json")
    assert len(json.loads(out)["checks"]) == len(checks())


ADAPTER = """
import sys

def get_name(): return "this one"
def get_version(): return "1"
def get_skipped(): return {"tcp-bind/broadcast": "no broadcasts here"}
def get_expected_differences(): return {"denied/tcp": "no such switch"}
def compute_argv(component, deny):
    return [sys.executable, "-m", "service", "run", "--no-cache", component]
"""


def test_an_adapter_runs_the_checks_on_any_runtime(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    adapter = tmp_path / "adapter.py"
    adapter.write_text(ADAPTER)
    names = ["tcp-bind/broadcast", "tcp-connect/refused/ipv4", "traps/empty-poll", "denied/tcp", "denied/udp"]
    filters = [word for name in names for word in ("--filter", name)]
    code, out, _ = command(capsys, "--adapter", str(adapter), "--json", *filters)
    statuses = {each["name"]: each["status"] for each in json.loads(out)["checks"]}
    assert statuses == {
        "tcp-bind/broadcast": "skipped",
        "tcp-connect/refused/ipv4": "pass",
        "denied/tcp": "expected-difference",
        "denied/udp": "fail",  # the command has no such switch either, and the adapter does not say so
        "traps/empty-poll": "pass",
    }
    assert code == 1


@pytest.mark.parametrize(
    ("text", "part"),
    [("x = 1", "get_name"), ("raise ValueError('broken')", "broken"), (None, "is no Python module")],
)
def test_an_adapter_that_is_none(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str | None, part: str
) -> None:
    adapter = tmp_path / "adapter.py"
    if text is not None:
        adapter.write_text(text)
    code, _, err = command(capsys, "--adapter", str(adapter), "--filter", "denied")
    assert code == 125
    assert part in err


def test_an_adapter_whose_runtime_is_missing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    adapter = tmp_path / "adapter.py"
    adapter.write_text(ADAPTER.replace("sys.executable", "'/nonexistent/runtime'"))
    code, _, err = command(capsys, "--adapter", str(adapter), "--filter", "denied")
    assert code == 125
    assert "this one: " in err


def test_exported_checks_run_as_ordinary_commands(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = command(
        capsys, "--export", str(tmp_path / "out"), "--filter", "traps/empty", "--filter", "names/url"
    )
    assert code == 0
    code, out, _ = command(
        capsys, "--export", str(tmp_path / "out"), "--filter", "traps/empty", "--filter", "names/localhost"
    )
    assert code == 0
    assert out.startswith("2 components")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())["checks"]
    assert [(each["name"], each["expect"]) for each in manifest] == [
        ("names/localhost", "exit 0"),
        ("traps/empty-poll", "trap"),
    ]
    for each, expected in zip(manifest, (0, 134), strict=True):
        done = subprocess.run(
            [sys.executable, "-m", "service", "run", "--no-cache", str(tmp_path / "out" / each["file"])],
            cwd=ROOT,
            capture_output=True,
            check=False,
        )
        assert done.returncode == expected
        assert each["steps"]


def test_export_to_where_nothing_can_be_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, _, err = command(capsys, "--export", str(tmp_path / "file"), "--filter", "denied/tcp")
    assert code == 125
    assert "file" in err


def test_a_stock_host_that_cannot_be_had(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    code, _, err = command(capsys, "--host", "stock", "--filter", "denied/tcp")
    assert code == 125
    assert f"the stock host needs wasmtime {STOCK_VERSION}" in err
    assert "Leave --host stock out" in err


def test_a_stock_host_that_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(StockHostError):
        list(run_stock(tmp_path / "no-python", checks(["denied/tcp"])))
    # This Python has a wasmtime, but what it is given to run is not the worker's business: it fails at once.
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(StockHostError, match="broken"):
        list(run_stock(broken, checks(["denied/tcp"])))


def test_a_check_that_hangs_is_given_up_and_the_next_one_runs(tmp_path: Path) -> None:
    host = tmp_path / "python"
    host.write_text(
        f"#!{sys.executable}\n"
        + textwrap.dedent("""\
            import json, sys, time
            jobs = json.load(open(sys.argv[2]))
            print(json.dumps({"wasmtime": "0", "ipv6": False}), flush=True)
            for job in jobs:
                if job["denied"] == ["udp"]:
                    time.sleep(1000)
                print(json.dumps({"exit": 0, "stdout": "PASS 2 0\\n", "message": ""}), flush=True)
            """)
    )
    host.chmod(0o755)
    chosen = checks(["denied/tcp", "denied/udp", "names/invalid-space", "tcp-bind/wrong-family/ipv6"])
    results = {result.name: result for result in run_stock(host, chosen, timeout=2)}
    assert results["denied/tcp"].status == "pass"
    assert results["denied/udp"].detail.endswith("(it did not end in time)")
    assert results["names/invalid-space"].status == "fail"  # it has one step, not two
    assert results["tcp-bind/wrong-family/ipv6"].status == "skipped"


def test_the_differences_are_of_checks_that_exist() -> None:
    assert set(STOCK_47) <= {check.name for check in checks()}


def test_the_stock_reference_agrees() -> None:
    python = STOCK / "bin" / "python"
    if not python.exists():
        pytest.skip("wasmtime 47.0.1 is not installed; `wasi-sockets conformance --host stock` does that")
    assert stock_python(STOCK) == python
    # The two that wait five seconds for what never comes there are left to the command.
    chosen = [check for check in checks() if not check.name.startswith("udp-datagrams/to-closed-port")]
    results = list(run_stock(python, chosen))
    assert [
        result for result in results if result.status not in ("pass", "expected-difference", "skipped")
    ] == []
    shown = {result.name for result in results if result.status == "expected-difference"}
    assert shown == {name for name in STOCK_47 if not name.startswith("udp-datagrams/to-closed-port")}
