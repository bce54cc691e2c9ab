"""What holds for every snapshot, whatever Endpoints are found. There is room for four addresses here."""

from collections.abc import Iterable, Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from api.names import (
    ENDPOINTS_MANAGED_BY,
    ENDPOINTS_MANAGED_BY_LABEL,
    HEADLESS_LABEL,
    OVER_CAPACITY_ANNOTATION,
    TRIGGER_TIME_ANNOTATION,
)
from controllers.endpoints import subsets
from controllers.endpoints.reconcile import Plan, Snapshot, reconcile
from controllers.membership.subsets import fingerprints, remembered
from controllers.model.objects import (
    ContainerPort,
    Endpoints,
    EndpointSubset,
    Labels,
    Pod,
    Service,
    ServicePort,
    SubsetPort,
)
from tests.builders import CREATED, existing_endpoints, pod, same_seen, service, subset
from tests.endpointslice.strategies import ports_of

# Who is published on which port (None: without ports), and whether ready.
Offers = dict[tuple[SubsetPort | None, str, str], bool]

ROOM = 4
MANAGED = {ENDPOINTS_MANAGED_BY_LABEL: ENDPOINTS_MANAGED_BY}
OURS = {OVER_CAPACITY_ANNOTATION, TRIGGER_TIME_ANNOTATION}
TIMES = ("", CREATED, "2026-01-02T00:00:00Z")
NUMBERED, NAMED = ServicePort("http", "TCP", 8080), ServicePort("", "TCP", "web", "h2c")

law = settings(max_examples=150, deadline=None, database=None, print_blob=True)


@pytest.fixture(scope="module", autouse=True)
def little_room() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subsets, "CAPACITY", ROOM)
        yield


services = st.builds(
    service,
    labels=st.sampled_from([Labels(), Labels(team="a"), Labels({**MANAGED, HEADLESS_LABEL: "x", "team": "a"})]),
    ports=st.sampled_from([(), (NUMBERED,), (NAMED,), (NUMBERED, NAMED)]),
    ip_families=st.sampled_from([("IPv4",), ("IPv6",), ("IPv6", "IPv4"), ()]),
    cluster_ip=st.sampled_from(["10.96.0.10", "None"]),
    publish_not_ready=st.booleans(),
    terminating=st.booleans(),
)


@st.composite
def _pods(draw: st.DrawFn) -> list[Pod]:
    return [
        pod(
            number,
            phase=draw(st.sampled_from(["Running", "Running", "Running", "Pending", "Failed"])),
            node_name=draw(st.sampled_from(["node-1", ""])),
            ipv4=draw(
                st.sampled_from([(f"10.0.0.{number}",), (f"10.0.0.{number}",), ("10.0.0.99",), ("10.0.0.99",), ()])
            ),
            ipv6=draw(st.sampled_from([(f"fd00::{number}",), (f"fd00::{number}",), ()])),
            first_family=draw(st.sampled_from(["IPv4", "IPv6"])),
            hostname="h",
            subdomain=draw(st.sampled_from(["s", "other"])),
            ports=draw(st.sampled_from([(), (ContainerPort("web", "TCP", 81),), (ContainerPort("web", "TCP", 82),)])),
            ready=draw(st.sampled_from([True, True, False])),
            ready_since=draw(st.sampled_from(TIMES)),
            terminating=draw(st.sampled_from([False, False, False, False, True])),
        )
        for number in range(draw(st.integers(0, 12)))
    ]


def _drifted(draw: st.DrawFn, pods: list[Pod]) -> list[EndpointSubset]:
    some = st.lists(st.sampled_from([*(each for each in pods if each.ipv4), pod(99)]), max_size=6)
    ports = st.sampled_from([SubsetPort("http", 8080, "TCP"), SubsetPort("", 81, "TCP", "h2c"), SubsetPort(port=1)])
    return [subset(draw(some), draw(some), draw(ports)) for _ in range(draw(st.integers(0, 3)))]


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """Endpoints of others, out of date, drifted, over-full, or none."""
    pods = draw(_pods())
    right = {**MANAGED, "team": "a"}
    found = existing_endpoints(
        *_drifted(draw, pods),
        labels=draw(st.sampled_from([right, right, MANAGED, {**right, HEADLESS_LABEL: ""}, {**right, "x": ""}, None])),
        annotations=draw(st.sampled_from([None, {"theirs": "1"}, {OVER_CAPACITY_ANNOTATION: "truncated"}])),
    )
    return Snapshot(
        service=draw(services), pods=pods, current=draw(st.sampled_from([None, found, found, remembered(found)]))
    )


def _family(of: Service, each: Pod) -> str:
    """EP-30, as far as the services above go."""
    if of.ip_families:
        return of.ip_families[0]
    return "IPv6" if of.cluster_ip == "None" and each.first_family == "IPv6" else "IPv4"


def wanted(of: Service, pods: Iterable[Pod]) -> Offers:
    """EP-29 ... EP-35."""
    found: Offers = {}
    for each in pods:
        ips = each.ipv6 if _family(of, each) == "IPv6" else each.ipv4
        if each.phase == "Failed" or not ips or (each.terminating and not of.publish_not_ready):
            continue
        ports: list[SubsetPort | None] = [
            SubsetPort(port.name or "", port.port or 0, port.protocol or "", port.app_protocol)
            for port in ports_of(of, each)
        ]
        if not of.ports and of.cluster_ip == "None":
            ports = [None]
        for port in ports:
            found[port, ips[0], each.uid] = of.publish_not_ready or each.ready
    return found


