"""The first moments of the command, in which it loads what it needs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Stand in for a library that the command imports: one is interrupted, one makes something else of that, and one is
# told so by somebody else.
_INTERRUPTED = {
    "interrupted": "import signal\nsignal.raise_signal(signal.SIGINT)\nraise SystemExit('it went on')\n",
    "catching": "import signal\n"
    "try:\n    signal.raise_signal(signal.SIGINT)\n"
    "except BaseException as error:\n    raise ImportError('interrupted') from error\n",
    "raising": "raise KeyboardInterrupt\n",
}


def _installed() -> list[str]:
    """What pip's script for the command does."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        module, _, function = tomllib.load(file)["project"]["scripts"]["wasi-sockets"].partition(":")
    return ["-c", f"import sys\nfrom {module} import {function}\nsys.exit({function}())"]


@pytest.mark.parametrize("how", [["-m", "service"], _installed()], ids=["module", "script"])
@pytest.mark.parametrize("kind", _INTERRUPTED)
def test_ctrl_c_while_it_loads_is_silent(
    environment: dict[str, str], tmp_path: Path, how: list[str], kind: str
) -> None:
    (tmp_path / "trio.py").write_text(_INTERRUPTED[kind])
    path = os.pathsep.join([str(tmp_path), environment["PYTHONPATH"]])
    for words in (["--help"], ["run", "guest.wasm"], ["ps"]):
        ended = subprocess.run(
            [sys.executable, *how, *words],
            env={**environment, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_only_the_standard_library_is_loaded_before_ctrl_c_is_heard(environment: dict[str, str]) -> None:
    program = (
        "import json, sys\nbefore = set(sys.modules)\nimport service.__main__\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60
    )
    loaded = set(json.loads(ended.stdout))
    own = {name for name in loaded if name.partition(".")[0] not in sys.stdlib_module_names}
    assert own == {"service", "service.__main__"}


def test_python_has_its_own_handler_back_once_all_is_loaded(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """And the command's, which ends with the same code, is in charge."""
    (tmp_path / "interrupting.py").write_text(
        "import atexit, signal\natexit.register(print, 'ended in order')\nsignal.raise_signal(signal.SIGINT)\n"
    )
    (tmp_path / "guest.wat").write_text("(component)")
    ended = subprocess.run(
        [sys.executable, "-m", "service", "run", "guest.wat", "--service", "7=interrupting:handle"],
        env=environment,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "ended in order\n", "")


def test_a_background_job_is_not_interrupted_while_it_loads(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "trio.py").write_text(
        "import signal\nsignal.raise_signal(signal.SIGINT)\nraise SystemExit('it went on')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-m", "service", "ps"],
        env={**environment, "PYTHONPATH": os.pathsep.join([str(tmp_path), environment["PYTHONPATH"]])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert (ended.returncode, ended.stderr) == (1, "it went on\n")
