"""Whole syncs: what is written and recycled (MI-22 ... MI-24, MI-33 ... MI-48)."""

from typing import Any

import pytest
from msgspec.structs import replace

from api.names import (
    LAST_APPLIED_ANNOTATION,
    LEADER_ANNOTATION,
    MANAGED_BY_LABEL,
    SERVICE_NAME_LABEL,
    SKIP_MIRROR_LABEL,
    TRIGGER_TIME_ANNOTATION,
)
from controllers.mirroring.reconcile import Plan, Snapshot, reconcile
from controllers.model.objects import (
    Conditions,
    EndpointAddress,
    EndpointPort,
    Endpoints,
    EndpointSlice,
    Labels,
    SubsetPort,
    TargetRef,
)
from controllers.model.plan import Writes
from controllers.model.reasons import Reason
from tests.mirroring.builders import (
    DNS,
    DNS_PORT,
    HTTP,
    HTTP_PORT,
    SERVICE,
    apply,
    counts,
    endpoint,
    endpoints,
    existing,
    labelled,
    owner,
    planned,
    subset,
)

ONE = endpoints(subset("10.0.0.1"))
DUAL = endpoints(subset("10.0.0.1", "fd00::1"))
OTHER_PORT = EndpointPort("old", "TCP", 1)
FAMILY = {False: "IPv4", True: "IPv6"}


def old(name: str, *ips: str, family: str = "IPv4") -> EndpointSlice:
    """A slice of ports that are not wanted any more."""
    return existing(name, ips, ports=(OTHER_PORT,), address_type=family)


@pytest.mark.parametrize(
    ("of", "slices", "expected"),
    [
        pytest.param(endpoints(), [], (0, 0, 0), id="MI-T1"),
        pytest.param(endpoints(subset()), [], (0, 0, 0), id="MI-T2"),
        pytest.param(endpoints(subset()), [existing("e-1")], (0, 0, 1), id="MI-T3"),
        pytest.param(endpoints(subset("bad")), [existing("e-1", ["10.0.0.1"])], (0, 0, 1), id="MI-34-empty-group"),
        pytest.param(endpoints(), [old("e-1", "10.0.0.1")], (0, 0, 1), id="MI-34-no-placeholder"),
        pytest.param(ONE, [], (1, 0, 0), id="MI-35"),
        pytest.param(DUAL, [], (2, 0, 0), id="MI-26"),
        pytest.param(ONE, [existing("e-1", ["10.0.0.1"])], (0, 0, 0), id="MI-T19"),
        pytest.param(ONE, [existing("e-1", address_type="FQDN")], (1, 0, 1), id="MI-29-unsupported-type"),
        pytest.param(
            endpoints(subset("10.0.0.1"), subset("10.0.0.2", ports=[DNS])), [existing("e-1")], (1, 1, 0), id="MI-T23"
        ),
        pytest.param(
            endpoints(subset("10.0.0.1"), subset("10.0.0.2", ports=[DNS])),
            [existing("e-1", ["10.0.0.1"])],
            (1, 0, 0),
            id="MI-T25",
        ),
        pytest.param(ONE, [old("e-1", "10.0.0.1")], (0, 1, 0), id="MI-T35"),
        pytest.param(
            endpoints(subset("10.0.0.1"), subset("10.0.0.2", ports=[DNS])), [old("e-1")], (1, 1, 0), id="MI-T36"
        ),
        pytest.param(ONE, [old("e-1"), old("e-2")], (0, 1, 1), id="MI-T37"),
        pytest.param(ONE, [old("e-1", family="IPv6")], (1, 0, 1), id="MI-T38"),
        pytest.param(DUAL, [old("e-4"), old("e-6", family="IPv6")], (0, 2, 0), id="MI-T39"),
        pytest.param(ONE, [existing("e-1", ["10.0.0.1"]), existing("e-2", ["10.0.0.1"])], (0, 0, 1), id="MI-T40"),
        pytest.param(
            endpoints(subset("10.0.0.1"), subset("10.0.0.2", ports=[DNS])),
            [existing("e-1", ["10.0.0.1"]), existing("e-2", ["10.0.0.1"])],
            (0, 1, 0),
            id="MI-T40-recycled",
        ),
        pytest.param(
            ONE,
            [existing("e-1", ["10.0.0.9"]), existing("e-2", ["10.0.0.1"])],
            (0, 0, 1),
            id="MI-36-keeps-the-right-one",
        ),
    ],
)
def test_writes(of: Endpoints, slices: list[EndpointSlice], expected: tuple[int, int, int]) -> None:
    plan = planned(of, slices)
    assert counts(plan) == expected
    assert counts(planned(of, apply(plan.writes, slices))) == (0, 0, 0)


