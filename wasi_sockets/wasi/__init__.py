"""What a guest is given, and every function that it can call, by WASI version (`p2/`)."""

from __future__ import annotations

from wasi_sockets.wasi.descriptors import receive_from, send_to
from wasi_sockets.wasi.host import Host
from wasi_sockets.wasi.limits import Limits
from wasi_sockets.wasi.pipes import InputPipe, OutputPipe

__all__ = ["Host", "InputPipe", "Limits", "OutputPipe", "receive_from", "send_to"]
