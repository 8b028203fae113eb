"""What Hypercorn says of an ASGI service, as lines of that service. Needs the extra `asgi`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from hypercorn.config import Config
from hypercorn.logging import Logger

from service.hosting._tracebacks import lines_of

__all__ = ["config_that_tells"]

_Tell = Callable[..., Awaitable[object]]


def config_that_tells(tell: _Tell) -> Config:
    """Settings with which warnings and errors go to `tell`, by lines, and nowhere else."""
    return _Config(tell)


class _Config(Config):
    errorlog = None

    def __init__(self, tell: _Tell) -> None:
        super().__init__()
        self._telling = _TellingLogger(self, tell)

    @property
    def log(self) -> Logger:
        return self._telling


class _TellingLogger(Logger):
    """Hypercorn asks for coroutines, which so can wait for whoever takes the lines."""

    def __init__(self, config: Config, tell: _Tell) -> None:
        super().__init__(config)
        self._tell = tell

    async def log(self, level: int, message: str, *args: Any, **kwargs: Any) -> None:
        if level < logging.WARNING:
            return
        lines = (message % args if args else message).splitlines()
        error = sys.exc_info()[1]
        if kwargs.get("exc_info") and error is not None:
            lines += lines_of(error)
        await self._tell(*lines)

    async def critical(self, message: str, *args: Any, **kwargs: Any) -> None:
        await self.log(logging.CRITICAL, message, *args, **kwargs)

    async def error(self, message: str, *args: Any, **kwargs: Any) -> None:
        await self.log(logging.ERROR, message, *args, **kwargs)

    async def warning(self, message: str, *args: Any, **kwargs: Any) -> None:
        await self.log(logging.WARNING, message, *args, **kwargs)

    async def exception(self, message: str, *args: Any, **kwargs: Any) -> None:
        await self.log(logging.ERROR, message, *args, **{"exc_info": True, **kwargs})

    async def info(self, message: str, *args: Any, **kwargs: Any) -> None:
        await self.log(logging.INFO, message, *args, **kwargs)

    async def debug(self, message: str, *args: Any, **kwargs: Any) -> None:
        await self.log(logging.DEBUG, message, *args, **kwargs)
