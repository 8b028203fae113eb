"""The numbers of the binary format, each table once, for reader and writer alike (Binary.md)."""

from __future__ import annotations

from wasi_sockets.component.model import Sort

MAGIC = b"\0asm"
COMPONENT_VERSION = 0x0D
COMPONENT_LAYER = 1
PREAMBLE = MAGIC + b"\x0d\x00\x01\x00"
CORE_PREAMBLE = MAGIC + b"\x01\x00\x00\x00"

CORE_SORTS: dict[int, Sort] = {
    0x00: "core func",
    0x01: "core table",
    0x02: "core memory",
    0x03: "core global",
    0x04: "core tag",
    0x10: "core type",
    0x11: "core module",
    0x12: "core instance",
}
SORTS: dict[int, Sort] = {0x01: "func", 0x02: "value", 0x03: "type", 0x04: "component", 0x05: "instance"}
CORE_SORT_BYTES: dict[Sort, int] = {sort: byte for byte, sort in CORE_SORTS.items()}
SORT_BYTES: dict[Sort, bytes] = {
    **{sort: bytes((byte,)) for byte, sort in SORTS.items()},
    **{sort: bytes((0x00, byte)) for byte, sort in CORE_SORTS.items()},
}

PRIMITIVES: dict[int, str] = {
    0x7F: "bool",
    0x7E: "s8",
    0x7D: "u8",
    0x7C: "s16",
    0x7B: "u16",
    0x7A: "s32",
    0x79: "u32",
    0x78: "s64",
    0x77: "u64",
    0x76: "f32",
    0x75: "f64",
    0x74: "char",
    0x73: "string",
    0x64: "error-context",
}
PRIMITIVE_BYTES: dict[str, int] = {primitive: byte for byte, primitive in PRIMITIVES.items()}

CORE_VALUE_TYPES: dict[int, str] = {0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64", 0x7B: "v128"}
CORE_VALUE_TYPE_BYTES: dict[str, int] = {valtype: byte for byte, valtype in CORE_VALUE_TYPES.items()}

CANON_OPTIONS: dict[int, tuple[str, Sort | None]] = {
    0x00: ("utf8", None),
    0x01: ("utf16", None),
    0x02: ("latin1+utf16", None),
    0x03: ("memory", "core memory"),
    0x04: ("realloc", "core func"),
    0x05: ("post-return", "core func"),
    0x06: ("async", None),
    0x07: ("callback", "core func"),
    0x08: ("core-type", "core type"),
    0x09: ("gc", None),
}
CANON_OPTION_BYTES: dict[str, int] = {option: byte for byte, (option, _) in CANON_OPTIONS.items()}
CANON_OPTION_SPACES: dict[str, Sort | None] = dict(CANON_OPTIONS.values())

# Operand kinds: an index space (a plain index), "result" (an optional value type), "options", "flag" (0 or
# 1), "core value type", "number".
BUILTINS: dict[str, tuple[int, tuple[str, ...]]] = {
    "task.cancel": (0x05, ()),
    "subtask.cancel": (0x06, ("flag",)),
    # 0x08 is from drafts before 0.3; wasmtime 50 no longer takes it, but older files hold it.
    "backpressure.set": (0x08, ()),
    "task.return": (0x09, ("result", "options")),
    "context.get": (0x0A, ("core value type", "number")),
    "context.set": (0x0B, ("core value type", "number")),
    "thread.yield": (0x0C, ("flag",)),
    "subtask.drop": (0x0D, ()),
    "stream.new": (0x0E, ("type",)),
    "stream.read": (0x0F, ("type", "options")),
    "stream.write": (0x10, ("type", "options")),
    "stream.cancel-read": (0x11, ("type", "flag")),
    "stream.cancel-write": (0x12, ("type", "flag")),
    "stream.drop-readable": (0x13, ("type",)),
    "stream.drop-writable": (0x14, ("type",)),
    "future.new": (0x15, ("type",)),
    "future.read": (0x16, ("type", "options")),
    "future.write": (0x17, ("type", "options")),
    "future.cancel-read": (0x18, ("type", "flag")),
    "future.cancel-write": (0x19, ("type", "flag")),
    "future.drop-readable": (0x1A, ("type",)),
    "future.drop-writable": (0x1B, ("type",)),
    "error-context.new": (0x1C, ("options",)),
    "error-context.debug-message": (0x1D, ("options",)),
    "error-context.drop": (0x1E, ()),
    "waitable-set.new": (0x1F, ()),
    "waitable-set.wait": (0x20, ("flag", "core memory")),
    "waitable-set.poll": (0x21, ("flag", "core memory")),
    "waitable-set.drop": (0x22, ()),
    "waitable.join": (0x23, ()),
    "backpressure.inc": (0x24, ()),
    "backpressure.dec": (0x25, ()),
    "thread.index": (0x26, ()),
    "thread.new-indirect": (0x27, ("core type", "core table")),
    "thread.resume-later": (0x28, ()),
    "thread.suspend": (0x29, ("flag",)),
    "thread.suspend-then-resume": (0x2A, ("flag",)),
    "thread.yield-then-resume": (0x2B, ("flag",)),
    "thread.suspend-then-promote": (0x2C, ("flag",)),
    "thread.yield-then-promote": (0x2D, ("flag",)),
    # Binary.md puts a "shared" byte first; wasmparser, which decides what runs here, has none.
    "thread.spawn-ref": (0x40, ("core type",)),
    "thread.spawn-indirect": (0x41, ("core type", "core table")),
    "thread.available-parallelism": (0x42, ()),
}
BUILTIN_NAMES: dict[int, str] = {opcode: builtin for builtin, (opcode, _) in BUILTINS.items()}
