"""Components from OCI registries: pulled, verified, and kept by digest.

Needs the extra `workloads`: `pip install 'wasi-sockets[workloads]'`. Nothing here uses the network before `pull`.
"""

from service.oci._credentials import Credentials, Secret, docker_credentials
from service.oci._errors import PullError, Reason
from service.oci._pull import DEFAULT_MAX_BYTES, PulledComponent, pull
from service.oci._reference import Reference

__all__ = [
    "DEFAULT_MAX_BYTES",
    "Credentials",
    "PullError",
    "PulledComponent",
    "Reason",
    "Reference",
    "Secret",
    "docker_credentials",
    "pull",
]
