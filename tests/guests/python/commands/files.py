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
