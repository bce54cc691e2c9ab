"""ServiceIPPool: which Services draw their cluster addresses from which ranges."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from api.v1alpha1.common import (
    POOL_COLUMNS,
    Base,
    Column,
    Count,
    Counts,
    Duration,
    PoolStatus,
    Quota,
    Resource,
    Rule,
    Select,
    Thresholds,
    listed,
)

Address = Annotated[str, Field(max_length=39)]
Cidr = Annotated[str, Field(max_length=43)]

Enforcement = Literal["Audit", "Enforce"]
OnExhausted = Literal["NextPool", "ClusterDefault", "Deny"]


class AddressRange(Base):
    """Addresses of one family: either a CIDR, or a first and a last one."""

    RULES = (
        Rule("has(self.cidr) != has(self.start)", "give either cidr, or start and end"),
        Rule("has(self.start) == has(self.end)", "start and end are given together"),
        Rule("!has(self.cidr) || isCIDR(self.cidr)", "cidr is not a CIDR, such as 10.96.0.0/24"),
        Rule(
            "!has(self.cidr) || !isCIDR(self.cidr) || cidr(self.cidr) == cidr(self.cidr).masked()",
            "cidr has bits behind its prefix: give the network's address",
        ),
        Rule(
            "!has(self.cidr) || !isCIDR(self.cidr) || cidr(self.cidr).ip().family() == 4"
            " || cidr(self.cidr).prefixLength() >= 64",
            "an IPv6 cidr must be a /64 or smaller",
        ),
        *(
            Rule(
                f"!has(self.{end}) || (isIP(self.{end}) && ip.isCanonical(self.{end}))",
                f"{end} is not an IP address in canonical form",
            )
            for end in ("start", "end")
        ),
        Rule(
            "!has(self.start) || !has(self.end) || !isIP(self.start) || !isIP(self.end)"
            " || ip(self.start).family() == ip(self.end).family()",
            "start and end must be of one family",
        ),
    )

    cidr: Cidr | None = None
    """A network such as 10.96.0.0/24 or fd00:10:96::/112."""
    start: Address | None = None
    """The first address, in canonical form."""
    end: Address | None = None
    """The last address, which belongs to the range; not below `start`."""


class Sticky(Base):
    """Whether a Service that is deleted and made again gets the address that it had."""

    mode: Literal["None", "ByName"] = "None"
    """ByName keeps an address for the next Service of the same namespace and name."""
    ttl: Duration | None = None
    """How long the address is kept after the Service's deletion; for ever without it."""


class ServiceCIDRUse(Base):
    """How the pool relates to the ServiceCIDR objects, which say what the API server accepts at all."""

    mode: Literal["Require", "Create"] = "Require"
    """Require waits for ServiceCIDRs that cover the ranges; Create makes one for each range that is a CIDR."""


class ServiceIPPoolSpec(Base):
    """What a pool should be."""

    RULES = (
        Rule("self.use == oldSelf.use", "use cannot be changed"),
        Rule("!self.exclusive || has(self.select)", "an exclusive pool needs select"),
        Rule(
            "!self.exclusive || self.onExhausted != 'ClusterDefault'",
            "an exclusive pool cannot have onExhausted ClusterDefault",
        ),
    )

    use: Literal["ClusterIP"] = "ClusterIP"
    """What the addresses are for. Cannot be changed."""
    ranges: tuple[AddressRange, ...] = Field(min_length=1, max_length=16, json_schema_extra=listed("atomic"))
    """The pool's addresses, of one family or of both."""
    exclude: tuple[AddressRange, ...] = Field(default=(), max_length=64, json_schema_extra=listed("atomic"))
    """Addresses within the ranges that are never chosen."""
    select: Select | None = None
    """The Services that may draw from the pool; all without it."""
    priority: int = Field(default=100, ge=0, le=1_000_000)
    """Of the pools that select a Service the one with the lowest number is asked first; ties go by name."""
    exclusive: bool = False
    """Whether other Services are kept out of the ranges, even when they name an address."""
    enforcement: Enforcement = "Audit"
    """Audit reports what is against the pool's rules; Enforce refuses it."""
    strategy: Literal["Random", "Sequential", "LeastRecentlyUsed"] = "Random"
    """Which free address is chosen."""
    cooldown: Duration = "0s"
    """How long a released address is not chosen for another Service, such as "10m"."""
    sticky: Sticky = Sticky()
    """Whether a Service that is made again gets its address back."""
    quota: Quota | None = None
    """How much one namespace may hold."""
    on_exhausted: OnExhausted = "NextPool"
    """When nothing is free: NextPool tries the next pool, ClusterDefault lets the API server choose, Deny refuses."""
    service_cidr: ServiceCIDRUse = ServiceCIDRUse()
    """How the pool relates to ServiceCIDR objects."""
    thresholds: Thresholds = Thresholds()
    """How full the pool is when that is worth telling."""


class AddressCapacity(Counts):
    """The addresses of one family."""

    family: Literal["IPv4", "IPv6"]
    """The address family."""
    cooling: Count
    """Released a short while ago, and not given to another Service yet."""


class ServiceIPPoolStatus(PoolStatus):
    """What is observed of a pool of addresses, written by the controller alone."""

    capacity: tuple[AddressCapacity, ...] = Field(default=(), max_length=2, json_schema_extra=listed("map", "family"))
    """How many addresses there are, for each family."""


class ServiceIPPool(Resource):
    """Ranges of cluster addresses, and the Services that draw theirs from them."""

    PLURAL: ClassVar[str] = "serviceippools"
    SINGULAR: ClassVar[str] = "serviceippool"
    SHORT_NAME: ClassVar[str] = "sip"
    COLUMNS: ClassVar[tuple[Column, ...]] = (Column("Use", ".spec.use"), *POOL_COLUMNS)

    spec: ServiceIPPoolSpec
    """What the pool should be."""
    status: ServiceIPPoolStatus = ServiceIPPoolStatus()
    """What is observed of it."""
