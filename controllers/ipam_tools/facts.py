"""What the tools know of a cluster at one moment: its objects, and what decisions and figures are made from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import msgspec

from api.v1alpha1.service_ip_pool import ServiceIPPool
from api.v1alpha1.service_port_pool import ServicePortPool
from api.v1alpha1.service_reservation import ServiceReservation
from controllers.ipam import compiled
from controllers.ipam.ledger import Ledger
from controllers.ipam.objects import Address, Namespace, Service, ServiceCIDR, families_of
from controllers.ipam.pools import IPPool, PortPool, Reservation, by_priority
from controllers.ipam.ranges import IPV4, IPV6, Addresses, Span, Spans
from controllers.ipam.snapshot import DEFAULT_EXEMPT, DEFAULT_NODE_PORTS, Snapshot
from controllers.ipam.world import Cluster, World, cluster_of

# Without any ServiceCIDR nothing can be said to be outside of them.
_EVERYTHING: Final = Addresses(Spans([Span(0, 2**32 - 1)]), Spans([Span(0, 2**128 - 1)]))


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The objects of a cluster: `services` and `reservations` by `namespace/name`, the others by name.

    `exempt` are the Namespaces that no pool concerns (--exempt-namespaces). `skipped` are objects that could not be
    understood, each with why. Nobody remembers here when a number was given back: cool-downs are known to the operator
    alone, which counts them in the pools' statuses.
    """

    services: Mapping[str, Service] = field(default_factory=dict)
    addresses: Mapping[str, Address] = field(default_factory=dict)
    service_cidrs: Mapping[str, ServiceCIDR] = field(default_factory=dict)
    namespaces: Mapping[str, Namespace] = field(default_factory=dict)
    ip_pools: Mapping[str, ServiceIPPool] = field(default_factory=dict)
    port_pools: Mapping[str, ServicePortPool] = field(default_factory=dict)
    reservations: Mapping[str, ServiceReservation] = field(default_factory=dict)
    node_ports: Span = DEFAULT_NODE_PORTS
    exempt: frozenset[str] = DEFAULT_EXEMPT
    skipped: tuple[str, ...] = ()

    @cached_property
    def compiled_ip_pools(self) -> list[IPPool]:
        """The pools of addresses in the order in which they are asked."""
        return by_priority(map(compiled.ip_pool, self.ip_pools.values()))

    @cached_property
    def compiled_port_pools(self) -> list[PortPool]:
        """The pools of ports in the order in which they are asked."""
        return by_priority(map(compiled.port_pool, self.port_pools.values()))

    @cached_property
    def compiled_reservations(self) -> list[Reservation]:
        """The reservations, by namespace and name."""
        return [compiled.reservation(each) for _, each in sorted(self.reservations.items())]

    @cached_property
    def cluster(self) -> Cluster:
        """What the API server allocates from. What is not known is taken for possible: both families, any address."""
        if not self.service_cidrs:
            return Cluster(families=(IPV4, IPV6), addresses=_EVERYTHING)
        found = cluster_of(self.service_cidrs.values())
        if found.families:
            return found
        # Manifests need not have the one that the API server makes from its flags.
        every = families_of(tuple(cidr for each in self.service_cidrs.values() for cidr in each.cidrs))
        return msgspec.structs.replace(found, families=tuple(dict.fromkeys(every)))

    def ledger(self) -> Ledger:
        """Who holds which number; a new one each time, since it can be changed."""
        made = Ledger()
        for service in self.services.values():
            made.service_changed(None, service, 0.0)
        for address in self.addresses.values():
            made.address_changed(None, address, 0.0)
        return made

    def snapshot(self) -> Snapshot:
        """What figures and findings are computed from."""
        return Snapshot(
            services=self.services,
            addresses=self.addresses,
            service_cidrs=self.service_cidrs,
            namespaces=self.namespaces,
            ip_pools=self.compiled_ip_pools,
            port_pools=self.compiled_port_pools,
            reservations=self.compiled_reservations,
            ledger=self.ledger(),
            node_ports=self.node_ports,
            exempt_namespaces=self.exempt,
        )

    def world(self) -> World:
        """What decisions are made from."""
        return world_of(self, self.compiled_reservations)


def world_of(facts: Facts, reservations: Iterable[Reservation]) -> World:
    """The world of these facts, with other reservations than theirs."""
    made = World(
        node_ports=facts.node_ports,
        exempt=facts.exempt,
        ledger=facts.ledger(),
        cluster=facts.cluster,
        namespaces=dict(facts.namespaces),
        ip_pools=facts.compiled_ip_pools,
        port_pools=facts.compiled_port_pools,
    )
    for reservation in reservations:
        made.reservation_changed(None, reservation)
    return made
