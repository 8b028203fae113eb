"""What a network's sockets may do, as a list of rules: plain values, which decide and do nothing else.

Rules:

1. The first rule that matches decides. Without one, what stays inside the network is allowed, and what would
   leave it is denied.
2. Addresses are judged in their canonical form: an IPv4-mapped one is the IPv4 address. A Deny rule also matches
   the IPv4 address inside a 6to4, Teredo or NAT64 one, since that is where such a packet ends.
3. A name in a rule for `connect` or `send` allows looking it up, and then the addresses that the lookup gave, as far
   as they are public: whoever owns a name must not thereby choose which of *our* machines can be reached (DNS
   rebinding). Others want a rule with their address.
4. Loopback, wildcard, multicast and broadcast addresses never leave the network, whatever the rules say.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final, Literal, NamedTuple, TypeAlias

from wasi_sockets.network._address import IpAddress, SocketAddress
from wasi_sockets.network._names import canonical_name

__all__ = [
    "Allow",
    "Denial",
    "Deny",
    "Policy",
    "PolicyDenied",
    "PolicyMode",
    "Reason",
    "Rule",
    "Use",
    "can_leave",
    "canonical_ip",
    "is_public",
]

#: What is done with an address or a name. TCP: listen, connect, accept. UDP: send, receive. Both: bind.
Use: TypeAlias = Literal["bind", "listen", "connect", "accept", "send", "receive", "lookup"]

PolicyMode: TypeAlias = Literal["enforce", "audit"]
IpNetwork: TypeAlias = IPv4Network | IPv6Network
#: An address, a range like "203.0.113.0/24", "public", or a name like "api.example.com" or "*.example.com".
Target: TypeAlias = str | IpAddress | IpNetwork
#: A port, a range of them, or several of both.
Ports: TypeAlias = int | range | Iterable[int | range]

_NAT64: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_MAPPED: Final = IPv6Network("::ffff:0:0/96")


def canonical_ip(ip: IpAddress) -> IpAddress:
    """The IPv4 address for an IPv4-mapped one, any other as it is."""
    return (ip.ipv4_mapped or ip) if isinstance(ip, IPv6Address) else ip


def _embedded(ip: IpAddress) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses that a canonical IPv6 one leads to."""
    if isinstance(ip, IPv4Address):
        return ()
    found: list[IPv4Address] = []
    if ip.sixtofour is not None:
        found.append(ip.sixtofour)
    if ip.teredo is not None:
        found.extend(ip.teredo)
    if any(ip in network for network in _NAT64):
        found.append(IPv4Address(int(ip) & 0xFFFF_FFFF))
    return tuple(found)


def is_public(ip: IpAddress) -> bool:
    """Whether it is an address of the Internet at large: not private, link-local, shared or special."""
    ip = canonical_ip(ip)
    if ip.is_multicast or not can_leave(ip):
        return False
    if isinstance(ip, IPv6Address) and ip in _NAT64[0]:
        return all(is_public(each) for each in _embedded(ip))
    return ip.is_global and all(is_public(each) for each in _embedded(ip))


def can_leave(ip: IpAddress) -> bool:
    """Whether the address may be one outside, under whatever rules (rule 4)."""
    ip = canonical_ip(ip)
    number = int(ip)
    if isinstance(ip, IPv4Address):
        # 0.0.0.0/8 is "this network", which some systems take for this machine.
        return number >> 24 not in (0, 127) and not ip.is_multicast and number != 0xFFFF_FFFF
    # ::/96 holds ::, ::1 and the IPv4-compatible ones, which nobody routes.
    return number >> 32 != 0 and not ip.is_multicast


