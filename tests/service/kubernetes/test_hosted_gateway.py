"""The gateway as a service of a workload: who may use it is told by the services' names."""

from __future__ import annotations

import httpx
import trio

from service.hosting import Host
from service.kubernetes import AccessRule, Gateway
from service.spec import RestartPolicy, ServiceSpec, TaskCode, WorkloadSpec
from tests.service.kubernetes.fake_api_server import FakeApiServer
from wasi_sockets import Network
from wasi_sockets.httpx_transport import NetworkTransport

ONCE = RestartPolicy(when="never")


async def test_services_of_a_workload_are_known_by_their_names() -> None:
    codes: dict[str, int] = {}
    done = trio.Event()

    def client(name: str) -> TaskCode:
        async def ask(network: Network) -> None:
            async with httpx.AsyncClient(transport=NetworkTransport(network)) as client:
                codes[name] = (await client.get("http://gateway.svc.internal:8001/version")).status_code
            if len(codes) == 2:
                done.set()

        return TaskCode(ask)

    api = FakeApiServer()
    async with api.running(), Host() as host:
        rule = AccessRule(services=("controller",), verbs=("get",), paths=("/version",))
        gateway = ServiceSpec(
            name="gateway", code=TaskCode(Gateway(api.address(), [rule]).serve), ports=(8001,)
        )
        clients = (
            ServiceSpec(name=name, code=client(name), after=("gateway",), restart=ONCE)
            for name in ("controller", "other")
        )
        await host.start(WorkloadSpec(name="control", services=(gateway, *clients)))
        with trio.fail_after(30):
            await done.wait()
    assert codes == {"controller": 200, "other": 403}
