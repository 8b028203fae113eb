"""Clients of databases in a CPython component: `redis HOST PORT` and `postgresql HOST PORT USER DATABASE`."""

import snapshot  # noqa: F401, I001 - has to come first, see there

import sys

import postgresql_handshake
import redis_commands
from wit_world import exports

COMMANDS = {"redis": redis_commands.exercise, "postgresql": postgresql_handshake.exercise}


class Run(exports.Run):
    def run(self) -> None:
        command, *arguments = sys.argv[1:]
        COMMANDS[command](*arguments)
        sys.stdout.flush()
