"""The project's own format of workload files: a table of what may stand in it, and what that means."""

from __future__ import annotations

from itertools import combinations
from typing import Any, Final

from service._notations import ForwardOption, PublishOption, allow_option, forward_option, publish_option
from service.files._across import check_across
from service.files._code import (
    COMPONENT_FIELDS,
    COMPONENT_KINDS,
    PYTHON_FIELDS,
    PYTHON_KINDS,
    build_code,
    one_of,
)
from service.files._scalars import (
    NAME_PATTERN,
    PORT,
    PORT_PATTERN,
    TEXT,
    choice,
    duration,
    integer,
    name,
    notation,
    number,
)
from service.files._shapes import INVALID, Either, Field, ListOf, MapOf, Reading, Record, Scalar
from service.files._yaml import Item
from service.spec import (
    ComponentCode,
    ComponentSpec,
    ExportCall,
    ForwardSpec,
    Probe,
    PublishSpec,
    RestartPolicy,
    ServiceSpec,
    WorkloadSpec,
    check_name,
)

__all__ = ["FREE_PREFIX", "WORKLOAD"]

#: Keys of the root that begin so hold what anchors are named on.
FREE_PREFIX: Final = "x-"


class _Anything:
    """Any value, as Python's own."""

    def read(self, item: Item, where: str, reading: Reading) -> Any:
        return item.plain()

    def schema(self) -> dict[str, Any]:
        return {}


# ---- restart ----------------------------------------------------------------------------------------------------


def _build_restart(values: dict[str, Any], item: Item, where: str, reading: Reading) -> RestartPolicy:
    return RestartPolicy(**{key.replace("-", "_"): value for key, value in values.items()})


_WHEN: Final = choice("never", "on-failure", "always")

_RESTART: Final = Either(
    {
        "text": Scalar("", _WHEN.json, parse=lambda text: RestartPolicy(when=_WHEN.parse(text))),
        "mapping": Record(
            "restart",
            {
                "when": Field(_WHEN, "On failure by default."),
                "backoff": Field(
                    duration(zero=True), "Before the first restart; doubled for each further one."
                ),
                "backoff-max": Field(duration(zero=True), "The most that it comes to."),
                "jitter": Field(number("part", 0, 1), "The part of each wait that is random, 0 to 1."),
                "budget": Field(
                    Either(
                        {
                            "number": integer("number of restarts"),
                            "text": Scalar("", {"const": "unlimited"}, parse=lambda text: _unlimited(text)),
                        },
                        "a number of restarts, or unlimited",
                    ),
                    "Restarts until it counts as failed for good.",
                ),
                "healthy-after": Field(
                    duration(), "Without a failure for so long, backoff and budget are as at the start."
                ),
            },
            _build_restart,
        ),
    },
    f"{_WHEN.expected}, or a mapping",
)


def _unlimited(text: str) -> None:
    if text != "unlimited":
        raise ValueError(f"{text!r} is neither a number of restarts nor 'unlimited'")


# ---- readiness --------------------------------------------------------------------------------------------------

_PROBES: Final = ("listen", "tcp", "http")

_HTTP_PROBE: Final = Either(
    {
        "number": PORT,
        "mapping": Record(
            "http",
            {
                "port": Field(PORT, "Of the workload's network.", required=True),
                "path": Field(
                    Scalar(
                        "a path", {"type": "string", "pattern": "^/[!-~]*$"}, parse=lambda text: _path(text)
                    ),
                    "/ by default.",
                ),
            },
        ),
    },
    "a port, or a mapping with port and path",
)


def _path(text: str) -> str:
    # The rule and the message are the probe's.
    return Probe("listen", path=text).path


def _check_probe(item: Item, where: str, reading: Reading) -> bool:
    return not any(each in item.entries for each in _PROBES) or one_of(item, where, reading, _PROBES, "ready")


def _build_probe(values: dict[str, Any], item: Item, where: str, reading: Reading) -> Probe:
    given = {key: value for key, value in values.items() if key not in _PROBES}
    if "tcp" in values:
        return Probe("tcp", values["tcp"], **given)
    if "http" in values:
        http = values["http"]
        return Probe("http", **({"port": http} if isinstance(http, int) else http), **given)
    return Probe("listen", **given)


def _just_true(text: str) -> bool:
    if text.lower() != "true":
        raise ValueError("'listen' is true, or left out")
    return True


_READY: Final = Either(
    {
        "text": Scalar("", {"const": "listen"}, parse=lambda text: _listen(text)),
        "mapping": Record(
            "ready",
            {
                "listen": Field(
                    Scalar("true", {"const": True}, ("boolean",), _just_true),
                    "Ready once all `ports` listen.",
                ),
                "tcp": Field(PORT, "Ready once this port can be connected to."),
                "http": Field(_HTTP_PROBE, "Ready once a GET there is answered with 2xx or 3xx."),
                "period": Field(duration(), "Between two tries."),
                "timeout": Field(duration(), "That one try may take."),
                "failures": Field(
                    integer("number of failures", 1), "Tries in a row that fail before it counts as degraded."
                ),
                "within": Field(duration(), "From the start, after which it counts as failed."),
            },
            _build_probe,
            check=_check_probe,
            extra={"not": {"anyOf": [{"required": list(pair)} for pair in combinations(_PROBES, 2)]}},
        ),
    },
    "listen, or a mapping with listen, tcp or http",
)


