"""ServiceReservation: addresses and ports that are kept for a Service, also while it does not exist."""

from typing import ClassVar, Literal

from pydantic import AwareDatetime, Field

from api.v1alpha1.common import Base, Column, Condition, Duration, Port, PortName, Resource, Rule, ServiceName, listed
from api.v1alpha1.service_ip_pool import Address


class ReservedPort(Base):
    """The node port of one port of a Service."""

    port_name: PortName = ""
    """The name of the Service's port; empty for an only port without a name."""
    node_port: Port
    """The node port, within the API server's --service-node-port-range."""


class Retain(Base):
    """How long a reservation outlives its Service."""

    RULES = (Rule("(self.policy == 'TTL') == has(self.ttl)", "ttl is given for the policy TTL, and for it only"),)

    policy: Literal["Forever", "TTL"] = "Forever"
    """Forever, or for a time after the Service was last seen."""
    ttl: Duration | None = None
    """How long, such as "720h"."""


class ServiceReservationSpec(Base):
    """What is reserved, and for whom."""

    RULES = (
        Rule("self.serviceName == oldSelf.serviceName", "serviceName cannot be changed"),
        Rule(
            "!has(self.addresses) || self.addresses.all(a, isIP(a) && ip.isCanonical(a))",
            "addresses must be IP addresses in canonical form",
        ),
        Rule(
            "!has(self.addresses) || size(self.addresses) < 2 || !self.addresses.all(a, isIP(a))"
            " || ip(self.addresses[0]).family() != ip(self.addresses[1]).family()",
            "give one address per family",
        ),
        Rule(
            "self.adopt || (has(self.addresses) && size(self.addresses) > 0)"
            " || (has(self.nodePorts) && size(self.nodePorts) > 0) || has(self.healthCheckNodePort)",
            "nothing is reserved: give addresses, nodePorts or healthCheckNodePort, or set adopt",
        ),
    )

    service_name: ServiceName
    """The Service, in the namespace of the reservation; it need not exist. Cannot be changed."""
    addresses: tuple[Address, ...] = Field(default=(), max_length=2, json_schema_extra=listed("atomic"))
    """Cluster addresses in canonical form, one of a family, the Service's primary one first."""
    node_ports: tuple[ReservedPort, ...] = Field(default=(), max_length=64, json_schema_extra=listed("map", "portName"))
    """Node ports, by the name of the Service's port."""
    health_check_node_port: Port | None = None
    """The health check port of a LoadBalancer with externalTrafficPolicy Local."""
    adopt: bool = False
    """Whether also to reserve what the Service has now."""
    retain: Retain = Retain()
    """How long the reservation outlives its Service."""
    enforcement: Literal["Guard", "Hold"] = "Guard"
    """Guard refuses the numbers to others; Hold also keeps IPAddress objects in their place, for all to see."""


class ServiceReservationStatus(Base):
    """What is observed of a reservation, written by the controller alone."""

    observed_generation: int | None = Field(default=None, ge=0)
    """The metadata.generation that this status is about."""
    phase: Literal["Pending", "Held", "Bound", "HandingOver", "Conflict", "Expired"] | None = None
    """Pending: not in force yet. Held: kept, no Service has it. Bound: the Service has it. HandingOver: on its way to
    the Service. Conflict: another Service has some of it. Expired: its time is over."""
    bound_uid: str | None = Field(default=None, max_length=128)
    """The UID of the Service that has it."""
    addresses: tuple[Address, ...] = Field(default=(), max_length=2, json_schema_extra=listed("atomic"))
    """The addresses that are reserved, with those that were adopted."""
    node_ports: tuple[ReservedPort, ...] = Field(default=(), max_length=64, json_schema_extra=listed("map", "portName"))
    """The node ports that are reserved, with those that were adopted."""
    health_check_node_port: Port | None = None
    """The health check port that is reserved."""
    last_bound: AwareDatetime | None = None
    """When the Service was last seen with it: a TTL counts from here."""
    conditions: tuple[Condition, ...] = Field(default=(), max_length=32, json_schema_extra=listed("map", "type"))
    """Bound and Conflict."""


class ServiceReservation(Resource):
    """Addresses and ports that are kept for one Service of the namespace."""

    PLURAL: ClassVar[str] = "servicereservations"
    SINGULAR: ClassVar[str] = "servicereservation"
    SHORT_NAME: ClassVar[str] = "srsv"
    NAMESPACED: ClassVar[bool] = True
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("Service", ".spec.serviceName"),
        Column("Phase", ".status.phase"),
        Column("Addresses", ".status.addresses"),
        Column("Age", ".metadata.creationTimestamp", "date"),
        Column("Enforcement", ".spec.enforcement", priority=1),
        Column("Retain", ".spec.retain.policy", priority=1),
    )

    spec: ServiceReservationSpec
    """What is reserved, and for whom."""
    status: ServiceReservationStatus = ServiceReservationStatus()
    """What is observed of it."""
