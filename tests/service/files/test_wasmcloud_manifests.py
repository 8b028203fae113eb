"""wasmCloud's manifests are taken as they are, and what is ignored is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.files import Loaded, WorkloadFileError, read_workloads
from service.spec import (
    ComponentCode,
    ComponentSpec,
    ForwardSpec,
    RestartPolicy,
    ServiceSpec,
    Volume,
    WorkloadSpec,
)
from wasi_sockets import WASMCLOUD_ZONE, Allow

_VERSION = "runtime.wasmcloud.dev/v1alpha1"

_ALL = """\
apiVersion: runtime.wasmcloud.dev/v1alpha1
kind: Workload
metadata:
  name: tasks
  namespace: shop
  labels: {app: tasks}
  finalizers: [some]
spec:
  hostSelector: {hostgroup: default}
  hostId: "1"
  environment: eu
  kubernetes: {service: {name: tasks}}
  service:
    image: registry.example.com/shop/api:1
    imagePullPolicy: Always
    imagePullSecret: {name: shop}
    maxRestarts: 5
    localResources:
      environment:
        config: {LEVEL: debug, PORT: 7777}
        configFrom: [{name: common}, {name: missing}]
        secretFrom: [{name: keys}]
      config: {a: b}
      allowedHosts: ["https://api.example.com/", "*.example.org:8443", db.example.com, localhost]
      allowedIpNameLookups: ["*.example.net", 10.0.0.1]
      allowedHostLoopbackPorts: ["5432", 53/UDP]
      volumeMounts:
        - {name: scratch, mountPath: /tmp}
        - {name: data, mountPath: /data, readOnly: true}
      memoryLimitMb: 64
  components:
    - name: Report_1
      image: registry.example.com/shop/report:1
      imagePullPolicy: IfNotPresent
      poolSize: 3
      maxInvocations: 10
      maxConcurrency: 2
      localResources:
        allowedHosts: ["*"]
        environment:
    - name: service
      image: registry.example.com/shop/other:1
  volumes:
    - {name: scratch, ephemeral: {}}
    - {name: data, hostPath: {path: DATA}}
  hostInterfaces:
    - {namespace: wasi, package: http, interfaces: [incoming-handler], config: {host: localhost}}
    - {namespace: wasi, package: sockets, version: 0.2.0, interfaces: [tcp, udp]}
    - {namespace: wasi, package: cli, interfaces: [run], config: {a: b}}
    - {namespace: wasmcloud, package: messaging, interfaces: [handler]}
