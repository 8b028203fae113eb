"""What may stand in wasmCloud's manifests, as a table.

Source: the custom resource definitions of `runtime.wasmcloud.dev/v1alpha1` (charts/runtime-operator/crds). Keys that
are unknown here, and those that mean nothing on a single host, are notes: a manifest that a cluster takes is taken.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from service.files._scalars import BOOLEAN, IMAGE, PORT, TEXT, integer
from service.files._shapes import INVALID, Field, ListOf, MapOf, Reading, Record, Scalar
from service.files._yaml import Item
from service.spec import PullPolicy
from wasi_sockets import Allow, Rule

__all__ = ["CONFIG_MAP", "DEPLOYMENT", "SECRET", "WORKLOAD", "Guest", "Named", "reading_name"]


class Named(NamedTuple):
    """A name that stands in the file, and its line."""

    name: str
    line: int


class Guest(NamedTuple):
    """A component or the service of a manifest.

    Attributes:
        values: what its fields gave.
        line: of its beginning.
        where: its path in the document.
    """

    values: dict[str, Any]
    line: int
    where: str


@dataclass(frozen=True)
class _Ignored:
    """Whatever stands there; a note says why it is of no use."""

    why: str

    def read(self, item: Item, where: str, reading: Reading) -> Any:
        if item.kind != "null":
            reading.findings.note(item.line, where, f"ignored: {self.why}")
        return None

    def schema(self) -> dict[str, Any]:
        return {}


def _ignored(why: str) -> Field:
    return Field(_Ignored(why))


def _named(item: Item, where: str, reading: Reading) -> Any:
    text = TEXT.read(item, where, reading)
    return text if text is INVALID else Named(text, item.line)


@dataclass(frozen=True)
class _NameShape:
    """A name, with its line."""

    def read(self, item: Item, where: str, reading: Reading) -> Any:
        return _named(item, where, reading)

    def schema(self) -> dict[str, Any]:
        return TEXT.schema()


def reading_name(text: str) -> str:
    """The nearest name that a workload, a service or a volume can have here; "" when there is none."""
    return re.sub(r"[^a-z0-9-]+", "-", text.lower()).strip("-")[:63].rstrip("-")


_STRINGS: Final = MapOf(Scalar("text", {}, ("text", "number")))
_REFERENCE: Final = Record(
    "a reference",
    {"name": Field(_NameShape())},
    lambda values, item, where, reading: values.get("name"),
    "note",
)
_REFERENCES: Final = ListOf(_REFERENCE)

_POLICIES: Final[dict[str, PullPolicy]] = {
    "": "if-not-present",
    "always": "always",
    "ifnotpresent": "if-not-present",
    "never": "never",
}


def _pull_policy(text: str) -> PullPolicy:
    # wash reads it without regard to case and separators.
    found = _POLICIES.get(text.lower().replace("-", "").replace("_", ""))
    if found is None:
        raise ValueError(f"expected Always, IfNotPresent or Never, not {text!r}")
    return found


_ALLOWED_HOST: Final = re.compile(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://)?(?P<host>\*|[^:/\s]+|\[[^\]]+\])(?::(?P<port>[0-9]{1,5}))?/?"
)
_SCHEME_PORTS: Final = {"http": 80, "ws": 80, "https": 443, "wss": 443}


def _allowed_host(text: str) -> Rule:
    found = _ALLOWED_HOST.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r}: expected [SCHEME://]HOST[:PORT], where HOST may be *.SUFFIX, or *")
    port = int(found["port"]) if found["port"] else _SCHEME_PORTS.get((found["scheme"] or "").lower())
    if found["host"] == "*":
        return Allow.connect("*", "public", ports=port)
    return Allow.connect(found["host"].strip("[]"), ports=port)


def _allowed_lookup(text: str) -> Rule | None:
    # Addresses are looked up by nobody.
    if re.fullmatch(r"[0-9.]+|\[?[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]?", text):
        return None
    return Allow.lookup(text)


def _loopback_port(text: str) -> tuple[int, str]:
    port, slash, protocol = text.partition("/")
    if slash and protocol.lower() not in ("tcp", "udp"):
        raise ValueError(f"{text!r}: expected PORT, PORT/tcp or PORT/udp")
    number: int = PORT.parse(port)
    return number, protocol.lower() or "tcp"


_CONFIG_LAYER: Final = {
    "config": Field(_STRINGS),
    "configFrom": Field(_REFERENCES),
    "secretFrom": Field(_REFERENCES),
}

_RESOURCES: Final = Record(
    "localResources",
    {
        "environment": Field(Record("environment", _CONFIG_LAYER, unknown="note")),
        "config": _ignored("there is no wasi:config here; give variables in `environment`"),
        "allowedHosts": Field(ListOf(Scalar("a host", {}, parse=_allowed_host))),
        "allowedIpNameLookups": Field(ListOf(Scalar("a name", {}, parse=_allowed_lookup))),
        "allowedHostLoopbackPorts": Field(ListOf(Scalar("a port", {}, ("text", "number"), _loopback_port))),
        "volumeMounts": Field(
            ListOf(
                Record(
                    "a volume mount",
                    {
                        "name": Field(_NameShape(), required=True),
                        "mountPath": Field(TEXT, required=True),
                        "readOnly": Field(BOOLEAN),
                    },
                    unknown="note",
                )
            )
        ),
    },
    unknown="note",
)


def _guest(values: dict[str, Any], item: Item, where: str, reading: Reading) -> Guest:
    return Guest(values, item.line, where)


_GUEST: Final = {
    "image": Field(IMAGE, required=True),
    "imagePullPolicy": Field(Scalar("text", {}, parse=_pull_policy)),
    "imagePullSecret": Field(_REFERENCE),
    "localResources": Field(_RESOURCES),
}


_NO_POOL: Final = "a component is run once here, not kept warm for calls"
_NO_CHOICE: Final = "there is one host, and it is this one"

_COMPONENT: Final = Record(
    "a component",
    {
        "name": Field(_NameShape(), required=True),
        **_GUEST,
        "poolSize": _ignored(_NO_POOL),
        "maxInvocations": _ignored(_NO_POOL),
        "maxConcurrency": _ignored(_NO_POOL),
    },
    _guest,
    "note",
)
_SERVICE: Final = Record(
    "the service", {**_GUEST, "maxRestarts": Field(integer("number of restarts"))}, _guest, "note"
)

#: Of `wasi`, what every component is given.
_THERE: Final = frozenset({"cli", "clocks", "filesystem", "io", "random", "sockets"})


def _host_interface(values: dict[str, Any], item: Item, where: str, reading: Reading) -> None:
    package = f"{values['namespace']}:{values['package']}"
    if values["namespace"] == "wasi" and values["package"] in _THERE:
        if values.keys() & _CONFIG_LAYER.keys():
            reading.findings.note(item.line, where, f"config ignored: {package} takes none here")
        return
    if package == "wasi:http":
        why = "requests from outside reach no component here, and those that components send are refused"
    else:
        why = "this host has no such interface; a component that imports it does not start"
    names = "/".join((package, ",".join(values["interfaces"])))
    reading.findings.note(item.line, where, f"ignored: {names}: {why}")


_SPEC: Final = Record(
    "spec",
    {
        "components": Field(ListOf(_COMPONENT)),
        "service": Field(_SERVICE),
        "volumes": Field(
            ListOf(
                Record(
                    "a volume",
                    {
                        "name": Field(_NameShape(), required=True),
                        "ephemeral": Field(Record("ephemeral", {}, unknown="note")),
                        "hostPath": Field(
                            Record("hostPath", {"path": Field(TEXT, required=True)}, unknown="note")
                        ),
                    },
                    unknown="note",
                )
            )
        ),
        "hostInterfaces": Field(
            ListOf(
                Record(
                    "a host interface",
                    {
                        "namespace": Field(TEXT, required=True),
                        "package": Field(TEXT, required=True),
                        "interfaces": Field(ListOf(TEXT), required=True),
                        "version": Field(Scalar("text", {}, ("text", "number"))),
                        "name": Field(TEXT),
                        **_CONFIG_LAYER,
                    },
                    _host_interface,
                    "note",
                )
            )
        ),
        "hostSelector": _ignored(_NO_CHOICE),
        "hostId": _ignored(_NO_CHOICE),
        "environment": _ignored(_NO_CHOICE),
        "kubernetes": _ignored("there is no cluster here, whose Service it could be"),
    },
    unknown="note",
)

_METADATA_IGNORED: Final = dict.fromkeys(("labels", "annotations"), _ignored("nothing here selects by it"))
_METADATA: Final = Record(
    "metadata",
    {
        "name": Field(_NameShape(), required=True),
        "namespace": Field(_NameShape()),
        **_METADATA_IGNORED,
    },
    unknown="note",
)

_ENVELOPE: Final = {
    "apiVersion": Field(TEXT, required=True),
    "kind": Field(TEXT, required=True),
    "metadata": Field(_METADATA, required=True),
    "status": _ignored("it is what a cluster has noted"),
}

#: `kind: Workload`.
WORKLOAD: Final = Record("a Workload", {**_ENVELOPE, "spec": Field(_SPEC, required=True)}, unknown="note")

#: `kind: WorkloadDeployment` and `WorkloadReplicaSet`.
DEPLOYMENT: Final = Record(
    "a WorkloadDeployment",
    {
        **_ENVELOPE,
        "spec": Field(
            Record(
                "spec",
                {
                    "replicas": Field(integer("number of replicas")),
                    "template": Field(
                        Record(
                            "template",
                            {
                                **{
                                    key: _ignored("nothing here selects by it")
                                    for key in (*_METADATA_IGNORED, "metadata")
                                },
                                "spec": Field(_SPEC, required=True),
                            },
                            unknown="note",
                        ),
                        required=True,
                    ),
                    "kubernetes": _SPEC.fields["kubernetes"],
                    "deployPolicy": _ignored("there is one replica, which is started at once"),
                    "artifacts": _ignored("images are named where they are used"),
                },
                unknown="note",
            ),
            required=True,
        ),
    },
    unknown="note",
)

#: What `configFrom` names, where it is in the same file.
CONFIG_MAP: Final = Record("a ConfigMap", {**_ENVELOPE, "data": Field(_STRINGS)}, unknown="note")

#: What `secretFrom` names, likewise.
SECRET: Final = Record(
    "a Secret",
    {**_ENVELOPE, "data": Field(_STRINGS), "stringData": Field(_STRINGS), "type": Field(TEXT)},
    unknown="note",
)
