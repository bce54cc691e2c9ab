"""Worlds for tests, made of pools, reservations and Services; and requests to be judged in them."""

from typing import Any

import msgspec

from controllers.ipam.admission import Ask, Choice, Refusal, decide
from controllers.ipam.objects import Port, Service, ServiceCIDR
from controllers.ipam.pools import IPPool, PortPool, Reservation, by_priority
from controllers.ipam.ranges import Span, number_of
from controllers.ipam.world import World, cluster_of
from tests.ipam.snapshots import ip_pool, port_pool, service, team

KUBERNETES = ServiceCIDR(name="kubernetes", cidrs=("10.96.0.0/24",))
DUAL = ServiceCIDR(name="kubernetes", cidrs=("10.96.0.0/24", "fd00::/120"))
KEPT = "10.96.0.0/28"


def world(*given: IPPool | PortPool | Reservation | Service, cidr: ServiceCIDR = KUBERNETES, **fields: Any) -> World:
    """Node ports 30000-30099, of which 16 are the static band (IP-38)."""
    made = World(Span(30000, 30099), cluster=cluster_of([cidr]), **fields)
    made.ip_pools = [each for each in by_priority(p for p in given if isinstance(p, IPPool))]
    made.port_pools = [each for each in by_priority(p for p in given if isinstance(p, PortPool))]
    for each in given:
        if isinstance(each, Reservation):
            made.reservation_changed(None, each)
        if isinstance(each, Service):
            made.ledger.service_changed(None, each, 0.0)
    return made


def reservation(key: str, *ips: str, **fields: Any) -> Reservation:
    namespace, name = key.split("/")
    made = {"namespace": namespace, "name": f"for-{name}", "service_name": name, "addresses": ips, "created": "2026"}
    return Reservation(**{**made, **fields})


def new(key: str = "b/web", *ips: str, ports: tuple[int, ...] = (), **fields: Any) -> Service:
    """A create; `ports` are node ports, 0 where one is needed."""
    made = tuple(Port(f"p{at}", "TCP", 80 + at, number) for at, number in enumerate(ports))
    given = {"ports": made, "policy": "", "families": (), "type": "NodePort" if ports else "ClusterIP"}
    return msgspec.structs.replace(service(key, *ips), **{**given, **fields})


def chosen(request: Service, of: World, old: Service | None = None) -> Choice:
    found = decide(request, old, of)
    assert isinstance(found, Choice)
    return found


def refused(request: Service, of: World, old: Service | None = None) -> Refusal:
    found = decide(request, old, of)
    assert isinstance(found, Refusal)
    return found


def address_ask(request: Service, of: World) -> Ask:
    [ask] = chosen(request, of).addresses
    assert ask is not None
    return ask


def names(ask: Ask) -> list[str]:
    """Where it draws from, in order; "" is what no pool keeps."""
    return [draw.pool.name if draw.pool else "" for draw in ask.draws]


def number(text: str) -> int:
    return number_of(text)[1]


EXCLUSIVE = ip_pool("kept", KEPT, exclusive=True, enforced=True, select=team("a"))
HTTP = port_pool("kept", 30020, 30029, exclusive=True, enforced=True, select=team("a"))
