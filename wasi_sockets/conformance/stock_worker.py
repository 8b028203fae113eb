"""Runs checks on a stock wasmtime: a program of its own, for a Python that has the package `wasmtime` and no other.

    python stock_worker.py JOBS.json DIRECTORY

Leaves what the guests say in the directory, and prints a line of JSON about the host, then one for each job. It imports
nothing of wasi_sockets: there it would find another wasmtime.
"""

from __future__ import annotations

import json
import socket
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import wasmtime
import wasmtime.component


def has_ipv6() -> bool:
    """Whether this machine has an IPv6 loopback."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True


def allow_network(config: Any, denied: list[str]) -> None:
    """Gives the guest the machine's network.

    The package exports no name for it, and no way at all to deny TCP or UDP alone.
    """
    bindings: Any = vars(wasmtime)["_ffi"]
    if not {"tcp", "udp"} & set(denied):
        bindings.wasi_config_inherit_network(config.ptr())
    if "ip-name-lookup" not in denied:
        bindings.wasi_config_allow_ip_name_lookup(config.ptr(), True)


def run(
    engine: wasmtime.Engine,
    linker: Any,
    component: Any,
    arguments: list[str],
    denied: list[str],
    output: Path,
) -> dict[str, object]:
    """Runs one check to its end."""
    config = wasmtime.WasiConfig()
    config.argv = ["check", *arguments]
    config.stdout_file = str(output)
    allow_network(config, denied)
    store = wasmtime.Store(engine)
    store.set_wasi(config)
    exit_code: int | None = None
    message = ""
    try:
        instance = linker.instantiate(store, component)
        (name,) = [name for name in component.type.exports(engine) if name.startswith("wasi:cli/run@0.2")]
        interface = instance.get_export_index(store, name)
        function = instance.get_func(store, instance.get_export_index(store, "run", interface))
        result = function(store)
        exit_code = 1 if getattr(result, "tag", "ok") == "err" else 0
    except wasmtime.ExitTrap as ended:
        exit_code = ended.code
    except wasmtime.WasmtimeError as error:
        message = str(error)
    return {"exit": exit_code, "stdout": output.read_text("utf-8", "replace"), "message": message}


def main() -> None:
    """Does the jobs of the file named on the command line."""
    jobs = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    print(json.dumps({"wasmtime": version("wasmtime"), "ipv6": has_ipv6()}), flush=True)
    engine = wasmtime.Engine()
    linker = wasmtime.component.Linker(engine)
    linker.add_wasip2()
    components: dict[str, Any] = {}
    for number, job in enumerate(jobs):
        path = job["component"]
        if path not in components:
            components[path] = wasmtime.component.Component(engine, Path(path).read_bytes())
        output = Path(sys.argv[2], f"{number}.txt")
        ended = run(engine, linker, components[path], job["arguments"], job["denied"], output)
        print(json.dumps(ended), flush=True)


if __name__ == "__main__":
    main()
