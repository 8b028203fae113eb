"""Workload files: YAML in, `service.spec.WorkloadSpec` out, every message with its line.

Needs the extra `workloads`: `pip install 'wasi-sockets[workloads]'`.
"""

from service.files._findings import Finding, WorkloadFileError
from service.files._read import Loaded, read_workloads

__all__ = ["Finding", "Loaded", "WorkloadFileError", "read_workloads"]
