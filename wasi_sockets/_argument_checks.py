"""Arguments of the wrong kind, refused before anything starts: later they would be errors of wasmtime or of trio, or
none at all.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from typing import Any

import trio

__all__ = [
    "check_descriptor",
    "check_directory",
    "check_kind",
    "check_mapping",
    "check_sink",
    "check_text",
    "check_trio",
    "file_name",
    "path_text",
    "strings_checked",
]


def check_trio(function: str) -> None:
    """Checks that trio runs the caller.

    Raises:
        RuntimeError: it does not, such as under asyncio.
    """
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        raise RuntimeError(
            f"{function}() must be called from within trio.run(); "
            "programs without trio, such as those of asyncio, reach it through wasi_sockets.BackgroundLoop"
        ) from None


def check_kind(name: str, value: object, kind: type[Any]) -> None:
    """Checks that an argument is what it should be.

    Raises:
        TypeError: it is not.
    """
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be a {_name_of(kind)}, not {_name_of(type(value))}")


def check_text(name: str, text: str) -> None:
    """Checks that a string can be given to a guest: strings of WASI are Unicode, and those of wasmtime end at NUL.

    Raises:
        ValueError: it holds half a surrogate pair, such as where Python found no UTF-8, or NUL.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name} must be Unicode text, and {text!r} holds {text[error.start]!r}, which is no character"
        ) from None
    if "\0" in text:
        raise ValueError(f"{name} must not hold NUL, as {text!r} does")


def path_text(name: str, path: str | os.PathLike[str]) -> str:
    """A path of this machine as the Unicode text that wasmtime takes.

    Raises:
        ValueError: it is not UTF-8.
    """
    text = os.fspath(path)
    try:
        # Python has halves of surrogate pairs for bytes that its locale does not know, which may be UTF-8 even so.
        return text if text.isascii() else os.fsencode(text).decode()
    except UnicodeError:
        raise ValueError(f"{name} must be named in UTF-8, and {text!r} is not") from None


def file_name(path: str | os.PathLike[str]) -> str:
    """The last part of a path, as text for people and for the guest: what is not UTF-8 in it is replaced."""
    text = os.path.basename(os.fspath(path))
    try:
        return os.fsencode(text).decode("utf-8", "replace")
    except UnicodeEncodeError:  # no file has this name here
        return text.encode("utf-8", "replace").decode()


def strings_checked(name: str, values: object) -> list[str]:
    """A list of strings, given as anything that gives strings.

    Raises:
        TypeError: it is something else, or one string.
        ValueError: a string is none that a guest can have.
    """
    if isinstance(values, str | bytes | bytearray):
        raise TypeError(f"{name} must be a list of strings, not one {type(values).__name__}: [{values!r}]?")
    try:
        listed: list[str] = list(values)  # type: ignore[call-overload]
    except TypeError:
        raise TypeError(f"{name} must be a list of strings, not {type(values).__name__}") from None
    for each in listed:
        if not isinstance(each, str):
            raise TypeError(f"{name} must be a list of strings, and holds {each!r}")
        check_text(name, each)
    return listed


def check_mapping(name: str, value: object, values: Any, what: str) -> None:
    """Checks that an argument is a mapping of strings.

    Args:
        name: of the argument.
        value: the argument.
        values: the class of its values, or several as with `isinstance`.
        what: what these are, in words.

    Raises:
        TypeError: it is something else, or holds something else.
        ValueError: a string is none that a guest can have.
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping of strings to {what}, not {type(value).__name__}")
    for key, each in value.items():
        if not isinstance(key, str) or not isinstance(each, values):
            raise TypeError(f"{name} must be a mapping of strings to {what}, and holds {key!r}: {each!r}")
        check_text(name, key)
        if values is str:
            check_text(f"{name}[{key!r}]", each)


def check_directory(path: str | os.PathLike[str]) -> None:
    """Checks that a directory can be given to a guest.

    Raises:
        FileNotFoundError: it does not exist.
        NotADirectoryError: it is something else.
        ValueError: its path is not UTF-8.
    """
    path_text("directories", path)
    if not os.path.isdir(path):
        number = errno.ENOTDIR if os.path.exists(path) else errno.ENOENT
        raise OSError(number, os.strerror(number), os.fspath(path))


def check_descriptor(name: str, value: object) -> None:
    """Checks that an argument is a file descriptor or None.

    Raises:
        TypeError: it is something else, such as a file object.
    """
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return
    hint = ": give its fileno()" if hasattr(value, "fileno") else ""
    raise TypeError(f"{name} must be a file descriptor or None, not {type(value).__name__}{hint}")


def check_sink(name: str, value: object) -> None:
    """Checks that an argument is a file descriptor, a function, or None.

    Raises:
        TypeError: it is something else, such as a file object.
    """
    if not callable(value):
        try:
            check_descriptor(name, value)
        except TypeError as error:
            wanted = "a file descriptor, an async function or None"
            raise TypeError(str(error).replace("a file descriptor or None", wanted)) from None


def _name_of(kind: type[Any]) -> str:
    if kind.__module__ == "builtins":
        return kind.__qualname__
    parts = kind.__module__.split(".")
    # Where programs import it from: wasmtime has a Linker of its own and one for components.
    public = parts[:1] if parts[0] == "wasi_sockets" else [part for part in parts if not part.startswith("_")]
    return ".".join([*public, kind.__qualname__])
