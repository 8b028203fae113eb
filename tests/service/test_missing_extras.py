"""Commands whose extra is not installed: they say who needs what, and how to get it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_WITHOUT = "import sys\nsys.modules[sys.argv[1]] = None\nfrom service.cli import main\nsys.exit(main(sys.argv[2:]))\n"


@pytest.mark.parametrize(
    ("missing", "words", "needs", "extra"),
    [
        ("h11", ["operator"], "'wasi-sockets operator' needs the extra kubernetes", "kubernetes"),
        ("httpcore", ["operator"], "'wasi-sockets operator' needs the extra kubernetes", "kubernetes"),
        ("yaml", ["operator"], "'wasi-sockets operator' needs the extra kubernetes", "kubernetes"),
        ("yaml", ["up", "work.yaml"], "reading workload files needs PyYAML", "workloads"),
        ("yaml", ["validate", "work.yaml"], "reading workload files needs PyYAML", "workloads"),
    ],
)
def test_what_is_missing_is_said(
    environment: dict[str, str], tmp_path: Path, missing: str, words: list[str], needs: str, extra: str
) -> None:
    (tmp_path / "work.yaml").write_text("name: work\n")
    ended = subprocess.run(
        [sys.executable, "-c", _WITHOUT, missing, *words],
        env=environment,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    told = f"wasi-sockets: {needs} ({missing} is missing): pip install 'wasi-sockets[{extra}]'\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (125, "", told)
