"""The component's configuration: kube-controller-manager's flag names, defaults and ranges where it has the thing.

The fields of `Configuration` are the one source: flags, keys of the file, help and messages are made from them.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from api.controllers import chosen
from api.names import LABEL

_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_WHOLE: Final = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def parse_duration(value: object) -> object:
    """Go's durations ("1m30s", "500ms", "0") in seconds; other types are left to pydantic.

    Raises ValueError for text that is none.
    """
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text == "0":
        return 0.0
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f'"{value}" is not a duration: give a number with a unit, such as 500ms, 1s or 1m30s')
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def show_duration(seconds: float) -> str:
    """What `parse_duration` reads, in the largest unit of which it is a whole number, minutes aside: "90s", "500ms"."""
    nanoseconds = round(seconds * 1e9)
    unit = next(unit for unit, size in _WHOLE.items() if nanoseconds % size == 0)
    return f"{nanoseconds // _WHOLE[unit]}{unit}"


def parse_address(value: str) -> str:
    """HOST:PORT with a port from 1 to 65535, or "0".

    Raises ValueError for anything else.
    """
    host, colon, port = value.rpartition(":")
    if value != "0" and not (colon and port.isdecimal() and 0 < int(port) < 65536 and not host.startswith("-")):
        raise ValueError(f'"{value}" is not an address: give HOST:PORT, such as 127.0.0.1:8080, or 0')
    return value


def parse_url(value: str) -> str:
    """A URL that can be asked by HTTP, with or without TLS, or "" for none.

    Raises ValueError for anything else.
    """
    parts = urlsplit(value)
    # urlsplit drops or keeps whatever else is in it; it raises ValueError where the port is none.
    wrong = parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0
    if value and (wrong or not value.isprintable() or " " in value):
        raise ValueError(f'"{value}" is not a URL: give one such as http://127.0.0.1:4318/v1/traces')
    return value


class SelfExplaining(ValueError):
    """Refuses a value in words that say more than what its field accepts."""


def join_controllers(value: object) -> object:
    """A list of names, which is what KCM's configuration has, as the text that its flag has."""
    return ",".join(value) if isinstance(value, list) and all(isinstance(each, str) for each in value) else value


def check_controllers(value: str) -> str:
    """The text of `--controllers` as it is, when it leaves something to run.

    Raises SelfExplaining when it names what there is not, or nothing.
    """
    try:
        if chosen(value):
            return value
    except ValueError as error:
        raise SelfExplaining(str(error)) from error
    raise SelfExplaining("leaves nothing to run")


@dataclass(frozen=True)
class Kind:
    """How values of a type are written; a mark on the type, for settings.py."""

    what: str
    """What is accepted, as it reads after "must be"."""
    metavar: str
    parse: Callable[[str], object] = str
    """From the text of a flag. What cannot be parsed stays text, which the model then refuses."""
    show: Callable[[Any], str] = str
    plain: bool = False
    """Whether a number in the file stands for its text: `0` is a duration, `15` is not."""
    bare: str | None = None
    """What the flag means without a value, if it may be without one."""


Address = Annotated[
    str,
    AfterValidator(parse_address),
    Kind("HOST:PORT with a port from 1 to 65535, or 0", "HOST:PORT", plain=True),
]
Controllers = Annotated[
    str,
    BeforeValidator(join_controllers),
    AfterValidator(check_controllers),
    Kind('names of controllers, "*" or "-name", in a list or with commas between them', "NAMES"),
]
Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    Kind("a duration (500ms, 1m30s)", "DURATION", show=show_duration, plain=True),
]
Namespace = Annotated[
    str, Field(pattern=f"^{LABEL}$", max_length=63), Kind("an RFC 1123 label, such as kube-system", "NAME")
]
ObjectName = Annotated[
    str,
    Field(pattern=rf"^{LABEL}(\.{LABEL})*$", max_length=253),
    Kind("an RFC 1123 subdomain, such as sliceplane", "NAME"),
]
URL = Annotated[
    str,
    AfterValidator(parse_url),
    Kind("a URL that begins with http:// or https:// and names a host, or nothing", "URL"),
]


