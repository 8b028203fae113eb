"""What leads out of the guest's network, and into it: `--allow`, `--forward` and `--publish`."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from functools import partial

import trio

from service._exits import FAILED, CommandError
from service._notations import ForwardOption, PublishOption
from service._serving import until_unconnected
from service._terminal import say_from_task
from wasi_sockets import Network, Policy, Rule

__all__ = ["drained", "policy_of", "start"]


def policy_of(rules: Sequence[Rule]) -> Policy | None:
    """The policy of all `--allow`."""
    return Policy(rules) if rules else None


async def start(
    network: Network,
    nursery: trio.Nursery,
    publish: Sequence[PublishOption],
    forward: Sequence[ForwardOption],
) -> None:
    """Start everything that the options name, before the guest.

    Raises:
        CommandError: a port cannot be had.
    """
    if network.policy is not None:
        await nursery.start(network.egress)
    for there in forward:
        context = ssl.create_default_context() if there.tls else None
        bridge = partial(
            network.forward, there.port, there.to, host=there.host, protocol=there.protocol, tls=context
        )
        try:
            await nursery.start(bridge)
        except (OSError, ValueError) as error:
            raise _cannot("--forward", there.text, error) from error
    for here in publish:
        try:
            if here.port is None:
                await nursery.start(network.publish_all)
                continue
            address = await nursery.start(
                partial(
                    network.publish, here.port, host=here.host, port=here.real_port, protocol=here.protocol
                )
            )
        except (OSError, ValueError) as error:
            raise _cannot("--publish", here.text, error) from error
        if not here.real_port:
            await say_from_task(f"--publish {here.text}: at {address}")


async def drained(network: Network, seconds: float) -> None:
    """The guest has ended: wait until what it sent last has gone out, but not for long."""
    with trio.move_on_after(seconds):
        await until_unconnected(network)


def _cannot(option: str, text: str, error: Exception) -> CommandError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if isinstance(error, socket.gaierror):
        reason = str(error)
    return CommandError(f"{option} {text}: {reason}", FAILED)
