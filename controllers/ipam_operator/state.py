"""All that address management knows of the cluster, kept up to date by reflectors: stores, and the world of them."""

from collections.abc import Callable
from typing import Any

from api.ipam_config import IPAMConfiguration
from controllers.ipam.claims import REQUEST_SECONDS
from controllers.ipam.ledger import Ledger
from controllers.ipam.objects import Address, Namespace, Service, ServiceCIDR
from controllers.ipam.pools import IPPool, PortPool, by_priority
from controllers.ipam.ranges import Span
from controllers.ipam.snapshot import HOLD_MANAGER
from controllers.ipam.world import World, cluster_of
from controllers.ipam_operator.kinds import KnownIPPool, KnownPortPool, KnownReservation
from controllers.runtime.clock import Clock
from controllers.runtime.store import Store


class State:
    """Seven stores, and `world`, which follows them. `changed` callbacks run after every change that is read.

    They are given the name of the kind, the old record and the new one.
    """

    def __init__(self, configuration: IPAMConfiguration, clock: Clock) -> None:
        self.services: Store[Service] = Store()
        self.addresses: Store[Address] = Store()
        self.service_cidrs: Store[ServiceCIDR] = Store()
        self.namespaces: Store[Namespace] = Store()
        self.ip_pools: Store[KnownIPPool] = Store()
        self.port_pools: Store[KnownPortPool] = Store()
        self.reservations: Store[KnownReservation] = Store()
        self._clock = clock
        self._changed: list[Callable[[str, Any, Any], None]] = []
        self._given_up: dict[str, float] = {}
        exempt = frozenset({*configuration.exempt_namespaces, configuration.namespace})
        self.world = World(node_ports=Span(*configuration.service_node_port_range), exempt=exempt)
        self._follow()

    @property
    def ledger(self) -> Ledger:
        """Who holds which number."""
        return self.world.ledger

    def handing_over(self, address: str) -> bool:
        """Whether a hold on it was given up a moment ago for a Service that nobody has seen yet."""
        return self._clock.now() - self._given_up.get(address, -REQUEST_SECONDS) < REQUEST_SECONDS

    def subscribe(self, changed: Callable[[str, Any, Any], None]) -> None:
        """Calls `changed(kind, old, new)` from now on."""
        self._changed.append(changed)

    def unsubscribe(self, changed: Callable[[str, Any, Any], None]) -> None:
        """Calls it no more."""
        self._changed.remove(changed)

    def _follow(self) -> None:
        followed: list[tuple[str, Store[Any], Callable[[Any, Any], None]]] = [
            ("Service", self.services, self._service_changed),
            ("IPAddress", self.addresses, self._address_changed),
            ("ServiceCIDR", self.service_cidrs, self._service_cidrs_changed),
            ("Namespace", self.namespaces, self._namespace_changed),
            ("ServiceIPPool", self.ip_pools, self._ip_pools_changed),
            ("ServicePortPool", self.port_pools, self._port_pools_changed),
            ("ServiceReservation", self.reservations, self._reservation_changed),
        ]
        for kind, store, follow in followed:
            store.subscribe(follow)
            store.subscribe(self._teller(kind))

    def _teller(self, kind: str) -> Callable[[Any, Any], None]:
        def tell(old: object, new: object) -> None:
            for changed in self._changed:
                changed(kind, old, new)

        return tell

    def _service_changed(self, old: Service | None, new: Service | None) -> None:
        self.ledger.service_changed(old, new, self._clock.now())
        for text in new.addresses if new is not None else ():
            self._given_up.pop(text, None)

    def _address_changed(self, old: Address | None, new: Address | None) -> None:
        now = self._clock.now()
        self.ledger.address_changed(old, new, now)
        if old is not None and new is None and old.manager == HOLD_MANAGER:
            self._given_up[old.name] = now

    def _service_cidrs_changed(self, old: ServiceCIDR | None, new: ServiceCIDR | None) -> None:
        self.world.cluster = cluster_of(self.service_cidrs.all())

    def _namespace_changed(self, old: Namespace | None, new: Namespace | None) -> None:
        names = self.world.namespaces
        if new is not None:
            names[new.name] = new
        elif old is not None:
            names.pop(old.name, None)

    def _ip_pools_changed(self, old: KnownIPPool | None, new: KnownIPPool | None) -> None:
        if old is None or new is None or old.compiled != new.compiled:
            pools: list[IPPool] = [each.compiled for each in self.ip_pools.all()]
            self.world.ip_pools = by_priority(pools)

    def _port_pools_changed(self, old: KnownPortPool | None, new: KnownPortPool | None) -> None:
        if old is None or new is None or old.compiled != new.compiled:
            pools: list[PortPool] = [each.compiled for each in self.port_pools.all()]
            self.world.port_pools = by_priority(pools)

    def _reservation_changed(self, old: KnownReservation | None, new: KnownReservation | None) -> None:
        if old is not None and new is not None and old.compiled == new.compiled:
            return
        self.world.reservation_changed(old.compiled if old else None, new.compiled if new else None)