class Rule(NamedTuple):
    """The value of one field must be more than so many times that of another."""

    more: str
    times: float
    less: str

    def told(self, more: str, less: str) -> str:
        """The rule in words, under these names."""
        return f"{more} must be more than {f'{self.times:g} times ' if self.times != 1 else ''}{less}"


# As client-go has them (1.2 is its JitterFactor): a leader gives up before another may take over, and after trying.
RULES: Final = (
    Rule("leader_elect_lease_duration", 1.0, "leader_elect_renew_deadline"),
    Rule("leader_elect_renew_deadline", 1.2, "leader_elect_retry_period"),
)


def flag(name: str, default: Any, text: str, *, key: str = "", **limits: Any) -> Any:  # noqa: ANN401 (as pydantic's Field)
    """A field that is also the flag `--name`; `text` is its help.

    `key` is its place in the file, "section.key", when that is not the field's name in camelCase at the top.
    """
    return Field(default, description=text, json_schema_extra={"flag": name, "key": key}, **limits)


class Common(BaseModel):
    """What every long-running command can be told. Durations are seconds."""

    rules: ClassVar[tuple[Rule, ...]] = RULES
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    kubeconfig: str = flag(
        "kubeconfig",
        "",
        "Path to a kubeconfig file; default $KUBECONFIG, then the Pod's own ServiceAccount.",
        key="clientConnection.kubeconfig",
    )
    context: str = flag(
        "context", "", "The kubeconfig context to use; default its current one.", key="clientConnection.context"
    )
    leader_elect: bool = flag(
        "leader-elect",
        True,
        "Work only while this replica holds the Lease; the others keep their caches warm and wait.",
        key="leaderElection.leaderElect",
    )
    # A Lease counts in whole seconds, and the API server refuses one of 0.
    leader_elect_lease_duration: Duration = flag(
        "leader-elect-lease-duration",
        15.0,
        "How long the others wait after the leader's last renewal before they try to take over.",
        key="leaderElection.leaseDuration",
        ge=1,
    )
    leader_elect_renew_deadline: Duration = flag(
        "leader-elect-renew-deadline",
        10.0,
        "How long the leader tries to renew before it stops leading; less than the lease duration.",
        key="leaderElection.renewDeadline",
        gt=0,
    )
    leader_elect_retry_period: Duration = flag(
        "leader-elect-retry-period",
        2.0,
        "How long to wait between tries to lead or to renew; 1.2 times it is less than the renew deadline.",
        key="leaderElection.retryPeriod",
        gt=0,
    )
    leader_elect_resource_lock: Literal["leases"] = flag(
        "leader-elect-resource-lock",
        "leases",
        "The kind of object that stands for leadership.",
        key="leaderElection.resourceLock",
    )
    leader_elect_resource_name: ObjectName = flag(
        "leader-elect-resource-name",
        "sliceplane",
        "The name of the Lease that stands for leadership.",
        key="leaderElection.resourceName",
    )
    leader_elect_resource_namespace: Namespace = flag(
        "leader-elect-resource-namespace",
        "kube-system",
        "The namespace of the Lease that stands for leadership.",
        key="leaderElection.resourceNamespace",
    )
    metrics_bind_address: Address = flag(
        "metrics-bind-address",
        "127.0.0.1:8080",
        "Where /metrics, /healthz, /livez and /readyz are served, as HOST:PORT; 0 switches all of them off.",
    )
    logging_format: Literal["text", "json"] = flag(
        "logging-format", "text", "The format of log lines.", key="logging.format"
    )
    v: int = flag("v", 0, "Verbosity of the log; 4 and above shows debugging lines.", key="logging.verbosity", ge=0)

    @model_validator(mode="after")
    def _keeps_rules(self) -> Self:
        broken = [rule for rule in self.rules if getattr(self, rule.more) <= rule.times * getattr(self, rule.less)]
        if broken:
            told = "; ".join(rule.told(rule.more, rule.less) for rule in broken)
            values = {field: getattr(self, field) for rule in broken for field in (rule.more, rule.less)}
            raise PydanticCustomError("rules", "{told}", {"told": told, "broken": broken, "values": values})
        return self