class Reason(StrEnum):
    """Why something was denied."""

    RULE = "rule"
    """A Deny rule matched."""
    NO_RULE = "no-rule"
    """It would leave the network, and no rule allows that."""
    NEVER_LEAVES = "never-leaves"
    """An address that never leaves the network: loopback, multicast..."""
    REBINDING = "rebinding"
    """A name's answer that is no public address, and no rule has the address."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; make it with `Allow` or `Deny`. Addresses and names are alternatives; without any, all match.

    Attributes:
        verdict: "allow" or "deny".
        use: what it is about.
        networks: ranges of addresses: of the peer, and for `bind` and `listen` the own one.
        public: whether all public addresses are meant too.
        names: lower-case patterns.
        ports: first and last of each range: of the peer, and for whatever comes in, the own one.
    """

    verdict: Literal["allow", "deny"]
    use: Use
    networks: tuple[IpNetwork, ...] = ()
    public: bool = False
    names: tuple[str, ...] = ()
    ports: tuple[tuple[int, int], ...] = ()

    def __str__(self) -> str:
        targets = [*map(str, self.networks), *(["public"] if self.public else []), *self.names]
        ports = [str(first) if first == last else f"{first}-{last}" for first, last in self.ports]
        text = f"{self.verdict} {self.use} {','.join(targets) or 'all'}"
        return f"{text} ports {','.join(ports)}" if ports else text

    def matches_port(self, port: int) -> bool:
        """Whether the port is one of the rule's."""
        return not self.ports or any(first <= port <= last for first, last in self.ports)

    def matches_name(self, name: str) -> bool:
        """Whether a lower-case name is one of the rule's."""
        return any(
            pattern == name or pattern == "*" or (pattern[0] == "*" and name.endswith(pattern[1:]))
            for pattern in self.names
        )

    def matches_address(self, ip: IpAddress) -> bool:
        """Whether a canonical address is one of the rule's by itself, without the names that led to it."""
        if not (self.networks or self.public or self.names):
            return True
        forms: tuple[IpAddress, ...] = (ip, *_embedded(ip)) if self.verdict == "deny" else (ip,)
        if any(form in network for network in self.networks for form in forms):
            return True
        return self.public and is_public(ip)


class _Maker:
    """Makes rules of one verdict, a method for each use."""

    __slots__ = ("_verdict",)

    def __init__(self, verdict: Literal["allow", "deny"]) -> None:
        self._verdict: Final = verdict

    def bind(self, *targets: Target, ports: Ports | None = None) -> Rule:
        """Take a port, of TCP or UDP, at these own addresses."""
        return self._make("bind", targets, ports)

    def listen(self, *targets: Target, ports: Ports | None = None) -> Rule:
        """Listen for TCP connections at these own addresses."""
        return self._make("listen", targets, ports)

    def connect(self, *targets: Target, ports: Ports | None = None) -> Rule:
        """Connect by TCP to these addresses or names."""
        return self._make("connect", targets, ports)

    def accept(self, *targets: Target, ports: Ports | None = None) -> Rule:
        """Let TCP connections in from these addresses, to these own ports."""
        return self._make("accept", targets, ports)

    def send(self, *targets: Target, ports: Ports | None = None) -> Rule:
        """Send UDP datagrams to these addresses or names. Answers may come back."""
        return self._make("send", targets, ports)

    def receive(self, *targets: Target, ports: Ports | None = None) -> Rule:
        """Let UDP datagrams in from these addresses, to these own ports."""
        return self._make("receive", targets, ports)

    def lookup(self, *names: str) -> Rule:
        """Look these names up with the real resolver; of what the network knows, a Deny rule forbids it."""
        rule = self._make("lookup", names, None)
        if rule.networks or rule.public:
            raise ValueError("a rule for lookups takes names, not addresses")
        return rule

    def _make(self, use: Use, targets: Sequence[Target], ports: Ports | None) -> Rule:
        networks: list[IpNetwork] = []
        names: list[str] = []
        public = False
        for target in targets:
            if target == "public":
                public = True
                continue
            network = _network_of(target)
            if network is not None:
                networks.append(network)
            elif use in ("connect", "send", "lookup"):
                names.append(_pattern_of(str(target)))
            else:
                raise ValueError(f"not an address or a range of addresses: {target!r}")
        return Rule(self._verdict, use, tuple(networks), public, tuple(names), _ranges_of(ports))


