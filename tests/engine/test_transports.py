"""Bytes and values between guests and Python, with direct memory and with the copy transport."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import trio

from tests.engine.conftest import Run
from tests.engine.wat_guest import component as guest_text
from tests.engine.wat_guest import item
from wasi_sockets.component.types import Borrow, FunctionType, List, Own, Record, ResourceType, Result
from wasi_sockets.component.values import Err
from wasi_sockets.engine import memory as memory_module
from wasi_sockets.engine import typed
from wasi_sockets.engine.handles import INPUT_STREAM, OUTPUT_STREAM
from wasi_sockets.errors import GuestTrap
from wasi_sockets.interposer.items import Item

LOCATE, RECV, SEND, TYPED, SUSPENDING = range(5)
THING = ResourceType("t:t/t", "thing")

CODE = f"""
  (func (export "locate") (result i64) (call $locate (i32.const {LOCATE})))
  (func (export "poke") (param $at i32) (param $value i32) (i32.store8 (local.get $at) (local.get $value)))
  (func (export "peek") (param $at i32) (result i32) (i32.load8_u (local.get $at)))
  (func (export "recv") (param $handle i64) (param $at i64) (param $size i64) (result i64)
    (call $finish (call $call3 (call $word (i32.const {RECV})) (local.get $handle) (local.get $at) (local.get $size))))
  (func (export "send") (param $handle i64) (param $at i64) (param $size i64) (result i64)
    (call $finish (call $call3 (call $word (i32.const {SEND})) (local.get $handle) (local.get $at) (local.get $size))))
  (func (export "grow") (param $pages i32) (result i32) (memory.grow (local.get $pages)))
  ;; typed items: $a $b are the argument (a pointer and a length, or two numbers), the result lands at 1024
  (func (export "typed") (param $a i64) (param $b i64) (result i64)
    (call $finish (call $call3 (call $word (i32.const {TYPED})) (local.get $a) (local.get $b) (i64.const 1024))))
  (func (export "at") (param $a i64) (param $b i64) (param $at i64) (result i64)
    (call $finish (call $call3 (call $word (i32.const {TYPED})) (local.get $a) (local.get $b) (local.get $at))))
  (func (export "suspending") (param $a i64) (param $b i64) (result i64)
    (call $finish (call $wait3 (call $word (i32.const {SUSPENDING})) (local.get $a) (local.get $b) (i64.const 1024))))
  (func (export "word") (param $at i32) (result i32) (i32.load (local.get $at)))
