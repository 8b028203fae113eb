"""Files and directories are stock: the same guest does the same to the same tree on either host."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.guest_runs import Ended, Inputs
from tests.parity.modes import MODES, Mode, on_stock


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory with a file, a directory, a link to outside and one that leads nowhere."""
    tree = tmp_path / "tree"
    (tree / "inner").mkdir(parents=True)
    (tree / "inner" / "deep.txt").write_text("deep")
    (tree / "text.txt").write_bytes(bytes(range(256)) * 1000)
    (tree / "to-outside").symlink_to("../outside.txt")
    (tree / "to-nowhere").symlink_to("nothing")
    (tmp_path / "outside.txt").write_text("must not be read")
    return tree


def content(directory: Path) -> dict[str, object]:
    """Everything below a directory: names, kinds, bytes."""
    found: dict[str, object] = {}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if path.is_symlink():
            found[name] = ("link", os.readlink(path))
        elif path.is_dir():
            found[name] = "directory"
        else:
            found[name] = path.read_bytes()
    return found


async def on_a_copy(mode: Mode, guest: Path, tree: Path, *arguments: str, read_only: bool = False) -> Ended:
    copy = Path(shutil.copytree(tree, tree.with_name("copy"), symlinks=True))
    try:
        ended = await mode(guest, Inputs(arguments, directories={"/data": copy}, read_only=read_only))
        ended.succeeded()
        return Ended(ended.code, ended.stdout, repr(content(copy)).encode())
    finally:
        shutil.rmtree(copy)


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
async def test_working_in_a_directory(mode: Mode, tree: Path, guest_file: Callable[[str], Path]) -> None:
    python = guest_file("python")
    (tree / "text.txt").unlink()
    stock = await on_a_copy(on_stock, python, tree, "files")
    assert b"kept.txt" in stock.stderr
    assert await on_a_copy(mode, python, tree, "files") == stock


EMBEDDED = {name: mode for name, mode in MODES.items() if name.startswith("embedded")}


@pytest.mark.parametrize("mode", EMBEDDED.values(), ids=EMBEDDED)
@pytest.mark.parametrize("read_only", [True, False])
async def test_one_operation_each(
    read_only: bool, mode: Mode, tree: Path, guest_file: Callable[[str], Path]
) -> None:
    python = guest_file("python")
    stock = await on_a_copy(on_stock, python, tree, "file-operations", read_only=read_only)
    assert b"PermissionError" in stock.stdout
    assert b"deep" in stock.stdout
    assert (stock.stderr == repr(content(tree)).encode()) is read_only
    assert await on_a_copy(mode, python, tree, "file-operations", read_only=read_only) == stock


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
async def test_without_a_directory(mode: Mode, guest_file: Callable[[str], Path]) -> None:
    python = guest_file("python")
    inputs = Inputs(["file-operations", "/tmp"])
    stock = await on_stock(python, inputs)
    assert await mode(python, inputs) == stock
