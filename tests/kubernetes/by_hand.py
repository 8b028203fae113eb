"""A real API server to try things on by hand, until Ctrl-C: what `make kubernetes-up` runs.

    python -m tests.kubernetes.by_hand [DIRECTORY]

Its files are in `api-server` below DIRECTORY, by default `build/kubernetes`.
"""

from __future__ import annotations

import fcntl
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from tests.kubernetes.cluster import Cluster, started
from tests.kubernetes.parts import DIRECTORY, KubernetesMissing, program

_LOOK_SECONDS = 0.2


def main() -> int:
    """Run a cluster. Returns the exit code: 0 when it was told to end, 1 when it cannot be had or ended by itself."""
    directory = (Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else DIRECTORY) / "api-server"
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    try:
        with _alone(directory), started(directory=directory) as cluster:
            print(_how_to_use(cluster), flush=True)
            while not (problem := cluster.ended()):
                time.sleep(_LOOK_SECONDS)
    except KeyboardInterrupt:
        print("The API server and all that was in it are gone.")
        return 0
    except KubernetesMissing as missing:
        problem = str(missing)
    print(problem, file=sys.stderr)
    return 1


def _end(number: int, frame: object) -> NoReturn:
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)  # a second one must not keep it from cleaning up
    raise KeyboardInterrupt


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """The directory, made anew and gone after the block.

    Raises:
        KubernetesMissing: another process uses it.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    with directory.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise KubernetesMissing(
                f"it runs already; its kubeconfig is {directory / 'kubeconfig'}"
            ) from None
        shutil.rmtree(directory, ignore_errors=True)  # of one that was killed
        directory.mkdir(mode=0o700)
        try:
            yield
        finally:
            shutil.rmtree(directory, ignore_errors=True)


def _how_to_use(cluster: Cluster) -> str:
    tools = program("kubectl").parent
    return "\n".join(
        [
            f"An API server answers at {cluster.url}. For another terminal:",
            "",
            f"    export KUBECONFIG={shlex.quote(str(cluster.kubeconfig))}",
            f'    export PATH={shlex.quote(str(tools))}:"$PATH"',
            "",
            "It has no nodes, so that pods never become available. Ctrl-C ends it, and all that is in it is gone.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
