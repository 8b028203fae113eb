"""Tasks over HTTP: `tasks.wasm COMMAND`, as service/examples/workload.yaml uses it.

* `serve`: the API at 127.0.0.1:7777, with the tasks in its memory. It tells NOTICES (HOST:PORT) of what is done.
* `work COUNT`: does tasks until so many are done, then prints what NOTICES has heard.
"""

import snapshot  # noqa: F401, I001 - has to come first, see there

import sys

import api
import worker
from wit_world import exports

COMMANDS = {"serve": api.serve, "work": worker.work}


class Run(exports.Run):
    def run(self) -> None:
        _, command, *arguments = sys.argv
        try:
            COMMANDS[command](*arguments)
        finally:
            sys.stdout.flush()
