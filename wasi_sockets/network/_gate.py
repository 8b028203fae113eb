"""A policy at work in one network: what was denied, to whom it is told, and which addresses names have led to."""

from __future__ import annotations

import logging
import socket
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Final

from wasi_sockets import telemetry
from wasi_sockets.network._address import IpAddress, SocketAddress
from wasi_sockets.network._policy import Decision, Denial, Policy, PolicyDenied, Reason, Use, canonical_ip

__all__ = ["Gate"]

_logger: Final = logging.getLogger("wasi_sockets.policy")

#: How many denials are kept to be looked at.
_KEPT_DENIALS: Final = 256

#: How many different denials are logged as warnings, the rest as debug: a guest must not be able to fill a disk.
_KNOWN_DENIALS: Final = 1024

# What a name has led to may be used for an hour after the last lookup: programs keep addresses for longer than
# DNS says, and the resolver does not tell how long that is.
_GRANT_SECONDS: Final = 3600.0
_GRANTED_ADDRESSES: Final = 4096


class Gate:
    """Asks the policy, counts and tells what it denies.

    Attributes:
        policy: whose rules count.
        counts: denials so far, by use; in audit mode those that were let through.
        reasons: the same, by use and reason.
        recent: the last of them, oldest first.
    """

    __slots__ = ("_clock", "_granted", "_known", "counts", "policy", "reasons", "recent")

    def __init__(self, policy: Policy, clock: Callable[[], float]) -> None:
        self.policy: Final = policy
        self.counts: Final[Counter[Use]] = Counter()
        self.reasons: Final[Counter[tuple[Use, Reason]]] = Counter()
        self.recent: Final[deque[Denial]] = deque(maxlen=_KEPT_DENIALS)
        self._clock: Final = clock
        self._known: Final[set[tuple[object, ...]]] = set()
        # Address -> the names that led to it, each with the time until which that counts.
        self._granted: Final[OrderedDict[IpAddress, dict[str, float]]] = OrderedDict()

    def admit(self, use: Use, address: SocketAddress, *, leaves: bool = False, owner: object = None) -> None:
        """Let a use of an address pass.

        Raises:
            PolicyDenied: if the policy does not allow it.
        """
        denial = self._judge(use, address, leaves, None, owner)
        if denial is not None:
            raise PolicyDenied(denial)

    def permits(
        self,
        use: Use,
        peer: SocketAddress,
        *,
        port: int | None = None,
        leaves: bool = False,
        owner: object = None,
    ) -> bool:
        """Whether something may pass, for those who drop it otherwise.

        Args:
            use: what it is.
            peer: the other side's address.
            port: the own one, for what comes in.
            leaves: whether it needs a rule.
            owner: of the socket.
        """
        return self._judge(use, peer, leaves, port, owner) is None

    def admit_lookup(self, name: str, *, leaves: bool, owner: object = None) -> None:
        """Let a lookup pass.

        Raises:
            socket.gaierror: EAI_FAIL if the policy does not allow it.
        """
        decision = self.policy.decide_lookup(name, leaves=leaves)
        if not decision.allowed and (denial := self._deny("lookup", None, name, decision, owner)) is not None:
            raise socket.gaierror(socket.EAI_FAIL, str(denial))

    def answers(self, name: str, addresses: Iterable[IpAddress], *, owner: object = None) -> list[IpAddress]:
        """Those addresses that the real resolver's answer may tell. They may then be used as the name's."""
        told: list[IpAddress] = []
        until = self._clock() + _GRANT_SECONDS
        for address in addresses:
            ip = canonical_ip(address)
            decision = self.policy.decide_answer(name, ip)
            if (
                not decision.allowed
                and self._deny("lookup", SocketAddress(ip, 0), name, decision, owner) is not None
            ):
                continue
            if ip not in told:
                told.append(ip)
                self._grant(ip, name, until)
        return told

    def _grant(self, ip: IpAddress, name: str, until: float) -> None:
        granted = self._granted
        names = granted.setdefault(ip, {})
        names.pop(name, None)
        if len(names) >= 64:  # one address may have as many names as somebody likes to give it
            del names[next(iter(names))]
        names[name] = until
        granted.move_to_end(ip)
        if len(granted) > _GRANTED_ADDRESSES:
            granted.popitem(last=False)

    def _names_of(self, ip: IpAddress) -> list[str]:
        names = self._granted.get(canonical_ip(ip))
        if names is None:
            return []
        now = self._clock()
        return [name for name, until in names.items() if now < until]

    def _judge(
        self, use: Use, address: SocketAddress, leaves: bool, port: int | None, owner: object
    ) -> Denial | None:
        names = self._names_of(address.ip)
        decision = self.policy.decide(use, address, leaves=leaves, port=port, names=names)
        if decision.allowed:
            return None
        return self._deny(use, address, names[0] if names else None, decision, owner)

    def _deny(
        self, use: Use, address: SocketAddress | None, name: str | None, decision: Decision, owner: object
    ) -> Denial | None:
        """Tell of a denial; None in audit mode, where it is none."""
        reason = decision.reason
        if reason is None:
            raise ValueError(f"nothing was denied: {decision}")
        enforced = self.policy.mode == "enforce" or reason is Reason.NEVER_LEAVES
        denial = Denial(use, address, name, reason, decision.rule, enforced, owner)
        self.counts[use] += 1
        self.reasons[use, reason] += 1
        self.recent.append(denial)
        # The peer's port differs each time for what comes in.
        port = address.port if address is not None and use not in ("accept", "receive") else 0
        key = (use, None if address is None else address.ip, port, name, reason)
        known = self._known
        attributes = _attributes(denial)
        telemetry.event("wasi_sockets.policy.denied", attributes)
        if key in known or len(known) >= _KNOWN_DENIALS:
            _logger.debug("%s", denial)
        else:
            known.add(key)
            telemetry.log(
                _logger, logging.WARNING, "wasi_sockets.policy.denied", "%s", denial, attributes=attributes
            )
        return denial if enforced else None


def _attributes(denial: Denial) -> dict[str, telemetry.Value]:
    attributes: dict[str, telemetry.Value] = {
        "wasi_sockets.policy.use": denial.use,
        "wasi_sockets.policy.reason": denial.reason.value,
        "wasi_sockets.policy.enforced": denial.enforced,
    }
    if denial.address is not None:
        attributes["network.peer.address"] = str(denial.address.ip)
        attributes["network.peer.port"] = denial.address.port
    if denial.name is not None:
        attributes["dns.question.name"] = denial.name
    return attributes
