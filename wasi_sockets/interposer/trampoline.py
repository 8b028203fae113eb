"""The text of generated trampolines: core functions that carry flat arguments to Python and its answer back."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["MAX_PARAMETERS", "generated", "guest_signature"]

MAX_PARAMETERS = 15
"""A host function takes 16 flat parameters before the canonical ABI spills them to memory; one is the word."""

_TO_U64 = {
    "i32": "(i64.extend_i32_u (local.get {}))",
    "i64": "(local.get {})",
    "f32": "(i64.extend_i32_u (i32.reinterpret_f32 (local.get {})))",
    "f64": "(i64.reinterpret_f64 (local.get {}))",
}
_FROM_U64 = {
    "i32": "(i32.wrap_i64 {})",
    "i64": "{}",
    "f32": "(f32.reinterpret_i32 (i32.wrap_i64 {}))",
    "f64": "(f64.reinterpret_i64 {})",
}


def guest_signature(parameters: Sequence[str], results: Sequence[str]) -> str:
    """Core parameters and results as WebAssembly text."""
    return " ".join([f"(param {each})" for each in parameters] + [f"(result {each})" for each in results])


def generated(
    item: int,
    parameters: Sequence[str],
    results: Sequence[str],
    *,
    memory: bool,
    realloc: str,
    stock: str | None,
    asks: bool,
    suspends: bool,
    forgets: bool,
    returns_streams: bool,
) -> str:
    """A trampoline for one item.

    Args:
        item: its number, sent to Python.
        parameters: core types of its parameters.
        results: core type of its result, if any.
        memory: Python may answer with commands.
        realloc: the realloc's number, or "none".
        stock: the name of the stock function for stock handles, None where there are none.
        asks: Python is asked first and 0 means that the stock function answers; else the first parameter decides.
        suspends: the call may suspend the guest.
        forgets: cached stream states are stale afterwards.
        returns_streams: streams that wait for finish-connect at the first parameter, a tcp-socket, are taken back.
    """
    word = f"(call $word (i32.const {item}))" if memory else f"(i64.const {item})"
    arguments = " ".join(_TO_U64[kind].format(position) for position, kind in enumerate(parameters))
    call = f"(call ${'wait' if suspends else 'call'}{len(parameters)} {word} {arguments})"
    if memory:
        call = f"(call $finish{realloc} {call})"
    lines = [
        f'(func (export "f{item}") {guest_signature(parameters, results)} (local $answer i64)',
        "(call $guard)",
    ]
    same = " ".join(f"(local.get {position})" for position in range(len(parameters)))
    if stock is not None and not asks:
        lines.append(
            f"(if (i32.eqz (i32.and (local.get 0) (i32.const 0x40000000))) (then (return (call ${stock} {same}))))"
        )
    if returns_streams:
        lines.append("(call $return_streams (local.get 0))")
    if forgets:  # it is about streams, or ends them
        lines.append("(call $send_drops)")
    if memory:
        lines.append("(call $locate)")
    lines.append(f"(local.set $answer {call})")
    if suspends:
        lines.append("(call $tick)")
    if forgets:
        lines.append("(call $forget)")
    if stock is not None and asks:
        lines.append(f"(if (i64.eqz (local.get $answer)) (then (return (call ${stock} {same}))))")
    if results:
        lines.append(_FROM_U64[results[0]].format("(local.get $answer)"))
    lines.append(")")
    return "\n".join(lines)
