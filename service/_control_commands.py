"""`wasi-sockets ps`, `netstat`, `logs`, `restart` and `stop`: what they ask running hosts, and how they show it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from service._exits import FAILED, USAGE, CommandError
from service._netstat import age, format_sockets, sockets_from_json
from service._service_names import Named, readings, service_name, workload_name
from service._tables import table
from service._terminal import escaped, flush_output, output, say
from service.control import ControlError, hosts, request

__all__ = ["control"]

_PS_HEADINGS: Final = ("Workload", "Service", "Kind", "State", "For", "Restarts", "Ports", "Why")
_PS_RIGHT: Final = {"Host", "For", "Restarts"}


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
    answers = list(_of_all_hosts(options, command))
    if not wanted:
        yield from answers
        return
    meant = readings(wanted, [told for _, told in answers])
    for each in meant:
        if each.service:
            raise CommandError(
                f"{wanted!r} is a service, and {options.command} takes a workload: {workload_name(each.workload)}",
                FAILED,
            )
    if not meant:
        raise _no_workload(wanted, answers)
    for process, told in answers:
        if any(each.workload == _id(told) for each in meant):
            yield process, told


def _id(told: dict[str, Any]) -> str:
    return f"{told['namespace']}/{told['name']}"


def _no_workload(name: str, answers: Sequence[tuple[int, dict[str, Any]]]) -> CommandError:
    workload, slash, service = name.rpartition("/")
    for _, told in answers if slash else ():
        if workload in (told["name"], _id(told)):
            known = ", ".join(each["name"] for each in told["services"])
            return CommandError(f"{_id(told)} has no service {service!r}; it has {known}", FAILED)
    return CommandError(
        f"there is no workload {name.partition(':')[0]!r}; 'wasi-sockets ps' shows those that run", FAILED
    )


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


def _ps(options: argparse.Namespace) -> int:
    answers = list(_workloads(options, "ps"))
    if options.json:
        for process, told in answers:
            output(json.dumps({"host": process, **told}))
    elif any(told["services"] for _, told in answers):
        rows: list[tuple[str, ...]] = [("Host", *_PS_HEADINGS)]
        rows += [(str(process), *row) for process, told in answers for row in _ps_rows(told)]
        several = len({process for process, _ in answers}) > 1
        output(table([row if several else row[1:] for row in rows], _PS_RIGHT).rstrip("\n"))
    if not answers:
        _nothing_runs(options)
    return 0


def _ps_rows(told: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for service in told["services"]:
        ports = [str(port) for port in service["ports"]]
        doors = [f"{real}->{port}" for real, port in told["published"].items() if port in service["ports"]]
        yield (
            _id(told),
            service["name"],
            service["kind"],
            service["state"],
            age(service["seconds"]),
            str(service["restarts"]),
            ",".join([*ports, *doors]) or "-",
            escaped(service["reason"]) or "-",
        )


def _nothing_runs(options: argparse.Namespace) -> None:
    text = "nothing runs; 'wasi-sockets up workload.yaml' starts something"
    if options.json or options.command == "stop":
        say(text)  # nobody asked for such a line of output
    else:
        output(text)


def _netstat(options: argparse.Namespace) -> int:
    answers = list(_workloads(options, "netstat"))
    several = len({process for process, _ in answers}) > 1
    for index, (process, told) in enumerate(answers):
        if options.json:
            output(json.dumps({"host": process, **told}))
            continue
        output(f"{chr(10) if index else ''}{_id(told)}{f' (host {process})' if several else ''}")
        output(format_sockets(sockets_from_json(told["sockets"])).rstrip("\n"))
    if not answers:
        _nothing_runs(options)
    return 0


def _logs(options: argparse.Namespace) -> int:
    workload = service = ""
    if options.service:
        process, (workload, service) = _found(options, options.service)
        processes = [process]
    else:
        processes = _hosts(options)
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
                output(
                    escaped(f"{when} {service_name(line['workload'], line['service'])} {mark} {line['text']}")
                )
            if options.follow:
                flush_output()
    return 0


def _restart(options: argparse.Namespace) -> int:
    process, (workload, service) = _found(options, options.service)
    asked = {"command": "restart", "workload": workload, "service": service, "anew": options.anew}
    for answer in request(process, asked):
        output(json.dumps(answer) if options.json else f"restarted {answer['restarted']}")
    return 0


def _stop(options: argparse.Namespace) -> int:
    workload = ""
    if options.workload == "all":
        processes = _hosts(options)
    else:
        process, (workload, service) = _found(options, options.workload)
        if service:
            raise CommandError(
                f"{options.workload!r} is a service, and stop takes a workload: {workload_name(workload)}",
                FAILED,
            )
        processes = [process]
    anything = False
    for process in processes:
        stopped = False
        try:
            for answer in request(
                process, {"command": "stop", "workload": workload, "within": options.grace}
            ):
                stopped = anything = True
                output(json.dumps(answer) if options.json else f"stopped {answer['stopped']}")
        except ControlError:
            if not stopped:  # else the host had nothing left to do, and ended
                raise
    if not anything:
        _nothing_runs(options)
    return 0


def _found(options: argparse.Namespace, name: str) -> tuple[int, Named]:
    """What a name means, and the one host that runs it."""
    answers = list(_of_all_hosts(options, "ps"))
    meant = readings(name, [told for _, told in answers])
    if not meant:
        raise _no_workload(name, answers)
    if len(meant) > 1:
        only_workloads = not any(each.service for each in meant)
        forms = [each.workload if only_workloads else each.unmistakable() for each in meant]
        raise CommandError(f"{name!r} can mean several; write {' or '.join(forms)}", FAILED)
    (named,) = meant
    found = list(dict.fromkeys(process for process, told in answers if _id(told) == named.workload))
    if len(found) > 1:
        raise CommandError(
            f"several hosts run {named.workload}; name one with --host: {_listed(found)}", FAILED
        )
    return found[0], named


_COMMANDS: Final = {"ps": _ps, "netstat": _netstat, "logs": _logs, "restart": _restart, "stop": _stop}
