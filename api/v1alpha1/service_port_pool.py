"""ServicePortPool: which Services draw their node ports from which ranges."""

from typing import ClassVar, Literal

from pydantic import Field

from api.v1alpha1.common import (
    POOL_COLUMNS,
    Base,
    Column,
    Counts,
    PoolStatus,
    Port,
    Quota,
    Resource,
    Rule,
    Select,
    Thresholds,
    listed,
)
from api.v1alpha1.service_ip_pool import Enforcement, OnExhausted


class PortRange(Base):
    """Ports from a first to a last one."""

    RULES = (Rule("self.from <= self.to", "from must not be above to"),)

    # `from` is a word of Python.
    first: Port = Field(validation_alias="from", serialization_alias="from")
    """The first port."""
    last: Port = Field(validation_alias="to", serialization_alias="to")
    """The last port, which belongs to the range."""


class ServicePortPoolSpec(Base):
    """What a pool should be."""

    RULES = (
        Rule(
            "self.ranges.all(a, self.ranges.filter(b, a.from <= b.to && b.from <= a.to).size() <= 1)",
            "ranges must not overlap",
        ),
        Rule("!self.exclusive || has(self.select)", "an exclusive pool needs select"),
        Rule(
            "!self.exclusive || self.onExhausted != 'ClusterDefault'",
            "an exclusive pool cannot have onExhausted ClusterDefault",
        ),
    )

    ranges: tuple[PortRange, ...] = Field(min_length=1, max_length=16, json_schema_extra=listed("atomic"))
    """The pool's ports, within the API server's --service-node-port-range."""
    purposes: tuple[Literal["NodePort", "HealthCheck"], ...] = Field(
        default=("NodePort", "HealthCheck"), min_length=1, max_length=2, json_schema_extra=listed("set")
    )
    """What the ports are for: node ports of Services, health check ports of LoadBalancers, or both."""
    select: Select | None = None
    """The Services that may draw from the pool; all without it."""
    priority: int = Field(default=100, ge=0, le=1_000_000)
    """Of the pools that select a Service the one with the lowest number is asked first; ties go by name."""
    exclusive: bool = False
    """Whether other Services are kept out of the ranges, even when they name a port."""
    enforcement: Enforcement = "Audit"
    """Audit reports what is against the pool's rules; Enforce refuses it."""
    quota: Quota | None = None
    """How much one namespace may hold."""
    on_exhausted: OnExhausted = "NextPool"
    """When nothing is free: NextPool tries the next pool, ClusterDefault lets the API server choose, Deny refuses."""
    thresholds: Thresholds = Thresholds()
    """How full the pool is when that is worth telling."""


class PortCapacity(Counts):
    """The ports of a pool."""


class ServicePortPoolStatus(PoolStatus):
    """What is observed of a pool of ports, written by the controller alone."""

    capacity: PortCapacity | None = None
    """How many ports there are."""


class ServicePortPool(Resource):
    """Ranges of node ports, and the Services that draw theirs from them."""

    PLURAL: ClassVar[str] = "serviceportpools"
    SINGULAR: ClassVar[str] = "serviceportpool"
    SHORT_NAME: ClassVar[str] = "spp"
    COLUMNS: ClassVar[tuple[Column, ...]] = POOL_COLUMNS

    spec: ServicePortPoolSpec
    """What the pool should be."""
    status: ServicePortPoolStatus = ServicePortPoolStatus()
    """What is observed of it."""
