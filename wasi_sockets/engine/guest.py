"""What the host keeps for one running component instance, and how its calls find their functions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

from wasi_sockets import telemetry
from wasi_sockets.engine import fastpath, typed
from wasi_sockets.engine.bindings_callbacks import Flag
from wasi_sockets.engine.clock import GuestClock
from wasi_sockets.engine.commands import Operation
from wasi_sockets.engine.handles import HandleTable
from wasi_sockets.engine.host_calls import counted
from wasi_sockets.engine.memory import GuestMemory
from wasi_sockets.engine.suspension import Suspended, discard
from wasi_sockets.errors import GuestClosedError, GuestTrap
from wasi_sockets.interposer.items import Item

__all__ = ["Functions", "GuestState"]

Functions = Mapping[tuple[str, str], Callable[..., Any]]
"""(interface, name) -> function on plain values (docs/architecture.md, contract 1)."""


class _NoCalls:
    """Stands in for the calls of a guest while its realloc runs: as stock, it may not call out then.

    Only the shim may, to say that what realloc answered is no good.
    """

    __slots__ = ("_guest",)

    def __init__(self, guest: GuestState) -> None:
        self._guest = guest

    def __getitem__(self, number: int) -> Callable[..., Any]:
        item = self._guest.item(number)
        if item is not None and item.interface == "shim" and item.name == "trap":
            return fastpath.build(self._guest, item)
        raise GuestTrap("interposed function called while the guest's realloc was running")


class _ClosedCalls:
    """Stands in for the calls of a guest that has ended."""

    def __getitem__(self, item: int) -> NoReturn:
        raise GuestClosedError("the guest has ended")


_CLOSED_CALLS = _ClosedCalls()


class GuestState:
    """One guest, seen from the callbacks and from the functions it calls. Knows nothing of how it is polled.

    Attributes:
        functions: what it can call.
        clock: its clock, which also parks and wakes it.
        calls: item id -> function of (memory pages, *core arguments), giving a `u64` or an awaitable of one.
        pending: what the guest waits for, set when a poll returns without being done.
        result_slot: where its result goes, and `flag` says that it is there.
        exception: what a function raised; it has become an error in native code.
        memory_candidates: addresses at which its memories will probably begin.
        outgoing: bytes that the next `pull` takes.
        closed: it has ended.
    """

    __slots__ = (
        "_direct",
        "_dispatch",
        "_items",
        "_limit",
        "_memories",
        "_operation",
        "_pollables",
        "_tables",
        "_watched",
        "calls",
        "clock",
        "closed",
        "exception",
        "flag",
        "functions",
        "memory_candidates",
        "outgoing",
        "pending",
        "result_slot",
    )

    def __init__(
        self,
        functions: Functions,
        items: Sequence[Item],
        *,
        direct_memory: bool,
        max_handles: int,
        max_pollables: int | None = None,
    ) -> None:
        self.functions = functions
        self.clock = GuestClock()
        self.pending: Awaitable[int] | None = None
        self.result_slot = 0
        self.flag = Flag()
        self.exception: BaseException | None = None
        self.outgoing = b""
        self.closed = False
        self._direct = direct_memory
        self.memory_candidates: Sequence[int] = ()
        self._limit = max_handles
        self._pollables = max_pollables
        self._operation: Operation | None = None
        self._tables: dict[int, HandleTable] = {}
        self._memories: dict[int, GuestMemory] = {}
        self._watched: dict[int, list[Callable[[], Any]]] = {}
        self._items = items
        # A guest calls few of its items, and building a closure for each would double the time it takes to
        # instantiate a small guest. So each starts as a stub that builds the real one.
        self._dispatch: list[Callable[..., Any]] = [self.unknown_item] * (
            1 + max((item.id for item in items), default=-1)
        )
        for item in items:
            self._dispatch[item.id] = partial(self._first_call, item)
        self.calls: Any = self._dispatch

    # ------------------------------------------------------------ what closures are built from
    @property
    def direct_memory(self) -> bool:
        """Whether memories may be used by address at all."""
        return self._direct

    @property
    def max_pollables(self) -> int | None:
        """How many pollables each component instance may have."""
        return self._pollables

    @property
    def memory_places(self) -> list[int]:
        """Addresses at which its memories begin, or probably do."""
        return [*self.memory_candidates, *[memory.base for memory in self._memories.values() if memory.base]]

    @property
    def found_memory(self) -> bool:
        """Whether the address of some memory is known."""
        return any(memory.base for memory in self._memories.values())

    @property
    def memory_pages(self) -> int:
        """How large its memories are, in pages of 64 KiB, as far as their addresses were looked for."""
        return sum(memory.pages for memory in list(self._memories.values()))

    def table(self, realm: int) -> HandleTable:
        """The handle table of one component instance inside the guest."""
        table = self._tables.get(realm)
        if table is None:
            table = self._tables[realm] = HandleTable(self._limit)
        return table

    def memory(self, number: int) -> GuestMemory:
        """One of the guest's memories."""
        memory = self._memories.get(number)
        if memory is None:
            memory = self._memories[number] = GuestMemory(self._direct, self.memory_candidates)
        return memory

    def item(self, number: int) -> Item | None:
        """An entry of the component's table."""
        return next((item for item in self._items if item.id == number), None)

    def watched(self, realm: int) -> list[Callable[[], Any]]:
        """What the next `wait-many` of a component instance looks at."""
        return self._watched.setdefault(realm, [])

    def _first_call(self, item: Item, *arguments: int) -> Any:
        build = fastpath.build if item.interface == "shim" or item.resource is not None else typed.build
        call = build(self, item)
        if telemetry.metering:
            call = counted(call, item)
        self._dispatch[item.id] = call
        return call(*arguments)

    def unknown_item(self, *_arguments: int) -> int:
        """Answers an item number that is not in the table."""
        raise GuestTrap("the component called an item that its table does not have")

    # ------------------------------------------------------------ operations that need commands
    def start(self, operation: Operation) -> Any:
        """Begin an operation. The answer is a result, a command, or an awaitable of one of them."""
        return self._advance(operation, None)

    def _advance(self, operation: Operation, answer: object) -> Any:
        try:
            step = operation.send(answer)
        except StopIteration as end:
            self._operation = None
            self.calls = self._dispatch
            return end.value
        except BaseException:
            self._operation = None
            self.calls = self._dispatch
            raise
        if step.__class__ is int:
            self._operation = operation
            self.calls = _NoCalls(self)
            return step
        return Suspended(step, partial(self._advance, operation))

    def resume(self, word: int) -> Any:
        """The trampoline has carried out REALLOC or WRITE."""
        return self._advance(self._expected(), word)

    def push(self, data: bytes) -> Any:
        """The trampoline has carried out READ."""
        return self._advance(self._expected(), data)

    def pull(self) -> bytes:
        """The trampoline carries out WRITE."""
        self._expected()
        data, self.outgoing = self.outgoing, b""
        return data

    def _expected(self) -> Operation:
        if self._operation is None:
            raise GuestTrap("an answer to a command that was not given")
        return self._operation

    # ------------------------------------------------------------ between a callback and the driver
    def suspend(self, operation: Any, result_slot: int) -> int:
        """Have the guest wait for `operation`. Returns the address of the flag that lets it go on."""
        if not hasattr(
            operation, "__await__"
        ):  # what `isinstance` with `Awaitable` asks, in a tenth of the time
            raise TypeError(f"an item answered {type(operation).__name__}, neither a u64 nor an awaitable")
        self.flag.clear()
        self.pending = operation
        self.result_slot = result_slot
        return self.flag.address

    def discard_pending(self) -> None:
        """Nobody will wait for what the guest waits for."""
        pending, self.pending = self.pending, None
        discard(pending)

    def remember(self, error: BaseException) -> None:
        """A callback failed: keep the exception for whoever called the guest. Only the first counts."""
        if self.exception is None:
            self.exception = error

    def dispatch(self, item: int, arguments: tuple[int, ...]) -> Any:
        """Answer one call, for callers that are not callbacks."""
        calls = self.calls
        if calls is self._dispatch and item >= len(self._dispatch):
            return self.unknown_item()
        return calls[item](*arguments)

    def close(self) -> list[BaseException]:
        """End the guest: views of its memory first, then its handles. Must come before its store is freed.

        Returns:
            What closing its objects raised.
        """
        if self.closed:
            return []
        self.closed = True
        self.calls = _CLOSED_CALLS
        for memory in self._memories.values():
            memory.drop()
        operation, self._operation = self._operation, None
        if operation is not None:
            operation.close()
        self.discard_pending()
        self._watched.clear()
        errors: list[BaseException] = []
        for table in self._tables.values():
            errors.extend(table.close())
        self._dispatch = []
        return errors
