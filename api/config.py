"""The component's configuration: kube-controller-manager's flag names, defaults and ranges where it has the thing."""

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


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


def parse_address(value: str) -> str:
    """HOST:PORT with a port from 1 to 65535, or "0".

    Raises ValueError for anything else.
    """
    host, colon, port = value.rpartition(":")
    if value != "0" and not (colon and port.isdecimal() and 0 < int(port) < 65536 and not host.startswith("-")):
        raise ValueError(f'"{value}" is not an address: give HOST:PORT, such as 127.0.0.1:8080, or 0')
    return value


Address = Annotated[str, AfterValidator(parse_address)]
Duration = Annotated[float, BeforeValidator(parse_duration)]


def flag(name: str, default: Any, text: str, **limits: Any) -> Any:  # noqa: ANN401 (pydantic's Field is typed so)
    """A field that is also a flag `--name`; `text` is its help."""
    return Field(default, description=text, json_schema_extra={"flag": name}, **limits)


class Configuration(BaseModel):
    """Everything that `sliceplane run` can be told. Durations are seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kubeconfig: str = flag(
        "kubeconfig", "", "Path to a kubeconfig file; default $KUBECONFIG, then the Pod's own ServiceAccount."
    )
    context: str = flag("context", "", "The kubeconfig context to use; default its current one.")
    controllers: str = flag(
        "controllers",
        "*",
        "A comma-separated list of controllers to run: '*' runs all, 'foo' runs foo, '-foo' does not.",
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
        ge=0,
    )
    kube_api_burst: int = flag("kube-api-burst", 30, "Requests at once when --kube-api-qps limits them.", ge=1)
    leader_elect: Literal[False] = flag(
        "leader-elect", False, "Leader election is not part of this version: run one replica. Only false is accepted."
    )
    metrics_bind_address: Address = flag(
        "metrics-bind-address",
        "127.0.0.1:8080",
        "Where /metrics, /healthz, /livez and /readyz are served, as HOST:PORT; 0 switches all of them off.",
    )
    logging_format: Literal["text", "json"] = flag("logging-format", "text", "The format of log lines.")
    v: int = flag("v", 0, "Verbosity of the log; 4 and above shows debugging lines.", ge=0)