@pytest.mark.parametrize(
    ("of", "found", "expected"),
    [
        pytest.param(ONE, {}, 0, id="MI-T19"),
        pytest.param(ONE, {"owner_references": None}, 0, id="MI-36-no-owner"),
        pytest.param(ONE, {"owner_references": (owner("former"),)}, 1, id="MI-T20"),
        pytest.param(ONE, {"owner_references": (owner(), owner("former"))}, 1, id="MI-T20-beside-this-one"),
        pytest.param(ONE, {"owner_references": (owner("x", kind="Service"),)}, 0, id="MI-36-other-kind"),
        pytest.param(ONE, {"owner_references": (owner("x", name="f"),)}, 0, id="MI-36-other-name"),
        pytest.param(ONE, {"annotations": {"foo": "bar"}}, 1, id="MI-T21"),
        pytest.param(ONE, {"annotations": {}}, 0, id="MI-36-empty-annotations"),
        pytest.param(ONE, {"annotations": {LAST_APPLIED_ANNOTATION: ""}}, 1, id="MI-T33"),
        pytest.param(ONE, {"annotations": {TRIGGER_TIME_ANNOTATION: "t"}}, 1, id="MI-36-trigger-time"),
        pytest.param(ONE, {"labels": labelled(foo="bar")}, 1, id="MI-36-foreign-label"),
        pytest.param(endpoints(subset("10.0.0.1"), labels={"foo": "bar"}), {}, 1, id="MI-T22"),
        pytest.param(endpoints(subset("10.0.0.1"), labels={}), {}, 0, id="MI-36-no-labels"),
        pytest.param(endpoints(subset("10.0.0.1"), annotations={"foo": "bar"}), {}, 1, id="MI-36-annotation"),
        pytest.param(endpoints(subset("10.0.0.1"), annotations={TRIGGER_TIME_ANNOTATION: "now"}), {}, 0, id="MI-T34"),
        pytest.param(
            endpoints(subset("10.0.0.1"), annotations={LAST_APPLIED_ANNOTATION: "{}"}), {}, 0, id="MI-7-last-applied"
        ),
        pytest.param(ONE, {"finalizers": ("f",)}, 0, id="MI-36-finalizer"),
        pytest.param(ONE, {"generate_name": ""}, 0, id="MI-36-generate-name"),
    ],
)
def test_metadata_that_is_out_of_date_is_replaced(of: Endpoints, found: dict[str, Any], expected: int) -> None:
    slices = [existing("e-1", ["10.0.0.1"], **found)]
    plan = planned(of, slices)
    assert counts(plan) == (0, expected, 0)
    assert (plan.counts and (plan.counts.added, plan.counts.updated, plan.counts.removed)) == (0, 0, 0)
    (after,) = apply(plan.writes, slices)
    assert counts(planned(of, [after])) == (0, 0, 0)
    if expected:
        assert after.metadata.owner_references == (owner(),)


TARGET = TargetRef(kind="Pod", namespace="ns", name="p", uid="u", resource_version="1")
TARGETED = endpoint("10.0.0.1", node_name="n", target_ref=TARGET)


@pytest.mark.parametrize(
    ("found", "updated"),
    [
        pytest.param({}, 0, id="equal"),
        pytest.param({"target_ref": replace(TARGET, resource_version="2")}, 0, id="ES-46-resource-version"),
        pytest.param({"target_ref": replace(TARGET, uid="reborn")}, 1, id="uid"),
        pytest.param({"node_name": None}, 1, id="node"),
        pytest.param({"zone": "z"}, 1, id="zone"),
        pytest.param({"conditions": Conditions(ready=False)}, 1, id="ready"),
        pytest.param({"conditions": Conditions(True, True, False)}, 1, id="more-than-ready"),
    ],
)
def test_endpoints_are_compared_beyond_identity_mi_36(found: dict[str, Any], updated: int) -> None:
    of = endpoints(subset(EndpointAddress(ip="10.0.0.1", node_name="n", target_ref=TARGET)))
    plan = planned(of, [existing("e-1", [replace(TARGETED, **found)])])
    assert counts(plan) == (0, updated, 0)
    assert plan.counts is not None
    assert (plan.counts.added, plan.counts.updated, plan.counts.removed) == (0, updated, 0)
    assert [each.endpoints for each in plan.writes.update] == [(TARGETED,)] * updated


