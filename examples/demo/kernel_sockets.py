"""How many internet sockets this process has, as the kernel sees it."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["internet_sockets"]

_TABLES = ("tcp", "tcp6", "udp", "udp6", "raw", "raw6")
_INODE_COLUMN = 9


def internet_sockets() -> int | None:
    """The number of AF_INET and AF_INET6 sockets that are open in this process; None where /proc is not there."""
    try:
        targets = [_target(entry) for entry in os.listdir("/proc/self/fd")]
    except OSError:
        return None
    own = {target[8:-1] for target in targets if target.startswith("socket:[")}
    known: set[str] = set()
    for table in _TABLES:
        try:
            lines = Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue  # a kernel without IPv6, say
        known.update(line.split()[_INODE_COLUMN] for line in lines)
    return len(own & known)


def _target(entry: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{entry}")
    except OSError:
        return ""  # closed meanwhile, such as that of the listing itself
