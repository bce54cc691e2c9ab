"""What the custom resources share: names, the base of their models, selectors, quotas, conditions.

An attribute's docstring is the field's description in the CRD: it is written for those who write manifests. Rules that
no schema can say are CEL, beside the fields that they are about, and only the API server checks them.
"""

import re
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    JsonValue,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

GROUP: Final = "ipam.sliceplane.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
CATEGORIES: Final = ("sliceplane", "ipam")

# The largest count that an integer of the API holds; more are reported as this many, such as those of an IPv6 /64.
# No `maximum` says so in the CRD: the API server would show it as a float, which is another number.
MAX_COUNT: Final = 2**63 - 1

_PART: Final = re.compile(r"(\d+)(h|ms|m|s)")
_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"


def wire_name(name: str) -> str:
    """An attribute's name as the API has it: `service_cidr` is `serviceCIDR`, as in Kubernetes' own types."""
    return re.sub("Cidr|Uid", lambda found: found.group().upper(), to_camel(name))


def seconds(duration: str) -> float:
    """The length of a `Duration`, such as "1h30m"."""
    return sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(duration))


def listed(kind: Literal["atomic", "set", "map"], *keys: str) -> dict[str, JsonValue]:
    """How the API server merges a list, for `json_schema_extra`; a map's entries are told apart by `keys`."""
    found: dict[str, JsonValue] = {"x-kubernetes-list-type": kind}
    return found | {"x-kubernetes-list-map-keys": list(keys)} if keys else found


class Rule(NamedTuple):
    """A CEL expression that must be true of an object, and what is said when it is not."""

    rule: str
    message: str


class Column(NamedTuple):
    """A column of `kubectl get`. The ones with a `priority` above 0 are shown by `-o wide` only."""

    name: str
    path: str
    type: Literal["string", "integer", "boolean", "date"] = "string"
    priority: int = 0


class Base(BaseModel):
    """A part of an object. What is not known is ignored: newer versions of a CRD have more fields than this one."""

    model_config = ConfigDict(
        alias_generator=wire_name,
        populate_by_name=True,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
    )

    RULES: ClassVar[tuple[Rule, ...]] = ()

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema with the rules that the API server evaluates."""
        made = handler(schema)
        if cls.RULES:
            handler.resolve_ref_schema(made)["x-kubernetes-validations"] = [rule._asdict() for rule in cls.RULES]
        return made

    def wire(self) -> dict[str, Any]:
        """This part as JSON has it, without what is not set."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


Duration = Annotated[str, Field(pattern=r"^([0-9]{1,5}(h|m|s|ms)){1,4}$", max_length=28)]
NamespaceName = Annotated[str, Field(pattern=f"^{_LABEL}$", max_length=63)]
ServiceName = Annotated[str, Field(pattern=f"^{_LABEL}$", max_length=63)]
PortName = Annotated[str, Field(pattern=f"^({_LABEL})?$", max_length=63)]
Port = Annotated[int, Field(ge=1, le=65535)]
Count = Annotated[int, Field(ge=0), AfterValidator(lambda count: min(count, MAX_COUNT))]
Percent = Annotated[int, Field(ge=1, le=100)]
LabelKey = Annotated[str, Field(min_length=1, max_length=317)]
LabelValue = Annotated[str, Field(max_length=63)]


class ObjectMeta(Base):
    """What is read of an object's metadata."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: AwareDatetime | None = None
    deletion_timestamp: AwareDatetime | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: tuple[str, ...] = ()


class LabelRequirement(Base):
    """A condition on one label."""

    RULES = (
        Rule(
            "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
            "values are given for In and NotIn, and for these only",
        ),
    )

    key: LabelKey
    """The label's name."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How the label's value and the values relate; NotIn and DoesNotExist also match what has no such label."""
    values: tuple[LabelValue, ...] = Field(default=(), max_length=64, json_schema_extra=listed("set"))
    """The values of In and NotIn."""


class LabelSelector(Base):
    """Matches objects by their labels. All conditions must hold; without any, everything matches."""

    match_labels: dict[str, LabelValue] = Field(default={}, max_length=32)
    """Labels that an object must have, with these values."""
    match_expressions: tuple[LabelRequirement, ...] = Field(
        default=(), max_length=32, json_schema_extra=listed("atomic")
    )
    """Further conditions on labels."""


class Select(Base):
    """Which Services may draw from a pool. What is given must all match; what is not given matches everything."""

    # An empty one would match everything while it looks like a restriction.
    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    namespaces: tuple[NamespaceName, ...] = Field(default=(), max_length=256, json_schema_extra=listed("set"))
    """Names of the namespaces; without them, any namespace."""
    namespace_selector: LabelSelector | None = None
    """Labels of the Service's namespace."""
    service_selector: LabelSelector | None = None
    """Labels of the Service."""


