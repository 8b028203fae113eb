"""wasmCloud's manifests: what they mean on one host that is no cluster."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterator
from typing import Any, Final, Literal, cast

from service.files._shapes import INVALID, Reading
from service.files._wasmcloud_shapes import (
    CONFIG_MAP,
    DEPLOYMENT,
    SECRET,
    WORKLOAD,
    Guest,
    Named,
    reading_name,
)
from service.files._yaml import Item
from service.spec import (
    ComponentCode,
    ComponentSpec,
    ForwardSpec,
    RestartPolicy,
    ServiceSpec,
    Volume,
    WorkloadSpec,
)
from wasi_sockets import WASMCLOUD_ZONE, Rule

__all__ = ["Manifests"]

_GROUP: Final = "runtime.wasmcloud.dev"
_VERSION: Final = f"{_GROUP}/v1alpha1"
_SERVICE: Final = "service"
_CONFIGURATION: Final = {"ConfigMap": CONFIG_MAP, "Secret": SECRET}


class Manifests:
    """The manifests of one file, which may name each other.

    Args:
        documents: those of the file that have an `apiVersion` or a `kind`.
        reading: what is needed to read them.
    """

    def __init__(self, documents: list[Item], reading: Reading) -> None:
        self._reading = reading
        self._data: dict[tuple[str, str, str], dict[str, str]] = {}
        for document in documents:
            if _text(document, "apiVersion") == "v1" and _text(document, "kind") in _CONFIGURATION:
                self._keep(document)

    def read(self, document: Item) -> WorkloadSpec | None:
        """The workload that a manifest means; None when it means none, or a problem has been told."""
        version, kind = _text(document, "apiVersion"), _text(document, "kind")
        if version == "v1" and kind in _CONFIGURATION:
            return None
        if version.partition("/")[0] != _GROUP or kind not in (
            "Workload",
            "WorkloadDeployment",
            "WorkloadReplicaSet",
        ):
            named = " ".join(each for each in (version, kind) if each)
            self._reading.findings.note(document.line, "", f"ignored: {named or 'this'} is no workload")
            return None
        if version != _VERSION:
            self._reading.findings.note(
                document.line, "apiVersion", f"read as {_VERSION}, which is the one known here"
            )
        shape = WORKLOAD if kind == "Workload" else DEPLOYMENT
        values = shape.read(document, "", self._reading)
        if values is INVALID:
            return None
        spec, where = values["spec"], "spec"
        if kind != "Workload":
            replicas = spec.get("replicas", 1)
            line = document.entries["spec"][1].entries.get("replicas", (document.line, None))[0]
            if replicas == 0:
                self._reading.findings.note(line, "spec.replicas", "0: the workload is not run")
                return None
            if replicas > 1:
                self._reading.findings.note(line, "spec.replicas", f"ignored: one is run, not {replicas}")
            spec, where = spec["template"]["spec"], "spec.template.spec"
        return self._workload(document, values["metadata"], spec, where)

    def _keep(self, document: Item) -> None:
        kind = _text(document, "kind")
        values = _CONFIGURATION[kind].read(document, "", self._reading)
        if values is INVALID:
            return
        data: dict[str, str] = dict(values.get("data", {}))
        if kind == "Secret":
            for key, text in data.items():
                try:
                    data[key] = base64.b64decode(text, validate=True).decode()
                except (binascii.Error, UnicodeDecodeError):
                    data[key] = "\0"
                if "\0" in data[key]:
                    line = document.entries["data"][1].entries[key][0]
                    self._reading.findings.problem(
                        line, f"data.{key}", "not base64 of UTF-8 text without NUL"
                    )
                    return
            data.update(values.get("stringData", {}))
        metadata = values["metadata"]
        self._data[kind, _namespace(metadata), metadata["name"].name] = data

    def _workload(
        self, document: Item, metadata: dict[str, Any], spec: dict[str, Any], where: str
    ) -> WorkloadSpec | None:
        findings = self._reading.findings
        before = len(findings.problems)
        space = _namespace(metadata)
        volumes = self._volumes(spec.get("volumes", ()), where)
        guests: list[Guest] = [*([spec["service"]] if "service" in spec else []), *spec.get("components", ())]
        if not guests:
            findings.problem(document.line, where, "the workload has neither a service nor components")
            return None
        codes = [self._code(guest, volumes, space) for guest in guests]
        services, components = [], []
        names: set[str] = set()
        for guest, code in zip(guests, codes, strict=True):
            if "name" not in guest.values:
                names.add(_SERVICE)
                restart = RestartPolicy("on-failure", budget=guest.values.get("maxRestarts", 0))
                services.append(ServiceSpec(name=_SERVICE, code=code, restart=restart))
                continue
            name = self._name(guest.values["name"], f"{guest.where}.name", names)
            components.append(ComponentSpec(name=name, code=code))
        if len(findings.problems) > before:
            return None
        return WorkloadSpec(
            name=self._name(metadata["name"], "metadata.name", set()),
            namespace=self._name(metadata.get("namespace") or Named(space, 0), "metadata.namespace", set()),
            services=tuple(services),
            components=tuple(components),
            forward=self._forwards(guests),
            allow=self._rules(guests),
            zone_aliases=(WASMCLOUD_ZONE,),
        )

    def _name(self, wanted: Named, where: str, taken: set[str]) -> str:
        """A name as it can be here, and is not taken; a note tells of another one."""
        base = name = reading_name(wanted.name) or "unnamed"
        number = 2
        while name in taken:
            name = f"{base[:59]}-{number}"
            number += 1
        taken.add(name)
        if name != wanted.name:
            self._reading.findings.note(wanted.line, where, f"{wanted.name!r} is called {name!r} here")
        return name

    def _volumes(self, found: tuple[dict[str, Any], ...], where: str) -> dict[str, Volume | str]:
        volumes: dict[str, Volume | str] = {}
        names: set[str] = set()
        for index, each in enumerate(found):
            named: Named = each["name"]
            at = f"{where}.volumes[{index}]"
            if named.name in volumes:
                self._reading.findings.problem(named.line, at, f"the volume {named.name!r} is there twice")
            elif ("hostPath" in each) == ("ephemeral" in each):
                self._reading.findings.problem(named.line, at, "a volume has one of ephemeral and hostPath")
                volumes[named.name] = ""
            elif "hostPath" in each:
                path = self._reading.path(each["hostPath"]["path"])
                if self._reading.look and not os.path.isdir(path):
                    self._reading.findings.problem(
                        named.line, f"{at}.hostPath.path", f"{path!r} is not a directory"
                    )
                volumes[named.name] = path
            else:
                volumes[named.name] = Volume(self._name(named, f"{at}.name", names))
        return volumes

    def _code(self, guest: Guest, volumes: dict[str, Volume | str], namespace: str) -> ComponentCode:
        resources = guest.values.get("localResources", {})
        directories: dict[str, str | os.PathLike[str] | Volume] = {}
        read_only: set[str] = set()
        for index, mount in enumerate(resources.get("volumeMounts", ())):
            named: Named = mount["name"]
            where = f"{guest.where}.localResources.volumeMounts[{index}]"
            if named.name not in volumes:
                known = ", ".join(volumes) or "none"
                text = f"{named.name!r} is no volume of the workload (there: {known})"
                self._reading.findings.problem(named.line, where, text)
                continue
            if mount["mountPath"] in directories:
                self._reading.findings.problem(named.line, where, f"{mount['mountPath']!r} is mounted twice")
            directories[mount["mountPath"]] = volumes[named.name]
            if mount.get("readOnly"):
                read_only.add(mount["mountPath"])
        secret = guest.values.get("imagePullSecret")
        return ComponentCode(
            image=guest.values["image"],
            pull=guest.values.get("imagePullPolicy", "if-not-present"),
            pull_secret=secret.name if secret else "",
            environment=self._environment(guest, resources.get("environment", {}), namespace),
            directories=directories,
            read_only=frozenset(read_only),
        )

    def _environment(self, guest: Guest, layer: dict[str, Any], namespace: str) -> dict[str, str]:
        # The later wins, as in the operator: what stands there, then ConfigMaps, then Secrets.
        made: dict[str, str] = dict(layer.get("config", {}))
        for key, kind in (("configFrom", "ConfigMap"), ("secretFrom", "Secret")):
            for named in filter(None, layer.get(key, ())):
                data = self._data.get((kind, namespace, named.name))
                if data is None:
                    where = f"{guest.where}.localResources.environment.{key}"
                    text = f"ignored: the file has no {kind} {named.name!r}; its variables are not set"
                    self._reading.findings.note(named.line, where, text)
                    continue
                made.update(data)
        return made

    def _forwards(self, guests: list[Guest]) -> tuple[ForwardSpec, ...]:
        made: dict[tuple[int, str], ForwardSpec] = {}
        for port, protocol in self._granted(guests, "allowedHostLoopbackPorts"):
            kind = cast(Literal["tcp", "udp"], protocol)
            made[port, protocol] = ForwardSpec(port, ("127.0.0.1", port), "host.internal", protocol=kind)
        return tuple(made.values())

    def _rules(self, guests: list[Guest]) -> tuple[Rule, ...]:
        found: list[Rule] = []
        for key in ("allowedHosts", "allowedIpNameLookups"):
            found += [rule for rule in self._granted(guests, key) if rule is not None and rule not in found]
        return tuple(rule for rule in found if not self._stays_inside(rule, guests))

    def _stays_inside(self, rule: Rule, guests: list[Guest]) -> bool:
        # The policy keeps these inside whatever its rules say.
        inside = "localhost" in rule.names or any(each.is_loopback for each in rule.networks)
        if inside:
            where = guests[0].where.partition(".components")[0].removesuffix(".service")
            text = (
                f"ignored: {rule}: the workload's own network; allowedHostLoopbackPorts leads to this machine"
            )
            self._reading.findings.note(guests[0].line, where, text)
        return inside

    def _granted(self, guests: list[Guest], key: str) -> Iterator[Any]:
        """What any of the guests may: one network has one policy."""
        lists = [guest.values.get("localResources", {}).get(key, ()) for guest in guests]
        for guest, granted in zip(guests, lists, strict=True):
            if granted and any(set(other) != set(granted) for other in lists):
                self._reading.findings.note(
                    guest.line, f"{guest.where}.localResources.{key}", "goes for the whole workload here"
                )
            yield from granted


def _text(document: Item, key: str) -> str:
    return document.entries[key][1].text if key in document.entries else ""


def _namespace(metadata: dict[str, Any]) -> str:
    named = metadata.get("namespace")
    return named.name if named and named.name else "default"
