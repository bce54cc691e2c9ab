"""Snapshots for tests: a ledger is fed with what is in them, as the shell does."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from controllers.ipam.ledger import Ledger
from controllers.ipam.objects import (
    ALLOCATOR,
    IPADDRESS_MANAGED_BY_LABEL,
    Address,
    Namespace,
    Port,
    Service,
    ServiceCIDR,
)
from controllers.ipam.pools import IPPool, PortPool, Select, by_priority
from controllers.ipam.ranges import Addresses, Span, Spans, addresses_of, network, number_of
from controllers.ipam.snapshot import Snapshot
from controllers.model.objects import Labels

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
LONG_AGO = "2026-11-01T00:00:00Z"
DEFAULT_CIDR = ServiceCIDR(name="kubernetes", uid="sc", cidrs=("10.96.0.0/24",), created=LONG_AGO)


def addresses(*texts: str) -> Addresses:
    """`10.0.0.0/24` or `10.0.0.1-10.0.0.9`."""
    spans = []
    for text in texts:
        if "-" in text:
            (family, first), (_, last) = (number_of(each) for each in text.split("-"))
            spans.append((family, Span(first, last)))
        else:
            spans.append(network(text))
    return addresses_of(spans)


def team(*namespaces: str) -> Select:
    return Select(frozenset(namespaces))


def ip_pool(name: str, *ranges: str, **fields: Any) -> IPPool:
    return IPPool(name=name, uid=f"uid-{name}", generation=3, addresses=addresses(*ranges), **fields)


def port_pool(name: str, first: int, last: int, **fields: Any) -> PortPool:
    return PortPool(name=name, uid=f"uid-{name}", generation=3, ports=Spans([Span(first, last)]), **fields)


def service(key: str, *ips: str, ports: Iterable[int] = (), **fields: Any) -> Service:
    namespace, name = key.split("/")
    made = {
        "uid": f"uid-{name}",
        "created": LONG_AGO,
        "type": "NodePort" if ports else "ClusterIP",
        "cluster_ip": ips[0] if ips else "",
        "cluster_ips": ips,
        "families": tuple("IPv6" if ":" in ip else "IPv4" for ip in ips),
        "policy": "SingleStack",
        "ports": tuple(Port(name=f"p{number}", port=80, node_port=number) for number in ports),
    }
    return Service(namespace=namespace, name=name, **{**made, **fields})


def address(name: str, key: str = "", manager: str = ALLOCATOR, **fields: Any) -> Address:
    """The IPAddress of a Service; of a Gateway without one."""
    namespace, _, owner = key.partition("/")
    parent = ("", "services", namespace, owner) if key else ("gateway.networking.k8s.io", "gateways", "infra", "web")
    labels = Labels({IPADDRESS_MANAGED_BY_LABEL: manager})
    return Address(
        name=name, **{"uid": f"uid-{name}", "labels": labels, "parent": parent, "created": LONG_AGO, **fields}
    )


def snapshot(
    services: Iterable[Service] = (),
    others: Iterable[Address] = (),
    *,
    without: Iterable[str] = (),
    released: Iterable[tuple[Service, float]] = (),
    cidrs: Iterable[ServiceCIDR] = (DEFAULT_CIDR,),
    ip_pools: Iterable[IPPool] = (),
    port_pools: Iterable[PortPool] = (),
    **fields: Any,
) -> Snapshot:
    """Services each with its IPAddresses, but `without` these; `released` were there until so many seconds ago."""
    services, ledger = list(services), Ledger()
    objects = {ip: address(ip, each.key) for each in services for ip in each.addresses}
    objects |= {each.name: each for each in others}
    objects = {name: each for name, each in objects.items() if name not in set(without)}
    for gone, ago in sorted(released, key=lambda each: -each[1]):
        ledger.service_changed(None, gone, 0.0)
        ledger.service_changed(gone, None, 1000.0 - ago)
    for each in services:
        ledger.service_changed(None, each, 0.0)
    for held in objects.values():
        ledger.address_changed(None, held, 0.0)
    return Snapshot(
        services={each.key: each for each in services},
        addresses=objects,
        service_cidrs={each.name: each for each in cidrs},
        namespaces={each.namespace: Namespace(each.namespace) for each in services},
        ip_pools=[each for each in by_priority(ip_pools) if isinstance(each, IPPool)],
        port_pools=[each for each in by_priority(port_pools) if isinstance(each, PortPool)],
        ledger=ledger,
        monotonic=1000.0,
        **fields,
    )
