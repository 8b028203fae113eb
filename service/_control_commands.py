"""`wasi-sockets ps`, `netstat`, `logs`, `restart` and `stop`: what they ask running hosts, and how they show it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from service._exits import FAILED, USAGE, CommandError
from service._netstat import age, format_sockets, sockets_from_json
from service._tables import table
from service._terminal import escaped, flush_output, output
from service.control import ControlError, hosts, request

__all__ = ["control"]

_PS_HEADINGS: Final = ("Workload", "Service", "Kind", "State", "For", "Restarts", "Ports", "Why")
_PS_RIGHT: Final = {"For", "Restarts"}


def control(options: argparse.Namespace) -> int:
    """Carries out one of these commands.

    Raises:
        CommandError: no host could be asked, or it refused.
    """
    try:
        return _COMMANDS[options.command](options)
    except ControlError as error:
        raise CommandError(escaped(str(error)), FAILED) from error


def _hosts(options: argparse.Namespace) -> list[int]:
    running = hosts()
    if options.host is None:
        return running
    if options.host not in running:
        raise CommandError(
            f"process {options.host} is no host of yours; there are: {_listed(running)}", FAILED
        )
    return [options.host]


def _listed(running: list[int]) -> str:
    return ", ".join(map(str, running)) or "none"


def _workloads(options: argparse.Namespace, command: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """What all hosts tell of the workloads that were asked for."""
    wanted = options.workload
    found = False
    for process, told in _of_all_hosts(options, command):
        if not wanted or _is_called(told, wanted):
            found = True
            yield process, told
    if wanted and not found:
        raise CommandError(f"there is no workload {wanted!r}; 'wasi-sockets ps' shows those that run", FAILED)


def _of_all_hosts(options: argparse.Namespace, command: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """What the hosts tell of all their workloads."""
    for process in _hosts(options):
        try:
            answers = list(request(process, {"command": command}))
        except ControlError:
            if process in hosts():
                raise
            continue  # it has ended since it was found
        for answer in answers:
            yield process, answer["workload"]


def _is_called(told: dict[str, Any], name: str) -> bool:
    return name in (told["name"], f"{told['namespace']}/{told['name']}")


def _ps(options: argparse.Namespace) -> int:
    rows: list[tuple[str, ...]] = [_PS_HEADINGS]
    for process, told in _workloads(options, "ps"):
        if options.json:
            output(json.dumps({"host": process, **told}))
            continue
        for service in told["services"]:
            ports = [str(port) for port in service["ports"]]
            doors = [
                f"{real}->{port}" for real, port in told["published"].items() if port in service["ports"]
            ]
            rows.append(
                (
                    f"{told['namespace']}/{told['name']}",
                    service["name"],
                    service["kind"],
                    service["state"],
                    age(service["seconds"]),
                    str(service["restarts"]),
                    ",".join([*ports, *doors]) or "-",
                    escaped(service["reason"]) or "-",
                )
            )
    if len(rows) > 1:
        output(table(rows, _PS_RIGHT).rstrip("\n"))
    elif not options.json:
        output("nothing runs; 'wasi-sockets up workload.yaml' starts something")
    return 0


def _netstat(options: argparse.Namespace) -> int:
    first = True
    for process, told in _workloads(options, "netstat"):
        if options.json:
            output(json.dumps({"host": process, **told}))
            continue
        output(f"{'' if first else chr(10)}{told['namespace']}/{told['name']}")
        output(format_sockets(sockets_from_json(told["sockets"])).rstrip("\n"))
        first = False
    if first and not options.json:
        output("nothing runs; 'wasi-sockets up workload.yaml' starts something")
    return 0


def _logs(options: argparse.Namespace) -> int:
    workload, _, service = options.service.partition(":")
    processes = [_host_of(options, workload)] if workload else _hosts(options)
    if options.follow and len(processes) > 1:
        raise CommandError(f"several hosts run; name one to follow with --host: {_listed(processes)}", USAGE)
    for process in processes:
        asked = {
            "command": "logs",
            "workload": workload,
            "service": service,
            "follow": options.follow,
            "lines": options.lines,
        }
        for answer in request(process, asked):
            line = answer["line"]
            if options.json:
                output(json.dumps(line))
            else:
                when = datetime.fromtimestamp(line["time"]).strftime("%H:%M:%S.%f")[:-3]
                mark = {"stdout": "|", "stderr": "!", "host": "#"}[line["stream"]]
                output(escaped(f"{when} {line['workload']}:{line['service']} {mark} {line['text']}"))
            if options.follow:
                flush_output()
    return 0


def _restart(options: argparse.Namespace) -> int:
    workload, _, service = options.service.partition(":")
    process = _host_of(options, workload)
    asked = {"command": "restart", "workload": workload, "service": service, "anew": options.anew}
    for answer in request(process, asked):
        output(json.dumps(answer) if options.json else f"restarted {answer['restarted']}")
    return 0


def _stop(options: argparse.Namespace) -> int:
    everything = options.workload == "all"
    processes = _hosts(options) if everything else [_host_of(options, options.workload)]
    for process in processes:
        asked = {
            "command": "stop",
            "workload": "" if everything else options.workload,
            "within": options.grace,
        }
        stopped = False
        try:
            for answer in request(process, asked):
                stopped = True
                output(json.dumps(answer) if options.json else f"stopped {answer['stopped']}")
        except ControlError:
            if not stopped:  # else the host had nothing left to do, and ended
                raise
    return 0


def _host_of(options: argparse.Namespace, workload: str) -> int:
    """The one host that runs a workload."""
    running = _of_all_hosts(options, "ps")
    found = list(dict.fromkeys(process for process, told in running if _is_called(told, workload)))
    if len(found) == 1:
        return found[0]
    if found:
        raise CommandError(
            f"several hosts run a workload {workload!r}; name one with --host: {_listed(found)}", FAILED
        )
    raise CommandError(f"there is no workload {workload!r}; 'wasi-sockets ps' shows those that run", FAILED)


_COMMANDS: Final = {"ps": _ps, "netstat": _netstat, "logs": _logs, "restart": _restart, "stop": _stop}
