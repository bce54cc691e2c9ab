"""Snapshots of every kind, small; and what the spec says should be published, worked out a second time."""

from collections import Counter
from collections.abc import Iterable, Sequence

from hypothesis import strategies as st
from msgspec.structs import replace

from api.names import HEADLESS_LABEL, MANAGED_BY_LABEL, SERVICE_NAME_LABEL
from controllers.endpointslice.reconcile import Snapshot
from controllers.model.objects import (
    Conditions,
    ContainerPort,
    Endpoint,
    EndpointPort,
    EndpointSlice,
    ForZone,
    Hints,
    Labels,
    Node,
    Pod,
    Service,
    ServicePort,
    TargetRef,
)
from tests.builders import CREATED, HTTP, endpoint, existing, labelled, owner, pod, service

Ports = frozenset[EndpointPort]
NODES = {"node-1": Node("node-1", "zone-a"), "node-2": Node("node-2")}
TIMES = ("", CREATED, "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z")
NUMBERED, NAMED = ServicePort("http", "TCP", 8080), ServicePort("", "TCP", "web", "h2c")
RESERVED = {SERVICE_NAME_LABEL: "x", MANAGED_BY_LABEL: "x", HEADLESS_LABEL: "x"}

services = st.builds(
    service,
    labels=st.sampled_from([Labels(), Labels(team="a"), Labels(RESERVED, team="a")]),
    ports=st.sampled_from([(), (NUMBERED,), (NAMED,), (NUMBERED, NAMED)]),
    ip_families=st.sampled_from([("IPv4",), ("IPv4",), ("IPv6",), ("IPv6", "IPv4"), ()]),
    cluster_ip=st.sampled_from(["10.96.0.10", "None"]),
    publish_not_ready=st.booleans(),
    terminating=st.sampled_from([False, False, False, True]),
)


@st.composite
def _pods(draw: st.DrawFn) -> list[Pod]:
    return [
        pod(
            number,
            phase=draw(st.sampled_from(["Running", "Running", "Pending", "Failed"])),
            node_name=draw(st.sampled_from(["node-1", "node-1", "node-2", "gone"])),
            ipv4=draw(st.sampled_from([(f"10.0.0.{number}",), (f"10.0.0.{number}",), ("10.0.0.99",), ()])),
            ipv6=draw(st.sampled_from([(f"fd00::{number}",), ()])),
            hostname="h",
            subdomain=draw(st.sampled_from(["s", "other"])),
            ports=draw(st.sampled_from([(), (ContainerPort("web", "TCP", 81),), (ContainerPort("web", "TCP", 82),)])),
            ready=draw(st.booleans()),
            ready_since=draw(st.sampled_from(TIMES)),
            terminating=draw(st.booleans()),
        )
        for number in range(draw(st.integers(0, 9)))
    ]


def ports_of(of: Service, each: Pod) -> Ports:
    """ES-47 ... ES-49."""
    found = set()
    for port in of.ports:
        numbers = [has.number for has in each.ports if (has.name, has.protocol) == (port.target, port.protocol)]
        if isinstance(port.target, int):
            numbers = [port.target]
        found |= {EndpointPort(port.name, port.protocol, number, port.app_protocol) for number in numbers[:1]}
    return frozenset(found)


def published(of: Service, each: Pod, family: str) -> Endpoint | None:
    """The endpoint of a Pod, if it has one (ES-36 ... ES-43)."""
    addresses = each.ipv6 if family == "IPv6" else each.ipv4
    node = NODES.get(each.node_name)
    if each.phase == "Failed" or not addresses or (node is None and not of.publish_not_ready):
        return None
    ready = of.publish_not_ready or (each.ready and not each.terminating)
    return endpoint(
        each,
        addresses=addresses,
        conditions=Conditions(ready, each.ready, each.terminating),
        hostname="h" if each.subdomain == "s" else None,
        zone="zone-a" if each.node_name == "node-1" else None,
    )


