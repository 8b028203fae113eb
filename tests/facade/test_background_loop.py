"""`BackgroundLoop`: a trio loop for asyncio and for plain threads."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path

import pytest
import trio

import wasi_sockets
from wasi_sockets import BackgroundLoop, Network, TcpStream


async def echo(stream: TcpStream) -> None:
    async for data in stream:
        await stream.send_all(data)


async def ask(network: Network, text: bytes) -> bytes:
    async with await network.connect_tcp("127.0.0.1", 7) as stream:
        await stream.send_all(text)
        return bytes(await stream.receive_some())


class Sleeper:
    """Sleeps until it is cancelled, and says what happened to it."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.ended = threading.Event()

    async def __call__(self, *, last_words: Exception | None = None) -> str:
        self.begun.set()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                for _ in range(5):
                    await trio.lowlevel.checkpoint()
            self.ended.set()
            if last_words is not None:
                raise last_words
        return "never"


def test_threads_call_into_one_network() -> None:
    answers: list[bytes] = []
    with BackgroundLoop(name="network") as loop:
        network = Network()
        listener = loop.run_sync(network.listen_tcp, 7)
        serving = loop.submit(trio.serve_listeners, echo, [listener])
        threads = [
            threading.Thread(target=lambda text: answers.append(loop.run(ask, network, text)), args=(text,))
            for text in (b"one", b"two", b"three")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert loop.run_sync(threading.current_thread).name == "network"
        assert serving.cancel()
        with pytest.raises(CancelledError):
            serving.result()
        assert serving.cancelled()
        assert not serving.cancel()
        assert [record.state for record in loop.run_sync(network.sockets)] == []
    assert sorted(answers) == [b"one", b"three", b"two"]


def test_exceptions_come_as_they_are() -> None:
    class Odd(BaseException):
        pass

    async def fail(error: BaseException) -> None:
        await trio.lowlevel.checkpoint()
        raise error

    with BackgroundLoop() as loop:
        for error in (
            ValueError("x"),
            ExceptionGroup("two", [ValueError(), OSError()]),
            Odd(),
            SystemExit(3),
        ):
            with pytest.raises(type(error)) as caught:
                loop.run(fail, error)
            assert caught.value is error
        with pytest.raises(OSError, match="refused"):
            loop.run(ask, Network(), b"")
        with pytest.raises(ZeroDivisionError):
            loop.run_sync(lambda: 1 // 0)


def test_asyncio() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    async def look() -> str:
        return variable.get()

    async def main(loop: BackgroundLoop) -> None:
        network = Network()
        listener = loop.run_sync(network.listen_tcp, 7)
        serving = loop.submit(trio.serve_listeners, echo, [listener])
        answers = await asyncio.gather(*(loop.run_async(ask, network, b"%d" % n) for n in range(20)))
        assert answers == [b"%d" % n for n in range(20)]
        variable.set("of the caller")
        assert await loop.run_async(look) == "of the caller"
        with pytest.raises(ConnectionRefusedError):
            await loop.run_async(Network().connect_tcp, "127.0.0.1", 1)
        serving.cancel()

    with BackgroundLoop() as loop:
        asyncio.run(main(loop))


def test_asyncio_cancels_and_waits_for_the_end() -> None:
    async def main(loop: BackgroundLoop) -> None:
        for last_words in (None, ValueError("on the way out")):
            sleeper = Sleeper()
            task = asyncio.create_task(loop.run_async(sleeper, last_words=last_words))
            await asyncio.to_thread(sleeper.begun.wait)
            task.cancel()
            with pytest.raises(asyncio.CancelledError if last_words is None else ValueError):
                await task
            assert sleeper.ended.is_set()
        sleeper = Sleeper()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await loop.run_async(sleeper)
        # Cancelled again while it ends.
        sleeper = Sleeper()
        task = asyncio.create_task(loop.run_async(sleeper))
        await asyncio.to_thread(sleeper.begun.wait)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sleeper.ended.is_set()

    with BackgroundLoop() as loop:
        asyncio.run(main(loop))


def test_an_interrupted_wait_cancels(monkeypatch: pytest.MonkeyPatch) -> None:
    sleeper = Sleeper()
    with BackgroundLoop() as loop:
        submit = loop.submit

        def interrupted(*arguments: object, **keywords: object) -> object:
            job = submit(*arguments, **keywords)  # type: ignore[arg-type]

            def result() -> None:
                sleeper.begun.wait()
                raise KeyboardInterrupt

            monkeypatch.setattr(job, "result", result)
            return job

        monkeypatch.setattr(loop, "submit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            loop.run(sleeper)
        assert sleeper.ended.is_set()


def test_closing_ends_what_runs() -> None:
    sleeper = Sleeper()
    with BackgroundLoop() as loop:
        job = loop.submit(sleeper)
        sleeper.begun.wait()
        for call in (loop.close, lambda: loop.run(trio.sleep, 0)):
            with pytest.raises(RuntimeError, match="own thread"):
                loop.run_sync(call)
    assert sleeper.ended.is_set()
    with pytest.raises(trio.RunFinishedError):
        job.result()
    with pytest.raises(trio.RunFinishedError):
        loop.run(trio.sleep, 0)
    assert not loop.submit.__self__._thread.is_alive()  # type: ignore[attr-defined]
    loop.close()
    with pytest.raises(RuntimeError, match="not started"):
        BackgroundLoop().run(trio.sleep, 0)


def test_a_guest_from_asyncio(guest_file: Callable[[str], Path]) -> None:
    async def main(loop: BackgroundLoop) -> int:
        network = Network()
        serving = loop.submit(trio.serve_listeners, echo, [loop.run_sync(network.listen_tcp, 7)])
        try:
            return await loop.run_async(
                wasi_sockets.run,
                guest_file("c-echo-0.2.12"),
                ["127.0.0.1", "7"],
                network=network,
                stdin=None,
                stdout=None,
            )
        finally:
            serving.cancel()

    with BackgroundLoop() as loop:
        assert asyncio.run(main(loop)) == 0