def _listen(text: str) -> Probe:
    if text != "listen":
        raise ValueError(f"expected listen, or a mapping with listen, tcp or http, not {text!r}")
    return Probe("listen")


# ---- services and components ------------------------------------------------------------------------------------

_AFTER: Final = Field(ListOf(name("service")), "Services that must be ready before it starts.")


def _check_component_only(item: Item, where: str, reading: Reading) -> bool:
    good = True
    if any(kind in item.entries for kind in PYTHON_KINDS):
        for key in COMPONENT_FIELDS:
            if key in item.entries and key not in COMPONENT_KINDS:
                reading.findings.problem(
                    item.entries[key][0], f"{where}.{key}", "only a component or an image can have it"
                )
                good = False
    elif "image" not in item.entries:
        for key in ("pull", "pull-secret"):
            if key in item.entries:
                reading.findings.problem(item.entries[key][0], f"{where}.{key}", "only an image can have it")
                good = False
    return good


def _check_service(item: Item, where: str, reading: Reading) -> bool:
    good = one_of(item, where, reading, (*COMPONENT_KINDS, *PYTHON_KINDS), "a service")
    good = _check_component_only(item, where, reading) and good
    for kind in ("handler", "asgi"):
        if kind in item.entries and not ("ports" in item.entries and item.entries["ports"][1].items):
            reading.problem(item, where, f"{kind} needs 'ports' to be served at")
            good = False
    return good


def _check_component(item: Item, where: str, reading: Reading) -> bool:
    good = one_of(item, where, reading, COMPONENT_KINDS, "a component")
    return _check_component_only(item, where, reading) and good


def _build_service(values: dict[str, Any], item: Item, where: str, reading: Reading) -> Any:
    code = build_code(values, item, where, reading)
    if code is None:
        return INVALID
    given = {
        key: values[key] for key in ("ports", "restart", "ready", "hold", "after", "limits") if key in values
    }
    return ServiceSpec(name=where.rpartition(".")[2], code=code, **given)


def _build_component(values: dict[str, Any], item: Item, where: str, reading: Reading) -> Any:
    code = build_code(values, item, where, reading)
    if not isinstance(code, ComponentCode):
        return INVALID
    given = {key: values[key] for key in ("restart", "after", "limits") if key in values}
    return ComponentSpec(name=where.rpartition(".")[2], code=code, **given)


def _only_with(kinds: tuple[str, ...], keys: tuple[str, ...]) -> dict[str, Any]:
    """Schema: none of `keys` beside any of `kinds`."""
    return {
        "if": {"anyOf": [{"required": [kind]} for kind in kinds]},
        "then": {"properties": dict.fromkeys(keys, False)},
    }


_SERVED: Final = {
    "if": {"anyOf": [{"required": ["handler"]}, {"required": ["asgi"]}]},
    "then": {"required": ["ports"], "properties": {"ports": {"minItems": 1}}},
}
_IMAGE_ONLY: Final = {"pull": ["image"], "pull-secret": ["image"]}
_OPTIONS: Final = tuple(key for key in COMPONENT_FIELDS if key not in COMPONENT_KINDS)

_SERVICE: Final = Record(
    "a service",
    {
        **COMPONENT_FIELDS,
        **PYTHON_FIELDS,
        "ports": Field(
            ListOf(PORT, unique=True),
            "TCP ports of the workload's network: where it is served, or is expected to listen before it is ready.",
        ),
        "restart": Field(_RESTART, "What becomes of it when it ends; on-failure by default."),
        "ready": Field(_READY, "How to see that it is ready; once all `ports` listen by default."),
        "hold": Field(duration(zero=True), "That a connect to one of `ports` waits while it is not up."),
        "after": _AFTER,
    },
    _build_service,
    check=_check_service,
    extra={
        "oneOf": [{"required": [kind]} for kind in (*COMPONENT_KINDS, *PYTHON_KINDS)],
        "allOf": [_only_with(PYTHON_KINDS, _OPTIONS), _SERVED],
        "dependentRequired": _IMAGE_ONLY,
    },
)


def _build_call(values: dict[str, Any], item: Item, where: str, reading: Reading) -> ExportCall:
    return ExportCall(values["function"], values.get("interface", ""), tuple(values.get("arguments", ())))


