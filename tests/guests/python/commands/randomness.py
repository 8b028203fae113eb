"""Random numbers; prints verdicts, no values, so that two runs can be compared."""

import os
import random
import secrets


def exercise() -> None:
    """Check length, variety and absence of repetition for what the host calls random."""
    print("lengths:", [len(os.urandom(size)) for size in (0, 1, 32, 5000)])
    print("no repetition:", len({secrets.token_bytes(16) for _ in range(100)}) == 100)
    print("all byte values occur:", len(set(os.urandom(20_000))) == 256)
    print("SystemRandom in range:", 0 <= random.SystemRandom().random() < 1)
