"""What the gateway judged, beside what a real API server says in its audit log that it was asked."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
import trio

from service.kubernetes import AccessRule, Gateway, acting_as, load_kubeconfig
from service.kubernetes.paths import RefusedTarget, read_target
from service.kubernetes.rules import allowed
from tests.kubernetes.cluster import ADMIN_TOKEN, Cluster, started_or_skipped
from wasi_sockets import Network

RULES = [
    AccessRule(
        services=("guest",),
        verbs=("*",),
        resources=("configmaps", "pods", "pods/status", "namespaces"),
        namespaces=("default",),
    ),
    AccessRule(
        services=("guest",), verbs=("get",), groups=("apps",), resources=("*",), namespaces=("default",)
    ),
]
METHODS = ("GET", "GET", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
STARTS = ("/api/v1", "/api/v1/namespaces/default", "/apis/apps/v1/namespaces/default", "/apis/apps/v1", "")
SEGMENTS = (
    *("configmaps", "pods", "secrets", "deployments", "namespaces", "default", "kube-system", "a", "status"),
    *(
        "%63onfigmaps",
        "%ef%bc%b3ecrets",
        "proxy",
        "exec",
        "log",
        "watch",
        "finalize",
        "scale",
        "a:b",
        "a%20b",
    ),
    *("..", ".", "%2e%2e", "%2f", "a%2fb", "", "~", "a,b", "SECRETS", "api", "v1"),
)
QUERIES = (
    *("", "?watch", "?watch=", "?watch=1", "?watch=0", "?watch=False", "?watch=no", "?%77atch=1", "?Watch=1"),
    *(
        "?watch=%31",
        "?watch=1&watch=0",
        "?watch=+0",
        "?a=%26watch=1",
        "?a&watch=1",
        "?watch%3D1",
        "?watch=x&limit=y",
    ),
    *(
        "?fieldSelector=metadata.name%3Da",
        "?namespace=kube-system",
        "?dryRun=All",
        "?watch=1&timeoutSeconds=a",
    ),
)


@pytest.fixture(scope="module")
def audited() -> Iterator[Cluster]:
    with started_or_skipped(audited=True) as cluster:
        yield cluster


def targets() -> list[tuple[str, str]]:
    random = Random(6)
    made = []
    for _ in range(2500):
        parts = "".join("/" + each for each in random.choices(SEGMENTS, k=random.randrange(4)))
        made.append((random.choice(METHODS), random.choice(STARTS) + parts + random.choice(QUERIES)))
    return made


async def send(network: Network, method: str, target: str, number: int) -> None:
    """Send it as number so and so, and wait for the beginning of an answer."""
    fields = (
        f"Host: x\r\nUser-Agent: guest-{number}\r\nContent-Type: application/json\r\nAuthorization: Bearer x"
    )
    body = b"" if method in ("GET", "HEAD") else b"{}"
    head = f"{method} {target} HTTP/1.1\r\n{fields}\r\nContent-Length: {len(body)}\r\n\r\n"
    async with await network.connect_tcp("127.0.0.1", 8001) as stream:
        await stream.send_all(head.encode() + body)
        await stream.receive_some()


async def test_the_api_server_is_asked_exactly_what_was_judged(audited: Cluster) -> None:
    sent = targets()
    network = Network()
    async with trio.open_nursery() as nursery:
        await nursery.start(Gateway(load_kubeconfig(audited.kubeconfig), RULES).serve, network)
        with acting_as("guest"):
            for number, (method, target) in enumerate(sent):
                await send(network, method, target, number)
        nursery.cancel_scope.cancel()
    seen = {}
    for event in audited.audit():
        assert ADMIN_TOKEN not in str(event)
        if event["userAgent"].startswith("guest-") and event["stage"] in (
            "ResponseStarted",
            "ResponseComplete",
        ):
            assert event["user"]["username"] == "admin"
            assert "impersonatedUser" not in event
            about = event.get("objectRef", {})
            seen[int(event["userAgent"].removeprefix("guest-"))] = (
                event["verb"],
                *(about.get(key, "") for key in ("apiGroup", "namespace", "resource", "subresource", "name")),
            )
    judged = {}
    for number, (method, target) in enumerate(sent):
        try:
            request = read_target(method, target)
        except RefusedTarget:
            continue
        if allowed(RULES, "guest", request):
            place = (request.namespace, request.resource, request.subresource, request.name)
            judged[number] = (request.verb, request.group, *place)
    assert len(seen) > 100
    assert seen.keys() <= judged.keys()
    for number in seen:
        # The one thing that it reads from a query besides: a field selector for a name is that name.
        expected = judged[number]
        if "fieldSelector" in sent[number][1] and expected[0] in ("list", "watch"):
            expected = (*expected[:5], "a")
        assert seen[number] == expected, sent[number]
