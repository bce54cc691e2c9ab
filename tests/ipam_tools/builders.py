"""Facts from few words, and the command run on text."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from click.testing import CliRunner

from api.v1alpha1.service_ip_pool import ServiceIPPool
from api.v1alpha1.service_port_pool import ServicePortPool
from api.v1alpha1.service_reservation import ServiceReservation
from controllers.ipam.objects import Address, Namespace, Port, Service, ServiceCIDR
from controllers.ipam_tools.command import ipam_command
from controllers.ipam_tools.facts import Facts
from controllers.ipam_tools.findings import Outcome
from controllers.ipam_tools.manifests import Manifests, parse
from controllers.model.objects import Labels

Object = dict[str, Any]

GROUP = "ipam.sliceplane.dev/v1alpha1"
KUBERNETES = ServiceCIDR(name="kubernetes", cidrs=("10.96.0.0/16", "fd00:10:96::/112"))


def ip_pool(name: str, *ranges: str, status: Object | None = None, **spec: Any) -> ServiceIPPool:
    """A pool of CIDRs."""
    content = {"ranges": [{"cidr": each} for each in ranges], **spec}
    return ServiceIPPool.model_validate({"metadata": {"name": name}, "spec": content, "status": status or {}})


def port_pool(name: str, first: int, last: int, **spec: Any) -> ServicePortPool:
    content = {"ranges": [{"from": first, "to": last}], **spec}
    return ServicePortPool.model_validate({"metadata": {"name": name}, "spec": content})


def reservation(key: str, *addresses: str, status: Object | None = None, **spec: Any) -> ServiceReservation:
    """A reservation for the Service of the same name."""
    namespace, name = key.split("/")
    meta = {"name": name, "namespace": namespace, "creationTimestamp": "2026-11-25T00:00:00Z"}
    content = {"serviceName": name, "addresses": list(addresses), **spec}
    return ServiceReservation.model_validate({"metadata": meta, "spec": content, "status": status or {}})


def service(key: str, *addresses: str, ports: tuple[int, ...] = (), labels: dict[str, str] | None = None) -> Service:
    """A live Service with these addresses and node ports."""
    namespace, name = key.split("/")
    families = tuple("IPv6" if ":" in each else "IPv4" for each in addresses)
    return Service(
        namespace=namespace,
        name=name,
        uid=f"uid-{name}",
        labels=Labels(labels or {}),
        type="NodePort" if ports else "ClusterIP",
        cluster_ip=addresses[0] if addresses else "",
        cluster_ips=addresses,
        families=families,
        policy="SingleStack" if len(families) < 2 else "RequireDualStack",
        ports=tuple(Port(f"p{at}", "TCP", 80 + at, port) for at, port in enumerate(ports or (0,))),
    )


def facts(*objects: Any, namespaces: tuple[str, ...] = ("shop", "payments")) -> Facts:
    """A cluster with these objects; each Service has its IPAddresses."""
    services = [each for each in objects if isinstance(each, Service)]
    addresses = [
        Address(name=text, parent=("", "services", each.namespace, each.name))
        for each in services
        for text in each.addresses
    ]
    addresses += [each for each in objects if isinstance(each, Address)]
    cidrs = [each for each in objects if isinstance(each, ServiceCIDR)] or [KUBERNETES]
    spaces = [Namespace(each, Labels({"kubernetes.io/metadata.name": each, "team": each})) for each in namespaces]
    return Facts(
        services={each.key: each for each in services},
        addresses={each.name: each for each in addresses},
        service_cidrs={each.name: each for each in cidrs},
        namespaces={each.name: each for each in spaces},
        ip_pools={each.metadata.name: each for each in objects if isinstance(each, ServiceIPPool)},
        port_pools={each.metadata.name: each for each in objects if isinstance(each, ServicePortPool)},
        reservations={
            f"{each.metadata.namespace}/{each.metadata.name}": each
            for each in objects
            if isinstance(each, ServiceReservation)
        },
    )


def manifests(*objects: Object, name: str = "m.yaml") -> Manifests:
    """The objects as they are read from a file."""
    into = Manifests([], [], [name])
    parse(name, yaml.safe_dump_all(objects).encode(), into)
    return into


def told(outcome: Outcome) -> list[str]:
    """`name: severity Reason: message` of each finding."""
    return [f"{each.name}: {each.severity} {each.reason}: {each.message}" for each in outcome.findings]


def manifest(kind: str, name: str, namespace: str = "", version: str = GROUP, **spec: Any) -> Object:
    """A manifest; without a namespace the object has none."""
    meta = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": version, "kind": kind, "metadata": meta, "spec": spec}


def wanted(name: str = "web", namespace: str = "shop", **spec: Any) -> Object:
    """The manifest of a Service."""
    spec = {"ports": [{"name": "http", "port": 80}], **spec}
    return manifest("Service", name, namespace, "v1", **spec)


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run(*args: str, stdin: str | None = None, cwd: Path | None = None) -> Ran:
    """`sliceplane ipam ARGS`."""
    result = CliRunner().invoke(ipam_command, list(args), input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ran(result.exit_code, result.stdout, result.stderr)
