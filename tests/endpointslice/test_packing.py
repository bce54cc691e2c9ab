"""Which endpoint goes into which slice, with how few writes (ES-58 ... ES-66; ES-T30 ... ES-T38, ES-T54, ES-T85)."""

import pytest
from msgspec import Struct

from controllers.endpointslice.packing import pack
from controllers.model.identity import identity
from controllers.model.objects import Conditions, EndpointPort, EndpointSlice, ForZone, Hints, Pod, ServicePort
from tests.builders import (
    HTTP,
    apply,
    counts,
    created,
    deleted,
    endpoint,
    existing,
    labelled,
    placeholder,
    planned,
    pod,
    pods,
    service,
    sizes,
    updated,
)

OWN_ZONE = Hints((ForZone("zone-a"),))
CLOSE = service(traffic_distribution="PreferClose")


def slices_of(*counts: int, stale: bool | tuple[bool, ...] = False) -> list[EndpointSlice]:
    """Slices `s-0`, `s-1`, … of so many wanted endpoints each; in a stale one, the first of them has changed."""
    stales = stale if isinstance(stale, tuple) else (stale,) * len(counts)
    found, first = [], 0
    for index, (number, changed) in enumerate(zip(counts, stales, strict=True)):
        endpoints = [endpoint(each) for each in pods(number, first)]
        if changed:
            endpoints[0] = endpoint(pod(first), conditions=Conditions(True))
        found.append(existing(f"s-{index}", endpoints))
        first += number
    return found


class Case(Struct):
    """`wanted` Pods, of which the slices hold the first; expected: sizes of new slices, and of updated ones by name."""

    wanted: int
    slices: list[EndpointSlice]
    create: list[int]
    update: dict[str, int] = {}
    limit: int = 100


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(Case(250, [], [100, 100, 50]), id="ES-T30"),
        pytest.param(Case(250, [], [50] * 5, limit=50), id="ES-T31-50"),
        pytest.param(Case(250, [], [80, 80, 80, 10], limit=80), id="ES-T31-80"),
        pytest.param(Case(250, [], [150, 100], limit=150), id="ES-T31-150"),
        pytest.param(Case(250, [], [250], limit=250), id="ES-T31-250"),
        pytest.param(Case(250, [], [250], limit=500), id="ES-T31-500"),
        pytest.param(Case(250, slices_of(62, 61), [100], {"s-0": 89}), id="ES-T32"),
        pytest.param(Case(300, slices_of(74, 74), [100, 52]), id="ES-T33"),
        pytest.param(Case(130, slices_of(60, 30), [], {"s-0": 100}), id="ES-T34-40"),
        pytest.param(Case(131, slices_of(60, 30), [], {"s-1": 71}), id="ES-T34-41"),
        pytest.param(Case(160, slices_of(60, 30), [], {"s-1": 100}), id="ES-T34-70"),
        pytest.param(Case(161, slices_of(60, 30), [71]), id="ES-T34-71"),
        pytest.param(Case(190, slices_of(60, 30), [100]), id="ES-T34-100"),
        pytest.param(Case(191, slices_of(60, 30), [100], {"s-0": 61}), id="ES-T34-101"),
        pytest.param(Case(115, slices_of(80, 20, stale=True), [], {"s-0": 95, "s-1": 20}), id="ES-T35"),
        pytest.param(Case(115, slices_of(20, 80, stale=True), [], {"s-0": 20, "s-1": 95}), id="ES-62-fullest-first"),
        pytest.param(Case(200, slices_of(80, 20, stale=True), [], {"s-0": 100, "s-1": 100}), id="ES-62-fill-both"),
        pytest.param(Case(201, slices_of(80, 20, stale=True), [1], {"s-0": 100, "s-1": 100}), id="ES-62-then-new"),
        pytest.param(
            Case(125, slices_of(80, 20, stale=(True, False)), [], {"s-0": 100, "s-1": 25}), id="ES-62-before-ES-63"
        ),
        pytest.param(
            Case(105, slices_of(20, 80, stale=(True, False)), [], {"s-0": 25}), id="ES-62-written-anyway-goes-first"
        ),
        pytest.param(Case(100, slices_of(100, stale=True), [], {"s-0": 100}), id="ES-62-full"),
        pytest.param(Case(100, slices_of(0), [100]), id="ES-63-strictly-fewer-than-the-limit"),
        pytest.param(Case(99, slices_of(0), [], {"s-0": 99}), id="ES-63-empty-slice-of-the-group"),
        pytest.param(Case(141, slices_of(70, 70), [], {"s-0": 71}), id="ES-63-tie-goes-to-the-first-name"),
        pytest.param(Case(300, slices_of(*[30] * 10), []), id="ES-T36"),
        pytest.param(Case(9, slices_of(5), [3, 1], limit=3), id="ES-T85"),
        pytest.param(Case(9, slices_of(5, stale=True), [3, 1], {"s-0": 5}, limit=3), id="ES-64-over-the-limit-stays"),
    ],
)
def test_packing(case: Case) -> None:
    plan = planned(pods=pods(case.wanted), slices=case.slices, limit=case.limit)
    assert sizes(created(plan)) == sorted(case.create, reverse=True)
    assert {each.name: len(each.endpoints) for each in updated(plan)} == case.update
    assert deleted(plan) == []
    (family,) = plan.families
    assert (family.added, family.removed) == (case.wanted - sum(sizes(case.slices)), 0)
    after = apply(plan, case.slices)
    assert [(size.endpoints, size.slices) for size in family.sizes] == [(case.wanted, len(after))]
    assert {e for each in after for e in each.endpoints} == {endpoint(each) for each in pods(case.wanted)}


