"""How a guest that did not end by itself is told to people: traps with their backtrace, imports that are missing."""

from __future__ import annotations

import re

from service._exits import ABORTED, CANNOT_RUN

__all__ = ["ending"]

_FRAME = re.compile(r"^\s*\d+:\s+0x[0-9a-f]+ - .*$", re.MULTILINE)
_TRAP = "wasm trap: "


def ending(error: BaseException, guest: str) -> tuple[int, str]:
    """The exit code and the text for an exception from running a guest.

    Args:
        error: `wasmtime.WasmtimeError`, `wasmtime.Trap`, `GuestTrap` or `GuestLimitError`.
        guest: how the guest is called.
    """
    told = str(error)
    # A trap that this library raised carries wasmtime's error, with the backtrace, as its cause.
    native = told if error.__cause__ is None else f"{told}\n{error.__cause__}"
    frames = [frame.strip() for frame in _FRAME.findall(native)]
    if not frames and _TRAP not in native and error.__cause__ is None:
        return CANNOT_RUN, f"{guest} cannot be run: {_in_one_line(told)}"
    return ABORTED, "\n".join([f"{guest} trapped: {_reason(told)}", *(f"    {frame}" for frame in frames)])


def _in_one_line(told: str) -> str:
    first = told.partition("\n")[0]
    if "not found in the linker" in first:
        return (
            f"{first}. 'wasi-sockets run' provides WASI 0.2 only; run the component from Python, with the import"
            " defined in the linker (docs/embedding.md)"
        )
    return first


def _reason(told: str) -> str:
    """The innermost cause, in one line."""
    lines = [line.strip() for line in told.splitlines() if line.strip() and not _FRAME.match(line)]
    for line in reversed(lines):
        if _TRAP in line:
            return line.partition(_TRAP)[2]
    causes = lines[lines.index("Caused by:") + 1 :] if "Caused by:" in lines else lines
    return causes[-1] if causes else "no reason is known"
