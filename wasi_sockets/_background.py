"""A trio loop in a thread of its own: the way in for programs of asyncio, and for plain threads."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import Any, Final, Generic, ParamSpec, TypeVar

import trio

__all__ = ["BackgroundLoop"]

P = ParamSpec("P")
T = TypeVar("T")


class _Job(Future[T], Generic[T]):
    """A call on its way through the loop. It is done when nothing of it runs any more, also when cancelled."""

    def __init__(self, token: trio.lowlevel.TrioToken, call: Callable[[], Awaitable[T]]) -> None:
        super().__init__()
        self.context: Final = contextvars.copy_context()
        self.scope: Final = trio.CancelScope()
        self.cancelled_by_caller = False
        self._token: Final = token
        self._call: Final = call

    def cancel(self) -> bool:
        """Ask it to end; False if it has."""
        if self.done():
            return False
        self.cancelled_by_caller = True
        try:
            self._token.run_sync_soon(self.scope.cancel, idempotent=True)
        except trio.RunFinishedError:
            return False
        return True

    async def run(self) -> None:
        """In a task of the loop."""
        try:
            with self.scope:
                result = await self._call()
        except BaseException as error:
            # Also SystemExit: it is the caller's, and nothing else throws into these tasks.
            self.set_exception(error)
            return
        if not self.scope.cancelled_caught:
            self.set_result(result)
        elif self.cancelled_by_caller:
            super().cancel()
            self.set_running_or_notify_cancel()
        else:
            self.set_exception(trio.RunFinishedError("the background loop was closed"))


class BackgroundLoop:
    """A trio loop in a thread, for a program whose own threads run something else.

    Networks and guests live in the loop: what concerns them is called through it, from any thread. ::

        with BackgroundLoop() as loop:
            network = wasi_sockets.Network()
            listener = loop.run_sync(network.listen_tcp, 8080)
            serving = loop.submit(trio.serve_listeners, handler, [listener])
            code = loop.run(wasi_sockets.run, "guest.wasm", network=network)          # in a plain thread
            code = await loop.run_async(wasi_sockets.run, "guest.wasm", network=network)  # in asyncio

    Exceptions come out as they are. The caller's `contextvars` are those of the call. Leaving the context cancels
    what still runs and waits until it has ended.

    Args:
        name: of the thread.
    """

    _nursery: trio.Nursery

    def __init__(self, *, name: str = "wasi-sockets") -> None:
        # A forgotten loop must not keep the process from ending.
        self._thread: Final = threading.Thread(target=self._run, name=name, daemon=True)
        self._started: Final[Future[trio.lowlevel.TrioToken]] = Future()
        self._jobs: Final[set[_Job[Any]]] = set()
        self._closing = trio.Event()

    def __enter__(self) -> BackgroundLoop:
        self._thread.start()
        self._started.result()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cancel what still runs, wait until it has ended, and end the loop. Idempotent.

        Callers that wait for something get `trio.RunFinishedError`.

        Raises:
            RuntimeError: in the loop's own thread.
        """
        self._check_thread()
        try:
            self._token().run_sync_soon(self._closing.set, idempotent=True)
        except trio.RunFinishedError:
            pass
        self._thread.join()

    def submit(self, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Start an async function in the loop, and do not wait for it.

        Returns:
            Its result to be. `cancel` cancels the task; the future is done when the task has ended, so `result` may
            still give one, or an exception, after that. `add_done_callback` calls back in the loop's thread.

        Raises:
            trio.RunFinishedError: the loop was closed.
            RuntimeError: it was never started.
        """
        job: _Job[T] = _Job(self._token(), partial(function, *args, **kwargs))
        job._token.run_sync_soon(self._spawn, job)
        return job

    def run(self, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call an async function in the loop and wait for it. Blocks the calling thread.

        When the waiting is interrupted (Ctrl-C), the function is cancelled, and has ended before that is raised.

        Raises:
            RuntimeError: in the loop's own thread, which would wait for itself.
            trio.RunFinishedError: the loop was closed.
        """
        self._check_thread()
        job = self.submit(function, *args, **kwargs)
        try:
            return job.result()
        except BaseException:
            if not job.done():
                job.cancel()
                _wait(job)
            raise

    def run_sync(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a synchronous function in the loop's thread: what touches a network, which is not for several threads.

        Raises:
            RuntimeError: in the loop's own thread.
            trio.RunFinishedError: the loop was closed.
        """

        async def call() -> T:
            return function(*args, **kwargs)

        return self.run(call)

    async def run_async(self, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call an async function in the loop and wait for it, in asyncio.

        When the waiting task is cancelled, so is the function, and it has ended before `asyncio.CancelledError` is
        raised; an exception that it ends with instead is raised in its place.

        Raises:
            trio.RunFinishedError: the loop was closed.
        """
        job = self.submit(function, *args, **kwargs)
        ended = asyncio.wrap_future(job)
        try:
            return await asyncio.shield(ended)
        except asyncio.CancelledError:
            job.cancel()
            while not ended.done():
                try:
                    await asyncio.wait([ended])
                except asyncio.CancelledError:
                    continue  # once is enough: it is on its way
            if not ended.cancelled() and (error := ended.exception()) is not None:
                raise error from None
            raise

    def _token(self) -> trio.lowlevel.TrioToken:
        if not self._thread.ident:
            raise RuntimeError("the background loop was not started: use it in a with statement")
        return self._started.result()

    def _check_thread(self) -> None:
        if threading.current_thread() is self._thread:
            raise RuntimeError("the loop's own thread cannot wait for it: await the function")

    # In the loop's thread

    def _run(self) -> None:
        try:
            trio.run(self._live)
        except BaseException as error:
            if not self._started.done():
                self._started.set_exception(error)
            raise

    async def _live(self) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._started.set_result(trio.lowlevel.current_trio_token())
            await self._closing.wait()
            for job in self._jobs:
                job.scope.cancel()

    def _spawn(self, job: _Job[Any]) -> None:
        if self._closing.is_set():
            job.set_exception(trio.RunFinishedError("the background loop was closed"))
            return
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        # A task's context is a copy of that in which it is started.
        job.context.run(self._nursery.start_soon, job.run)


def _wait(job: Future[Any]) -> None:
    """Wait until it is done, whatever it ends with."""
    ended = threading.Event()
    job.add_done_callback(lambda _: ended.set())
    ended.wait()