class Quota(Base):
    """How much of a pool one tenant may hold."""

    per_namespace: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    """The most that the Services of one namespace hold of this pool at a time; no limit without it."""


class Thresholds(Base):
    """How full a pool is when that is worth telling."""

    RULES = (Rule("self.warnPercent < self.criticalPercent", "warnPercent must be less than criticalPercent"),)

    warn_percent: Percent = 80
    """From this use on, in percent, the pool is NearExhaustion."""
    critical_percent: Percent = 95
    """From this use on, in percent, the condition and the alert are urgent."""


class Condition(Base):
    """One aspect of an object's state, as in Kubernetes' own objects."""

    type: str = Field(min_length=1, max_length=316)
    """What it is about."""
    status: Literal["True", "False", "Unknown"]
    """Whether it is so."""
    observed_generation: int | None = Field(default=None, ge=0)
    """The metadata.generation of the object that this was said about."""
    last_transition_time: AwareDatetime
    """Since when the status is what it is."""
    reason: str = Field(min_length=1, max_length=1024, pattern="^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")
    """Why, in one CamelCase word."""
    message: str = Field(default="", max_length=32768)
    """Why, in a sentence."""


class Counts(Base):
    """How many numbers a pool has, and in which states."""

    total: Count
    """All, without the excluded ones; 9223372036854775807 stands for more than can be counted."""
    used: Count
    """Held by Services."""
    reserved: Count
    """Kept by ServiceReservations for Services that do not hold them now."""
    free: Count
    """May be given to a Service now."""


class Summary(Base):
    """The figures as they are printed by kubectl: one, or one for each address family."""

    total: str
    """All, such as "254", or "254/65536" for IPv4 and IPv6."""
    used: str
    """Held by Services."""
    free_percent: str
    """Free ones, in percent of all."""


class Forecast(Base):
    """When the pool will be full if use goes on growing as it does. Of two address families, the one full first."""

    rate_per_day: float
    """How many more are in use from one day to the next; negative when use falls."""
    exhausts_at: AwareDatetime | None = None
    """When nothing is free any more; not set when use is flat or falls."""
    confidence: Literal["High", "Low", "None"]
    """How well the past supports it: High takes seven days of steady growth."""


class Consumer(Base):
    """A namespace, and what it holds of a pool."""

    namespace: str
    """The namespace's name."""
    count: Count
    """How many of the pool's numbers its Services hold."""


class Audit(Base):
    """What the last comparison of the pool with the cluster found."""

    time: AwareDatetime
    """When it ended."""
    findings: Count
    """How many things were not as they should be; each is an Event."""


class PoolStatus(Base):
    """What is observed of a pool, written by the controller alone."""

    observed_generation: int | None = Field(default=None, ge=0)
    """The metadata.generation that this status is about."""
    summary: Summary | None = None
    """The capacity as kubectl prints it."""
    forecast: Forecast | None = None
    """When the pool will be full."""
    top_consumers: tuple[Consumer, ...] = Field(default=(), max_length=10, json_schema_extra=listed("map", "namespace"))
    """The namespaces that hold the most of it, the largest first."""
    last_audit: Audit | None = None
    """The last comparison with the cluster."""
    conditions: tuple[Condition, ...] = Field(default=(), max_length=32, json_schema_extra=listed("map", "type"))
    """Ready, RangeConflict, EnforcementActive, NearExhaustion, Exhausted, Drift and so on."""


POOL_COLUMNS: Final = (
    Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
    Column("Total", ".status.summary.total"),
    Column("Used", ".status.summary.used"),
    Column("Free%", ".status.summary.freePercent"),
    # A date in the future is printed as <invalid> when the column is one of dates.
    Column("Exhausts", ".status.forecast.exhaustsAt"),
    Column("Age", ".metadata.creationTimestamp", "date"),
    Column("Priority", ".spec.priority", "integer", 1),
    Column("Exclusive", ".spec.exclusive", "boolean", 1),
)


class Resource(Base):
    """A whole object. Its subclasses have `spec` and `status`, and what their CRD says of the kind."""

    PLURAL: ClassVar[str]
    SINGULAR: ClassVar[str]
    SHORT_NAME: ClassVar[str]
    NAMESPACED: ClassVar[bool] = False
    COLUMNS: ClassVar[tuple[Column, ...]]

    metadata: ObjectMeta = ObjectMeta()