class Configuration(Common):
    """Everything that `sliceplane run` can be told. Durations are seconds."""

    rules: ClassVar[tuple[Rule, ...]] = (*RULES, Rule("shards", 1.0, "shard"))

    controllers: Controllers = flag(
        "controllers",
        "*",
        "A comma-separated list of controllers to run: '*' runs all, 'foo' runs foo, '-foo' does not.",
    )
    shards: int = flag(
        "shards",
        1,
        "How many processes, each with its own standby, share the Namespaces by a hash of their names; 1 has them all.",
        ge=1,
    )
    shard: int = flag(
        "shard", 0, "Which of the shares of --shards this process has, counted from 0; less than --shards.", ge=0
    )
    concurrent_service_endpoint_syncs: int = flag(
        "concurrent-service-endpoint-syncs",
        5,
        "The number of Services whose EndpointSlices are synced at the same time.",
        ge=1,
        le=50,
    )
    max_endpoints_per_slice: int = flag(
        "max-endpoints-per-slice",
        100,
        "The most endpoints that are added to one EndpointSlice.",
        ge=1,
        le=1000,
    )
    endpointslice_updates_batch_period: Duration = flag(
        "endpointslice-updates-batch-period",
        0.0,
        "How long changes of Pods are collected before a Service is synced; longer means fewer writes, and later.",
        ge=0,
    )
    concurrent_endpoint_syncs: int = flag(
        "concurrent-endpoint-syncs", 5, "The number of Services whose Endpoints are synced at the same time.", ge=1
    )
    endpoint_updates_batch_period: Duration = flag(
        "endpoint-updates-batch-period",
        0.0,
        "How long changes of Pods are collected before the Endpoints of a Service are synced.",
        ge=0,
    )
    mirroring_concurrent_service_endpoint_syncs: int = flag(
        "mirroring-concurrent-service-endpoint-syncs",
        5,
        "The number of Endpoints that are mirrored to EndpointSlices at the same time.",
        ge=1,
        le=50,
    )
    mirroring_max_endpoints_per_subset: int = flag(
        "mirroring-max-endpoints-per-subset",
        1000,
        "The most addresses of one subset of an Endpoints object that are mirrored.",
        ge=1,
        le=1000,
    )
    mirroring_endpointslice_updates_batch_period: Duration = flag(
        "mirroring-endpointslice-updates-batch-period",
        0.0,
        "How long changes by others to mirrored EndpointSlices are collected before they are mended.",
        ge=0,
    )
    topology_grace_period: Duration = flag(
        "topology-grace-period",
        60.0,
        "How long a Node that is gone or not ready any more goes on counting for Adaptive hints; 0 means not at all.",
        ge=0,
    )
    kube_api_qps: float = flag(
        "kube-api-qps",
        0.0,
        "Requests a second to the API server; 0 leaves the limit to its priority and fairness.",
        key="clientConnection.qps",
        ge=0,
    )
    kube_api_burst: int = flag(
        "kube-api-burst",
        30,
        "Requests at once when --kube-api-qps limits them.",
        key="clientConnection.burst",
        ge=1,
    )
    tracing_endpoint: URL = flag(
        "tracing-endpoint",
        "",
        "Where traces go, by OTLP over HTTP, such as http://collector:4318/v1/traces; default nowhere.",
        key="tracing.endpoint",
    )
    tracing_sampling_rate_per_million: int = flag(
        "tracing-sampling-rate-per-million",
        10_000,
        "How many syncs of a million are traced.",
        key="tracing.samplingRatePerMillion",
        ge=0,
        le=1_000_000,
    )
