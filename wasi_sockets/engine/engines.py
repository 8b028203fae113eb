"""What belongs to an engine: the permission for direct memory, and the ticker that preempts its guests.

Both hold only for engines made from `config()`: an engine that somebody else configured may move its
memories, and its epochs may mean something else.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from wasmtime import Config, Engine

from wasi_sockets.engine.bindings import ObservedConfig
from wasi_sockets.engine.bindings_callbacks import CallbackGuest

if TYPE_CHECKING:
    from wasi_sockets.engine.guest import GuestState

__all__ = [
    "DEFAULT_TICK",
    "EngineState",
    "Ticker",
    "config",
    "engine_settings",
    "engine_state",
    "engine_states",
]

DEFAULT_TICK = 0.002
"""Seconds between two moments at which a guest that only computes lets other tasks run."""

_IDLE_TICKS = 50
"""A ticker that saw no guest running at so many ticks in a row sleeps until one runs."""

_LINGER = 1.0
"""Seconds that a ticker without guests waits for the next one before its thread ends."""


class Ticker:
    """A thread that advances an engine's epoch while guests of it run, so that none can keep the trio loop.

    The thread sleeps while no guest runs: a process full of parked guests wakes up for nothing else. It ends
    some time after the last guest; not at once, because starting a thread costs more than a small guest.

    Attributes:
        idle: the thread sleeps; whoever runs a guest must call `wake()`.
    """

    def __init__(self, seconds: float, running: dict[int, CallbackGuest], linger: float = _LINGER) -> None:
        self._seconds = seconds
        self._running = running
        self._linger = linger
        self._users = 0
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()  # a guest abandoned in a thread is released there
        self._work = threading.Event()
        self.idle = False

    @property
    def thread(self) -> threading.Thread | None:
        """The thread, while there is one."""
        return self._thread

    def acquire(self, engine: Engine) -> None:
        """One more guest lives. The thread holds the engine, this object must not: it hangs on the engine."""
        with self._lock:
            self._users += 1
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._tick, args=(engine,), name="wasi-sockets ticker", daemon=True
                )
                self._thread.start()

    def release(self) -> None:
        """One guest less."""
        with self._lock:
            self._users -= 1
            if not self._users:
                self._work.set()

    def wake(self) -> None:
        """Go on ticking: a guest runs."""
        self._work.set()

    def _tick(self, engine: Engine) -> None:
        quiet = 0
        while quiet <= _IDLE_TICKS or self._sleep():
            if quiet > _IDLE_TICKS:
                quiet = 0
            time.sleep(self._seconds)
            if self._running:
                quiet = 0
                engine.increment_epoch()
            else:
                quiet += 1

    def _sleep(self) -> bool:
        """Wait until there is something to tick for. Returns False when the thread is to end."""
        # The order matters: a guest enters `running` first and reads `idle` second, this thread sets `idle`
        # first and reads `running` second. So one of the two always sees the other.
        self._work.clear()
        self.idle = True
        called = bool(self._running) or self._work.wait(None if self._users else self._linger)
        self.idle = False
        with self._lock:
            if called or self._users:
                return True
            self._thread = None
            return False


class EngineState:
    """What the guests of one engine share.

    Attributes:
        running: by store-context address, the guests that are inside a poll now.
        stores: by store-context address, the guests that live.
        ticker: None when the engine was not made from `config()`.
        direct_memory: Python may read and write the memories of its guests by address.
        settings: every setting of its config as text; "unknown" when it was not made from `config()`.
    """

    __slots__ = ("direct_memory", "running", "settings", "stores", "ticker")

    def __init__(self) -> None:
        self.running: dict[int, CallbackGuest] = {}
        self.stores: dict[int, GuestState] = {}
        self.ticker: Ticker | None = None
        self.direct_memory = False
        self.settings = "unknown"


_states: WeakKeyDictionary[Engine, EngineState] = WeakKeyDictionary()


def engine_state(engine: Engine) -> EngineState:
    """The state of an engine, made from `config()` or not."""
    state = _states.get(engine)
    if state is None:
        state = _states[engine] = EngineState()
    return state


def engine_states() -> list[EngineState]:
    """Those of all engines that there are."""
    return list(_states.values())


def config(*, tick: float = DEFAULT_TICK) -> Config:
    """A `wasmtime.Config` for engines whose guests share a trio loop.

    Epoch interruption is on, and engines made from it (`wasmtime.Engine(config())`) let Python use the memory
    of their guests by address. Other settings can be changed as usual; changing those of linear memories
    withdraws that permission.

    Args:
        tick: seconds after which a guest that only computes lets other tasks run.

    Raises:
        ValueError: `tick` is not positive.
    """
    if not tick > 0:
        raise ValueError(f"tick must be a positive number of seconds, not {tick!r}")

    def made(engine: Engine) -> None:
        state = engine_state(engine)
        state.ticker = Ticker(tick, state.running)
        state.direct_memory = settings.memories_are_default
        state.settings = repr(sorted(settings.changed.items()))

    settings = ObservedConfig(made)
    settings.epoch_interruption = True
    return settings


def engine_settings(engine: Engine) -> str:
    """What is known of how an engine was configured, for keys of caches of compiled code.

    It need not be complete: wasmtime itself refuses code that was compiled for other settings.
    """
    return f"{engine_state(engine).settings} pulley={engine.is_pulley()}"