def offers(found: Iterable[EndpointSubset]) -> Offers:
    return {
        (port, one.ip, one.target_ref.uid if one.target_ref else ""): ready
        for each in found
        for port in each.ports or (None,)
        for ready, some in ((True, each.addresses), (False, each.not_ready_addresses))
        for one in some
    }


def unreserved(found: Endpoints | Service) -> dict[str, str]:
    """Labels without the headless one, which is not compared (EP-42)."""
    return {key: value for key, value in found.labels.items() if key != HEADLESS_LABEL}


def theirs(found: Endpoints) -> dict[str, str]:
    """Annotations that are none of ours."""
    return {key: value for key, value in (found.metadata.annotations or {}).items() if key not in OURS}


def truncated(found: Endpoints) -> bool:
    return OVER_CAPACITY_ANNOTATION in (found.metadata.annotations or {})


def size(found: Iterable[EndpointSubset]) -> int:
    return sum(len(each.addresses) + len(each.not_ready_addresses) for each in found)


def written(plan: Plan, current: Endpoints | None) -> Endpoints | None:
    """The Endpoints after the plan's writes, as the API server has them; an impossible write is an AssertionError."""
    for sent in plan.writes.create:
        assert current is None, "409 AlreadyExists"
        current = replace(sent, metadata=replace(sent.metadata, uid="uid-new", resource_version="1"))
    for sent in plan.writes.update:
        assert current is not None, "404 NotFound"
        had = current.metadata
        assert (sent.metadata.uid, sent.metadata.resource_version) == (had.uid, had.resource_version), "409 Conflict"
        current = replace(sent, metadata=replace(sent.metadata, resource_version=f"{had.resource_version}0"))
    assert plan.writes.delete == ()
    return current


def after(snapshot: Snapshot) -> tuple[Plan, Endpoints]:
    plan = reconcile(snapshot)
    found = written(plan, snapshot.current)
    assert found is not None
    return plan, found


@given(snapshots())
@law
def test_the_outcome_is_what_the_service_wants(snapshot: Snapshot) -> None:
    """Whoever is published belongs to the Service, and everybody who belongs is published while there is room."""
    of, pods = snapshot.service or service(), snapshot.pods
    plan, found = after(snapshot)
    want = wanted(of, pods)
    if plan.writes:
        have = offers(found.subsets or ())
        assert have.items() <= want.items()
        if truncated(found):
            assert size(found.subsets or ()) == ROOM
            assert all(have.values()) or {key for key, ready in want.items() if ready} <= have.keys()
        else:
            assert have == want
    assert unreserved(found) == {**unreserved(of), **MANAGED}
    assert theirs(found) == (theirs(snapshot.current) if snapshot.current else {})


@given(snapshots(), _pods())
@law
def test_a_second_sync_writes_nothing(snapshot: Snapshot, pods: list[Pod]) -> None:
    """Neither from what the store remembers of our write, nor after a restart, from what is read; nor later on."""
    for _ in range(2):
        plan, found = after(snapshot)
        for current in (found, remembered(found)):
            snapshot = replace(snapshot, current=current, seen=plan.seen)
            again = reconcile(snapshot)
            assert again == Plan(seen=plan.seen)
        snapshot = replace(snapshot, pods=pods)


def shuffled(some: Iterable[Any], random: Random) -> tuple[Any, ...]:
    listed = list(some)
    random.shuffle(listed)
    return tuple(listed)


@given(snapshots(), st.randoms(use_true_random=False))
@law
def test_order_of_pods_does_not_show(snapshot: Snapshot, random: Random) -> None:
    plan, other = reconcile(snapshot), reconcile(replace(snapshot, pods=shuffled(snapshot.pods, random)))
    assert replace(other, seen=None) == replace(plan, seen=None)
    assert same_seen(other.seen, plan.seen)


@given(snapshots(), st.randoms(use_true_random=False))
@law
def test_what_is_only_in_another_order_is_not_written_ep_41(snapshot: Snapshot, random: Random) -> None:
    """Of what was truncated, only the order in which it was truncated is known."""
    _, found = after(replace(snapshot, current=None))
    assume(not truncated(found))
    other = [
        EndpointSubset(*(shuffled(some, random) for some in (each.addresses, each.not_ready_addresses, each.ports)))
        for each in shuffled(found.subsets or (), random)
    ]
    current = replace(found, subsets=tuple(other))
    for held in (current, remembered(current)):
        assert not reconcile(replace(snapshot, current=held)).writes


@given(snapshots())
@law
def test_no_update_is_in_vain(snapshot: Snapshot) -> None:
    """Something differs that is compared: who is published, how, the labels, the mark (EP-41)."""
    found = snapshot.current
    for sent in reconcile(snapshot).writes.update:
        assert found is not None
        same = [(fingerprints(each), unreserved(each), truncated(each)) for each in (found, sent)]
        assert same[0] != same[1]


@given(snapshots())
@law
def test_the_snapshot_is_not_changed(snapshot: Snapshot) -> None:
    before = repr(snapshot)
    plan = reconcile(snapshot)
    assert repr(snapshot) == before
    assert reconcile(snapshot) == plan
