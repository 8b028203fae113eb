"""Generated sequences of socket operations at the kernel and in the virtual network: `make differential`.

Everything stays on loopback addresses. What differs is printed as the smallest sequence that still does, to be kept in
`tests/differential/test_against_the_kernel.py`.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.differential.comparison import WORLDS, explain_failure, verdict
from tests.differential.differences import DIFFERENCES
from tests.differential.generation import tcp_sequence, udp_sequence

_KINDS = {"tcp": tcp_sequence, "udp": udp_sequence}
_ENOUGH_FAILURES = 5


def main() -> int:
    """Run; 1 when something differs unexplained, or an entry of the table was never met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--count", type=int, default=20_000, help="sequences; each runs in all virtual worlds"
    )
    parser.add_argument("--seed", type=int, default=1, help="the first; every sequence has its own")
    arguments = parser.parse_args()

    met: Counter[str] = Counter()
    operations: Counter[str] = Counter()
    failures = 0
    for done in range(arguments.count):
        # Two of three are TCP, where there is more to say.
        kind = "udp" if done % 3 == 2 else "tcp"
        seed = arguments.seed + done
        sequence = _KINDS[kind](random.Random(seed).choice)
        for world in WORLDS:
            report = verdict(sequence, world)
            met += report.explained
            operations += report.operations
            if report.difference:
                failures += 1
                print(f"\n--seed={seed} ({kind}): {explain_failure(sequence, world)}", flush=True)
        if failures >= _ENOUGH_FAILURES:
            print("\nThat is enough.")
            return 1
        if (done + 1) % 1000 == 0:
            print(f"{done + 1:>6} sequences, {failures} unexplained", flush=True)

    print(f"\n{sum(operations.values())} operations in {' and '.join(WORLDS)}:")
    print("  " + ", ".join(f"{name} {count}" for name, count in operations.most_common()))
    print("Meant differences, and how often they were met:")
    for entry in DIFFERENCES:
        print(f"{met[entry.name]:>8}  {entry.name}: {entry.why}")
    print(f"{failures} unexplained differences in {arguments.count} sequences")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
