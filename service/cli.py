"""The command `wasi-sockets`: its options, and which part of this package answers them."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from service._exits import FAILED, SIGNALLED, USAGE, CommandError
from service._guest_text import guest_text
from service._lost_output import GUEST_OUTPUT, HOST_OUTPUT, drop_output
from service._notations import allow_option, forward_option, publish_option
from service._options import directory, environment, seconds, service_option
from service._telemetry import LEVELS
from service._terminal import escaped, escaped_lines, flush_output, say
from service._workload_options import (
    CONTROL_COMMANDS,
    add_control_parsers,
    add_operator_parser,
    add_up_parser,
)
from service.conformance import add_parser as add_conformance_parser

__all__ = ["main"]

_WRITERS = {"run": GUEST_OUTPUT, "up": HOST_OUTPUT, "operator": HOST_OUTPUT}
_SIGINT = 2
_SIGPIPE = 13

_RUN_HELP = """\
exit codes: the guest's own; 1 when its run function returned an error; 134 when it trapped; 130 after Ctrl-C;
2 for wrong options; 124 after --timeout; 125 when a service could not start or standard output could not be written;
126 when the component cannot be run; 127 when the file is not there."""

_SERVICE_HELP = """\
Let something answer at a port of the guest's network: 'echo', an async function that takes a trio stream
(MODULE:CALLABLE), or an ASGI application (asgi:MODULE:APP). Without ADDRESS, on 127.0.0.1 and ::1. Modules are
imported from the current directory and the installed packages. May be repeated."""


class _Parser(argparse.ArgumentParser):
    """One whose messages cannot take a terminal over."""

    def _print_message(self, message: str, file: Any = None) -> None:
        with suppress(OSError):
            print(escaped_lines(message), end="", file=sys.stdout if file is sys.stdout else sys.stderr)


def _parser() -> tuple[_Parser, dict[str, _Parser]]:
    """The parser of everything, and those of the commands by name."""
    parser = _Parser(
        prog="wasi-sockets",
        description="Run WebAssembly components whose sockets reach services in this process, through memory.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"wasi-sockets {_version()}")
    commands = parser.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")
    _add_run(commands)
    _add_inspect(commands)
    _add_validate(commands)
    add_up_parser(commands)
    add_control_parsers(commands)
    add_operator_parser(commands)
    add_conformance_parser(commands)
    _add_doctor(commands)
    return parser, commands.choices


def _add_run(commands: argparse._SubParsersAction[_Parser]) -> None:
    run = commands.add_parser(
        "run",
        help="run a component that exports wasi:cli/run",
        usage="wasi-sockets run GUEST.wasm [options] [-- ARGUMENT ...]",
        epilog=_RUN_HELP,
        allow_abbrev=False,
    )
    run.add_argument("guest", metavar="GUEST.wasm", help="the component; WebAssembly text is taken too")
    run.add_argument(
        "--service",
        action="append",
        default=[],
        type=service_option,
        metavar="[ADDRESS:]PORT=WHAT",
        help=_SERVICE_HELP,
    )
    run.add_argument(
        "--publish",
        action="append",
        default=[],
        type=publish_option,
        metavar="[[HOST:]PORT:]VPORT[/udp]",
        help="Let a real port lead to a port where the guest listens: on 127.0.0.1 without HOST, the same port without"
        " PORT, a free one with PORT 0. 'auto' does so for every TCP port where somebody listens. May be repeated.",
    )
    run.add_argument(
        "--forward",
        action="append",
        default=[],
        type=forward_option,
        metavar="[HOST:]VPORT=[tls:]HOST:PORT[/udp]",
        help="Let a port of the guest's network lead to a real host, with 'tls:' by TLS that is made on the way. HOST"
        " may be 'host.internal'. May be repeated.",
    )
    run.add_argument(
        "--allow",
        action="append",
        default=[],
        type=allow_option,
        metavar="[udp:]TARGET[:PORT[-PORT]]",
        help="Let the guest connect to real addresses by TCP, or send to them by UDP: a name, '*.' and a name, an"
        " address, a range of them, or 'public'. Names can then be looked up. May be repeated.",
    )
    run.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="Set a variable for the guest, or pass this process's own on. The guest sees no others.",
    )
    run.add_argument(
        "--dir",
        action="append",
        default=[],
        type=directory,
        metavar="HOST[::GUEST]",
        help="Let the guest use a directory, under its own name or another.",
    )
    run.add_argument(
        "--http",
        choices=("deny", "stock"),
        default="deny",
        help="What becomes of requests through wasi:http: refused (the default), or sent to the real network by the"
        " stock host, around everything else said here.",
    )
    run.add_argument(
        "--timeout", type=seconds, metavar="SECONDS", help="End the guest after this time, with code 124."
    )
    run.add_argument(
        "--thread",
        action="store_true",
        help="Run the guest in a thread of its own, so that a blocking call of it, such as opening a FIFO, stops"
        " nothing else. Slower.",
    )
    run.add_argument(
        "--no-direct-memory",
        action="store_true",
        help="Pass bytes as strings, never by address in the guest's memory. Slower.",
    )
    run.add_argument("--no-cache", action="store_true", help="Neither use nor keep compiled code.")
    run.add_argument(
        "--log-level",
        choices=LEVELS,
        help="What is said on standard error beside the guest's own output: warnings and worse by default, or as"
        " WASI_SOCKETS_LOG says. What OTEL_* variables have sent elsewhere does not depend on it.",
    )


def _add_inspect(commands: argparse._SubParsersAction[_Parser]) -> None:
    inspect = commands.add_parser(
        "inspect",
        help="show what a component imports and exports, and what would be interposed",
        description="Show what a component imports and exports, and what would be interposed. Compiles nothing.",
        epilog="exit codes: 0; 126 when the component would be refused or is none; 127 when the file is not there;"
        " 125 when standard output cannot be written.",
        allow_abbrev=False,
    )
    inspect.add_argument("guest", metavar="GUEST.wasm")
    inspect.add_argument("--json", action="store_true", help="print JSON")


def _add_validate(commands: argparse._SubParsersAction[_Parser]) -> None:
    validate = commands.add_parser(
        "validate",
        help="check workload files",
        description="Check workload files, and show what they hold and what of them is ignored. Starts nothing.",
        epilog="exit codes: 0; 126 when a file is wrong or cannot be read; 127 when one is not there; 125 when standard"
        " output cannot be written.",
        allow_abbrev=False,
    )
    validate.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="a workload file, or a manifest of wasmCloud's; '-' is standard input",
    )
    validate.add_argument("--json", action="store_true", help="print JSON")


def _add_doctor(commands: argparse._SubParsersAction[_Parser]) -> None:
    doctor = commands.add_parser(
        "doctor",
        help="check that the installed wasmtime is one that works",
        description="Check the installed wasmtime: what can be seen of it, and what it does when it is tried.",
        epilog="exit codes: 0; 126 when something is wrong.",
        allow_abbrev=False,
    )
    doctor.add_argument("--json", action="store_true", help="print JSON")


def _version() -> str:
    try:
        return version("wasi-sockets")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "(not installed)"


def _parse(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    # By hand: argparse takes the words after "--" for its own once a positional argument came before options.
    cut = words.index("--") if "--" in words else len(words)
    parser, commands = _parser()
    options, unknown = parser.parse_known_args(words[:cut])
    command = commands[options.command]
    if unknown:
        hint = "; arguments of the guest go after '--'" if options.command == "run" else ""
        command.error(f"unknown argument: {unknown[0]}{hint}")
    guest_arguments = words[cut + 1 :]
    if guest_arguments and options.command != "run":
        command.error(f"unknown argument: {guest_arguments[0]}")
    return options, guest_arguments


def _dispatch(options: argparse.Namespace, guest_arguments: list[str]) -> int:
    # Imported here: an engine takes longer to load than a wrong option to find.
    if options.command == "run":
        try:
            options.env = environment(options.env, os.environ)
        except argparse.ArgumentTypeError as error:
            raise CommandError(f"--env {error}", USAGE) from error
        try:
            guest_arguments = [guest_text(each, each) for each in guest_arguments]
        except argparse.ArgumentTypeError as error:
            raise CommandError(f"argument of the guest {error}", USAGE) from error
        from service._run import run

        return run(options, guest_arguments)
    if options.command == "up":
        from service._up import up

        return up(options)
    if options.command == "operator":
        from service._operator import operator

        return operator(options)
    if options.command in CONTROL_COMMANDS:
        from service._control_commands import control

        return control(options)
    if options.command == "conformance":
        from service.conformance import conformance

        return conformance(options)
    if options.command == "validate":
        from service._validate import validate

        return validate(options.files, as_json=options.json)
    if options.command == "doctor":
        from service._doctor import doctor

        return doctor(as_json=options.json)
    from service._inspect import inspect

    return inspect(options.guest, as_json=options.json)


def main(words: Sequence[str] | None = None) -> int:
    """The command.

    Args:
        words: its arguments, `sys.argv[1:]` by default.

    Returns:
        The exit code.

    Raises:
        SystemExit: for wrong options, --help and --version, as argparse does.
    """
    _occupy_closed_descriptors()
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        options, guest_arguments = _parse(list(sys.argv[1:] if words is None else words))
        if sys.stdout is None and options.command in _WRITERS:
            say(f"standard output is closed; {_WRITERS[options.command]} is lost")
        code = _dispatch(options, guest_arguments)
    except CommandError as error:
        say(escaped(str(error)))
        return _flushed(error.code)
    except KeyboardInterrupt:
        return SIGNALLED + _SIGINT
    except BaseExceptionGroup as group:  # of tasks
        if group.subgroup(KeyboardInterrupt) is not None:
            return SIGNALLED + _SIGINT
        return _unexpected()
    except BrokenPipeError:  # whoever read the output has gone
        drop_output()
        return SIGNALLED + _SIGPIPE
    except Exception:
        return _unexpected()
    return _flushed(code)


def _unexpected() -> int:
    """Tell of the exception that is being handled; the exit code."""
    say(f"this should not have happened; please report it:\n{traceback.format_exc()}")
    return FAILED


def _flushed(code: int) -> int:
    """The exit code once all output has gone out: `code` stays when it tells of something already."""
    try:
        flush_output()
    except BrokenPipeError:
        drop_output()
        return SIGNALLED + _SIGPIPE
    except CommandError as error:
        drop_output()
        if code != error.code:  # said already
            say(escaped(str(error)))
        return code or error.code
    return code


def _occupy_closed_descriptors() -> None:
    """Keep the numbers of closed standard streams taken.

    The next file or socket that this process opens would get the number, and what the guest prints. Opened the wrong
    way round they answer as closed ones do, with EBADF.
    """
    for number, mode in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_RDONLY)):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                opened = os.open(os.devnull, mode)
                if opened != number:
                    os.dup2(opened, number)
                    os.close(opened)


if __name__ == "__main__":
    sys.exit(main())
