"""Whole syncs of Endpoints: what is compared, what is written over what, trigger time (EP-22 ... EP-54)."""

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from api.names import (
    ENDPOINTS_MANAGED_BY,
    ENDPOINTS_MANAGED_BY_LABEL,
    HEADLESS_LABEL,
    LEADER_ANNOTATION,
    OVER_CAPACITY_ANNOTATION,
    REASON_OVER_CAPACITY,
    TRIGGER_TIME_ANNOTATION,
)
from controllers.endpoints.reconcile import Plan, Snapshot, labels_for, reconcile
from controllers.membership.subsets import fingerprints, remembered
from controllers.membership.trigger_time import Seen
from controllers.model.objects import Endpoints, EndpointSubset, Labels, ObjectMeta, Pod, Service, SubsetPort, TargetRef
from controllers.model.plan import Writes
from controllers.model.reasons import Reason
from tests.builders import CREATED, HEADLESS, SUBSET_HTTP, address, existing_endpoints, pod, pods, service, subset

MANAGED = {ENDPOINTS_MANAGED_BY_LABEL: ENDPOINTS_MANAGED_BY}
LATER = "2026-01-02T00:00:00Z"
NOTHING = Writes[Endpoints]()
SEEN = Seen(CREATED, tuple(pods(1001)))


def planned(
    of: Service | None, pods: Sequence[Pod] = (), current: Endpoints | None = None, seen: Seen | None = SEEN
) -> Plan:
    return reconcile(Snapshot(service=of, pods=pods, current=current, seen=seen))


def created(plan: Plan) -> Endpoints:
    (new,) = plan.writes.create
    assert plan.writes == Writes(create=(new,))
    return new


def updated(plan: Plan) -> Endpoints:
    (new,) = plan.writes.update
    assert plan.writes == Writes(update=(new,))
    return new


def annotations(found: Endpoints) -> dict[str, str]:
    return found.metadata.annotations or {}


@pytest.mark.parametrize(
    ("of", "reason"),
    [
        pytest.param(service(selector=None), Reason.SERVICE_NO_SELECTOR, id="EP-T1"),
        pytest.param(service(type="ExternalName"), Reason.SERVICE_EXTERNAL_NAME, id="EP-T2"),
        pytest.param(
            service(type="ExternalName", selector=None, ports=()), Reason.SERVICE_EXTERNAL_NAME, id="EP-T2-bare"
        ),
    ],
)
@pytest.mark.parametrize("current", [None, existing_endpoints(subset(pods(2)), labels=None)], ids=["none", "hand-made"])
def test_what_is_not_synced_ep_25(of: Service, reason: Reason, current: Endpoints | None) -> None:
    assert planned(of, pods(1), current) == Plan(not_synced=reason, seen=SEEN)


def test_without_pods_empty_endpoints_are_created_ep_t3() -> None:
    new = created(planned(service(), seen=None))
    assert new == Endpoints(
        metadata=ObjectMeta(name="s", namespace="ns", labels=MANAGED, annotations={TRIGGER_TIME_ANNOTATION: CREATED}),
        subsets=(),
        fingerprints=fingerprints(Endpoints(metadata=ObjectMeta(), subsets=())),
    )


def test_endpoints_of_a_service_that_has_gone_are_deleted_ep_t7() -> None:
    """With the version that was seen; whoever made them, and even a lock, as KCM does."""
    found = existing_endpoints(subset(pods(2)), labels=None, annotations={LEADER_ANNOTATION: "me"})
    assert planned(None, current=found) == Plan(writes=Writes(delete=(found,)))
    assert planned(None) == Plan()


VERSIONED = address(
    pod(1), target_ref=TargetRef(kind="Pod", namespace="ns", name="pod-001", uid="uid-pod-1", resource_version="9")
)
UDP = SubsetPort("http", 8080, "UDP")


