"""What `sliceplane ipam run` can be told. The fields are its flags, as those of `Configuration` are `run`'s."""

import re
from ipaddress import IPv6Address
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, model_validator
from pydantic_core import PydanticCustomError

from api.config import (
    Address,
    Common,
    Duration,
    Kind,
    Namespace,
    ObjectName,
    SelfExplaining,
    flag,
    parse_address,
)

_RANGE: Final = re.compile(r"(\d{1,5})-(\d{1,5})")
_LABEL: Final = r"[A-Za-z0-9_](?:[-A-Za-z0-9_]{0,61}[A-Za-z0-9_])?"
_URL: Final = re.compile(
    rf"https://(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|{_LABEL}(?:\.{_LABEL})*)"
    r"(?::(?P<port>[0-9]{1,5}))?(?:/(?:[-A-Za-z0-9._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*)?"
)


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
    """Names with commas between them; "" is none at all, but between two commas there must be one."""
    if not isinstance(value, str):
        return value
    return tuple(each.strip() for each in value.split(",")) if value.strip() else ()


def _served_address(value: str) -> str:
    """HOST:PORT: what the API server has to reach cannot be switched off, as `--metrics-bind-address` can."""
    if value == "0":
        raise SelfExplaining(
            "the webhooks cannot be switched off, and need a port: give HOST:PORT, or :9443 for every address"
        )
    return parse_address(value)


def _https(value: str) -> str:
    """A URL as the API server takes it in a webhook configuration, or ""."""
    found = _URL.fullmatch(value)
    if value and (found is None or not 0 < int(found["port"] or 443) < 65536):
        raise ValueError("not such a URL")
    if found is not None and found["v6"]:
        IPv6Address(found["v6"])
    return value


PortRange = Annotated[
    tuple[int, int],
    BeforeValidator(_port_range),
    AfterValidator(_ascending),
    Kind("two ports from 1 to 65535, such as 30000-32767", "FROM-TO", show=lambda value: f"{value[0]}-{value[1]}"),
]
Namespaces = Annotated[
    tuple[Namespace, ...],
    BeforeValidator(_names),
    Kind("names of namespaces (RFC 1123 labels) with commas between them", "NAMES", show=",".join),
]
WebhookAddress = Annotated[
    str, AfterValidator(_served_address), Kind("HOST:PORT with a port from 1 to 65535", "HOST:PORT")
]
WebhookURL = Annotated[
    str, AfterValidator(_https), Kind("https://HOST[:PORT][/PATH], such as https://192.0.2.1:9443", "URL")
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
    webhook_bind_address: WebhookAddress = flag(
        "webhook-bind-address",
        "0.0.0.0:9443",
        "Where the admission webhooks are served, as HOST:PORT; without a HOST on every address.",
    )
    webhook_service: ObjectName = flag(
        "webhook-service", "sliceplane-ipam", "The Service in --namespace by which the API server reaches the webhooks."
    )
    webhook_url: WebhookURL = flag(
        "webhook-url",
        "",
        "An https URL by which the API server reaches the webhooks instead, where it is outside the cluster.",
    )
    webhook_cert_file: str = flag(
        "webhook-cert-file", "", "The certificate of the webhooks, in PEM; read again when it changes."
    )
    webhook_key_file: str = flag("webhook-key-file", "", "The private key of the certificate, in PEM.")
    webhook_ca_file: str = flag(
        "webhook-ca-file",
        "",
        "The CA that the API server verifies the certificate with, in PEM; read again when it changes.",
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

    @property
    def webhook_host(self) -> str:
        """The name or address by which the API server calls the webhooks, and which their certificate must have."""
        if self.webhook_url:
            return urlsplit(self.webhook_url).hostname or ""
        return f"{self.webhook_service}.{self.namespace}.svc"

    @model_validator(mode="after")
    def _has_certificate(self) -> Self:
        given = [self.webhook_cert_file, self.webhook_key_file, self.webhook_ca_file]
        if self.webhook_self_signed == any(given) or (any(given) and not all(given)):
            told = "give --webhook-cert-file, --webhook-key-file and --webhook-ca-file, or --webhook-self-signed"
            raise PydanticCustomError("advice", "{told}", {"told": told})
        return self
