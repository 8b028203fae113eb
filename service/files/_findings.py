"""What is said about a workload file: problems and notes, each with its line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

__all__ = ["Finding", "Findings", "WorkloadFileError"]


class Finding(NamedTuple):
    """Something about a file.

    Attributes:
        file: its name, as it was given.
        line: from 1; 0 for the whole file.
        where: the path to it inside the document, such as "services.api.ports[0]"; "" for the document.
        text: what is to be said.
    """

    file: str
    line: int
    where: str
    text: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.where}: {self.text}" if self.where else f"{place}: {self.text}"


class WorkloadFileError(ValueError):
    """A workload file says something that cannot be meant; nothing of it was started.

    Attributes:
        problems: all that were found, by line.
    """

    def __init__(self, problems: Sequence[Finding]) -> None:
        self.problems = tuple(sorted(problems, key=lambda each: each.line))
        super().__init__("\n".join(map(str, self.problems)))


class Findings:
    """What has been found in one file so far."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Finding] = []
        self.notes: list[Finding] = []
        self._told: Final[set[tuple[Finding, bool]]] = set()

    def problem(self, line: int, where: str, text: str) -> None:
        """The file cannot be used."""
        self._add(Finding(self.file, line, where, text), problem=True)

    def note(self, line: int, where: str, text: str) -> None:
        """The file can be used, and this about it should be known."""
        self._add(Finding(self.file, line, where, text), problem=False)

    def _add(self, found: Finding, *, problem: bool) -> None:
        # What an alias names is read once for each place, and may be wrong in the same way each time.
        if (found, problem) not in self._told:
            self._told.add((found, problem))
            (self.problems if problem else self.notes).append(found)