#: Makes rules that allow: `Allow.connect("203.0.113.0/24", ports=443)`.
Allow: Final = _Maker("allow")

#: Makes rules that deny: `Deny.connect("10.0.0.0/8")`.
Deny: Final = _Maker("deny")


def _network_of(target: Target) -> IpNetwork | None:
    # What holds a slash or a colon, or digits and dots only, can only be meant as an address.
    if isinstance(target, str) and not ("/" in target or ":" in target or target.replace(".", "").isdigit()):
        return None
    network = target if isinstance(target, IPv4Network | IPv6Network) else ip_network(target)
    if isinstance(network, IPv6Network) and network.prefixlen >= 96 and network.subnet_of(_MAPPED):
        return IPv4Network((int(network.network_address) & 0xFFFF_FFFF, network.prefixlen - 96))
    return network


def _pattern_of(text: str) -> str:
    if text == "*":
        return text
    if text.startswith("*."):
        return f"*.{canonical_name(text[2:])}"
    return canonical_name(text)


def _ranges_of(ports: Ports | None) -> tuple[tuple[int, int], ...]:
    if ports is None:
        return ()
    wanted = "ports must be an int, such as 443, a range, or a list of these"
    if isinstance(ports, str | bytes) or not isinstance(ports, int | Iterable):
        raise TypeError(f"{wanted}, not {ports!r}")
    found: list[tuple[int, int]] = []
    for each in (ports,) if isinstance(ports, int | range) else tuple(ports):
        if not isinstance(each, int | range):
            raise TypeError(f"{wanted}, and holds {each!r}")
        if isinstance(each, range) and each.step != 1:
            raise ValueError(f"a range of ports goes in steps of 1: {each!r}")
        first, last = (each.start, each.stop - 1) if isinstance(each, range) else (each, each)
        if not 0 <= first <= last <= 65535:
            raise ValueError(f"ports must be in 0..65535: {each!r}")
        found.append((first, last))
    if not found:
        raise ValueError("no ports: leave `ports` out for all of them")
    return tuple(found)


class Decision(NamedTuple):
    """What the rules say.

    Attributes:
        allowed: whether it may be done.
        reason: why not, when it may not.
        rule: the one that decided, None when none matched.
    """

    allowed: bool
    reason: Reason | None = None
    rule: Rule | None = None


_ALLOWED: Final = Decision(True)


