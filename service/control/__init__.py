"""A running host seen and steered from other processes of the same user, over a Unix socket.

The protocol: the client sends one line of JSON, the host answers with lines of JSON, of which the last is
``{"ok": true}`` or ``{"error": "..."}``, and closes.
"""

from service.control._client import ControlError, hosts, request
from service.control._directory import ControlDirectoryError, control_directory
from service.control._records import event_as_json, line_as_json, workload_as_json
from service.control._server import serve_control

__all__ = [
    "ControlDirectoryError",
    "ControlError",
    "control_directory",
    "event_as_json",
    "hosts",
    "line_as_json",
    "request",
    "serve_control",
    "workload_as_json",
]