"""
EXPORTS = {
    "locate": "(result u64)",
    "poke": '(param "at" u32) (param "value" u32)',
    "peek": '(param "at" u32) (result u32)',
    "recv": '(param "handle" u64) (param "at" u64) (param "size" u64) (result u64)',
    "send": '(param "handle" u64) (param "at" u64) (param "size" u64) (result u64)',
    "grow": '(param "pages" u32) (result u32)',
    "typed": '(param "a" u64) (param "b" u64) (result u64)',
    "at": '(param "a" u64) (param "b" u64) (param "at" u64) (result u64)',
    "suspending": '(param "a" u64) (param "b" u64) (result u64)',
    "word": '(param "at" u32) (result u32)',
}
GUEST = guest_text(CODE, EXPORTS)


def items(function_type: FunctionType | None = None) -> list[Item]:
    found = [
        item(LOCATE, "locate", memory=0),
        item(RECV, "recv", memory=0),
        item(SEND, "send", memory=0),
    ]
    if function_type is not None:
        found.append(item(TYPED, "f", interface="t", function_type=function_type, memory=0, allocates=True))
        found.append(
            item(
                SUSPENDING,
                "f",
                interface="t",
                function_type=function_type,
                memory=0,
                allocates=True,
                suspends=True,
            )
        )
    return found


class Pipe:
    """Both kinds of stream over one buffer."""

    peer = None

    def __init__(self, data: bytes = b"", room: int = 1 << 20) -> None:
        self.data = data
        self.room = room
        self.state = 0

    def available(self) -> int:
        return self.state or len(self.data)

    def receive(self, size: int) -> bytes:
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    def permit(self) -> int:
        return self.state or self.room

    def send(self, data: bytes) -> int:
        self.data += data
        self.room -= len(data)
        return self.room


@pytest.fixture(params=["direct", "copy", "foreign engine", "hidden /proc", "environment"])
def transport(
    request: pytest.FixtureRequest, run: Run, run_foreign: Run, monkeypatch: pytest.MonkeyPatch
) -> tuple[Run, bool]:
    """How to run a guest, and whether its memory will be used directly."""
    if request.param == "copy":

        def copying(*arguments: Any, **options: Any) -> Any:
            return run(*arguments, direct_memory=False, **options)

        return copying, False
    if request.param == "foreign engine":
        return run_foreign, False
    if request.param == "hidden /proc":

        def hidden(name: str) -> BinaryIO:
            raise FileNotFoundError(name)

        monkeypatch.setattr(memory_module, "open_process_file", hidden)
        return run, False
    if request.param == "environment":
        monkeypatch.setenv("WASI_SOCKETS_DIRECT_MEMORY", "0")
        return run, False
    if not memory_module.direct_memory_is_possible():
        pytest.skip("no direct memory on this platform")
    return run, True


@pytest.fixture
def start(transport: tuple[Run, bool]) -> Any:
    """Run a guest whose memory was searched for."""
    run, direct = transport

    @asynccontextmanager
    async def started(
        function_type: FunctionType | None = None, function: Any = None, text: str = GUEST
    ) -> Any:
        async with run(text, items(function_type), {("t", "f"): function}) as guest:
            assert await guest.call("locate") == int(direct)
            yield guest

    return started


async def write(guest: Any, at: int, data: bytes) -> None:
    for offset, value in enumerate(data):
        await guest.call("poke", at + offset, value)


async def read(guest: Any, at: int, size: int) -> bytes:
    return bytes([await guest.call("peek", at + offset) for offset in range(size)])


async def test_the_search_leaves_memory_as_it_was(transport: tuple[Run, bool]) -> None:
    run, _ = transport
    async with run(GUEST, items()) as guest:
        await write(guest, 32, bytes(range(100, 116)))
        await guest.call("locate")
        assert await read(guest, 32, 16) == bytes(range(100, 116))


@pytest.mark.parametrize("data", [b"plain text", bytes(range(256)), b"\xff\xfe\x00" * 30])
@pytest.mark.parametrize("at", [2048, 2049])
async def test_streams_carry_any_bytes(start: Any, data: bytes, at: int) -> None:
    pipe = Pipe(data + b"rest")
    sink = Pipe()
    async with start() as guest:
        table = guest._state.table(0)
        source_handle, sink_handle = table.add(INPUT_STREAM, pipe), table.add(OUTPUT_STREAM, sink)
        assert await guest.call("recv", source_handle, at, len(data)) == 4
        assert await read(guest, at, len(data)) == data
        if at % 2 == 0:  # the guest here pushes without the shim's detour for odd addresses
            assert await guest.call("send", sink_handle, at, len(data)) == (1 << 20) - len(data)
            assert sink.data == data


async def test_streams_refuse_ranges_outside_the_memory(transport: tuple[Run, bool]) -> None:
    run, _ = transport
    end = 2 * 65536
    for name, resource in (("recv", INPUT_STREAM), ("send", OUTPUT_STREAM)):
        for at, size in ((end - 3, 4), (end, 1), (0xFFFF_FFFF, 1), (0xFFFF_FFF0, 0xFFFF), (0, end + 1)):
            async with run(GUEST, items()) as guest:
                await guest.call("locate")
                pipe = Pipe(b"x" * (1 << 18))
                handle = guest._state.table(0).add(resource, pipe)
                with pytest.raises(GuestTrap, match="out of range"):
                    await guest.call(name, handle, at, size)
                assert len(pipe.data) == 1 << 18


async def test_the_last_byte_of_the_memory_can_be_used(start: Any) -> None:
    async with start() as guest:
        handle = guest._state.table(0).add(INPUT_STREAM, Pipe(b"abcd"))
        end = 2 * 65536
        assert await guest.call("recv", handle, end - 4, 4) == 0
        assert await read(guest, end - 4, 4) == b"abcd"


async def test_what_is_not_there_is_not_received(start: Any) -> None:
    async with start() as guest:
        pipe = Pipe(b"abc")
        handle = guest._state.table(0).add(INPUT_STREAM, pipe)
        assert await guest.call("recv", handle, 2048, 4) == -3 & 0xFFFF_FFFF
        pipe.state = -2
        assert await guest.call("recv", handle, 2048, 2) == -3 & 0xFFFF_FFFF
        assert pipe.data == b"abc"


async def test_more_than_permitted_is_not_sent(start: Any) -> None:
    sink = Pipe(room=10)
    async with start() as guest:
        handle = guest._state.table(0).add(OUTPUT_STREAM, sink)
        sink.state = -1
        assert await guest.call("send", handle, 2048, 4) == 0xFFFF_FFFF
        sink.state = 0
        assert await guest.call("send", handle, 2048, 10) == 0
        with pytest.raises(GuestTrap, match="unpermitted"):
            await guest.call("send", handle, 2048, 1)
    assert len(sink.data) == 10


async def test_a_stream_that_breaks_its_contract_cannot_reach_memory(start: Any) -> None:
    class Liar(Pipe):
        def receive(self, size: int) -> bytes:
            return b"far too much" * size

    async with start() as guest:
        handle = guest._state.table(0).add(INPUT_STREAM, Liar(b"abcdef"))
        with pytest.raises(RuntimeError, match="Liar"):
            await guest.call("recv", handle, 2048, 3)


@pytest.mark.parametrize("forged", [0, 5, 0x4000_0001, 0x4010_0000, 0x6000_0000, 0xFFFF_FFFF, 1 << 40])
async def test_forged_handles_trap(start: Any, forged: int) -> None:
    for name, resource in (("recv", INPUT_STREAM), ("send", OUTPUT_STREAM)):
        async with start() as guest:
            pipe = Pipe(b"abc")
            guest._state.table(0).add(resource, pipe)
            with pytest.raises(GuestTrap, match="handle"):
                await guest.call(name, forged, 2048, 1)
            assert pipe.data == b"abc"


async def test_one_kind_of_stream_is_not_the_other(start: Any) -> None:
    async with start() as guest:
        handle = guest._state.table(0).add(OUTPUT_STREAM, Pipe(b"abc"))
        with pytest.raises(GuestTrap, match="input-stream"):
            await guest.call("recv", handle, 2048, 1)


async def test_memory_that_has_grown_is_used_to_its_new_end(start: Any) -> None:
    async with start() as guest:
        pipe = Pipe(b"abcdefgh")
        handle = guest._state.table(0).add(INPUT_STREAM, pipe)
        assert await guest.call("recv", handle, 2048, 2) == 6
        assert await guest.call("grow", 3) == 2
        assert await guest.call("recv", handle, 5 * 65536 - 2, 2) == 4
        assert await read(guest, 5 * 65536 - 2, 2) == b"cd"
        await guest.call("locate")
        assert await guest.call("recv", handle, 2048, 4) == 0
        assert await read(guest, 2048, 4) == b"efgh"


# ---------------------------------------------------------------- typed items
TEXT_TO_TEXT = FunctionType((("x", "string"),), "string")


@pytest.mark.parametrize("call", ["typed", "suspending"])
async def test_strings_go_both_ways(start: Any, call: str) -> None:
    async def later(text: str) -> str:
        await trio.lowlevel.checkpoint()
        return text.upper() + "!"

    function = later if call == "suspending" else lambda text: text.upper() + "!"
    for text in ("", "hello", "grüße", "x" * 3000):
        async with start(TEXT_TO_TEXT, function) as guest:
            data = text.encode()
            await write(guest, 8192, data)
            assert await guest.call(call, 8192, len(data)) == 0
            at, size = await guest.call("word", 1024), await guest.call("word", 1028)
            assert await read(guest, at, size) == (text.upper() + "!").encode()


async def test_nested_lists_are_read_in_as_many_steps_as_it_takes(start: Any) -> None:
    seen: list[Any] = []
    kind = FunctionType(
        (("x", List(List("u16"))),), Result(List(Record((("a", "u8"), ("b", "string")))), "u8")
    )

    def function(value: Any) -> Any:
        seen.append(value)
        return [{"a": 7, "b": "one"}, {"a": 8, "b": "zwölf"}]

    async with start(kind, function) as guest:
        await write(guest, 8192, b"".join(n.to_bytes(4, "little") for n in (8300, 2, 8400, 0, 8500, 3)))
        await write(guest, 8300, bytes([1, 0, 2, 0]))
        await write(guest, 8500, bytes([0, 1, 0, 2, 0, 3]))
        assert await guest.call("typed", 8192, 3) == 0
        assert seen == [[[1, 2], [], [256, 512, 768]]]
        assert await guest.call("word", 1024) & 0xFF == 0
        records, count = await guest.call("word", 1028), await guest.call("word", 1032)
        assert count == 2
        assert await guest.call("peek", records + 12) == 8
        at, size = await guest.call("word", records + 16), await guest.call("word", records + 20)
        assert (await read(guest, at, size)).decode() == "zwölf"


async def test_an_error_result_is_written_without_allocating(start: Any) -> None:
    kind = FunctionType((("a", "u64"), ("b", "u64")), Result("u32", "u8"))
    async with start(kind, lambda a, b: Err(a + b)) as guest:
        await guest.call("typed", 3, 4)
        assert await read(guest, 1024, 5) == b"\x01\x00\x00\x00\x07"


async def test_handles_are_lent_given_and_made(start: Any) -> None:
    log: list[Any] = []
    made = object()

    def function(given: object, lent: object) -> object:
        log.append((given, lent))
        return made

    kind = FunctionType((("a", Own(THING)), ("b", Borrow(THING))), Result(Own(THING), None))
    async with start(kind, function) as guest:
        table = guest._state.table(0)
        given, lent = object(), object()
        given_handle, lent_handle = table.add("t:t/t.thing", given), table.add("t:t/t.thing", lent)
        await guest.call("typed", given_handle, lent_handle)
        assert log == [(given, lent)]
        assert table.get("t:t/t.thing", await guest.call("word", 1028)) is made
        assert table.get("t:t/t.thing", lent_handle) is lent
        with pytest.raises(GuestTrap, match="thing"):
            await guest.call("typed", given_handle, lent_handle)


async def test_a_handle_cannot_be_given_twice_in_one_call(start: Any) -> None:
    kind = FunctionType((("a", Own(THING)), ("b", Own(THING))), Result("u32", None))
    called: list[Any] = []
    async with start(kind, lambda *arguments: called.append(arguments)) as guest:
        handle = guest._state.table(0).add("t:t/t.thing", object())
        with pytest.raises(GuestTrap):
            await guest.call("typed", handle, handle)
    assert called == []


@pytest.mark.parametrize(
    ("address", "size", "message"),
    [
        (2 * 65536 - 3, 4, "out of range"),
        (0xFFFF_FFFF, 2, "out of range"),
        (0, 0xFFFF_FFFF, "longer|more than|out of range"),
        (2 * 65536 + 1, 0, "out of range"),
        (0, 17 << 20, "more than|out of range"),
    ],
)
async def test_pointers_of_arguments_are_checked(start: Any, address: int, size: int, message: str) -> None:
    called: list[str] = []
    async with start(TEXT_TO_TEXT, called.append) as guest:
        with pytest.raises(GuestTrap, match=message):
            await guest.call("typed", address, size)
    assert called == []


@pytest.mark.parametrize(
    ("at", "message"), [(2 * 65536 - 4, "out of range"), (1026, "aligned"), (0xFFFF_FFFC, "range")]
)
async def test_pointers_of_results_are_checked(start: Any, at: int, message: str) -> None:
    async with start(TEXT_TO_TEXT, lambda text: text) as guest:
        with pytest.raises(GuestTrap, match=message):
            await guest.call("at", 8192, 1, at)


LIES = {
    "beyond the end": ("(i32.const 0x1fffc)", "out of range"),
    "not aligned": ("(i32.const 4099)", "aligned"),
    "minus one": ("(i32.const -1)", "aligned|out of range"),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_lying_realloc_is_caught(start: Any, lie: str) -> None:
    address, message = LIES[lie]
    allocate = f"(func $allocate (param $align i32) (param $size i32) (result i32) {address})"
    kind = FunctionType((("a", "u64"), ("b", "u64")), List("u32"))
    async with start(kind, lambda a, b: [1, 2, 3], guest_text(CODE, EXPORTS, allocate=allocate)) as guest:
        with pytest.raises(GuestTrap, match=message):
            await guest.call("typed", 0, 0)


async def test_a_realloc_that_grows_the_memory_is_followed(start: Any) -> None:
    allocate = """(func $allocate (param $align i32) (param $size i32) (result i32)
      (i32.shl (memory.grow (i32.const 1)) (i32.const 16)))"""
    kind = FunctionType((("a", "u64"), ("b", "u64")), List("string"))
    words = ["one", "two", "drei"]
    async with start(kind, lambda a, b: words, guest_text(CODE, EXPORTS, allocate=allocate)) as guest:
        for _ in range(2):
            await guest.call("typed", 0, 0)
            listed, count = await guest.call("word", 1024), await guest.call("word", 1028)
            found = []
            for index in range(count):
                at = await guest.call("word", listed + 8 * index)
                size = await guest.call("word", listed + 8 * index + 4)
                found.append((await read(guest, at, size)).decode())
            assert found == words


async def test_a_realloc_may_not_call_out(start: Any) -> None:
    allocate = f"""(func $allocate (param $align i32) (param $size i32) (result i32)
      (i32.wrap_i64 (call $call3 (call $word (i32.const {TYPED})) (i64.const 0) (i64.const 0) (i64.const 1024))))"""
    kind = FunctionType((("a", "u64"), ("b", "u64")), List("u32"))
    calls: list[int] = []

    def function(a: int, b: int) -> list[int]:
        calls.append(a)
        return [1]

    async with start(kind, function, guest_text(CODE, EXPORTS, allocate=allocate)) as guest:
        with pytest.raises(GuestTrap, match="realloc"):
            await guest.call("typed", 0, 0)
    assert calls == [0]


async def test_an_exception_between_commands_leaves_no_operation_behind(start: Any) -> None:
    def fail(text: str) -> str:
        raise LookupError(text)

    async with start(TEXT_TO_TEXT, fail) as guest:
        await write(guest, 8192, b"why")
        with pytest.raises(LookupError, match="why"):
            await guest.call("typed", 8192, 3)
        assert guest.closed


# ---------------------------------------------------------------- the search itself
@pytest.fixture
def direct(run: Run) -> Run:
    if not memory_module.direct_memory_is_possible():
        pytest.skip("no direct memory on this platform")
    return run


async def test_a_wrong_prediction_is_made_up_for_by_the_scan(
    direct: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wasi_sockets.engine.driver.predict_memories", lambda: [4096, 1 << 63, 1 << 70])
    async with direct(GUEST, items()) as guest:
        assert await guest.call("locate") == 1


async def test_two_matches_count_as_none(
    direct: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("wasi_sockets.engine.driver.predict_memories", list)
    real = memory_module.open_process_file

    def doubled(name: str) -> BinaryIO:
        if name != "maps":
            return real(name)
        copy = tmp_path / "maps"
        with real("maps") as maps:
            lines = maps.read()
        copy.write_bytes(lines + lines)
        return copy.open("rb")

    monkeypatch.setattr(memory_module, "open_process_file", doubled)
    async with direct(GUEST, items()) as guest:
        assert await guest.call("locate") == 0


async def test_each_guest_finds_its_own_memory(direct: Run) -> None:
    async with direct(GUEST, items()) as one, direct(GUEST, items()) as two:
        for guest, data in ((one, b"first"), (two, b"other")):
            assert await guest.call("locate") == 1
            handle = guest._state.table(0).add(INPUT_STREAM, Pipe(data))
            await guest.call("recv", handle, 2048, 5)
        assert await read(one, 2048, 5) == b"first"
        assert await read(two, 2048, 5) == b"other"
        assert one._state.memory(0).base != two._state.memory(0).base


async def test_the_address_is_forgotten_with_the_guest(direct: Run) -> None:
    async with direct(GUEST, items()) as guest:
        await guest.call("locate")
        memory = guest._state.memory(0)
        assert memory.base
    assert memory.base == 0
    assert memory.locate(2, 3) == 0


def test_a_memory_that_does_not_end_where_it_should_is_given_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    maps = tmp_path / "maps"
    maps.write_bytes(b"10000-20000 rw-p 0 00:00 0\n20000-40000 ---p 0 00:00 0\n")
    monkeypatch.setattr(memory_module, "open_process_file", lambda _: maps.open("rb"))
    memory = memory_module.GuestMemory(True)
    memory.base, memory.pages = 0x10000, 2
    assert memory.address(2) == 0x10000  # the size it was verified at: no look at the file
    assert memory.address(3) == 0
    assert memory.address(2) == 0


async def test_copying_takes_a_pass_for_each_level_of_pointers(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many pointers there are: a guest must not be able to make work grow with their square."""
    reads = 0
    read_memory = typed._CopyAccess.read

    def counted(access: typed._CopyAccess, address: int, size: int) -> bytes:
        nonlocal reads
        reads += 1
        return read_memory(access, address, size)

    monkeypatch.setattr(typed._CopyAccess, "read", counted)
    seen: list[Any] = []
    kind = FunctionType((("x", List("string")),), "string")

    def function(texts: list[str]) -> str:
        seen.append(texts)
        return ""

    count = 200
    async with run(GUEST, items(kind), {("t", "f"): function}, direct_memory=False) as guest:
        pointers = b"".join((12288 + 2 * n).to_bytes(4, "little") + b"\2\0\0\0" for n in range(count))
        await write(guest, 8192, pointers)
        await write(guest, 12288, b"ab" * count)
        await guest.call("typed", 8192, count)
    assert seen == [["ab"] * count]
    assert reads <= 3 * (count + 1)


async def test_what_the_bytes_that_came_mean_is_checked_as_ever(run: Run) -> None:
    """Zeroes stand in for bytes that are still to come; a trap that they hide comes later."""
    kind = FunctionType((("x", List("char")),), "string")
    async with run(GUEST, items(kind), {("t", "f"): lambda _: ""}, direct_memory=False) as guest:
        await write(guest, 8192, (0x110000).to_bytes(4, "little"))
        with pytest.raises(GuestTrap, match="Unicode scalar value"):
            await guest.call("typed", 8192, 1)


async def test_list_elements_count_by_what_they_cost(run: Run) -> None:
    kind = FunctionType((("x", List("string")),), "string")
    async with run(GUEST, items(kind), {("t", "f"): lambda _: ""}) as guest:
        await guest.call("locate")
        await guest.call("grow", 30)
        with pytest.raises(GuestTrap, match="more than this call may pass"):
            await guest.call("typed", 0, (typed.MAXIMUM_ARGUMENT_BYTES >> 7) + 1)
