"""What must be equal on both planes, by the kind of history; what the spec leaves free is not in it."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from api import names
from tests.parity.hints import counts, without_hints
from tests.parity.histories import World
from tests.parity.normal import normal, normal_endpoints
from tests.parity.planes import Plane

Object = dict[str, Any]
_NOT_MIRRORED: Final = frozenset({names.REASON_INVALID_IP, names.REASON_TOO_MANY_ADDRESSES})
_RESERVED: Final = frozenset({names.HEADLESS_LABEL, names.ENDPOINTS_MANAGED_BY_LABEL})


@dataclass(frozen=True)
class Rules:
    """How histories are made and compared.

    Of "services" with Pods, or of Endpoints "by hand". With small slices (no `packing`) a free choice between equals
    leads to other sizes later. With `topology` Services ask for hints; their Nodes stay as they are, since their CPU
    counts for all histories on a server; with `moving` they come, go and change, and a server must play one history at
    a time.
    """

    kind: Literal["services", "mirroring"] = "services"
    packing: bool = True
    topology: bool = False
    moving: bool = False


def outcome(plane: Plane, worlds: list[World], rules: Rules) -> Object:
    """What a plane made of the last of these worlds."""
    return _of_manual(plane, worlds[-1]) if rules.kind == "mirroring" else _of_services(plane, worlds, rules)


def _of_services(plane: Plane, worlds: list[World], rules: Rules) -> Object:
    """Slices, how many ready endpoints are for how many zones (which zone gets one more is free), and Endpoints."""
    slices = plane.slices(worlds[-1])
    if rules.topology:
        # KCM writes slices anew for their hints at every sync, without a trigger time (D-8).
        slices = [_untimed(each) for each in slices]
    found = normal(without_hints(slices))
    for family in ("IPv4", "IPv6"):
        zones = counts(slices, family)
        unhinted = zones.pop("", 0)
        found[f"hints of {family}"] = {"endpoints": [f"none {unhinted}", *map(str, sorted(zones.values()))]}
    if not rules.packing:
        found = {group: {"endpoints": parts["endpoints"]} for group, parts in found.items()}
    return found | {"Endpoints": _endpoints(plane, worlds)}


def _endpoints(plane: Plane, worlds: list[World]) -> Object:
    """The Endpoints, unless KCM cannot write them; their trigger time, unless KCM has lost it."""
    world = worlds[-1]
    if not world.bound:
        return {}
    found = plane.endpoints(world)
    if found is not None and (_written_at_every_sync(world, found) or not all(each.bound for each in worlds)):
        found = _untimed(found)
    return normal_endpoints(found)


def _written_at_every_sync(world: World, found: Object) -> bool:
    """Whether KCM writes the Endpoints at every sync (EP-42, EP-43): then a sync that has no news loses the time."""
    truncated = names.OVER_CAPACITY_ANNOTATION in found["metadata"].get("annotations", {})
    return truncated or not _RESERVED.isdisjoint(world.service["metadata"]["labels"])


def _of_manual(plane: Plane, world: World) -> Object:
    """Mirrored slices and the others, the Endpoints, and what is said of what they hold that is not mirrored."""
    slices = list(map(plain, plane.slices(world)))
    mirrored = [
        each for each in slices if each["metadata"]["labels"].get(names.MANAGED_BY_LABEL) == names.MIRRORING_MANAGED_BY
    ]
    found = normal(each for each in slices if each not in mirrored)
    found |= {f"mirrored {group}": parts for group, parts in normal(mirrored).items()}
    endpoints = plane.endpoints(world)
    found["Endpoints"] = normal_endpoints(endpoints and _untimed(endpoints))
    return found | {"Warnings": {"reasons": sorted(plane.warnings(world) & _NOT_MIRRORED)}}


def plain(found: Object) -> Object:
    """A slice without what may differ: the trigger time, and generateName, which KCM drops when it recycles (MI-42)."""
    found = _untimed(found)
    return {**found, "metadata": {key: value for key, value in found["metadata"].items() if key != "generateName"}}


def _untimed(found: Object) -> Object:
    annotations = {
        k: v for k, v in found["metadata"].get("annotations", {}).items() if k != names.TRIGGER_TIME_ANNOTATION
    }
    return {**found, "metadata": {**found["metadata"], "annotations": annotations}}
