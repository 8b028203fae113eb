"""Clocks and sleeping; prints verdicts, no readings, so that two runs can be compared."""

import itertools
import time


def exercise() -> None:
    """Check that clocks run, never backwards, and that sleeping takes at least as long as asked."""
    readings = [time.monotonic_ns() for _ in range(1000)]
    print("monotonic never goes back:", all(a <= b for a, b in itertools.pairwise(readings)))
    start, wall = time.monotonic(), time.time()
    for seconds in (0.0, 0.001, 0.02):
        before = time.monotonic()
        time.sleep(seconds)
        print(f"slept at least {seconds} s:", time.monotonic() - before >= seconds)
    print("monotonic moves:", time.monotonic() > start)
    print("wall clock moves:", time.time() > wall)
    print("wall clock after 2024:", time.time() > 1_704_067_200)
    print("resolution below 1 ms:", time.get_clock_info("monotonic").resolution < 1e-3)


def sleep(seconds: str = "0.1", count: str = "1") -> None:
    """Sleep `count` times for `seconds` each, printing a line after each."""
    for number in range(int(count)):
        time.sleep(float(seconds))
        print("slept", number + 1, flush=True)