_COMPONENT: Final = Record(
    "a component",
    {
        **COMPONENT_FIELDS,
        "call": Field(
            Record(
                "call",
                {
                    "interface": Field(
                        TEXT, "Exported interface that has it, such as demo:shop/prices@1.0.0."
                    ),
                    "function": Field(TEXT, "Its name.", required=True),
                    "arguments": Field(ListOf(_Anything()), "Values for its parameters."),
                },
                _build_call,
            ),
            "An exported function instead of wasi:cli/run.",
        ),
        "restart": Field(_RESTART, "What becomes of it when it has ended; never by default."),
        "after": _AFTER,
    },
    _build_component,
    check=_check_component,
    extra={
        "oneOf": [{"required": [kind]} for kind in COMPONENT_KINDS],
        "dependentRequired": _IMAGE_ONLY,
    },
)

# ---- the workload -----------------------------------------------------------------------------------------------

_PROTOCOL: Final = "(/(tcp|udp))?"

_PUBLISH: Final = notation(
    publish_option,
    "[[HOST:]PORT:]VPORT[/udp]",
    rf"^(auto|(([0-9.]+|\[[0-9a-fA-F:.%]+\]):)?(0+|0*{PORT_PATTERN}):0*{PORT_PATTERN}{_PROTOCOL}|0*{PORT_PATTERN}{_PROTOCOL})$",
    port=True,
)
_FORWARD: Final = notation(
    forward_option,
    "[HOST:]VPORT=[tls:]HOST:PORT[/udp]",
    rf"^([^=]*:)?0*{PORT_PATTERN}=(tls:)?.+:0*{PORT_PATTERN}{_PROTOCOL}$",
)
_ALLOW: Final = notation(allow_option, "[udp:]TARGET[:PORT[-PORT]]", r"^[^\s]+$")

_PUBLISH_LIST: Final = ListOf(_PUBLISH)


def _check_workload(item: Item, where: str, reading: Reading) -> bool:
    if any(key in item.entries and item.entries[key][1].entries for key in ("services", "components")):
        return check_across(item, reading, _PUBLISH, _FORWARD)
    if not any(
        key in item.entries and item.entries[key][1].kind != "mapping" for key in ("services", "components")
    ):
        reading.problem(item, where, "the workload has neither services nor components")
    return False


def _published(options: tuple[PublishOption, ...]) -> tuple[tuple[PublishSpec, ...], bool]:
    specs = tuple(
        PublishSpec(each.port, each.host, each.real_port, each.protocol)
        for each in options
        if each.port is not None
    )
    return specs, any(each.port is None for each in options)


def _forwarded(option: ForwardOption) -> ForwardSpec:
    return ForwardSpec(option.port, option.to, option.host, option.tls, option.protocol)


def _build_workload(values: dict[str, Any], item: Item, where: str, reading: Reading) -> WorkloadSpec:
    options = values.get("publish", ())
    publish, publish_all = _published(options if isinstance(options, tuple) else (options,))
    return WorkloadSpec(
        name=values["name"],
        namespace=values.get("namespace", "default"),
        services=tuple(values.get("services", {}).values()),
        components=tuple(values.get("components", {}).values()),
        publish=publish,
        publish_all=publish_all,
        forward=tuple(_forwarded(each) for each in values.get("forward", ())),
        allow=values.get("allow", ()),
    )


WORKLOAD: Final = Record(
    "a workload",
    {
        "name": Field(name("workload"), "Unique in its namespace on one host.", required=True),
        "namespace": Field(name("namespace"), "'default' by default."),
        "services": Field(
            MapOf(_SERVICE, lambda key: check_name("service", key), NAME_PATTERN),
            "What lives as long as the workload, by name.",
        ),
        "components": Field(
            MapOf(_COMPONENT, lambda key: check_name("component", key), NAME_PATTERN),
            "What does its work and ends, by name.",
        ),
        "publish": Field(
            Either(
                {
                    "list": _PUBLISH_LIST,
                    "text": Scalar("", {"const": "auto"}, parse=lambda text: _auto(text)),
                },
                "a list of [[HOST:]PORT:]VPORT[/udp], or auto",
            ),
            "Real ports that lead in: [[HOST:]PORT:]VPORT[/udp]; 'auto' for every port where somebody listens.",
        ),
        "forward": Field(
            ListOf(_FORWARD), "Ports of the network that lead out: [HOST:]VPORT=[tls:]HOST:PORT[/udp]."
        ),
        "allow": Field(ListOf(_ALLOW), "What may be reached outside besides: [udp:]TARGET[:PORT[-PORT]]."),
    },
    _build_workload,
    check=_check_workload,
    extra={
        "anyOf": [
            {"required": [key], "properties": {key: {"minProperties": 1}}}
            for key in ("services", "components")
        ]
    },
    free_prefix=FREE_PREFIX,
)


def _auto(text: str) -> PublishOption:
    if text != "auto":
        raise ValueError(f"expected a list such as [{text}], or auto, not {text!r}")
    return publish_option(text)