@dataclass(frozen=True, slots=True)
class Policy:
    """Which uses of addresses and names a network allows. The rules are those of this module.

        Policy([Allow.connect("api.example.com", "203.0.113.0/24", ports=443), Deny.listen(ports=range(1, 1024))])

    Args:
        rules: the first that matches decides.
        mode: "enforce", or "audit", which allows what it would deny, but counts and logs it.
    """

    rules: Sequence[Rule] = ()
    mode: PolicyMode = "enforce"
    _by_use: dict[Use, tuple[Rule, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.mode not in ("enforce", "audit"):
            raise ValueError(f"mode must be 'enforce' or 'audit', not {self.mode!r}")
        if isinstance(self.rules, str | Rule):
            raise TypeError(f"rules must be a list of rules, not {type(self.rules).__name__}")
        object.__setattr__(self, "rules", tuple(self.rules))
        for rule in self.rules:
            if not isinstance(rule, Rule):
                raise TypeError(
                    f"a rule is made by Allow or Deny, as in Allow.connect('example.com', ports=443), not {rule!r}"
                )
        by_use: dict[Use, list[Rule]] = {}
        for rule in self.rules:
            by_use.setdefault(rule.use, []).append(rule)
            if rule.names and rule.verdict == "allow" and rule.use != "lookup":
                by_use.setdefault("lookup", []).append(rule)
        object.__setattr__(self, "_by_use", {use: tuple(rules) for use, rules in by_use.items()})

    def concerns(self, use: Use) -> bool:
        """Whether any rule could deny this use inside the network."""
        return any(rule.verdict == "deny" for rule in self._by_use.get(use, ()))

    def decide(
        self,
        use: Use,
        address: SocketAddress,
        *,
        leaves: bool,
        port: int | None = None,
        names: Collection[str] = (),
    ) -> Decision:
        """Decide about an address.

        Args:
            use: anything but "lookup".
            address: the peer's, or for `bind` and `listen` the own one.
            leaves: whether it is denied without a rule, as what leaves the network is.
            port: instead of the address's, for what comes in.
            names: those that the address was found by.
        """
        ip = canonical_ip(address.ip)
        if leaves and not can_leave(ip):
            return Decision(False, Reason.NEVER_LEAVES)
        number = address.port if port is None else port
        reason = Reason.NO_RULE
        for rule in self._by_use.get(use, ()):
            if not rule.matches_port(number):
                continue
            matches = rule.matches_address(ip)
            if not matches and any(map(rule.matches_name, names)):
                matches = rule.verdict == "deny" or is_public(ip)
                if not matches:
                    reason = Reason.REBINDING
            if matches:
                return (
                    Decision(True, None, rule)
                    if rule.verdict == "allow"
                    else Decision(False, Reason.RULE, rule)
                )
        return Decision(False, reason) if leaves else _ALLOWED

    def decide_lookup(self, name: str, *, leaves: bool) -> Decision:
        """Decide about looking up a lower-case name, with the real resolver if it `leaves`."""
        for rule in self._by_use.get("lookup", ()):
            if not rule.names or rule.matches_name(name):
                return (
                    Decision(True, None, rule)
                    if rule.verdict == "allow"
                    else Decision(False, Reason.RULE, rule)
                )
        return Decision(False, Reason.NO_RULE) if leaves else _ALLOWED

    def decide_answer(self, name: str, ip: IpAddress) -> Decision:
        """Decide whether an address that the real resolver gave for `name` may be told (rules 3 and 4)."""
        ip = canonical_ip(ip)
        if not can_leave(ip):
            return Decision(False, Reason.NEVER_LEAVES)
        if is_public(ip):
            return _ALLOWED
        for use in ("connect", "send"):
            for rule in self._by_use.get(use, ()):
                if rule.verdict == "allow" and rule.matches_address(ip):
                    return Decision(True, None, rule)
        return Decision(False, Reason.REBINDING)


@dataclass(frozen=True, slots=True)
class Denial:
    """Something that was denied, or in audit mode would have been.

    Attributes:
        use: what was tried.
        address: with which peer, or at which own address; for a lookup the answer that was withheld, if that was it.
        name: the name looked up, or that the address was found by.
        reason: why.
        rule: the Deny rule, if one did it.
        enforced: False in audit mode, where it was done all the same.
        owner: of the socket, as given to the network.
    """

    use: Use
    address: SocketAddress | None
    name: str | None
    reason: Reason
    rule: Rule | None
    enforced: bool
    owner: object = field(repr=False)

    def __str__(self) -> str:
        if self.address is None:
            what = self.name
        elif self.use == "lookup":
            what = f"{self.name} -> {self.address.ip}"
        else:
            what = str(self.address) if self.name is None else f"{self.address} ({self.name})"
        why = self.reason.value if self.rule is None else f"rule: {self.rule}"
        return f"{self.use} {what} {'denied' if self.enforced else 'would be denied'}: {why}"


class PolicyDenied(PermissionError):
    """A policy does not allow it: EACCES, which guests get as `access-denied`.

    Attributes:
        denial: what, and why.
    """

    def __init__(self, denial: Denial) -> None:
        super().__init__(errno.EACCES, f"{os.strerror(errno.EACCES)}: {denial}")
        self.denial: Final = denial
