"""Random clusters and Services under each kind of hints, and what their clients' traffic becomes: no server, seconds.

Clients are spread like CPU; each picks uniformly among the endpoints that its node's proxy uses. A proxy uses hints
only if every ready endpoint has one, and some endpoint's name the node's zone; otherwise it uses all endpoints.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from controllers.model.identity import Identity
from controllers.model.objects import Conditions, Endpoint, EndpointSlice, ObjectMeta
from controllers.topology.adaptive import Adapted, Candidate, Zones, adapt
from controllers.topology.allocation import Refused, assign, shares
from controllers.topology.capacity import Capacity

MOST_ENDPOINTS: Final = 60
# Endpoints that come and go one by one after the first hints were given.
_CHANGES: Final = 8


@dataclass(frozen=True)
class Case:
    """A cluster's zones, each with its share of CPU, and the zone of each ready endpoint by its name."""

    capacity: Capacity
    endpoints: Mapping[str, str]


Named = dict[str, Zones]
# From a case and the hints of before to those of now; None is "no hints".
Scheme = Callable[[Case, Named | None], Named | None]


def no_hints(case: Case, before: Named | None) -> Named | None:
    """Every endpoint serves everybody."""
    return None


def same_zone(case: Case, before: Named | None) -> Named | None:
    """`trafficDistribution: PreferSameZone`: every endpoint serves its own zone."""
    return {name: (zone,) for name, zone in case.endpoints.items()}


def auto(case: Case, before: Named | None) -> Named | None:
    """`topology-mode: Auto`, in one slice that is written anyway."""
    wanted = shares(case.capacity, len(case.endpoints))
    if isinstance(wanted, Refused):
        return None
    made = EndpointSlice(
        metadata=ObjectMeta(name="s"),
        address_type="IPv4",
        endpoints=tuple(
            Endpoint(addresses=(n,), conditions=Conditions(True), zone=z) for n, z in case.endpoints.items()
        ),
        ports=(),
    )
    earlier: dict[Identity, Zones] = {((name,), "", "", ""): zones for name, zones in (before or {}).items()}
    outcome = assign([made], [], [], wanted, earlier)
    if isinstance(outcome, Refused):
        return None
    return {
        each.addresses[0]: tuple(zone.name for zone in each.hints.for_zones)
        for each in outcome.create[0].endpoints
        if each.hints is not None and each.hints.for_zones is not None
    }


def adaptive(case: Case, before: Named | None) -> Named | None:
    """`sliceplane.dev/topology-mode: Adaptive`."""
    earlier = before or {}
    outcome = adapt(case.capacity, [Candidate(zone, earlier.get(n, ())) for n, zone in case.endpoints.items()], 1)
    return dict(zip(case.endpoints, outcome.zones, strict=True)) if isinstance(outcome, Adapted) else None


SCHEMES: Final[Mapping[str, Scheme]] = {
    "no hints": no_hints,
    "Auto": auto,
    "PreferSameZone": same_zone,
    "Adaptive": adaptive,
}


@dataclass(frozen=True)
class Outcome:
    """One case under one kind of hints: shares of all traffic, and the largest load as a multiple of the mean.

    `changed` is how many endpoints' hints changed with each endpoint that came or went, it apart.
    """

    endpoints: int
    hinted: bool
    crossing: float
    overload: float
    changed: float


def random_case(rng: Random) -> Case:
    """Two to eight zones, even or not; endpoints spread evenly, like the CPU, at random, or over some zones only."""
    zones = [f"zone-{name}" for name in "abcdefgh"[: rng.choice((2, 3, 3, 3, 4, 5, 6, 8))]]
    kind = rng.choice(("equal", "near", "uneven"))
    cpus = [{"equal": 1.0, "near": rng.uniform(0.8, 1.2), "uneven": rng.lognormvariate(0, 0.8)}[kind] for _ in zones]
    count = rng.randint(1, MOST_ENDPOINTS)
    how = rng.choice(("even", "like CPU", "random", "some zones"))
    if how == "even":
        placed = [zones[number % len(zones)] for number in range(count)]
    elif how == "like CPU":
        placed = rng.choices(zones, cpus, k=count)
    else:
        among = zones if how == "random" else rng.sample(zones, rng.randint(1, len(zones)))
        placed = rng.choices(among, [rng.random() + 0.05 for _ in among], k=count)
    total = sum(cpus)
    capacity = Capacity({zone: cpu / total for zone, cpu in zip(zones, cpus, strict=True)})
    return Case(capacity, {f"pod-{number:03}": zone for number, zone in enumerate(placed)})


def served(case: Case, named: Named | None) -> tuple[float, float]:
    """The share of traffic that leaves its zone, and the largest load as a multiple of the mean."""
    usable = named is not None and all(named.get(name) for name in case.endpoints)
    load = dict.fromkeys(case.endpoints, 0.0)
    crossing = 0.0
    for zone, share in case.capacity.shares.items():
        used = [name for name in case.endpoints if usable and named is not None and zone in named[name]]
        used = used or list(case.endpoints)
        for name in used:
            load[name] += share / len(used)
            crossing += share / len(used) * (case.endpoints[name] != zone)
    return crossing, max(load.values()) * len(case.endpoints)


def simulate(scheme: Scheme, case: Case, seed: int) -> Outcome:
    """One case, and then a few endpoints that come and go."""
    named = scheme(case, None)
    crossing, overload = served(case, named)
    rng = Random(seed)
    changed = 0
    now, hints = case, named
    for number in range(_CHANGES):
        now = _changed(rng, now, f"new-{number}")
        after = scheme(now, hints)
        changed += _differences(now, hints, after)
        hints = after
    return Outcome(len(case.endpoints), named is not None, crossing, overload, changed / _CHANGES)


def _changed(rng: Random, case: Case, name: str) -> Case:
    endpoints = dict(case.endpoints)
    if len(endpoints) > 1 and rng.random() < 0.5:
        del endpoints[rng.choice(sorted(endpoints))]
    else:
        endpoints[name] = rng.choice(sorted(case.capacity.shares))
    return Case(case.capacity, endpoints)


def _differences(case: Case, before: Named | None, after: Named | None) -> int:
    """How many endpoints that were there before have other hints now; a new one has a name of its own."""
    return sum(
        (before or {}).get(name) != (after or {}).get(name)
        for name in case.endpoints
        if before is None or name in before
    )


def run(count: int, seed: int) -> dict[str, list[Outcome]]:
    """The same cases under every kind of hints."""
    rng = Random(seed)
    cases: Sequence[Case] = [random_case(rng) for _ in range(count)]
    return {
        name: [simulate(scheme, case, seed + number) for number, case in enumerate(cases)]
        for name, scheme in SCHEMES.items()
    }
