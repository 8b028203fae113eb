"""A CPython component with one sub-command per subject: `python.wasm COMMAND [ARGUMENT ...]`.

One component for all of them, because compiling CPython takes seconds. What `run` answers:

* the sub-command returned: ok;
* it raised `Failure`: its text on stderr, and the error result of `wasi:cli/run`;
* it raised anything else: the traceback on stderr and a trap, as componentize-py does;
* `exit`: see `commands/exits.py`.
"""

import snapshot  # noqa: F401, I001 - has to come first, see there

import sys

from commands import (
    asyncio_client,
    asyncio_server,
    blocking_client,
    blocking_server,
    bulk_transfer,
    clocks,
    environment,
    exits,
    files,
    hoarding,
    http_client,
    impatience,
    lookup,
    poll_both,
    randomness,
    standard_library,
    standard_streams,
    udp,
    three_ways,
)
from commands.failure import Failure
from componentize_py_types import Err
from wit_world import exports

COMMANDS = {
    "client": blocking_client.round_trips,
    "half-close": blocking_client.half_close,
    "connect-error": blocking_client.connect_error,
    "http": http_client.requests,
    "three-ways": three_ways.fetch,
    "asyncio": asyncio_client.many_connections,
    "bulk": asyncio_client.bulk,
    "lookup": lookup.lookup,
    "server": blocking_server.serve,
    "aserver": asyncio_server.serve,
    "files": files.exercise,
    "file-operations": files.operations,
    "file-content": files.print_content,
    "exchange": bulk_transfer.exchange,
    "spin-on-receive": impatience.spin_on_receive,
    "spin-on-select": impatience.spin_on_select,
    "compute": impatience.compute,
    "long-timeout": impatience.long_timeout,
    "long-sleep": impatience.long_sleep,
    "hoard-memory": hoarding.hoard_memory,
    "hoard-sockets": hoarding.hoard_sockets,
    "env": environment.variables,
    "args": environment.arguments,
    "stdin": standard_streams.echo_stdin,
    "stderr": standard_streams.both_outputs,
    "flood": standard_streams.flood_stdout,
    "tty": standard_streams.terminals,
    "exit": exits.leave,
    "clocks": clocks.exercise,
    "sleep": clocks.sleep,
    "random": randomness.exercise,
    "poll-both": poll_both.watch,
    "std-socketserver": standard_library.socket_server,
    "std-socket-client": standard_library.socket_client,
    "std-http-server": standard_library.http_server,
    "std-http-requests": standard_library.http_requests,
    "std-xmlrpc-server": standard_library.xmlrpc_server,
    "std-xmlrpc-calls": standard_library.xmlrpc_calls,
    "std-selectors": standard_library.selector,
    "std-connect-select": standard_library.nonblocking_connect,
    "std-dual-stack": standard_library.dual_stack,
    "std-asyncio-streams": standard_library.asyncio_streams,
    "std-asyncio-datagrams": standard_library.asyncio_datagrams,
    "udp": udp.unconnected,
    "udp-connected": udp.connected,
    "udp-server": udp.server,
    "udp-socketserver": udp.socket_server,
    "udp-asyncio": udp.endpoints,
}


class Run(exports.Run):
    def run(self) -> None:
        command, *arguments = sys.argv[1:] or ["help"]
        if command not in COMMANDS:
            print("commands:", *COMMANDS, file=sys.stderr, flush=True)
            raise Err(None)
        try:
            COMMANDS[command](*arguments)
        except Failure as failure:
            print("failed:", failure, file=sys.stderr)
            raise Err(None) from failure
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
