"""An operator: runs the `Workload` resources of a Kubernetes cluster on hosts like this one.

Kubernetes schedules the hosts, each host runs workloads: those that a label selector gives it, or, of several that see
the same ones, those whose Lease it holds. `wasi-sockets operator` is the command.
"""

from __future__ import annotations

from service.kubernetes.operator._admission import DEFAULT_MEMORY, Allowance, NotAdmittedError, admitted
from service.kubernetes.operator._api import Api, ApiError
from service.kubernetes.operator._operator import Operator

__all__ = ["DEFAULT_MEMORY", "Allowance", "Api", "ApiError", "NotAdmittedError", "Operator", "admitted"]