@pytest.mark.parametrize(
    ("of", "pods", "current"),
    [
        pytest.param(service(), [], existing_endpoints(), id="EP-T4"),
        pytest.param(
            service(cluster_ip=""), [], existing_endpoints(labels={**MANAGED, HEADLESS_LABEL: ""}), id="EP-T6"
        ),
        pytest.param(HEADLESS, [], existing_endpoints(), id="EP-T6-label-missing"),
        pytest.param(
            service(), [], existing_endpoints(labels={**MANAGED, HEADLESS_LABEL: "x"}), id="EP-T6-wrong-label"
        ),
        pytest.param(service(), [pod(1)], existing_endpoints(subset([VERSIONED])), id="EP-T14"),
        pytest.param(service(), pods(2), existing_endpoints(subset([pod(1), pod(0)])), id="EP-T15"),
        pytest.param(service(), pods(2), existing_endpoints(subset([pod(1)]), subset([pod(0)])), id="EP-41-not-merged"),
        pytest.param(
            service(labels=Labels(a="1")), [], existing_endpoints(labels={**MANAGED, "a": "1"}), id="EP-42-all-labels"
        ),
        pytest.param(
            service(labels=Labels({ENDPOINTS_MANAGED_BY_LABEL: "me"})),
            [],
            existing_endpoints(),
            # KCM writes at every sync, since the Service has what is never written.
            id="EP-T49",
        ),
        pytest.param(
            service(labels=Labels({HEADLESS_LABEL: "x"})),
            [],
            existing_endpoints(),
            id="EP-42-reserved-label-of-the-Service",
        ),
        pytest.param(
            service(), [], existing_endpoints(annotations={TRIGGER_TIME_ANNOTATION: LATER, "theirs": "1"}), id="EP-44"
        ),
    ],
)
def test_nothing_to_write_ep_41(of: Service, pods: list[Pod], current: Endpoints) -> None:
    for held in (current, remembered(current)):
        assert planned(of, pods, held).writes == NOTHING


@pytest.mark.parametrize(
    "current",
    [
        pytest.param(existing_endpoints(subset(pods(2)), labels=None), id="EP-T5"),
        pytest.param(
            existing_endpoints(subset(pods(2)), labels={ENDPOINTS_MANAGED_BY_LABEL: "me"}), id="EP-42-manager"
        ),
        pytest.param(existing_endpoints(subset(pods(2)), labels={**MANAGED, "foo": "1"}), id="EP-42-one-label-more"),
        pytest.param(
            existing_endpoints(subset(pods(2)), annotations={OVER_CAPACITY_ANNOTATION: "truncated"}), id="EP-T32"
        ),
        pytest.param(
            existing_endpoints(subset(pods(2)), annotations={OVER_CAPACITY_ANNOTATION: "warning"}), id="EP-T32-warning"
        ),
        pytest.param(existing_endpoints(subset(pods(1))), id="EP-41-one-missing"),
        pytest.param(existing_endpoints(subset(pods(3))), id="EP-41-one-too-many"),
        pytest.param(existing_endpoints(subset(pods(1), pods(1, 1))), id="EP-41-readiness"),
        pytest.param(existing_endpoints(subset(pods(2), [], UDP)), id="EP-41-port"),
        pytest.param(existing_endpoints(subset([pod(0), address(pod(1), node_name=None)])), id="EP-41-no-node-name"),
    ],
)
def test_what_is_written_over_ep_41(current: Endpoints) -> None:
    for held in (current, remembered(current)):
        new = updated(planned(service(), pods(2), held))
        assert (new.subsets, new.labels, annotations(new)) == ((subset(pods(2)),), MANAGED, {})
        assert new.metadata.resource_version == "7"


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        pytest.param(service(labels=Labels(baz="1")), {**MANAGED, "baz": "1"}, id="EP-T16"),
        pytest.param(HEADLESS, {**MANAGED, HEADLESS_LABEL: ""}, id="EP-T16-headless"),
        pytest.param(service(cluster_ip=""), {**MANAGED, HEADLESS_LABEL: ""}, id="EP-39-no-cluster-ip"),
        pytest.param(service(labels=Labels({HEADLESS_LABEL: "x"})), MANAGED, id="EP-48-headless-by-our-own-test"),
        pytest.param(service(labels=Labels({ENDPOINTS_MANAGED_BY_LABEL: "me"})), MANAGED, id="EP-T49"),
    ],
)
def test_labels_ep_48(of: Service, expected: dict[str, str]) -> None:
    assert labels_for(of) == expected
    current = existing_endpoints(labels={"foo": "1", HEADLESS_LABEL: "x"})
    assert updated(planned(of, current=current)).labels == created(planned(of)).labels == expected


def test_headless_service_without_ports_ep_t17() -> None:
    of = service(cluster_ip="None", ports=())
    assert created(planned(of, [pod()])).subsets == (EndpointSubset((address(pod()),)),)
    assert of == service(cluster_ip="None", ports=())


def test_service_without_ports_ep_t18() -> None:
    assert created(planned(service(ports=()), [pod()])).subsets == ()


