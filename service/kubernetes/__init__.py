"""Kubernetes: an API gateway for services that have neither TLS nor credentials.

Needs the extra `kubernetes`: `pip install 'wasi-sockets[kubernetes]'`.
"""

from __future__ import annotations

from service.identity import acting_as, service_of
from service.kubernetes.credentials import ApiServer, in_cluster
from service.kubernetes.gateway import Gateway
from service.kubernetes.kubeconfig import load_kubeconfig
from service.kubernetes.rules import AccessRule

__all__ = ["AccessRule", "ApiServer", "Gateway", "acting_as", "in_cluster", "load_kubeconfig", "service_of"]