def test_order_of_endpoints_and_of_ports_does_not_matter_mi_36_mi_40() -> None:
    of = endpoints(subset("10.0.0.1", "10.0.0.2", ports=[HTTP, DNS]))
    for ports in ((HTTP_PORT, DNS_PORT), (DNS_PORT, HTTP_PORT)):
        assert not planned(of, [existing("e-1", ["10.0.0.2", "10.0.0.1"], ports=ports)]).writes
    doubled = existing("e-1", ["10.0.0.1", "10.0.0.2", "10.0.0.1"], ports=(DNS_PORT, HTTP_PORT))
    assert counts(planned(of, [doubled])) == (0, 1, 0)


def test_slice_being_deleted_is_neither_kept_nor_written() -> None:
    """Unlike in KCM (MI-22.5), which waits until it has gone; its name is taken as long."""
    (name,) = (each.name for each in planned(ONE).writes.create)
    found = [existing(name, ["10.0.0.1"], deletion_timestamp="2026-01-02T00:00:00Z")]
    plan = planned(ONE, found)
    assert counts(plan) == (1, 0, 0)
    assert plan.writes.create[0].name != name
    assert counts(planned(endpoints(), found)) == counts(planned(None, found)) == (0, 0, 0)


def test_created_slice_mi_t10_mi_41_mi_43() -> None:
    address = EndpointAddress(ip="10.0.0.1", hostname="h", node_name="n")
    (made,) = planned(endpoints(subset(address))).writes.create
    meta = made.metadata
    assert made.endpoints == (endpoint("10.0.0.1", hostname="h", node_name="n"),)
    assert (made.address_type, made.ports, made.labels) == ("IPv4", (HTTP_PORT,), labelled())
    assert (meta.namespace, meta.generate_name, meta.owner_references) == ("ns", "e-", (owner(),))
    assert (meta.annotations, meta.uid, meta.resource_version, meta.finalizers) == (None, "", "", None)
    # Unlike KCM's it has a name, the same one for the same slice: an answer that was lost does no harm (D-3).
    assert meta.name.startswith("e-")
    assert (len(meta.name), planned(endpoints(subset(address))).writes.create) == (len("e-") + 5, (made,))


def test_names_that_are_taken_are_avoided_d_3() -> None:
    names = {each.name for each in planned(DUAL).writes.create}
    others = {each.name for each in planned(DUAL, taken=names).writes.create}
    reborn = {each.name for each in planned(endpoints(*DUAL.subsets or (), uid="reborn")).writes.create}
    assert len(names | others | reborn) == 6


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        pytest.param({LAST_APPLIED_ANNOTATION: "{}"}, None, id="MI-T31"),
        pytest.param({LAST_APPLIED_ANNOTATION: ""}, None, id="MI-T31-empty"),
        pytest.param({LAST_APPLIED_ANNOTATION: "{}", "foo": "bar"}, {"foo": "bar"}, id="MI-T32"),
        pytest.param({TRIGGER_TIME_ANNOTATION: "now", "foo": ""}, {"foo": ""}, id="MI-7"),
        pytest.param(
            {"endpoints.kubernetes.io/over-capacity": "truncated"},
            {"endpoints.kubernetes.io/over-capacity": "truncated"},
            id="MI-41-over-capacity",
        ),
    ],
)
def test_annotations_that_are_copied(annotations: dict[str, str], expected: dict[str, str] | None) -> None:
    (made,) = planned(endpoints(subset("10.0.0.1"), annotations=annotations)).writes.create
    assert made.metadata.annotations == expected


def test_labels_that_are_copied_mi_41_mi_55() -> None:
    """Those of left-over Endpoints of a Service that lost its selector, too."""
    labels = {
        "service.kubernetes.io/headless": "",
        "endpoints.kubernetes.io/managed-by": "endpoint-controller",
        SKIP_MIRROR_LABEL: "false",
    }
    (made,) = planned(endpoints(subset("10.0.0.1"), labels=labels)).writes.create
    assert made.labels == {**labels, **labelled()}


@pytest.mark.parametrize("key", [SERVICE_NAME_LABEL, MANAGED_BY_LABEL])
def test_reserved_labels_are_ours_and_cost_no_update_at_every_sync_mi_t45(key: str) -> None:
    """Unlike KCM, whose comparison can never succeed then (MI-38)."""
    of = endpoints(subset("10.0.0.1"), labels={key: "theirs", "foo": "bar"})
    plan = planned(of)
    (made,) = plan.writes.create
    assert made.labels == labelled(foo="bar")
    assert not planned(of, apply(plan.writes, [])).writes


STAINED: Any = {"labels": labelled(theirs="1"), "annotations": {"theirs": "1"}, "finalizers": ("theirs",)}