OTHER_PORT = service(ports=(ServicePort("http", "TCP", 9090),))


@pytest.mark.parametrize(
    ("found", "expected", "added"),
    [
        pytest.param(slices_of(*[30] * 10), (0, 3, 7), 300, id="ES-T37"),
        pytest.param(slices_of(100, 100, 50), (0, 3, 0), 250, id="ES-T38"),
    ],
)
def test_target_port_changes(found: list[EndpointSlice], expected: tuple[int, int, int], added: int) -> None:
    plan = planned(OTHER_PORT, pods(added), found)
    assert counts(plan) == expected
    assert sum(sizes(updated(plan))) == added
    assert {each.ports for each in updated(plan)} == {(EndpointPort("http", "TCP", 9090),)}
    assert [(family.added, family.removed) for family in plan.families] == [(added, 0)]


@pytest.mark.parametrize(
    ("second", "expected", "removed"),
    [
        pytest.param(pods(2), (0, 0, 1), 2, id="ES-T54-emptied"),
        pytest.param(pods(3), (0, 1, 0), 2, id="ES-T54-shrunk"),
        pytest.param([*pods(2), pod(7)], (0, 0, 1), 3, id="ES-T54-nothing-else-wanted"),
    ],
)
def test_endpoint_in_two_slices(second: list[Pod], expected: tuple[int, int, int], removed: int) -> None:
    found = [existing("s-a", pods(2)), existing("s-b", second)]
    plan = planned(pods=pods(3) if expected[1] else pods(2), slices=found)
    assert counts(plan) == expected
    assert [each.name for each in (*updated(plan), *deleted(plan))] == ["s-b"]
    assert [(family.added, family.removed) for family in plan.families] == [(0, removed)]


def test_endpoint_twice_in_one_slice_es_58() -> None:
    found = [existing("s-a", [pod(1), pod(2), pod(1)])]
    (after,) = apply(planned(pods=[pod(1), pod(2)], slices=found), found)
    assert after.endpoints == (endpoint(pod(1)), endpoint(pod(2)))


def test_kept_endpoints_keep_their_order_and_new_ones_come_after_es_58_63() -> None:
    found = [existing("s-a", [pod(3), pod(1), pod(9), pod(2)])]
    plan = planned(pods=pods(5), slices=found)
    kept = [endpoint(pod(number)) for number in (3, 1, 2)]
    assert list(updated(plan)[0].endpoints[:3]) == kept
    assert set(updated(plan)[0].endpoints[3:]) == {endpoint(pod(0)), endpoint(pod(4))}
    assert [(family.added, family.removed) for family in plan.families] == [(2, 1)]


