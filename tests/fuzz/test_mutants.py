"""500 damaged components, as `make fuzz` runs 20,000."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_mutants_give_a_valid_result_or_an_error_of_ours() -> None:
    command = [sys.executable, "-m", "tests.fuzz.mutants", "--count=500", "--seed=2", "--jobs=1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " interposed" in done.stdout
    assert " refused" in done.stdout
