"""What a workload is, as plain values: nothing here is imported, opened or started yet.

Workload files are read into these (`service.files`), and programs write them themselves:

    spec = WorkloadSpec(
        name="tasks",
        services=(
            ServiceSpec(name="api", code=ComponentCode("tasks.wasm"), ports=(7777,), ready=Probe("http", 7777)),
        ),
        components=(ComponentSpec(name="report", code=ComponentCode("report.wasm"), after=("api",)),),
    )
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final, Literal, TypeAlias

from service._doors import conflicting_forwards, conflicting_publishes
from wasi_sockets import Limits, Rule
from wasi_sockets._argument_checks import check_text

__all__ = [
    "NAME",
    "AsgiCode",
    "Code",
    "ComponentCode",
    "ComponentSpec",
    "ExportCall",
    "ForwardSpec",
    "HandlerCode",
    "Probe",
    "PublishSpec",
    "PullPolicy",
    "RestartPolicy",
    "RestartWhen",
    "ServiceSpec",
    "TaskCode",
    "Volume",
    "WorkloadSpec",
    "check_name",
]

PullPolicy: TypeAlias = Literal["always", "if-not-present", "never"]
RestartWhen: TypeAlias = Literal["never", "on-failure", "always"]

#: A name of a workload, a service, a volume...
NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_OBJECT: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def check_name(what: str, name: str) -> None:
    """Check a name of a workload, a namespace, a service, a component or a volume.

    Args:
        what: it is, for the message.
        name: to be checked.

    Raises:
        ValueError: it is no name.
    """
    if not isinstance(name, str) or NAME.fullmatch(name) is None:
        raise ValueError(
            f"{what} {name!r}: a name is 1 to 63 of a-z, 0-9 and '-', and neither begins nor ends with '-'"
        )


def _check_port(port: object, least: int = 1) -> None:
    if isinstance(port, bool) or not isinstance(port, int):
        raise TypeError(f"a port must be an int, such as 8080, not {port!r}")
    if not least <= port <= 65535:
        raise ValueError(f"{port} is no port ({least} to 65535)")


def _check_object(what: str, target: object) -> None:
    if isinstance(target, str):
        if _OBJECT.fullmatch(target) is None:
            raise ValueError(f"{what} {target!r}: expected MODULE:NAME, such as shop.web:app")
    elif not callable(target):
        raise TypeError(f"{what} must be callable, or a string MODULE:NAME, not {type(target).__name__}")


def _check_seconds(what: str, value: object, *, zero: bool = False) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{what} must be a number of seconds, not {value!r}")
    if value < 0 or (value == 0 and not zero):
        raise ValueError(f"{what} must be {'at least' if zero else 'above'} 0 seconds, not {value}")


def _check_text(what: str, text: object) -> None:
    if not isinstance(text, str):
        raise TypeError(f"{what} must hold strings, not {text!r}")
    check_text(what, text)


@dataclass(frozen=True, slots=True)
class ExportCall:
    """A function that a component exports, and what it is called with.

    Attributes:
        function: its name.
        interface: the exported interface that has it, such as "demo:shop/prices@1.0.0"; "" for the component itself.
        arguments: values as the `wasmtime` package takes them.
    """

    function: str
    interface: str = ""
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Volume:
    """A directory that is empty when its workload starts, and is removed with it.

    Attributes:
        name: what names it in one workload is one directory.
    """

    name: str

    def __post_init__(self) -> None:
        check_name("volume", self.name)


@dataclass(frozen=True, slots=True)
class ComponentCode:
    """A component, and the world that it is given.

    Attributes:
        source: a file; or bytes of a component; or None when `image` names one.
        image: an OCI reference, such as "registry.example.com/shop/tasks:1.2" or one with "@sha256:...".
        pull: when the image is looked for in its registry rather than in the cache.
        pull_secret: name of the credentials for the registry; "" for those that the machine has anyway.
        arguments: after the component's own name.
        environment: nothing of this process's own is added.
        directories: path for the guest -> directory of this machine, or a volume of the workload.
        read_only: those of the guest's paths that it may not write to.
        call: an exported function instead of `wasi:cli/run`.
        http: "stock" lets the stock host answer wasi:http, around every policy.
        thread: see `wasi_sockets.run`.
    """

    source: str | os.PathLike[str] | bytes | None = None
    image: str | None = None
    pull: PullPolicy = "if-not-present"
    pull_secret: str = ""
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    directories: Mapping[str, str | os.PathLike[str] | Volume] = field(default_factory=dict)
    read_only: frozenset[str] = frozenset()
    call: ExportCall | None = None
    http: Literal["deny", "stock"] = "deny"
    thread: bool = False

    def __post_init__(self) -> None:
        if (self.source is None) == (self.image is None):
            raise ValueError(
                "a component comes from a file or from an image: give one of `source` and `image`"
            )
        if self.pull not in ("always", "if-not-present", "never"):
            raise ValueError(f"pull must be 'always', 'if-not-present' or 'never', not {self.pull!r}")
        for argument in self.arguments:
            _check_text("arguments", argument)
        for name, value in self.environment.items():
            _check_text("environment", name)
            _check_text(f"environment[{name!r}]", value)
        for path in self.directories:
            _check_text("directories", path)


@dataclass(frozen=True, slots=True)
class HandlerCode:
    """A Python function that is called with each connection, a `wasi_sockets.TcpStream`.

    Attributes:
        target: the function, or MODULE:NAME.
    """

    target: str | Callable[..., Awaitable[object]]

    def __post_init__(self) -> None:
        _check_object("a handler", self.target)


@dataclass(frozen=True, slots=True)
class AsgiCode:
    """An ASGI application; needs the extra `asgi`.

    Attributes:
        target: the application, or MODULE:NAME.
    """

    target: str | Callable[..., Any]

    def __post_init__(self) -> None:
        _check_object("an ASGI application", self.target)


@dataclass(frozen=True, slots=True)
class TaskCode:
    """A Python function that lives as long as the service, and listens, connects or does neither as it likes.

    It is called as ``await target(network, task_status=...)`` and should call ``task_status.started()`` once it
    serves; the network is the workload's. When it returns, the service has completed.

    Attributes:
        target: the function (or a method of an object), or MODULE:NAME.
    """

    target: str | Callable[..., Awaitable[object]]

    def __post_init__(self) -> None:
        _check_object("a task", self.target)


Code: TypeAlias = ComponentCode | HandlerCode | AsgiCode | TaskCode


@dataclass(frozen=True, slots=True)
class Probe:
    """How to see that a service is ready.

    Attributes:
        kind: "listen" looks whether all declared ports listen, "tcp" connects, "http" sends a GET and wants 2xx or 3xx.
        port: of the workload's network; ignored by "listen".
        path: for "http".
        period: seconds between two tries.
        timeout: seconds that one try may take.
        failures: tries in a row that must fail before a service that was ready counts as degraded.
        within: seconds from the start after which a service that has not become ready counts as failed.
    """

    kind: Literal["listen", "tcp", "http"] = "listen"
    port: int = 0
    path: str = "/"
    period: float = 1.0
    timeout: float = 1.0
    failures: int = 3
    within: float = 60.0

    def __post_init__(self) -> None:
        if self.kind not in ("listen", "tcp", "http"):
            raise ValueError(f"a probe is 'listen', 'tcp' or 'http', not {self.kind!r}")
        if self.kind != "listen":
            _check_port(self.port)
        if not self.path.startswith("/") or any(each <= " " or each > "~" for each in self.path):
            raise ValueError(f"a probe's path begins with '/' and is printable ASCII, not {self.path!r}")
        _check_seconds("period", self.period)
        _check_seconds("timeout", self.timeout)
        _check_seconds("within", self.within)
        if self.failures < 1:
            raise ValueError(f"failures must be at least 1, not {self.failures}")


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """What becomes of a service that has ended.

    Attributes:
        when: "on-failure" also for a `run` that returned an error and an exit code that is not 0.
        backoff: seconds before the first restart; doubled for each further one.
        backoff_max: seconds, the most that it comes to.
        jitter: the part of each wait that is random, 0 to 1, so that services do not all come back at once.
        budget: restarts until the service counts as failed for good; None for as many as it takes.
        healthy_after: seconds without a failure after which backoff and budget are as at the start.
    """

    when: RestartWhen = "on-failure"
    backoff: float = 0.1
    backoff_max: float = 30.0
    jitter: float = 0.2
    budget: int | None = 10
    healthy_after: float = 60.0

    def __post_init__(self) -> None:
        if self.when not in ("never", "on-failure", "always"):
            raise ValueError(f"restart must be 'never', 'on-failure' or 'always', not {self.when!r}")
        _check_seconds("backoff", self.backoff, zero=True)
        _check_seconds("backoff_max", self.backoff_max, zero=True)
        _check_seconds("healthy_after", self.healthy_after)
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter must be in 0 to 1, not {self.jitter}")
        if self.budget is not None and self.budget < 0:
            raise ValueError(f"budget must be at least 0, or None, not {self.budget}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """Something that lives as long as its workload.

    Attributes:
        name: unique in the workload; others reach it as ``<name>.svc.internal``, which is 127.0.0.1 and ::1.
        code: what runs.
        ports: TCP ports of the workload's network: where handlers and applications are served, and where a component
            or a task is expected to listen before it counts as ready.
        restart: what becomes of it when it ends.
        ready: how to see that it is ready; None: once all `ports` listen, and at once without any.
        hold: seconds that a connect to one of `ports` waits while the service is not up, instead of being refused.
        after: services of the workload that must be ready before it starts.
        limits: what a component may have at most.
    """

    name: str
    code: Code
    ports: tuple[int, ...] = ()
    restart: RestartPolicy = RestartPolicy()
    ready: Probe | None = None
    hold: float = 0.0
    after: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        check_name("service", self.name)
        for port in self.ports:
            _check_port(port)
        if len(set(self.ports)) != len(self.ports):
            raise ValueError(f"service {self.name!r}: a port is given twice")
        if isinstance(self.code, HandlerCode | AsgiCode) and not self.ports:
            raise ValueError(f"service {self.name!r}: it needs `ports` to be served at")
        _check_seconds("hold", self.hold, zero=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentSpec:
    """A component that does its work and ends.

    Attributes:
        name: unique in the workload.
        code: what runs.
        restart: what becomes of it when it has ended; never by default.
        after: services of the workload that must be ready before it starts.
        limits: what it may have at most.
    """

    name: str
    code: ComponentCode
    restart: RestartPolicy = RestartPolicy(when="never")
    after: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        check_name("component", self.name)


@dataclass(frozen=True, slots=True)
class PublishSpec:
    """A real port that leads to one of the workload's network; see `Network.publish`.

    Attributes:
        port: of the network.
        host: real address.
        real_port: 0 for a free one.
        protocol: whose.
    """

    port: int
    host: str = "127.0.0.1"
    real_port: int = 0
    protocol: Literal["tcp", "udp"] = "tcp"

    def __post_init__(self) -> None:
        _check_port(self.port)
        _check_port(self.real_port, least=0)


@dataclass(frozen=True, slots=True)
class ForwardSpec:
    """A port of the workload's network that leads to a real host; see `Network.forward`.

    Attributes:
        port: of the network.
        to: real host and port.
        host: address or name in the network.
        tls: whether TLS is spoken on the way.
        protocol: whose.
    """

    port: int
    to: tuple[str, int]
    host: str = "127.0.0.1"
    tls: bool = False
    protocol: Literal["tcp", "udp"] = "tcp"

    def __post_init__(self) -> None:
        _check_port(self.port)
        _check_port(self.to[1])
        if self.tls and self.protocol == "udp":
            raise ValueError("TLS is spoken over TCP, not over UDP")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadSpec:
    """Services and components that share a private network.

    Attributes:
        name: unique in its namespace on one host.
        namespace: for people, telemetry and Kubernetes.
        services: they are supervised.
        components: they do their work and end.
        publish: real ports that lead in.
        publish_all: whether every TCP port where somebody listens has the same real port on 127.0.0.1.
        forward: ports that lead out.
        allow: what may be reached outside besides, see `wasi_sockets.Policy`.
        zone_aliases: other names of the network's zone, such as `wasi_sockets.WASMCLOUD_ZONE`.
    """

    name: str
    namespace: str = "default"
    services: tuple[ServiceSpec, ...] = ()
    components: tuple[ComponentSpec, ...] = ()
    publish: tuple[PublishSpec, ...] = ()
    publish_all: bool = False
    forward: tuple[ForwardSpec, ...] = ()
    allow: tuple[Rule, ...] = ()
    zone_aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_name("workload", self.name)
        check_name("namespace", self.namespace)
        services = [each.name for each in self.services]
        names = [*services, *(each.name for each in self.components)]
        if not names:
            raise ValueError(f"workload {self.name!r} has neither services nor components")
        for name, times in Counter(names).items():
            if times > 1:
                raise ValueError(
                    f"workload {self.name!r}: {name!r} is there twice; names must be unique in it"
                )
        ports: dict[int, str] = {}
        for service in self.services:
            for port in service.ports:
                if port in ports:
                    raise ValueError(
                        f"workload {self.name!r}: {ports[port]!r} and {service.name!r} both want port {port}"
                    )
                ports[port] = service.name
        for index, text in conflicting_forwards(dict(enumerate(self.forward)), ports):
            raise ValueError(f"workload {self.name!r}: forward[{index}]: {text}")
        for index, text in conflicting_publishes(dict(enumerate(self.publish))):
            raise ValueError(f"workload {self.name!r}: publish[{index}]: {text}")
        self._check_order(services)

    def _check_order(self, services: list[str]) -> None:
        waits_for = {each.name: each.after for each in self.services}
        waits_for.update((each.name, each.after) for each in self.components)
        for name, after in waits_for.items():
            for other in after:
                if other not in services:
                    known = ", ".join(services) or "none"
                    raise ValueError(
                        f"{name!r} comes after {other!r}, which is no service of the workload (there: {known})"
                    )
        try:
            TopologicalSorter(waits_for).prepare()
        except CycleError as error:
            ring = reversed(error.args[1])
            raise ValueError("services wait for each other: " + " after ".join(ring)) from None

    @property
    def id(self) -> str:
        """``namespace/name``."""
        return f"{self.namespace}/{self.name}"
