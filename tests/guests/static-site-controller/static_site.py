"""What a `StaticSite` wants, as objects, and what is said of it: plain values, no requests."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

__all__ = [
    "API_VERSION",
    "FINALIZER",
    "LABEL",
    "OWNED",
    "collection",
    "new_status",
    "owned_objects",
    "problem",
]

Object = dict[str, Any]

GROUP = "example.wasi-sockets.dev"
API_VERSION = f"{GROUP}/v1"
FINALIZER = f"{GROUP}/static-site"

#: On all that belongs to a site: its name.
LABEL = f"{GROUP}/site"

#: Collections of the objects that belong to a site; `{}` stands for the namespace.
OWNED = (
    "/api/v1/namespaces/{}/configmaps",
    "/apis/apps/v1/namespaces/{}/deployments",
    "/api/v1/namespaces/{}/services",
)


def collection(namespace: str) -> str:
    """Where the sites are."""
    return f"/apis/{API_VERSION}/namespaces/{namespace}/staticsites"


def problem(site: Object) -> str:
    """What is wrong with a site that the schema cannot tell; "" for nothing."""
    files = site["spec"]["files"]
    return "" if "index.html" in files else "files has no index.html"


def owned_objects(site: Object) -> list[Object]:
    """The objects that a site wants, in the order of `OWNED`."""
    name, spec = site["metadata"]["name"], site["spec"]
    labels = {LABEL: name}
    content = hashlib.sha256(json.dumps(spec["files"], sort_keys=True).encode()).hexdigest()[:16]
    owner = {
        "apiVersion": API_VERSION,
        "kind": "StaticSite",
        "name": name,
        "uid": site["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    metadata = {"name": name, "labels": labels, "ownerReferences": [owner]}
    mount = {"name": "site", "mountPath": "/usr/share/nginx/html", "readOnly": True}
    container = {
        "name": "nginx",
        "image": spec.get("image", "nginx:1.27"),
        "ports": [{"name": "http", "containerPort": 80, "protocol": "TCP"}],
        "volumeMounts": [mount],
    }
    # The hash of the files restarts the pods when they change.
    pod = {
        "metadata": {"labels": labels, "annotations": {f"{GROUP}/content": content}},
        "spec": {"containers": [container], "volumes": [{"name": "site", "configMap": {"name": name}}]},
    }
    deployment = {"replicas": spec.get("replicas", 1), "selector": {"matchLabels": labels}, "template": pod}
    port = {"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": spec["files"]},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": deployment},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": [port]},
        },
    ]


def new_status(site: Object, wrong: str, deployment: Object | None, by: str) -> Object:
    """The status of a site: what it was, as far as it has not changed.

    Args:
        site: as it is.
        wrong: what `problem` says.
        deployment: as it is; None when nothing was applied.
        by: who looks after it.
    """
    generation = site["metadata"]["generation"]
    available = 0 if deployment is None else deployment.get("status", {}).get("availableReplicas", 0)
    wanted = site["spec"].get("replicas", 1)
    if wrong:
        found = {"Applied": (False, "InvalidSpec", wrong), "Ready": (False, "InvalidSpec", wrong)}
    else:
        pods = f"{available} of {wanted} pods are available"
        ready = available >= wanted
        found = {
            "Applied": (True, "Applied", "ConfigMap, Deployment and Service are as wanted"),
            "Ready": (ready, "PodsAvailable" if ready else "PodsNotAvailable", pods),
        }
    before = {each["type"]: each for each in site.get("status", {}).get("conditions", ())}
    conditions = [_condition(kind, before.get(kind, {}), generation, *each) for kind, each in found.items()]
    return {"observedGeneration": generation, "appliedBy": by, "conditions": conditions}


def _condition(kind: str, before: Object, generation: int, value: bool, reason: str, message: str) -> Object:
    status = "True" if value else "False"
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": before["lastTransitionTime"] if before.get("status") == status else now,
    }