def test_update_keeps_what_others_wrote_ep_t48() -> None:
    had = existing_endpoints(
        labels={**MANAGED, "extra": "1"},
        annotations={"theirs": "1", OVER_CAPACITY_ANNOTATION: "warning", TRIGGER_TIME_ANNOTATION: LATER},
        finalizers=("f",),
    )
    new = updated(planned(service(), [pod()], had))
    assert new.metadata == replace(had.metadata, labels=MANAGED, annotations={"theirs": "1"})
    assert had.metadata.labels == {**MANAGED, "extra": "1"}, "the snapshot is not changed"


MANY = pods(1001)
HELD = tuple(sorted((address(each) for each in MANY), key=lambda one: one.ip))[:1000]


@pytest.mark.parametrize("mark", [None, "invalid", "warning"])
def test_truncation_is_marked_and_told_once_ep_t33(mark: str | None) -> None:
    """KCM writes what is truncated at every sync, and its Warning does not exist (EP-T35)."""
    found = existing_endpoints(annotations={} if mark is None else {OVER_CAPACITY_ANNOTATION: mark})
    for current in (None, found):
        plan = planned(service(), MANY, current)
        new = created(plan) if current is None else updated(plan)
        assert new.subsets == (EndpointSubset(HELD, (), (SUBSET_HTTP,)),)
        assert annotations(new) == {OVER_CAPACITY_ANNOTATION: "truncated"}
        (notice,) = plan.notices
        assert (notice.type, notice.reason) == ("Warning", REASON_OVER_CAPACITY)
        assert "1001" in notice.message
        assert "1000" in notice.message
    again = planned(service(), MANY, remembered(existing_endpoints(*new.subsets or (), annotations=annotations(new))))
    assert (again.writes, again.notices) == (NOTHING, ()), "EP-T35"


def test_what_stays_truncated_is_not_told_again() -> None:
    current = existing_endpoints(annotations={OVER_CAPACITY_ANNOTATION: "truncated"})
    plan = planned(service(), MANY, current)
    assert annotations(updated(plan)) == {OVER_CAPACITY_ANNOTATION: "truncated"}
    assert plan.notices == ()


def test_truncated_no_more_ep_t32() -> None:
    """The 1,000 that were held are all there are now: only the mark is wrong."""
    held = [each for each in MANY if address(each) in HELD]
    current = existing_endpoints(subset(HELD), annotations={OVER_CAPACITY_ANNOTATION: "truncated"})
    plan = planned(service(), held, remembered(current))
    assert (annotations(updated(plan)), plan.notices) == ({}, ())


OLD = {TRIGGER_TIME_ANNOTATION: "2025-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("seen", "changes", "of", "expected"),
    [
        pytest.param(None, {"ready_since": LATER}, {}, CREATED, id="EP-T36-first-sync"),
        pytest.param(SEEN, {"ready_since": LATER}, {}, LATER, id="ES-88-a-Pod-has-changed"),
        pytest.param(SEEN, {"ready_since": LATER, "phase": "Failed"}, {}, LATER, id="ES-88-published-or-not"),
        pytest.param(SEEN, {}, {}, None, id="EP-T37-no-change-known"),
        pytest.param(None, {"ready_since": ""}, {"created": ""}, None, id="EP-T37-no-times-at-all"),
    ],
)
def test_trigger_time_ep_49(seen: Seen | None, changes: Any, of: Any, expected: str | None) -> None:
    plan = planned(service(**of), [pod(0, **changes), pod(1)], existing_endpoints(annotations=OLD), seen)
    assert annotations(updated(plan)).get(TRIGGER_TIME_ANNOTATION) == expected


def test_trigger_time_is_kept_until_it_is_written_ep_t38() -> None:
    """KCM's sync has consumed it even if its write fails; ours has when the plan's `seen` is remembered (D-6)."""
    changed = [pod(0, ready=False, ready_since=LATER)]
    current = existing_endpoints(subset(pods(1)))
    first = planned(service(), changed, current, SEEN)
    again = planned(service(), changed, current, SEEN)
    assert again == first
    assert annotations(updated(first)) == {TRIGGER_TIME_ANNOTATION: LATER}
    assert first.seen == Seen(CREATED, tuple(changed))
    assert annotations(updated(planned(service(), changed, current, first.seen))) == {}


def test_nothing_to_write_moves_the_trigger_time_on_es_91() -> None:
    changed = pod(0, ready_since=LATER)
    plan = planned(service(), [changed], existing_endpoints(subset(pods(1))), SEEN)
    assert (plan.writes, plan.seen) == (NOTHING, Seen(CREATED, (changed,)))