def types_of(of: Service) -> set[str]:
    """ES-52, as far as the services above go."""
    return set(of.ip_families) or ({"IPv4", "IPv6"} if of.cluster_ip == "None" else {"IPv4"})


Published = Counter[tuple[str, Ports, Endpoint]]


def wanted(snapshot: Snapshot) -> Published:
    """Every endpoint that should be there, with its address type and the set of its ports."""
    of = snapshot.service
    return Counter(
        (family, ports_of(of, each), found)
        for family in types_of(of)
        for each in snapshot.pods
        if (found := published(of, each, family))
    )


def bare(found: Endpoint) -> Endpoint:
    """Without what is not compared (ES-46)."""
    target = replace(found.target_ref, resource_version="") if found.target_ref else None
    return replace(found, hints=None, deprecated_topology=None, target_ref=target)


def present(slices: Iterable[EndpointSlice]) -> Published:
    return Counter(
        (each.address_type, frozenset(each.ports), bare(found)) for each in slices for found in each.endpoints
    )


def live(slices: Iterable[EndpointSlice]) -> list[EndpointSlice]:
    return [each for each in slices if each.metadata.deletion_timestamp is None]


HINTED = Hints((ForZone("zone-a"),))
STRANGER = endpoint(pod(99))
_DRIFTS = (
    lambda fresh: fresh,
    lambda fresh: fresh,
    lambda fresh: replace(fresh, hints=HINTED),
    lambda fresh: replace(fresh, conditions=Conditions(True)),
    lambda fresh: replace(fresh, node_name="node-9"),
    lambda fresh: replace(fresh, target_ref=TargetRef(kind="Pod", namespace="ns", name="pod-000", uid="reborn")),
    lambda fresh: replace(fresh, target_ref=replace(fresh.target_ref, resource_version="5")),
)


def _labels(of: Service) -> list[dict[str, str] | None]:
    right = labelled(**{key: value for key, value in of.labels.items() if key not in RESERVED})
    return [right, right, right, {**right, HEADLESS_LABEL: ""}, {**right, "drift": "x"}, labelled(), None]


@st.composite
def _slices(draw: st.DrawFn, of: Service, pods: Sequence[Pod]) -> list[EndpointSlice]:
    """Up to five slices: ours and others', current, out of date, doubled and over-full ones."""
    groups = [*dict.fromkeys(ports_of(of, each) for each in pods), frozenset({HTTP}), frozenset[EndpointPort]()]
    found = []
    for number in range(draw(st.integers(0, 5))):
        family = draw(st.sampled_from(["IPv4", "IPv4", "IPv6", "FQDN"]))
        group = draw(st.sampled_from(groups))
        fresh = [e for each in pods if ports_of(of, each) == group if (e := published(of, each, family))]
        drawn = draw(st.lists(st.tuples(st.sampled_from([*fresh, STRANGER]), st.sampled_from(_DRIFTS)), max_size=8))
        found.append(
            existing(
                f"s-{number}",
                [drift(each) for each, drift in drawn],
                ports=draw(st.permutations(sorted(group, key=repr)).map(tuple)),
                address_type=family,
                labels=draw(st.sampled_from(_labels(of))),
                owner_references=draw(
                    st.sampled_from([(owner(),), (owner(),), (owner("previous"), owner()), (owner("previous"),), None])
                ),
                annotations=draw(st.sampled_from([None, {"theirs": "1"}])),
                deletion_timestamp=draw(st.sampled_from([None, None, None, CREATED])),
            )
        )
    return found


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    of, pods = draw(services), draw(_pods())
    slices = draw(_slices(of, pods))
    return Snapshot(
        service=of,
        pods=pods,
        nodes=NODES,
        slices=slices,
        taken={each.name for each in slices},
        max_endpoints=draw(st.integers(1, 6)),
    )


@st.composite
def histories(draw: st.DrawFn) -> tuple[Snapshot, list[Pod]]:
    """A snapshot, and the Pods some time later."""
    return draw(snapshots()), draw(_pods())
