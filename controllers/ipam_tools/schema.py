"""Whether an object of our kinds would be accepted, said without an API server: its CRD's schema, and its CEL rules.

A test puts what the real API server refuses and accepts through this.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from ipaddress import ip_address, ip_network
from typing import Any, Final

import msgspec
from pydantic import ValidationError

from api.crds import crd
from api.v1alpha1.common import Base, LabelRequirement, Resource, Thresholds
from api.v1alpha1.service_ip_pool import AddressRange, ServiceIPPoolSpec
from api.v1alpha1.service_port_pool import PortRange, ServicePortPoolSpec
from api.v1alpha1.service_reservation import Retain, ServiceReservationSpec
from controllers.ipam.families import canonical
from controllers.ipam.ranges import family_of
from controllers.planning.decoding import Fault

Schema = Mapping[str, Any]
Path = tuple[str | int, ...]

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}
_LEAST_PREFIX: Final = 64


def faults(kind: type[Resource], content: Mapping[str, Any]) -> list[Fault]:
    """Everything that is wrong with an object, by itself; empty when it would be accepted."""
    found = list(_against(_schema(kind), given(content), ()))
    if found:
        return found
    try:
        resource = resource_of(kind, content)
    except ValidationError as error:
        return [Fault(tuple(each["loc"]), each["msg"]) for each in error.errors()]
    return list(_rules(resource, ()))


def resource_of(kind: type[Resource], content: Mapping[str, Any]) -> Resource:
    """The object, typed. Raises pydantic.ValidationError."""
    return kind.model_validate_json(msgspec.json.encode(given(content)))


def given(value: Any) -> Any:  # noqa: ANN401 (decoded JSON)
    """What is given: the API server takes a null for a field that is left out."""
    if isinstance(value, dict):
        return {key: given(each) for key, each in value.items() if each is not None}
    return [given(each) for each in value] if isinstance(value, list) else value


@cache
def _schema(kind: type[Resource]) -> Schema:
    found: Schema = crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def _against(schema: Schema, value: Any, path: Path) -> Iterator[Fault]:  # noqa: ANN401 (decoded JSON)
    wanted = schema["type"]
    if not isinstance(value, _TYPES[wanted]) or (isinstance(value, bool) and wanted != "boolean"):
        yield Fault(path, f"expected {'an' if wanted[0] in 'aio' else 'a'} {wanted}, got {_shown(value)}")
        return
    if "enum" in schema and value not in schema["enum"]:
        yield Fault(path, f"{_shown(value)} is not one of {', '.join(map(str, schema['enum']))}")
    elif isinstance(value, str):
        yield from _of_text(schema, value, path)
    elif isinstance(value, dict):
        yield from _of_object(schema, value, path)
    elif isinstance(value, list):
        yield from _of_list(schema, value, path)
    elif isinstance(value, int | float):
        yield from _bounds(schema, value, ("minimum", "maximum"), "must be", path)


def _shown(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else f"{text[:59]}…"


def _bounds(schema: Schema, size: float, keys: tuple[str, str], said: str, path: Path) -> Iterator[Fault]:
    least, most = schema.get(keys[0]), schema.get(keys[1])
    if least is not None and size < least:
        yield Fault(path, f"{said} {least} or more, is {size}")
    if most is not None and size > most:
        yield Fault(path, f"{said} {most} or less, is {size}")


def _of_text(schema: Schema, value: str, path: Path) -> Iterator[Fault]:
    yield from _bounds(schema, len(value), ("minLength", "maxLength"), "its length must be", path)
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield Fault(path, f"{_shown(value)} does not match {schema['pattern']}")


def _of_object(schema: Schema, value: Mapping[str, Any], path: Path) -> Iterator[Fault]:
    yield from _bounds(schema, len(value), ("minProperties", "maxProperties"), "its number of fields must be", path)
    for name in schema.get("required", ()):
        if name not in value:
            yield Fault((*path, name), "required, but not set")
    properties, others = schema.get("properties"), schema.get("additionalProperties")
    for name, each in value.items():
        if properties is not None and name in properties:
            yield from _against(properties[name], each, (*path, name))
        elif others is not None:
            yield from _against(others, each, (*path, name))
        elif properties is not None:
            yield Fault((*path, name), f"unknown field; there are: {', '.join(sorted(properties))}")


def _of_list(schema: Schema, value: Sequence[Any], path: Path) -> Iterator[Fault]:
    yield from _bounds(schema, len(value), ("minItems", "maxItems"), "its number of items must be", path)
    for index, each in enumerate(value):
        yield from _against(schema["items"], each, (*path, index))
    kind, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys", ())
    seen: set[str] = set()
    for index, each in enumerate(value if kind in ("set", "map") else ()):
        by = _shown({key: each.get(key, "") for key in keys} if keys and isinstance(each, dict) else each)
        if by in seen:
            yield Fault((*path, index), f"{by} is there twice")
        seen.add(by)


def _rules(part: Base, path: Path) -> Iterator[Fault]:
    """The CEL rules of a part and of all within it."""
    for message in CHECKS.get(type(part), _nothing)(part):
        yield Fault(path, message)
    for name, field in type(part).model_fields.items():
        value = getattr(part, name)
        at = (*path, field.serialization_alias or field.alias or name)
        if isinstance(value, Base):
            yield from _rules(value, at)
        elif isinstance(value, tuple):
            for index, each in enumerate(value):
                if isinstance(each, Base):
                    yield from _rules(each, (*at, index))


def _nothing(_: Any) -> Iterator[str]:  # noqa: ANN401
    return iter(())


def _address_range(part: AddressRange) -> Iterator[str]:
    if (part.cidr is not None) == (part.start is not None):
        yield "give either cidr, or start and end"
    if (part.start is None) != (part.end is None):
        yield "start and end are given together"
    if part.cidr is not None:
        yield from _cidr(part.cidr)
    ends = {"start": part.start, "end": part.end}
    wrong = [name for name, text in ends.items() if text is not None and canonical(text) != text]
    yield from (f"{name} is not an IP address in canonical form" for name in wrong)
    if part.start and part.end and not wrong and family_of(part.start) != family_of(part.end):
        yield "start and end must be of one family"


def _cidr(text: str) -> Iterator[str]:
    address, _, prefix = text.partition("/")
    try:
        found = ip_network(text, strict=False)
    except ValueError:
        found = None
    if found is None or not prefix.isdecimal() or canonical(address) is None:
        yield "cidr is not a CIDR, such as 10.96.0.0/24"
        return
    if ip_address(address) != found.network_address:
        yield "cidr has bits behind its prefix: give the network's address"
    if found.version == 6 and found.prefixlen < _LEAST_PREFIX:
        yield "an IPv6 cidr must be a /64 or smaller"


def _requirement(part: LabelRequirement) -> Iterator[str]:
    if (part.operator in ("In", "NotIn")) != bool(part.values):
        yield "values are given for In and NotIn, and for these only"


def _thresholds(part: Thresholds) -> Iterator[str]:
    if part.warn_percent >= part.critical_percent:
        yield "warnPercent must be less than criticalPercent"


def _pool(part: ServiceIPPoolSpec | ServicePortPoolSpec) -> Iterator[str]:
    if part.exclusive and part.select is None:
        yield "an exclusive pool needs select"
    if part.exclusive and part.on_exhausted == "ClusterDefault":
        yield "an exclusive pool cannot have onExhausted ClusterDefault"


def _port_range(part: PortRange) -> Iterator[str]:
    if part.first > part.last:
        yield "from must not be above to"


def _port_pool(part: ServicePortPoolSpec) -> Iterator[str]:
    for index, each in enumerate(part.ranges):
        if any(each.first <= other.last and other.first <= each.last for other in part.ranges[:index]):
            yield "ranges must not overlap"
            break
    yield from _pool(part)


def _retain(part: Retain) -> Iterator[str]:
    if (part.policy == "TTL") != (part.ttl is not None):
        yield "ttl is given for the policy TTL, and for it only"


def _reservation(part: ServiceReservationSpec) -> Iterator[str]:
    if any(canonical(each) != each for each in part.addresses):
        yield "addresses must be IP addresses in canonical form"
    elif len({family_of(each) for each in part.addresses}) < len(part.addresses):
        yield "give one address per family"
    if not (part.adopt or part.addresses or part.node_ports or part.health_check_node_port):
        yield "nothing is reserved: give addresses, nodePorts or healthCheckNodePort, or set adopt"


# The rules of each model but those about updates, in the words that the API server says them in.
CHECKS: Final[dict[type[Base], Callable[[Any], Iterator[str]]]] = {
    AddressRange: _address_range,
    LabelRequirement: _requirement,
    Thresholds: _thresholds,
    ServiceIPPoolSpec: _pool,
    ServicePortPoolSpec: _port_pool,
    PortRange: _port_range,
    Retain: _retain,
    ServiceReservationSpec: _reservation,
}
