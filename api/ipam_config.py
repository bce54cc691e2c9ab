"""What `sliceplane ipam run` can be told. The fields are its flags, as those of `Configuration` are `run`'s."""

import re
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, model_validator
from pydantic_core import PydanticCustomError

from api.config import Address, Common, Duration, Kind, Namespace, ObjectName, flag

_RANGE: Final = re.compile(r"(\d{1,5})-(\d{1,5})")


def _port_range(value: object) -> object:
    """ "30000-32767" as (first, last), as kube-apiserver's flag of this name has it."""
    found = _RANGE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return value
    return int(found[1]), int(found[2])


def _ascending(value: tuple[int, int]) -> tuple[int, int]:
    if not 0 < value[0] <= value[1] < 65536:
        raise ValueError("no range of ports")
    return value


def _names(value: object) -> object:
    return tuple(each.strip() for each in value.split(",") if each.strip()) if isinstance(value, str) else value


PortRange = Annotated[
    tuple[int, int],
    BeforeValidator(_port_range),
    AfterValidator(_ascending),
    Kind("two ports from 1 to 65535, such as 30000-32767", "FROM-TO", show=lambda value: f"{value[0]}-{value[1]}"),
]
Namespaces = Annotated[
    tuple[str, ...],
    BeforeValidator(_names),
    Kind("names of namespaces with commas between them", "NAMES", show=",".join),
]


class IPAMConfiguration(Common):
    """Everything that `sliceplane ipam run` can be told. Durations are seconds."""

    leader_elect_resource_name: ObjectName = flag(
        "leader-elect-resource-name", "sliceplane-ipam", "The name of the Lease that stands for leadership."
    )
    metrics_bind_address: Address = flag(
        "metrics-bind-address",
        "127.0.0.1:8081",
        "Where /metrics, /healthz, /livez and /readyz are served, as HOST:PORT; 0 switches all of them off.",
    )
    namespace: Namespace = flag(
        "namespace", "kube-system", "The namespace that this runs in: of its Leases, and exempt from every pool."
    )
    service_node_port_range: PortRange = flag(
        "service-node-port-range",
        (30000, 32767),
        "The API server's flag of this name, which nothing tells but its command line.",
    )
    exempt_namespaces: Namespaces = flag(
        "exempt-namespaces",
        ("kube-system",),
        "Namespaces whose Services no pool concerns, with commas between them; our own is always one.",
    )
    webhook_bind_address: Address = flag(
        "webhook-bind-address", "0.0.0.0:9443", "Where the admission webhooks are served, as HOST:PORT."
    )
    webhook_service: ObjectName = flag(
        "webhook-service", "sliceplane-ipam", "The Service in --namespace by which the API server reaches the webhooks."
    )
    webhook_url: str = flag(
        "webhook-url",
        "",
        "A URL by which the API server reaches the webhooks instead, where it is outside the cluster.",
    )
    webhook_cert_file: str = flag(
        "webhook-cert-file", "", "The certificate of the webhooks, in PEM; read again when it changes."
    )
    webhook_key_file: str = flag("webhook-key-file", "", "The private key of the certificate, in PEM.")
    webhook_ca_file: str = flag(
        "webhook-ca-file", "", "What the API server verifies the certificate with, in PEM; read again when it changes."
    )
    webhook_self_signed: bool = flag(
        "webhook-self-signed", False, "Make a certificate at each start. For development: with one replica only."
    )
    repair: Literal["off", "report", "on"] = flag(
        "repair",
        "report",
        "What is done about an IPAddress that a live Service lacks: nothing, an Event, or it is made again at once.",
    )
    audit_period: Duration = flag(
        "audit-period",
        60.0,
        "How often everything is compared, whatever has changed; changes are looked at at once.",
        ge=1,
    )

    @model_validator(mode="after")
    def _has_certificate(self) -> Self:
        given = [self.webhook_cert_file, self.webhook_key_file, self.webhook_ca_file]
        if self.webhook_self_signed == any(given) or (any(given) and not all(given)):
            told = "give --webhook-cert-file, --webhook-key-file and --webhook-ca-file, or --webhook-self-signed"
            raise PydanticCustomError("advice", "{told}", {"told": told})
        return self
