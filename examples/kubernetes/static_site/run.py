"""The controller of static sites: a CPython component beside a gateway to the API server of the kubeconfig.

    make guests                                            # builds the component
    python examples/kubernetes/static_site/run.py [NAMESPACE] [IDENTITY]

Run it twice: one acts, the other takes over when that one is gone.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import trio

from service.hosting import Host, OutputLine
from service.kubernetes import AccessRule, Gateway, load_kubeconfig
from service.spec import ComponentCode, RestartPolicy, ServiceSpec, TaskCode, WorkloadSpec

COMPONENT = Path(__file__).resolve().parents[3] / "build" / "guests" / "static-site-controller.wasm"
GROUP = "example.wasi-sockets.dev"


def rules(namespace: str) -> list[AccessRule]:
    """What the controller may do, and nothing else."""
    who, where = ("controller",), (namespace,)
    return [
        AccessRule(
            services=who,
            verbs=("get", "list", "watch", "patch"),
            groups=(GROUP,),
            resources=("staticsites", "staticsites/status"),
            namespaces=where,
        ),
        AccessRule(
            services=who,
            verbs=("list", "watch", "patch", "delete"),
            groups=("", "apps"),
            resources=("configmaps", "deployments", "services"),
            namespaces=where,
        ),
        AccessRule(
            services=who,
            verbs=("create",),
            groups=("coordination.k8s.io",),
            resources=("leases",),
            namespaces=where,
        ),
        AccessRule(
            services=who,
            verbs=("get", "update"),
            groups=("coordination.k8s.io",),
            resources=("leases",),
            namespaces=where,
            names=("static-site-controller",),
        ),
    ]


def workload(gateway: Gateway, namespace: str, identity: str) -> WorkloadSpec:
    """The gateway, and the component that uses it."""
    arguments = ("127.0.0.1", "8001", namespace, identity)
    return WorkloadSpec(
        name="static-sites",
        services=(
            ServiceSpec(name="gateway", code=TaskCode(gateway.serve), ports=(8001,)),
            ServiceSpec(
                name="controller",
                code=ComponentCode(COMPONENT, arguments=arguments),
                restart=RestartPolicy(when="always", budget=None),
                after=("gateway",),
            ),
        ),
    )


async def say(lines: Sequence[OutputLine]) -> None:
    """Show what the services write, and what the host says of them."""
    for line in lines:
        print(f"{line.service}: {line.text}", flush=True)


async def main(namespace: str, identity: str) -> None:
    gateway = Gateway(load_kubeconfig(exec_plugins=True), rules(namespace))
    async with Host(output=say) as host:
        started = await host.start(workload(gateway, namespace, identity))
        await started.wait()


if __name__ == "__main__":
    words = sys.argv[1:]
    trio.run(
        main,
        words[0] if words else "default",
        words[1] if len(words) > 1 else f"{socket.gethostname()}-{os.getpid()}",
    )
