"""The controller of static sites: a CPython component beside a gateway to the API server of the kubeconfig.

    make guests                                            # builds the component
    python examples/kubernetes/static_site/run.py [NAMESPACE] [IDENTITY]

Run it twice: one acts, the other takes over when that one is gone.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import trio

from service.hosting import Host, OutputLine
from service.kubernetes import AccessRule, ApiServer, Gateway, load_kubeconfig
from service.kubernetes.operator import Api, ApiError
from service.kubernetes.upstream import ApiServerUnavailable, BrokenAnswer
from service.spec import ComponentCode, RestartPolicy, ServiceSpec, TaskCode, WorkloadSpec

COMPONENT = Path(__file__).resolve().parents[3] / "build" / "guests" / "static-site-controller.wasm"
DEFINITION = Path(__file__).with_name("crd.yaml")
GROUP = "example.wasi-sockets.dev"


class CannotStart(Exception):
    """Ends the program with one line on standard error that says what to do.

    Attributes:
        code: the exit code, one of those of the command `wasi-sockets`.
    """

    def __init__(self, message: str, code: int = 125) -> None:
        super().__init__(message)
        self.code = code


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


async def usable_api_server(namespace: str) -> ApiServer:
    """The API server of the kubeconfig, once it knows the resource type; says so when it has to be applied first.

    Raises:
        CannotStart: there is no kubeconfig, or the API server does not answer, or refuses.
    """
    try:
        server = load_kubeconfig(exec_plugins=True)
    except (OSError, ValueError) as error:  # ssl.SSLError is one, too
        raise CannotStart(f"no API server: {error}") from error
    api = Api(server)
    told = False
    try:
        while not await _is_defined(api, namespace):
            if not told:
                told = True
                print(
                    f"staticsites.{GROUP} are not there yet; waiting for:"
                    f" kubectl apply -f {shlex.quote(str(DEFINITION))}",
                    file=sys.stderr,
                )
            await trio.sleep(1)
    except (ApiServerUnavailable, BrokenAnswer) as error:
        raise CannotStart(f"start {server.url}, or name another kubeconfig in KUBECONFIG: {error}") from error
    except ApiError as error:
        raise CannotStart(f"{server.url} refuses: {error}") from error
    finally:
        with trio.CancelScope(shield=True):
            await api.aclose()
    return server


async def _is_defined(api: Api, namespace: str) -> bool:
    try:
        await api.get(f"/apis/{GROUP}/v1/namespaces/{namespace}/staticsites", {"limit": "1"})
    except ApiError as error:
        if error.code == 404:
            return False
        raise
    return True


def exit_code(main: Callable[[str, str], Awaitable[None]], namespace: str, identity: str) -> int:
    """Run a program to its end. What keeps it from starting, and Ctrl-C, are no tracebacks."""
    code = 0
    try:
        trio.run(main, namespace, identity)
    except* CannotStart as reasons:
        for reason in reasons.exceptions:
            print(reason, file=sys.stderr)
            code = getattr(reason, "code", 125)
    except* KeyboardInterrupt:
        code = 128 + signal.SIGINT
    return code


async def main(namespace: str, identity: str) -> None:
    if not COMPONENT.exists():
        raise CannotStart(f"{COMPONENT} is not there: make guests", 127)
    gateway = Gateway(await usable_api_server(namespace), rules(namespace))
    async with Host(output=say) as host:
        started = await host.start(workload(gateway, namespace, identity))
        await started.wait()


if __name__ == "__main__":
    words = sys.argv[1:]
    sys.exit(
        exit_code(
            main,
            words[0] if words else "default",
            words[1] if len(words) > 1 else f"{socket.gethostname()}-{os.getpid()}",
        )
    )
