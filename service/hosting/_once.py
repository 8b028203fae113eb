"""Telling who started a task that it has started, from more than one place."""

from __future__ import annotations

import trio

__all__ = ["Once"]


class Once(trio.TaskStatus[None]):
    """Passes the first `started` on."""

    def __init__(self, task_status: trio.TaskStatus[None]) -> None:
        self._task_status: trio.TaskStatus[None] | None = task_status

    def started(self, value: None = None) -> None:
        task_status, self._task_status = self._task_status, None
        if task_status is not None:
            task_status.started(value)