def test_an_update_computes_every_endpoint_afresh_es_58() -> None:
    hinted = endpoint(pod(1), hints=Hints())
    changed = endpoint(pod(2), zone="elsewhere")
    plan = planned(pods=[pod(1), pod(2)], slices=[existing("s-a", [hinted, changed])])
    assert updated(plan)[0].endpoints == (endpoint(pod(1)), endpoint(pod(2)))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        pytest.param(labelled(drift="x"), labelled(), id="ES-60-labels-alone"),
        pytest.param(labelled() | {"endpointslice.kubernetes.io/managed-by": "x"}, None, id="ES-85-reserved-drift"),
    ],
)
def test_labels_alone_leave_endpoints_and_hints_es_60(labels: dict[str, str], expected: dict[str, str] | None) -> None:
    hinted = (endpoint(pod(1), hints=OWN_ZONE), endpoint(pod(2), hints=OWN_ZONE))
    plan = planned(CLOSE, [pod(1), pod(2)], [existing("s-a", hinted, labels=labels)])
    assert [each.labels for each in updated(plan)] == ([] if expected is None else [expected])
    assert all(each.endpoints == hinted for each in updated(plan))


def test_topping_up_keeps_hints_and_labels_es_63_85() -> None:
    labels = labelled() | {"service.kubernetes.io/headless": ""}
    plan = planned(CLOSE, [pod(1), pod(2)], [existing("s-a", [endpoint(pod(1), hints=OWN_ZONE)], labels=labels)])
    (update,) = updated(plan)
    assert update.endpoints == (endpoint(pod(1), hints=OWN_ZONE), endpoint(pod(2), hints=OWN_ZONE))
    assert update.labels == labels


def test_ports_are_written_in_canonical_order_but_not_for_their_own_sake_es_51() -> None:
    both = service(ports=(ServicePort("http", "TCP", 80), ServicePort("https", "TCP", 443)))
    http, https = EndpointPort("http", "TCP", 80), EndpointPort("https", "TCP", 443)
    found = existing("s-a", [pod(1)], ports=(http, https))
    assert not planned(both, [pod(1)], [found])
    for changed in ([pod(1, ready=False)], [pod(1), pod(2)]):
        assert [each.ports for each in updated(planned(both, changed, [found]))] == [(https, http)]


def test_an_update_keeps_the_rest_of_the_metadata_es_66() -> None:
    found = existing("s-a", pods(2), finalizers=("f",), annotations={"theirs": "1"})
    for update in updated(planned(pods=pods(1), slices=[found])) + updated(planned(pods=pods(3), slices=[found])):
        kept = update.metadata
        assert (kept.finalizers, (kept.annotations or {})["theirs"]) == (("f",), "1")
        assert (kept.uid, kept.resource_version, kept.creation_timestamp) == (
            found.metadata.uid,
            found.metadata.resource_version,
            found.metadata.creation_timestamp,
        )
        assert kept.owner_references == found.metadata.owner_references


def test_groups_do_not_share_slices_es_50() -> None:
    """Each group is packed for itself, also next to a portless slice with room."""
    found = [existing("s-a", [pod(1)], ports=(HTTP,)), placeholder("s-b")]
    plan = planned(service(), pods(3, 1), found)
    assert ({each.name for each in updated(plan)}, [each.name for each in deleted(plan)]) == ({"s-a"}, ["s-b"])


def test_arguments_of_pack_are_not_changed() -> None:
    wanted = {identity(endpoint(each)): endpoint(each) for each in pods(5)}
    found = slices_of(1, 3, stale=(True, False))
    before = repr((found, wanted))
    assert pack(service(), "IPv4", (HTTP,), found, wanted, 3).added == 1
    assert repr((found, wanted)) == before
