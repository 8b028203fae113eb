"""What came of a check on a host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from wasi_sockets.conformance.check import Check
from wasi_sockets.conformance.program import Step

__all__ = ["Ended", "Result", "Status", "as_json", "judge"]

Status = Literal["pass", "fail", "expected-difference", "skipped"]

_UNUSUAL: Final = "the guest said nothing of how its check ended"


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes:
        exit: the exit code; None when the guest trapped or could not be run.
        stdout: what it said.
        message: why it trapped or could not be run, in the host's words.
        has_words: `message` holds what the host says of a trap, so that it can be compared.
        too_late: it was stopped because it did not end.
    """

    exit: int | None
    stdout: str
    message: str = ""
    has_words: bool = True
    too_late: bool = False


@dataclass(frozen=True)
class Result:
    """One check on one host.

    Attributes:
        detail: the step that failed, or why there is a difference; empty for a plain pass.
    """

    name: str
    host: str
    status: Status
    source: str
    detail: str


def judge(
    check: Check, steps: Sequence[Step], ended: Ended, host: str, differences: Mapping[str, str] | None = None
) -> Result:
    """Compares how a run ended with what the check expects.

    Args:
        check: what was run.
        steps: its steps, from `Assembled`.
        ended: how it ended.
        host: for the result.
        differences: why a check is known to fail there, by name.
    """
    problem = _problem(check, steps, ended)
    why = (differences or {}).get(check.name)
    if not problem:
        return Result(check.name, host, "pass", check.source, f"passes, although: {why}" if why else "")
    if why:
        return Result(check.name, host, "expected-difference", check.source, f"{why} ({problem})")
    return Result(check.name, host, "fail", check.source, problem)


def _problem(check: Check, steps: Sequence[Step], ended: Ended) -> str:
    said = _last_line(ended.stdout)
    if said is not None and said[0] == "FAIL":
        step, value = said[1:]
        return steps[step].failure(value) if step < len(steps) else _UNUSUAL
    if ended.too_late:
        return "it did not end in time"
    if check.traps is None:
        if said is not None and said[0] == "PASS" and said[1] == len(steps) and ended.exit == 0:
            return ""
        return _excerpt(ended.message) or (_UNUSUAL if said is None else f"the exit code was {ended.exit}")
    if said is None or said[0] != "TRAP":
        return _excerpt(ended.message) or _UNUSUAL
    if ended.exit == 0:
        return "it said that it would trap, and the exit code was 0"
    if ended.has_words and check.traps.lower() not in ended.message.lower():
        return f"it trapped, but not with “{check.traps}”: {_excerpt(ended.message)}"
    return ""


def _last_line(stdout: str) -> tuple[str, int, int] | None:
    lines = stdout.strip().splitlines()
    words = lines[-1].split() if lines else []
    if len(words) != 3 or words[0] not in ("PASS", "FAIL", "TRAP") or not (words[1] + words[2]).isdecimal():
        return None
    return words[0], int(words[1]), int(words[2])


def _excerpt(message: str) -> str:
    return " ".join(message.split())[-300:]


def as_json(results: Sequence[Result]) -> dict[str, list[dict[str, str]]]:
    """The report for programs."""
    return {
        "checks": [
            {
                "name": each.name,
                "host": each.host,
                "status": each.status,
                "source": each.source,
                "detail": each.detail,
            }
            for each in results
        ]
    }
