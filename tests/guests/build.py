"""Build the guest components from source into `build/guests/<name>.wasm`.

    python tests/guests/build.py [NAME ...] [--list] [--json] [--retry] [--force]

Each guest is built again only when its sources, its recipe or its tools changed. Guests whose toolchain is
optional and not to be had are recorded with the reason (`build/guests/<name>.json`), for the tests to skip.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TextIO

from recipes import GUESTS, Guest
from toolchains import BUILD, HERE, Toolchain, ToolchainUnavailable, digest, last_lines, scratch_directory

OUTPUT = BUILD / "guests"
Record = dict[str, str | bool | float]


def component_path(guest: Guest) -> Path:
    return OUTPUT / f"{guest.name}.wasm"


def record_path(guest: Guest) -> Path:
    return OUTPUT / f"{guest.name}.json"


def source_digest(guest: Guest) -> str:
    """A digest of everything that decides what a build of `guest` yields."""
    parts = [guest.name.encode(), (HERE / "recipes.py").read_bytes()]
    for source in guest.sources:
        files = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
        for file in files:
            if "__pycache__" not in file.parts:
                parts += [str(file.relative_to(HERE)).encode(), file.read_bytes()]
    parts += [toolchain.fingerprint().encode() for toolchain in guest.toolchains]
    return digest(parts)


def read_record(guest: Guest) -> Record | None:
    """What the last build of `guest` left, or None."""
    try:
        record = json.loads(record_path(guest).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return record if isinstance(record, dict) else None


def is_current(guest: Guest, record: Record | None, wanted: str, retry: bool) -> bool:
    if record is None or record.get("digest") != wanted:
        return False
    if record.get("status") == "unavailable":
        return not retry
    try:
        content = component_path(guest).read_bytes()
    except FileNotFoundError:
        return False
    return hashlib.sha256(content).hexdigest() == record.get("sha256")


def write_record(guest: Guest, record: Record) -> None:
    temporary = record_path(guest).with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(record, indent=2) + "\n")
    temporary.replace(record_path(guest))


def start_fetching(executor: ThreadPoolExecutor, guests: Iterable[Guest]) -> dict[Toolchain, Future[Path]]:
    """Fetch each toolchain that `guests` need once, beside each other: they wait for different servers."""
    needed = dict.fromkeys(toolchain for guest in guests for toolchain in guest.toolchains)
    return {toolchain: executor.submit(toolchain.ensure) for toolchain in needed}


def build(guest: Guest, wanted: str, fetched: dict[Toolchain, Future[Path]]) -> Record:
    """Build `guest` and record the outcome.

    Raises:
        ToolchainUnavailable: A mandatory toolchain is not to be had.
        subprocess.CalledProcessError: A tool failed.
    """
    record: Record = {"name": guest.name, "digest": wanted, "optional": guest.optional}
    started = time.monotonic()
    try:
        for toolchain in guest.toolchains:
            fetched[toolchain].result()
        with scratch_directory() as scratch:
            work = Path(scratch, "work")
            work.mkdir()
            finished = Path(scratch, "finished.wasm")
            guest.build(work, finished)
            record["sha256"] = hashlib.sha256(finished.read_bytes()).hexdigest()
            finished.replace(component_path(guest))
        record["status"] = "built"
    except (ToolchainUnavailable, subprocess.CalledProcessError) as error:
        if not guest.optional:
            raise
        output = f": {last_lines(error.stdout)}" if isinstance(error, subprocess.CalledProcessError) else ""
        record["status"], record["reason"] = "unavailable", f"{error}{output}"
        component_path(guest).unlink(missing_ok=True)
    record["seconds"] = round(time.monotonic() - started, 2)
    write_record(guest, record)
    return record


class Progress:
    """A line that is overwritten, on a terminal only."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream if stream.isatty() else None

    def show(self, text: str) -> None:
        if self._stream is not None:
            self._stream.write(f"\r\x1b[K{text}")
            self._stream.flush()


def summary(guest: Guest, record: Record, was_current: bool) -> str:
    if record["status"] == "unavailable":
        return f"{guest.name}: not available: {record['reason']}"
    return f"{guest.name}: " + ("up to date" if was_current else f"built in {record['seconds']} s")


def arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="guests to build; all when none is named")
    parser.add_argument("--list", action="store_true", help="list the guests and end")
    parser.add_argument("--json", action="store_true", help="print what happened as JSON")
    parser.add_argument("--retry", action="store_true", help="try guests again whose toolchain was missing")
    parser.add_argument("--force", action="store_true", help="build even what is up to date")
    options = parser.parse_args(words)
    known = {guest.name for guest in GUESTS}
    if unknown := [name for name in options.names if name not in known]:
        parser.error(f"no such guest: {', '.join(unknown)} (try --list)")
    return options


def main(words: list[str] | None = None) -> int:
    options = arguments(words)
    chosen = [guest for guest in GUESTS if not options.names or guest.name in options.names]
    if options.list:
        listing = [{"name": guest.name, "about": guest.about, "optional": guest.optional} for guest in chosen]
        if options.json:
            print(json.dumps(listing, indent=2))
        else:
            for entry in listing:
                print(f"{entry['name']:20} {entry['about']}" + (" (optional)" if entry["optional"] else ""))
        return 0
    OUTPUT.mkdir(parents=True, exist_ok=True)
    with open(OUTPUT / ".lock", "w") as lock, ThreadPoolExecutor() as executor:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = {guest: source_digest(guest) for guest in chosen}
        existing = {guest: read_record(guest) for guest in chosen}
        outdated = [
            guest
            for guest in chosen
            if options.force or not is_current(guest, existing[guest], wanted[guest], options.retry)
        ]
        fetched = start_fetching(executor, outdated)
        progress = Progress(sys.stderr)
        records = []
        for number, guest in enumerate(chosen, 1):
            progress.show(f"[{number}/{len(chosen)}] {guest.name}: {guest.about}")
            record = existing[guest]
            try:
                if record is None or guest in outdated:
                    record = build(guest, wanted[guest], fetched)
            except (ToolchainUnavailable, subprocess.CalledProcessError) as error:
                progress.show("")
                print(f"{guest.name}: {error}", getattr(error, "stdout", "") or "", sep="\n", file=sys.stderr)
                return 1
            records.append({**record, "path": str(component_path(guest))})
            progress.show("")
            if not options.json:
                print(summary(guest, record, guest not in outdated), flush=True)
    if options.json:
        print(json.dumps(records, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
