"""Endpoints and slices of every kind, small; and what the spec says should be mirrored, worked out a second time."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from hypothesis import strategies as st
from msgspec.structs import replace

from api.names import LAST_APPLIED_ANNOTATION, MANAGED_BY_LABEL, SERVICE_NAME_LABEL, TRIGGER_TIME_ANNOTATION
from controllers.model.objects import (
    Conditions,
    Endpoint,
    EndpointAddress,
    EndpointPort,
    Endpoints,
    EndpointSlice,
    EndpointSubset,
    SubsetPort,
    TargetRef,
)
from tests.mirroring.builders import CREATED, endpoints, existing, labelled, owner, planned

# The canonical form of each text that stands for an address, and its family (ES-44).
CANONICAL = {
    "10.0.0.1": "10.0.0.1",
    "10.0.0.01": "10.0.0.1",
    "::ffff:10.0.0.1": "10.0.0.1",
    "10.0.0.2": "10.0.0.2",
    "10.0.0.10": "10.0.0.10",
    "fd00::1": "fd00::1",
    "FD00:0::1": "fd00::1",
    "fd00::2": "fd00::2",
}
TARGETS = [TargetRef(kind="Pod", namespace="ns", name=name, uid=uid) for name, uid in (("p", "1"), ("p", "2"))]
PORTS = [
    SubsetPort("a", 80, "TCP"),
    SubsetPort("b", 81, "UDP"),
    SubsetPort("c", 82, "TCP", "h2c"),
    SubsetPort("", 80, "TCP", ""),
]

Group = tuple[str, frozenset[EndpointPort]]
Identity = tuple[str, str, str]


class Wanted(NamedTuple):
    """By group and identity what an endpoint may look like; how many addresses are left out."""

    groups: dict[Group, dict[Identity, list[Endpoint]]]
    skipped: int


_addresses = st.builds(
    EndpointAddress,
    ip=st.sampled_from([*CANONICAL, *CANONICAL, "bad", "10.0.0.256"]),
    hostname=st.sampled_from(["", "", "h"]),
    node_name=st.sampled_from([None, "n", ""]),
    target_ref=st.sampled_from([None, None, *TARGETS]),
)
_subsets = st.builds(
    EndpointSubset,
    addresses=st.lists(_addresses, max_size=5).map(tuple),
    not_ready_addresses=st.lists(_addresses, max_size=3).map(tuple),
    ports=st.lists(st.sampled_from(PORTS), max_size=3).map(tuple),
)
# What is copied, and what is not (MI-7, MI-38).
_metadata = st.fixed_dictionaries(
    {
        "labels": st.sampled_from([None, None, {"team": "a"}, {SERVICE_NAME_LABEL: "x", MANAGED_BY_LABEL: "x"}]),
        "annotations": st.sampled_from(
            [None, None, {"a": "1"}, {TRIGGER_TIME_ANNOTATION: "t"}, {LAST_APPLIED_ANNOTATION: "", "a": "1"}]
        ),
        "deletion_timestamp": st.sampled_from([None, None, None, CREATED]),
    }
)


@st.composite
def _endpoints(draw: st.DrawFn) -> Endpoints:
    return endpoints(*draw(st.lists(_subsets, max_size=4)), **draw(_metadata))


def wanted(of: Endpoints, limit: int) -> Wanted:
    """MI-25 ... MI-32, where it is free which of two equal addresses counts, and which ones fall under a cut."""
    groups: dict[Group, dict[Identity, list[Endpoint]]] = {}
    skipped = 0
    for readiness, ports in _distinct(of.subsets or ()).items():
        accepted = 0
        walk = sorted(readiness, key=lambda item: (not item[1], item[0].ip, _uid(item[0]) is not None, _uid(item[0])))
        for address, ready in walk:
            ip = CANONICAL.get(address.ip)
            if accepted == limit or ip is None:
                continue
            accepted += 1
            made = Endpoint(
                addresses=(ip,),
                conditions=Conditions(ready=ready),
                hostname=address.hostname or None,
                node_name=address.node_name,
                target_ref=address.target_ref,
            )
            members = groups.setdefault(("IPv6" if ":" in ip else "IPv4", ports), {})
            members.setdefault(identity(made), []).append(made)
        skipped += len(walk) - accepted
    return Wanted(groups, skipped)


def _distinct(
    subsets: Iterable[EndpointSubset],
) -> dict[frozenset[tuple[EndpointAddress, bool]], frozenset[EndpointPort]]:
    """Each set of addresses with their readiness, and the ports that have it (EP-36 ... EP-38)."""
    first: dict[tuple[str, str], EndpointAddress] = {}
    offered: dict[object, dict[EndpointAddress, bool]] = {}
    written: dict[object, frozenset[EndpointPort]] = {None: frozenset()}
    for number, each in enumerate(subsets):
        of_subset = [(address, True) for address in each.addresses]
        of_subset += [(address, False) for address in each.not_ready_addresses]
        keys: list[object] = [None]
        if each.ports:
            keys = [(port, port.app_protocol is not None and (number, at)) for at, port in enumerate(each.ports)]
            as_written = [EndpointPort(port.name, port.protocol, port.port, port.app_protocol) for port in each.ports]
            written |= {key: frozenset({port}) for key, port in zip(keys, as_written, strict=True)}
        for address, ready in of_subset:
            known = first.setdefault((address.ip, _uid(address) or ""), address)
            for key in keys:
                members = offered.setdefault(key, {})
                members[known] = ready and members.get(known, True)
    found: dict[frozenset[tuple[EndpointAddress, bool]], frozenset[EndpointPort]] = {}
    for key, members in offered.items():
        of_key = frozenset(members.items())
        found[of_key] = found.get(of_key, frozenset()) | written[key]
    return found


def _uid(address: EndpointAddress) -> str | None:
    return address.target_ref.uid if address.target_ref is not None else None


def identity(of: Endpoint) -> Identity:
    """ES-45: the uid is not part of it, and all targets here are in one Namespace."""
    return of.addresses[0], of.hostname or "", of.target_ref.name if of.target_ref is not None else ""


class World(NamedTuple):
    """Endpoints as they are one after the other, the slices of the Namespace at first, and the limit."""

    versions: list[Endpoints]
    slices: list[EndpointSlice]
    limit: int


@st.composite
def _slices(draw: st.DrawFn, of: Endpoints, limit: int) -> list[EndpointSlice]:
    """Up to five slices that ought to be ours, as they should be or not; and others, under names that we would take."""
    groups = wanted(of, limit).groups
    keys = [*groups, ("IPv4", frozenset[EndpointPort]()), ("IPv6", frozenset({EndpointPort("x", "TCP", 9)}))]
    keys.append(("FQDN", keys[0][1]))
    found = []
    for number in range(draw(st.integers(0, 5))):
        family, ports = draw(st.sampled_from(keys))
        right = [made[-1] for made in groups.get((family, ports), {}).values()]
        drifted = [replace(each, node_name="drift") for each in right[:1]]
        stranger = Endpoint(addresses=("10.9.9.9",), conditions=Conditions(ready=True))
        drawn = st.lists(st.sampled_from([*right, *drifted, stranger]), max_size=5)
        copied = {"team": "a"} if of.labels.get("team") else {}
        found.append(
            existing(
                f"e-{number}",
                draw(st.one_of(st.just(right), drawn)),
                ports=tuple(draw(st.permutations(sorted(ports, key=repr)))),
                address_type=family,
                labels=draw(st.sampled_from([labelled(**copied), labelled(**copied), labelled(drift="x")])),
                annotations=draw(st.sampled_from([None, {"a": "1"}, {LAST_APPLIED_ANNOTATION: ""}])),
                owner_references=draw(st.sampled_from([(owner(),), (owner(),), (owner("former"),), None])),
                deletion_timestamp=draw(st.sampled_from([None, None, None, None, CREATED])),
            )
        )
    return found + [existing(name, ["10.9.9.9"], labels=draw(_others)) for name in _coveted(of, limit, draw)]


_others = st.sampled_from(
    [
        None,
        {SERVICE_NAME_LABEL: "e"},
        {**labelled(), MANAGED_BY_LABEL: "theirs"},
        {**labelled(), SERVICE_NAME_LABEL: "other"},
    ]
)


def _coveted(of: Endpoints, limit: int, draw: st.DrawFn) -> Sequence[str]:
    names = [each.name for each in planned(of, limit=limit).writes.create]
    return draw(st.lists(st.sampled_from(names), unique=True)) if names else ()


@st.composite
def worlds(draw: st.DrawFn) -> World:
    versions, limit = draw(st.lists(_endpoints(), min_size=1, max_size=3)), draw(st.integers(1, 4))
    return World(versions, draw(_slices(draw(st.sampled_from(versions)), limit)), limit)