@pytest.mark.parametrize(
    ("found", "generate_name"),
    [
        pytest.param(existing("e-1", ["10.0.0.9"], **STAINED), "", id="MI-42-update"),
        pytest.param(existing("e-1", ports=(OTHER_PORT,), **STAINED), "e-", id="MI-44-recycled"),
    ],
)
def test_update_replaces_all_but_cannot_overwrite_what_was_not_seen(found: EndpointSlice, generate_name: str) -> None:
    """Unlike KCM's, the request carries uid and resourceVersion."""
    (sent,) = planned(ONE, [found]).writes.update
    meta = sent.metadata
    assert (meta.name, meta.uid, meta.resource_version) == ("e-1", "uid-e-1", "7")
    assert (meta.generate_name, meta.labels, meta.annotations, meta.finalizers) == (
        generate_name,
        labelled(),
        None,
        None,
    )
    assert (sent.endpoints, sent.ports, meta.owner_references) == ((endpoint("10.0.0.1"),), (HTTP_PORT,), (owner(),))
    assert meta.creation_timestamp is None


def test_each_family_recycles_its_own_mi_46_mi_47() -> None:
    """KCM takes the wrong one off its list of creates here, and fails once in a while."""
    many = endpoints(*[subset(f"10.0.0.{n}", f"fd00::{n}", ports=[SubsetPort("p", n, "TCP")]) for n in (2, 3)])
    slices = [old(f"e-{'4' if family == 'IPv4' else '6'}", family=family) for family in FAMILY.values()]
    plan = planned(many, slices)
    assert counts(plan) == (2, 2, 0)
    assert {each.name: each.address_type for each in plan.writes.update} == {"e-4": "IPv4", "e-6": "IPv6"}
    after = apply(plan.writes, slices)
    assert {(each.address_type, each.ports[0].port, each.endpoints[0].addresses[0]) for each in after} == {
        (FAMILY[":" in ip], n, ip) for n in (2, 3) for ip in (f"10.0.0.{n}", f"fd00::{n}")
    }


@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        pytest.param([], (0, 0, 0), id="MI-T18"),
        pytest.param([existing("e-1")], (0, 1, 0), id="MI-45-updates"),
        pytest.param([old("e-1")], (0, 1, 0), id="MI-45-recycles"),
        pytest.param([old("e-1", family="IPv6"), old("e-2", family="IPv6")], (0, 0, 2), id="MI-45-deletes"),
    ],
)
def test_endpoints_being_deleted_get_no_new_slices(slices: list[EndpointSlice], expected: tuple[int, int, int]) -> None:
    of = endpoints(subset("10.0.0.1"), deletion_timestamp="2026-01-02T00:00:00Z")
    assert counts(planned(of, slices)) == expected


@pytest.mark.parametrize(
    ("of", "reason"),
    [
        pytest.param(None, Reason.ENDPOINTS_GONE, id="MI-22.1"),
        pytest.param(
            endpoints(subset("10.0.0.1"), labels={SKIP_MIRROR_LABEL: "true"}), Reason.ENDPOINTS_SKIPPED, id="MI-T5"
        ),
        pytest.param(
            endpoints(subset("bad"), annotations={LEADER_ANNOTATION: ""}), Reason.ENDPOINTS_LEADER_ELECTION, id="MI-T7"
        ),
    ],
)
def test_clean_up_deletes_every_slice_and_tells_nothing_mi_24(of: Endpoints | None, reason: Reason) -> None:
    slices = [existing("e-2", ["10.0.0.1"]), existing("e-1", address_type="FQDN")]
    expected = Plan(writes=Writes(delete=(slices[1], slices[0])), not_mirrored=reason)
    assert planned(of, slices) == expected
    assert planned(of) == Plan(not_mirrored=reason)


def test_service_decides_mi_t8_mi_t9() -> None:
    slices = [existing("e-1", ["10.0.0.1"])]
    assert planned(ONE, slices, service=None).not_mirrored is Reason.ENDPOINTS_NO_SERVICE
    assert counts(planned(ONE, slices, service=replace(SERVICE, selector=Labels(app="e")))) == (0, 0, 1)
    plan = planned(ONE, slices, service=replace(SERVICE, type="ExternalName"))
    assert (plan.not_mirrored, counts(plan)) == (None, (0, 0, 0))


def test_defaults() -> None:
    assert Snapshot(endpoints=None).limit == 1000, "MI-9"
    assert reconcile(Snapshot(endpoints=None)) == Plan(not_mirrored=Reason.ENDPOINTS_GONE)
