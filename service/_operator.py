"""`wasi-sockets operator`: the `Workload` resources of a Kubernetes cluster, on this host."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import ssl
from typing import Final

import trio

from service._console_log import warnings_told
from service._exits import FAILED, CommandError
from service._host_command import HostCommand
from service._telemetry import console_level, telemetry_from_environment
from service.hosting import Host

try:
    from service.kubernetes import ApiServer, in_cluster, load_kubeconfig
    from service.kubernetes.operator import DEFAULT_MEMORY, Allowance, Api, Operator
except ModuleNotFoundError as error:
    raise CommandError(
        f"'wasi-sockets operator' needs the extra kubernetes ({error.name} is missing):"
        " pip install 'wasi-sockets[kubernetes]'",
        FAILED,
    ) from error

__all__ = ["operator"]


def operator(options: argparse.Namespace) -> int:
    """Runs the resources until it is told to stop.

    Returns:
        The exit code for this process.

    Raises:
        CommandError: no API server is known.
    """
    command = _Command(options, _api_server(options))
    with warnings_told(console_level(options.log_level)), telemetry_from_environment():
        return trio.run(command.run)


def _api_server(options: argparse.Namespace) -> ApiServer:
    in_pod = "KUBERNETES_SERVICE_HOST" in os.environ
    try:
        if in_pod and options.kubeconfig is None and options.context is None:
            return in_cluster()
        return load_kubeconfig(options.kubeconfig, context=options.context)
    except ssl.SSLError as error:
        raise CommandError(f"no API server: a certificate cannot be used: {error}", FAILED) from error
    except (OSError, LookupError, ValueError) as error:
        raise CommandError(f"no API server: {error}", FAILED) from error


class _Command(HostCommand):
    def __init__(self, options: argparse.Namespace, server: ApiServer) -> None:
        super().__init__(
            Host(output=self.show, secrets=dict(options.pull_secret), stop_within=options.grace),
            grace=options.grace,
            as_json=options.json,
        )
        self.server: Final = server
        self.operating = trio.CancelScope()
        self.options: Final = options

    async def life(self, nursery: trio.Nursery) -> int:
        options = self.options
        api = Api(self.server)
        operator = Operator(
            self.host,
            api,
            identity=options.name or f"{socket.gethostname()}-{os.getpid()}",
            namespace="" if options.all_namespaces else options.namespace or self.server.namespace,
            selector=options.selector,
            leases=options.lease,
            allowance=Allowance(
                registries=frozenset(options.allow_registry),
                python=frozenset(options.allow_python),
                directories=tuple(options.allow_directory),
                network=options.allow_network,
                memory=options.max_memory or DEFAULT_MEMORY,
                cpu=options.max_cpu,
            ),
            stop_within=options.grace,
        )
        await self.console.say(f"operator {operator.identity} watches workloads at {self.server.url}")
        try:
            with self.operating:
                await operator.run()
        finally:
            with trio.move_on_after(1) as hurry:
                hurry.shield = True
                await api.aclose()
        return 0 if self.signal in (0, signal.SIGTERM) else 1

    async def stopping(self) -> None:
        self.operating.cancel()
        await trio.lowlevel.checkpoint()
