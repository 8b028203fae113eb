"""The options of `wasi-sockets up`, and of the commands that ask running hosts."""

from __future__ import annotations

import argparse
from typing import Any, Final

from service._options import grace, mebibytes, part_of_a_core, pull_secret
from service._telemetry import LEVELS
from service._terminal import escaped

__all__ = ["CONTROL_COMMANDS", "add_control_parsers", "add_operator_parser", "add_up_parser"]

CONTROL_COMMANDS: Final = ("ps", "netstat", "logs", "restart", "stop")

_WORKLOAD_HELP: Final = "its name, or NAMESPACE/NAME"
_SERVICE_HELP: Final = f"{_WORKLOAD_HELP}; a service of it behind a slash, or behind a colon"
_EPILOG: Final = "exit codes: 0; 2 for wrong options; 125 when no host could be asked, or it refused."
_UP_EPILOG: Final = """\
exit codes: 0 when everything has ended in order, or was told to stop by 'wasi-sockets stop' or SIGTERM; 1 when
something has failed for good; 130 after Ctrl-C; 2 for wrong options; 125 when a workload cannot be started, or
standard output could not be written; 126 when a file cannot be read or says something that cannot be meant; 127 when it
is not there."""


def add_up_parser(commands: Any) -> None:
    """The parser of `up`."""
    parser = commands.add_parser(
        "up",
        help="run the workloads of a file",
        description="Run workloads until all has ended, or until Ctrl-C or SIGTERM: then connections may finish first."
        " A second Ctrl-C ends everything at once. 'ps', 'logs', 'netstat', 'restart' and 'stop' work meanwhile, from"
        " elsewhere.",
        epilog=_UP_EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="workload files; '-' is standard input")
    parser.add_argument(
        "--watch", action="store_true", help="restart what changes on disk: components and files"
    )
    parser.add_argument(
        "--until-done", action="store_true", help="stop the services once all components have done their work"
    )
    parser.add_argument("--no-cache", action="store_true", help="neither use nor keep compiled code")
    _add_host_options(parser)


def add_operator_parser(commands: Any) -> None:
    """The parser of `operator`."""
    parser = commands.add_parser(
        "operator",
        help="run the Workload resources of a Kubernetes cluster",
        description="Run the Workload resources of a Kubernetes cluster on this host, until Ctrl-C or SIGTERM. The API"
        " server and the credentials are those of the pod that this is, or of a kubeconfig.",
        epilog="exit codes: 0 after SIGTERM; 130 after Ctrl-C; 2 for wrong options; 125 when no API server is known.",
        allow_abbrev=False,
    )
    parser.add_argument("--kubeconfig", metavar="FILE", help="instead of KUBECONFIG or ~/.kube/config")
    parser.add_argument("--context", metavar="NAME", help="of the kubeconfig, instead of its current one")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--namespace", metavar="NAME", help="whose resources; by default that of the credentials"
    )
    where.add_argument("--all-namespaces", action="store_true", help="those of all namespaces")
    parser.add_argument(
        "--selector",
        default="",
        metavar="LABELS",
        help="only resources with these labels, such as host=a,tier!=test",
    )
    parser.add_argument(
        "--lease",
        action="store_true",
        help="share the resources with other hosts: each runs those whose Lease it holds",
    )
    parser.add_argument("--name", metavar="NAME", help="of this host; its own name and process by default")
    parser.add_argument(
        "--allow-registry",
        action="append",
        default=[],
        metavar="HOST[:PORT][/PATH]",
        help="where images of resources may come from; '*' for everywhere, this machine and its network included",
    )
    parser.add_argument(
        "--max-memory",
        type=mebibytes,
        metavar="MIB",
        help="mebibytes that each linear memory of a component may have; 512 by default",
    )
    parser.add_argument(
        "--max-cpu",
        type=part_of_a_core,
        metavar="PART",
        help="of one processor core that a component may use, above 0 and at most 1; no limit by default",
    )
    parser.add_argument(
        "--allow-python",
        action="append",
        default=[],
        metavar="MODULE:NAME",
        help="code that resources may name",
    )
    parser.add_argument(
        "--allow-directory",
        action="append",
        default=[],
        metavar="DIRECTORY",
        help="a directory that resources may mount, and what is below it",
    )
    parser.add_argument(
        "--allow-network",
        action="store_true",
        help="let resources publish real ports, forward to real hosts, and reach what they list in `allow`",
    )
    _add_host_options(parser)


def _add_host_options(parser: argparse.ArgumentParser) -> None:
    """Those of every command that runs workloads."""
    parser.add_argument(
        "--pull-secret",
        action="append",
        type=pull_secret,
        default=[],
        metavar="NAME=FILE",
        help="what workloads call NAME: credentials for registries, in a file like Docker's config.json",
    )
    parser.add_argument(
        "--grace",
        type=grace,
        default=10.0,
        metavar="SECONDS",
        help="for finishing, when told to stop; 10 by default, 0 for at once",
    )
    parser.add_argument(
        "--log-level",
        choices=LEVELS,
        help="what is said on standard error beside output and events: warnings and worse by default, or as"
        " WASI_SOCKETS_LOG says",
    )
    parser.add_argument(
        "--json", action="store_true", help="print events and output as JSON, an object a line"
    )


def add_control_parsers(commands: Any) -> None:
    """The parsers of these commands."""

    def add(name: str, text: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = commands.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}.", epilog=_EPILOG, allow_abbrev=False
        )
        parser.add_argument("--json", action="store_true", help="print JSON, an object a line")
        parser.add_argument(
            "--host",
            type=int,
            metavar="PID",
            help="ask the host of this process only; all of yours by default",
        )
        return parser

    add("ps", "show what runs: workloads, their services and states").add_argument(
        "workload", nargs="?", default="", metavar="WORKLOAD", help=_WORKLOAD_HELP
    )
    add("netstat", "show the sockets of workloads").add_argument(
        "workload", nargs="?", default="", metavar="WORKLOAD", help=_WORKLOAD_HELP
    )
    logs = add("logs", "show what services wrote, and what the host said of them")
    logs.add_argument("service", nargs="?", default="", metavar="WORKLOAD[/SERVICE]", help=_SERVICE_HELP)
    logs.add_argument("-f", "--follow", action="store_true", help="go on with what comes, until Ctrl-C")
    logs.add_argument("-n", "--lines", type=_count, metavar="COUNT", help="only the last ones")
    restart = add(
        "restart", "end a service or a component, or all services of a workload, and start them at once"
    )
    restart.add_argument("service", metavar="WORKLOAD[/SERVICE]", help=_SERVICE_HELP)
    restart.add_argument(
        "--anew", action="store_true", help="load their components again, which may have changed"
    )
    stop = add("stop", "let a workload finish what it does, and end it")
    stop.add_argument("workload", metavar="WORKLOAD", help=f"{_WORKLOAD_HELP}; 'all' for all")
    stop.add_argument(
        "--grace",
        type=grace,
        default=10.0,
        metavar="SECONDS",
        help="for finishing; 10 by default, 0 for at once",
    )


def _count(text: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{escaped(text)!r} is no count of lines")
    return int(text)
