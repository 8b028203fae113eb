"""The cache of compiled guests: what is not ours, or not what we wrote, is never loaded as code."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import wasmtime

import wasi_sockets
from wasi_sockets._cache import CompiledCache
from wasi_sockets._items_json import items_from_json, items_to_json

ECHO = Path(__file__).parent.parent / "guests" / "wat" / "echo.wat"


@pytest.fixture
def engine() -> Iterator[wasmtime.Engine]:
    with wasmtime.Engine(wasi_sockets.config()) as made:
        yield made


def stages(engine: wasmtime.Engine, directory: Path) -> list[str]:
    """What `load` did, stage by stage."""
    said: list[str] = []
    component = wasi_sockets.load(engine, ECHO, cache=directory, progress=said.append)
    assert component.items, "the guest was not interposed"
    return said


COMPILED = ["reading", "rewriting", "compiling"]
FOUND = ["reading", "loading"]


def test_the_second_load_compiles_nothing_and_has_the_same_items(
    engine: wasmtime.Engine, tmp_path: Path
) -> None:
    directory = tmp_path / "cache"
    first = wasi_sockets.load(engine, ECHO, cache=directory)
    assert stages(engine, directory) == FOUND
    assert wasi_sockets.load(engine, ECHO, cache=directory).items == first.items


def test_without_a_cache_nothing_is_written(
    engine: wasmtime.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WASI_SOCKETS_CACHE", str(tmp_path / "cache"))
    said: list[str] = []
    wasi_sockets.load(engine, ECHO, cache=False, progress=said.append)
    assert said == COMPILED
    assert not list(tmp_path.iterdir())


def test_the_directory_is_private(engine: wasmtime.Engine, tmp_path: Path) -> None:
    directory = tmp_path / "cache"
    stages(engine, directory)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert all(each.stat().st_mode & 0o077 == 0 for each in directory.iterdir())
    assert sorted(each.suffix for each in directory.iterdir()) == [".cwasm", ".json"]


@pytest.mark.parametrize("position", [0.1, 0.5, 0.9])
def test_flipped_bytes_in_the_code_are_a_miss(
    engine: wasmtime.Engine, tmp_path: Path, position: float
) -> None:
    directory = tmp_path / "cache"
    stages(engine, directory)
    [code] = directory.glob("*.cwasm")
    data = bytearray(code.read_bytes())
    start = int(len(data) * position)
    for offset in range(start, start + 4):
        data[offset] ^= 0xFF
    code.write_bytes(data)
    assert stages(engine, directory) == COMPILED
    assert stages(engine, directory) == FOUND, "the bad file was not replaced"


def test_a_changed_item_table_is_a_miss(engine: wasmtime.Engine, tmp_path: Path) -> None:
    directory = tmp_path / "cache"
    stages(engine, directory)
    [note] = directory.glob("*.json")
    note.write_bytes(note.read_bytes().replace(b"instance-network", b"instance-netwerk"))
    assert stages(engine, directory) == COMPILED


@pytest.mark.parametrize("suffix", ["cwasm", "json"])
@pytest.mark.parametrize("content", [b"", b"{}", b"\x00" * 100, b"[" * 100_000])
def test_nonsense_files_are_a_miss(
    engine: wasmtime.Engine, tmp_path: Path, suffix: str, content: bytes
) -> None:
    directory = tmp_path / "cache"
    stages(engine, directory)
    [file] = directory.glob(f"*.{suffix}")
    file.write_bytes(content)
    assert stages(engine, directory) == COMPILED


@pytest.mark.parametrize("suffix", ["cwasm", "json"])
def test_symbolic_links_are_not_followed(engine: wasmtime.Engine, tmp_path: Path, suffix: str) -> None:
    directory = tmp_path / "cache"
    stages(engine, directory)
    [file] = directory.glob(f"*.{suffix}")
    moved = tmp_path / "elsewhere"
    file.rename(moved)
    file.symlink_to(moved)
    assert stages(engine, directory) == COMPILED


def test_a_linked_directory_is_not_used(engine: wasmtime.Engine, tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir(mode=0o700)
    link = tmp_path / "cache"
    link.symlink_to(real)
    assert stages(engine, link) == stages(engine, link) == COMPILED
    assert not list(real.iterdir())


def test_a_directory_that_others_may_enter_is_not_used(engine: wasmtime.Engine, tmp_path: Path) -> None:
    directory = tmp_path / "cache"
    directory.mkdir()
    directory.chmod(0o755)
    assert stages(engine, directory) == stages(engine, directory) == COMPILED
    assert not list(directory.iterdir())


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_somebody_else_is_not_used(engine: wasmtime.Engine, tmp_path: Path) -> None:
    directory = tmp_path / "cache"
    directory.mkdir(mode=0o700)
    os.chown(directory, 12345, 12345)
    assert stages(engine, directory) == stages(engine, directory) == COMPILED


def test_a_file_that_others_may_write_is_a_miss(engine: wasmtime.Engine, tmp_path: Path) -> None:
    directory = tmp_path / "cache"
    stages(engine, directory)
    [code] = directory.glob("*.cwasm")
    code.chmod(0o666)
    assert stages(engine, directory) == COMPILED


def test_an_unusable_place_only_costs_time(engine: wasmtime.Engine, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("not a directory")
    assert stages(engine, file) == COMPILED
    assert stages(engine, file / "below") == COMPILED


def test_engines_with_other_settings_do_not_share_code(tmp_path: Path) -> None:
    directory = tmp_path / "cache"
    configured = wasi_sockets.config()
    configured.cranelift_opt_level = "none"
    with (
        wasmtime.Engine(wasi_sockets.config()) as one,
        wasmtime.Engine(configured) as other,
        wasmtime.Engine() as plain,
    ):
        assert stages(one, directory) == COMPILED
        assert stages(other, directory) == COMPILED
        assert stages(plain, directory) == COMPILED
        assert stages(one, directory) == stages(other, directory) == stages(plain, directory) == FOUND


def test_code_that_wasmtime_refuses_is_removed(tmp_path: Path) -> None:
    # The digest is right, but the code was compiled for an engine with other settings.
    directory = tmp_path / "cache"
    configured = wasi_sockets.config()
    configured.epoch_interruption = False
    with wasmtime.Engine(wasi_sockets.config()) as one, wasmtime.Engine(configured) as other:
        stages(one, directory)
        [code] = directory.glob("*.cwasm")
        cache = CompiledCache(directory)
        foreign = wasi_sockets.load(other, ECHO, cache=False)
        cache.store(code.stem, foreign.serialize(), foreign.items)
        assert stages(one, directory) == ["reading", "loading", "rewriting", "compiling"]
        assert stages(one, directory) == FOUND


def test_no_temporary_file_stays_when_the_disk_is_full(
    engine: wasmtime.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "cache"

    def full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("wasi_sockets._cache.os.replace", full)
    assert stages(engine, directory) == COMPILED
    assert not list(directory.iterdir())


def test_the_item_table_survives_json(engine: wasmtime.Engine) -> None:
    items = wasi_sockets.load(engine, ECHO, cache=False).items
    assert items_from_json(items_to_json(items)) == items


@pytest.mark.parametrize(
    "text", ["", "{}", "[[]]", "[[1]]", '[{"x": 1}]', "null", '[[0,0,"a","b",{"Nope":[]}]]']
)
def test_what_is_no_item_table_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json's own message or ours
        items_from_json(text)
