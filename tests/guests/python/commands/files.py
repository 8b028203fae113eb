"""Files and directories below a preopened directory."""

import os
import stat

from commands.failure import expect


def _kind(mode: int) -> str:
    return "directory" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "other"


def exercise(directory: str = "/data") -> None:
    """Create, write, append, read, seek, list, stat, rename, truncate and remove below `directory`.

    Leaves `kept.txt` behind, for the host to look at.
    """
    print("before:", sorted(os.listdir(directory)))
    notes = os.path.join(directory, "notes.txt")
    with open(notes, "w", encoding="utf-8") as file:
        print("wrote", file.write("first line\nzweite Zeile: äöü\n"), "characters")
    with open(notes, "a", encoding="utf-8") as file:
        file.write("third line\n")
    with open(notes, encoding="utf-8") as file:
        print("read", file.read().splitlines())
    with open(notes, "r+b") as file:
        file.seek(6)
        file.write(b"LINE")
        file.seek(-5, os.SEEK_END)
        print("tail", file.read())
        file.truncate(11)
    status = os.stat(notes)
    print("stat", _kind(status.st_mode), status.st_size, "bytes")
    expect(status.st_mtime > 0, "no modification time")

    folder = os.path.join(directory, "folder")
    os.mkdir(folder)
    print("stat", _kind(os.stat(folder).st_mode))
    os.rename(notes, os.path.join(folder, "renamed.txt"))
    print("listed", [(entry.name, entry.is_file()) for entry in os.scandir(folder)])
    for action, path in (
        (os.stat, notes),
        (os.rmdir, folder),
        (os.mkdir, folder),
        (os.listdir, os.path.join(directory, "..")),
        (open, os.path.join(directory, "..", "outside")),
    ):
        try:
            print(action.__name__, "returned", action(path))
        except OSError as error:
            print(action.__name__, type(error).__name__)
    os.rename(os.path.join(folder, "renamed.txt"), os.path.join(directory, "kept.txt"))
    with open(os.path.join(directory, "kept.txt"), "rb") as file:
        print("kept", file.read())
    doomed = os.path.join(folder, "doomed")
    with open(doomed, "wb"):
        pass
    os.unlink(doomed)
    os.rmdir(folder)
    print("after:", sorted(os.listdir(directory)))


def _created(path: str) -> int:
    with open(path, "xb") as file:
        return file.write(b"new")


def _appended(path: str) -> int:
    with open(path, "ab") as file:
        return file.write(b"more")


def content(path: str) -> bytes:
    """All bytes of a file."""
    with open(path, "rb") as file:
        return file.read()


def operations(directory: str = "/data") -> None:
    """Try one operation after the other below `directory`, and print what each returns or how it fails."""

    def at(*names: str) -> str:
        return os.path.join(directory, *names)

    for name, operation in (
        ("list", lambda: sorted(os.listdir(directory))),
        ("list what is not there", lambda: os.listdir(at("missing"))),
        ("list a file", lambda: os.listdir(at("text.txt"))),
        ("read", lambda: content(at("inner", "deep.txt"))),
        ("read much", lambda: len(content(at("text.txt")))),
        ("read a directory", lambda: content(at("inner"))),
        ("read a link to outside", lambda: content(at("to-outside"))),
        ("read above", lambda: content(at("..", "outside.txt"))),
        ("read an absolute path", lambda: content("/etc/passwd")),
        ("size", lambda: os.stat(at("text.txt")).st_size),
        ("link", lambda: os.readlink(at("to-nowhere"))),
        ("stat of a broken link", lambda: os.stat(at("to-nowhere"))),
        ("kind of a link", lambda: stat.S_ISLNK(os.lstat(at("to-nowhere")).st_mode)),
        ("create", lambda: _created(at("new.txt"))),
        ("create again", lambda: _created(at("new.txt"))),
        ("append", lambda: _appended(at("text.txt"))),
        ("make a directory", lambda: os.mkdir(at("made"))),
        ("rename", lambda: os.rename(at("text.txt"), at("inner", "moved.txt"))),
        ("rename to outside", lambda: os.rename(at("inner", "moved.txt"), at("..", "moved.txt"))),
        ("remove a directory in use", lambda: os.rmdir(at("inner"))),
        ("make a link", lambda: os.symlink("inner", at("link"))),
        ("make a hard link", lambda: os.link(at("inner", "deep.txt"), at("hard.txt"))),
        ("change the times", lambda: os.utime(at("inner", "deep.txt"), (1, 2))),
        ("times", lambda: os.stat(at("inner", "deep.txt")).st_mtime == 2),
        ("truncate", lambda: os.truncate(at("inner", "deep.txt"), 2)),
        ("unlink", lambda: os.unlink(at("inner", "deep.txt"))),
        ("unlink a directory", lambda: os.unlink(at("inner"))),
    ):
        try:
            print(name, "->", operation())
        except OSError as error:
            print(name, "->", type(error).__name__, error.errno)


def print_content(path: str) -> None:
    """Print what a file holds, which may be a FIFO that nobody writes to yet."""
    print("opening", flush=True)
    print("content", content(path))