status: {hostId: x}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: common, namespace: shop}
data: {LEVEL: info, REGION: eu}
---
apiVersion: v1
kind: Secret
type: Opaque
metadata: {name: keys, namespace: shop}
data: {KEY: c2VjcmV0}
stringData: {REGION: us}
---
apiVersion: v1
kind: Service
"""


def read(text: str, **options: object) -> Loaded:
    return read_workloads("w.yaml", text=text, environment={}, look=False, **options)  # type: ignore[arg-type]


def test_everything_that_a_manifest_can_say(tmp_path: Path) -> None:
    loaded = read(_ALL.replace("DATA", str(tmp_path)))
    assert loaded.workloads == (
        WorkloadSpec(
            name="tasks",
            namespace="shop",
            services=(
                ServiceSpec(
                    name="service",
                    code=ComponentCode(
                        image="registry.example.com/shop/api:1",
                        pull="always",
                        pull_secret="shop",
                        environment={"LEVEL": "info", "PORT": "7777", "REGION": "us", "KEY": "secret"},
                        directories={"/tmp": Volume("scratch"), "/data": str(tmp_path)},
                        read_only=frozenset({"/data"}),
                    ),
                    restart=RestartPolicy("on-failure", budget=5),
                ),
            ),
            components=(
                ComponentSpec(
                    name="report-1", code=ComponentCode(image="registry.example.com/shop/report:1")
                ),
                ComponentSpec(
                    name="service-2", code=ComponentCode(image="registry.example.com/shop/other:1")
                ),
            ),
            forward=(
                ForwardSpec(5432, ("127.0.0.1", 5432), "host.internal"),
                ForwardSpec(53, ("127.0.0.1", 53), "host.internal", protocol="udp"),
            ),
            allow=(
                Allow.connect("api.example.com", ports=443),
                Allow.connect("*.example.org", ports=8443),
                Allow.connect("db.example.com"),
                Allow.connect("*", "public"),
                Allow.lookup("*.example.net"),
            ),
            zone_aliases=(WASMCLOUD_ZONE,),
        ),
    )
    nothing_selects, one_host = (
        "ignored: nothing here selects by it",
        "ignored: there is one host, and it is this one",
    )
    no_pool = "ignored: a component is run once here, not kept warm for calls"
    resources = "spec.service.localResources"
    assert [str(each).removeprefix("w.yaml:") for each in loaded.notes] == [
        f"6: metadata.labels: {nothing_selects}",
        "7: metadata.finalizers: ignored: unknown here",
        f"9: spec.hostSelector: {one_host}",
        f"10: spec.hostId: {one_host}",
        f"11: spec.environment: {one_host}",
        "12: spec.kubernetes: ignored: there is no cluster here, whose Service it could be",
        f"13: {resources}.allowedHostLoopbackPorts: goes for the whole workload here",
        f"13: {resources}.allowedHosts: goes for the whole workload here",
        f"13: {resources}.allowedIpNameLookups: goes for the whole workload here",
        "13: spec: ignored: allow connect localhost: the workload's own network;"
        " allowedHostLoopbackPorts leads to this machine",
        f"21: {resources}.environment.configFrom: ignored: the file has no ConfigMap 'missing';"
        " its variables are not set",
        f"23: {resources}.config: ignored: there is no wasi:config here; give variables in `environment`",
        f"30: {resources}.memoryLimitMb: ignored: unknown here",
        "32: spec.components[0].name: 'Report_1' is called 'report-1' here",
        "32: spec.components[0].localResources.allowedHosts: goes for the whole workload here",
        f"35: spec.components[0].poolSize: {no_pool}",
        f"36: spec.components[0].maxInvocations: {no_pool}",
        f"37: spec.components[0].maxConcurrency: {no_pool}",
        "41: spec.components[1].name: 'service' is called 'service-2' here",
        "47: spec.hostInterfaces[0]: ignored: wasi:http/incoming-handler: requests from outside reach no component"
        " here, and those that components send are refused",
        "49: spec.hostInterfaces[2]: config ignored: wasi:cli takes none here",
        "50: spec.hostInterfaces[3]: ignored: wasmcloud:messaging/handler: this host has no such interface;"
        " a component that imports it does not start",
        "51: status: ignored: it is what a cluster has noted",
        "65: ignored: v1 Service is no workload",
    ]


def deployment(
    kind: str = "WorkloadDeployment", version: str = "v1alpha1", replicas: str = "1", **spec: str
) -> str:
    entries = {"components": "[{name: b, image: c}]", **spec}
    return (
        f"apiVersion: runtime.wasmcloud.dev/{version}\nkind: {kind}\nmetadata: {{name: a}}\nspec:\n"
        f"  replicas: {replicas}\n  template:\n    spec:\n"
        + "".join(f"      {key}: {value}\n" for key, value in entries.items())
    )


@pytest.mark.parametrize("kind", ["WorkloadDeployment", "WorkloadReplicaSet"])
def test_deployments_hold_a_workload(kind: str) -> None:
    loaded = read(deployment(kind))
    assert (loaded.workloads[0].id, loaded.notes) == ("default/a", ())
    assert loaded.workloads[0].components == (ComponentSpec(name="b", code=ComponentCode(image="c")),)


@pytest.mark.parametrize(
    ("text", "workloads", "note"),
    [
        (deployment(replicas="3"), 1, "5: spec.replicas: ignored: one is run, not 3"),
        (deployment(replicas="0"), 0, "5: spec.replicas: 0: the workload is not run"),
        (deployment(version="v2"), 1, f"1: apiVersion: read as {_VERSION}, which is the one known here"),
        (deployment(kind="Host"), 0, f"1: ignored: {_VERSION} Host is no workload"),
        ("kind: Workload", 0, "1: ignored: Workload is no workload"),
    ],
)  # fmt: skip
def test_what_is_noted(text: str, workloads: int, note: str) -> None:
    loaded = read(text)
    assert len(loaded.workloads) == workloads
    assert [str(each).removeprefix("w.yaml:") for each in loaded.notes] == [note]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"components": "[]"}, "1: spec.template.spec: the workload has neither a service nor components"),
        ({"components": "[{name: b}]"}, "8: spec.template.spec.components[0]: a component needs 'image'"),
        ({"components": "[{name: b, image: ''}]"}, "8: spec.template.spec.components[0].image: image ''"),
        (
            {"components": "[{name: b, image: c, imagePullPolicy: Sometimes}]"},
            "components[0].imagePullPolicy: expected Always, IfNotPresent or Never, not 'Sometimes'",
        ),
        ({"service": "{image: c, maxRestarts: -1}"}, "9: spec.template.spec.service.maxRestarts: -1 is no number of"),
        ({"volumes": "[{name: v}]"}, "9: spec.template.spec.volumes[0]: a volume has one of ephemeral and hostPath"),
        (
            {"volumes": "[{name: v, ephemeral: {}}, {name: v, ephemeral: {}}]"},
            "9: spec.template.spec.volumes[1]: the volume 'v' is there twice",
        ),
        *(
            ({"service": f"{{image: c, localResources: {{{resources}}}}}"}, message)
            for resources, message in (
                ("volumeMounts: [{name: v, mountPath: /x}]", "'v' is no volume of the workload (there: none)"),
                ("allowedHosts: ['https://a/b']", "'https://a/b': expected [SCHEME://]HOST[:PORT]"),
                ("allowedHosts: ['*foo']", "not a host name: '*foo'"),
                ("allowedHosts: ['a:70000']", "ports must be in 0..65535: 70000"),
                ("allowedIpNameLookups: ['http://a']", "'http://a'"),
                ("allowedHostLoopbackPorts: [0]", "'0' is no port (1 to 65535)"),
                ("allowedHostLoopbackPorts: [1/sctp]", "'1/sctp': expected PORT, PORT/tcp or PORT/udp"),
            )
        ),
    ],
)  # fmt: skip
def test_what_no_host_could_run_is_refused(spec: dict[str, str], message: str) -> None:
    with pytest.raises(WorkloadFileError) as refused:
        read(deployment(**spec))
    assert any(message in str(each) for each in refused.value.problems), str(refused.value)


def test_a_secret_that_is_not_base64() -> None:
    secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata:\n  A: '*'\n"
    with pytest.raises(WorkloadFileError, match=r"data\.A: not base64 of UTF-8 text"):
        read(deployment() + secret)


def test_a_host_path_has_to_be_there(tmp_path: Path) -> None:
    text = deployment(volumes=f"[{{name: v, hostPath: {{path: {tmp_path / 'x'}}}}}]")
    with pytest.raises(WorkloadFileError, match="is not a directory"):
        read_workloads("w.yaml", text=text)
    assert read(text).workloads
