"""Whole syncs: placeholders, recycling, families, ownership, trigger time (ES-32, ES-52 ... ES-57, ES-67 ... ES-76)."""

from typing import Any

import pytest

from controllers.endpointslice.reconcile import Plan, Snapshot, address_types
from controllers.membership.trigger_time import Seen
from controllers.model.objects import (
    ContainerPort,
    EndpointPort,
    EndpointSlice,
    Labels,
    ServicePort,
)
from controllers.model.plan import Writes
from controllers.model.reasons import Reason
from tests.builders import (
    CREATED,
    HEADLESS,
    apply,
    counts,
    created,
    deleted,
    endpoint,
    existing,
    labelled,
    owner,
    placeholder,
    planned,
    pod,
    pods,
    service,
    sizes,
    trigger,
    updated,
)

DUAL = service(ip_families=("IPv4", "IPv6"))
PORTLESS = service(cluster_ip="None", ports=())
LATER = "2026-01-02T00:00:00Z"


def test_placeholder_is_created_es_t1() -> None:
    plan = planned()
    assert counts(plan) == (1, 0, 0)
    (made,) = created(plan)
    assert (made.endpoints, made.ports, made.address_type, made.labels) == ((), (), "IPv4", labelled())
    assert trigger(made) == CREATED
    assert [(size.endpoints, size.slices) for size in plan.families[0].sizes] == [(0, 1)]


@pytest.mark.parametrize(
    ("of", "slices"),
    [
        pytest.param(service(), [placeholder()], id="ES-T2"),
        pytest.param(
            service(), [existing("s-a", deletion_timestamp=LATER), placeholder()], id="ES-T12-terminating-slice"
        ),
        pytest.param(service(), [placeholder(owner_references=(owner("previous"),))], id="ES-T44-previous-owner"),
        pytest.param(HEADLESS, [placeholder()], id="ES-69-headless-label-missing"),
        pytest.param(service(labels=Labels(a="")), [placeholder()], id="ES-69-empty-label-missing"),
        pytest.param(DUAL, [placeholder(), placeholder("s-6", address_type="IPv6")], id="ES-54-both"),
        pytest.param(service(terminating=True), [], id="ES-T9-deleting-service"),
        pytest.param(service(selector=None), [existing("s-a", pods(2))], id="ES-T6-no-selector"),
        pytest.param(service(type="ExternalName"), [existing("s-a", pods(2))], id="ES-T7-external-name"),
        pytest.param(service(type="ExternalName", selector=None, ports=()), [], id="ES-T7-bare"),
    ],
)
def test_nothing_to_write_without_pods(of: Any, slices: list[EndpointSlice]) -> None:
    plan = planned(of, slices=slices)
    assert not plan
    assert counts(plan) == (0, 0, 0)


def test_terminating_slice_is_neither_kept_nor_filled_es_t12() -> None:
    found = [existing("s-a", pods(2), deletion_timestamp=LATER), existing("s-b", pods(2))]
    assert not planned(pods=pods(2), slices=found)
    plan = planned(pods=pods(2), slices=found[:1])
    assert (counts(plan), sizes(created(plan))) == ((1, 0, 0), [2])
    gone = [existing("s-c", address_type="IP", deletion_timestamp=LATER)]
    assert not planned(pods=pods(2), slices=[*found, *gone])


@pytest.mark.parametrize(
    ("of", "reason"),
    [
        pytest.param(service(type="ExternalName"), Reason.SERVICE_EXTERNAL_NAME, id="ES-T7"),
        pytest.param(service(selector=None), Reason.SERVICE_NO_SELECTOR, id="ES-T6"),
    ],
)
def test_why_a_service_is_not_synced(of: Any, reason: Reason) -> None:
    seen = Seen(CREATED, (pod(),))
    assert planned(of, pods(1), seen=seen) == Plan(not_synced=reason, seen=seen)
    assert planned(pods=pods(1)).not_synced is None


@pytest.mark.parametrize(
    ("slices", "expected", "kept"),
    [
        pytest.param([placeholder("s-a", labels=labelled(wrong="x"))], (0, 1, 0), {"s-a"}, id="ES-T3"),
        pytest.param([placeholder("s-a"), placeholder("s-b")], (0, 1, 1), None, id="ES-T4"),
        pytest.param([existing("s-a", pods(2))], (0, 1, 0), {"s-a"}, id="ES-70-emptied"),
        pytest.param([existing("s-a")], (0, 1, 0), {"s-a"}, id="ES-56-empty-slice-of-a-group"),
        pytest.param([existing("s-a", pods(2)), placeholder("s-b")], (0, 1, 1), None, id="ES-70-one-recycled"),
        pytest.param([existing("s-a", pods(2), owner_references=None)], (1, 0, 1), None, id="ES-70-un-owned"),
        pytest.param(
            [placeholder("s-a", owner_references=None), placeholder("s-b", owner_references=(owner("previous"),))],
            (1, 0, 2),
            None,
            id="ES-68-exactly-one",
        ),
        pytest.param(
            [placeholder("s-a", owner_references=(owner("previous"),)), existing("s-b", pods(1))],
            (0, 1, 1),
            {"s-b"},
            id="ES-71-the-owned-one-is-recycled",
        ),
    ],
)
def test_without_pods_one_placeholder_remains(
    slices: list[EndpointSlice], expected: tuple[int, int, int], kept: set[str] | None
) -> None:
    plan = planned(slices=slices)
    assert counts(plan) == expected
    (after,) = apply(plan, slices)
    assert (after.endpoints, after.ports, after.labels) == ((), (), labelled())
    assert after.metadata.owner_references == (owner(),)
    assert kept in (None, {after.name})
    assert not planned(slices=[after])


@pytest.mark.parametrize("removed", [0, 1, 2], ids=lambda number: f"keeps-{number}")
def test_slices_of_others_leave_no_trace_but_their_names_es_t5(removed: int) -> None:
    """The snapshot holds no slices of others (ES-32.6); their names are taken all the same."""
    taken = [each.name for each in created(planned(pods=pods(3), limit=1))]
    names = {each.name for each in created(planned(pods=pods(3), limit=1, taken=taken[removed:]))}
    assert len(names) == 3
    assert not names & set(taken[removed:])


NEW_PORT = service(terminating=True, ports=(ServicePort("http", "TCP", 9090),))


@pytest.mark.parametrize(
    ("of", "pods", "slices", "expected", "suppressed"),
    [
        pytest.param(service(terminating=True), [], [], (0, 0, 0), 1, id="ES-T9"),
        pytest.param(
            service(terminating=True), pods(250), [existing("s-a", pods(1, 900))], (0, 1, 0), 2, id="ES-72-recycled"
        ),
        pytest.param(service(terminating=True), pods(201), [existing("s-a", pods(99))], (0, 0, 0), 2, id="ES-72"),
        pytest.param(
            service(terminating=True), pods(199), [existing("s-a", pods(98))], (0, 1, 0), 1, id="ES-T10-update-is-done"
        ),
        pytest.param(
            NEW_PORT, pods(250), [existing("s-a", pods(100)), existing("s-b", pods(50))], (0, 2, 0), 1, id="ES-T11"
        ),
        pytest.param(
            service(terminating=True),
            pods(3),
            [existing("s-a", pods(2)), existing("s-b", pods(1, 900), ports=())],
            (0, 1, 1),
            0,
            id="ES-72-update-and-delete",
        ),
    ],
)
def test_terminating_service_gets_no_new_slices(
    of: Any, pods: Any, slices: list[EndpointSlice], expected: tuple[int, int, int], suppressed: int
) -> None:
    plan = planned(of, pods, slices)
    assert counts(plan) == expected
    assert [family.suppressed for family in plan.families] == [suppressed]
    assert len(created(planned(service(ports=of.ports), pods, slices))) == suppressed


def test_terminating_service_create_update_and_delete_es_t11() -> None:
    """One group grows, one goes: the new slice is recycled into the old one, the other update is done."""
    of = service(terminating=True, ports=(ServicePort("", "TCP", "web"),))
    one, two = EndpointPort("", "TCP", 81), EndpointPort("", "TCP", 82)
    here = [pod(number, ports=(ContainerPort("web", "TCP", 81),)) for number in range(3)]
    there = pod(9, ports=(ContainerPort("web", "TCP", 82),))
    found = [existing("s-a", here[:2], ports=(one,)), existing("s-b", [pod(8)], ports=())]
    plan = planned(of, [*here, there], found)
    assert counts(plan) == (0, 2, 0)
    assert {each.name: (each.ports, len(each.endpoints)) for each in updated(plan)} == {
        "s-a": ((one,), 3),
        "s-b": ((two,), 1),
    }


def test_the_last_new_slice_is_recycled_into_the_first_doomed_one_es_71() -> None:
    found = [existing(name, pods(1, 900), ports=()) for name in ("s-b", "s-a")]
    plan = planned(pods=pods(250), slices=found)
    assert ([*sizes(created(plan))], {each.name: len(each.endpoints) for each in updated(plan)}) == (
        [100],
        {"s-a": 50, "s-b": 100},
    )


def test_recycled_update_is_the_new_object_under_the_old_name_es_76() -> None:
    """Unlike KCM's, it carries uid and resourceVersion: it cannot overwrite what we have not seen."""
    theirs = {"theirs": "1"}
    found = existing("s-a", pods(2, 900), ports=(), labels=labelled(drift="x"), finalizers=("f",), annotations=theirs)
    plan = planned(pods=pods(2), slices=[found])
    (update,) = updated(plan)
    sent, had = update.metadata, found.metadata
    assert (sent.name, sent.uid, sent.resource_version) == (had.name, had.uid, had.resource_version)
    assert (sent.generate_name, sent.namespace, sent.owner_references) == ("s-", "ns", (owner(),))
    assert (sent.finalizers, sent.annotations is not None and "theirs" in sent.annotations) == (None, False)
    assert sent.labels == labelled()
    (after,) = apply(plan, [found])
    assert (after.metadata.uid, after.metadata.creation_timestamp) == (had.uid, had.creation_timestamp)
    assert after.metadata.generation == had.generation + 1  # ES-154
    assert int(after.metadata.resource_version) > int(had.resource_version)


@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        pytest.param([existing("s-a", pods(2), owner_references=(owner("previous"),))], (1, 0, 1), id="ES-T43"),
        pytest.param([existing("s-a", pods(2), owner_references=(owner(kind="Pod"),))], (1, 0, 1), id="ES-55-kind"),
        pytest.param(
            [existing("s-a", pods(2), owner_references=None), existing("s-b", pods(1, 900), ports=())],
            (0, 1, 1),
            id="ES-71-first-owned-one-in-the-list",
        ),
    ],
)
def test_slices_of_another_owner_are_replaced(slices: list[EndpointSlice], expected: tuple[int, int, int]) -> None:
    plan = planned(pods=pods(2), slices=slices)
    assert counts(plan) == expected
    assert [each.name for each in deleted(plan)] == ["s-a"]
    (after,) = apply(plan, slices)
    assert set(after.endpoints) == {endpoint(each) for each in pods(2)}


@pytest.mark.parametrize(
    ("of", "found", "made", "gone"),
    [
        pytest.param(
            service(),
            [existing("s-a", pods(80), address_type="IP"), existing("s-b", pods(50, 80), address_type="IP")],
            {("IPv4", 100), ("IPv4", 30)},
            ["s-a", "s-b"],
            id="ES-T45",
        ),
        pytest.param(service(ip_families=("IPv6",)), [existing("s-a", pods(130))], {("IPv6", 0)}, ["s-a"], id="ES-T87"),
        pytest.param(
            service(),
            [placeholder("s-a", address_type="FQDN", owner_references=None)],
            {("IPv4", 100), ("IPv4", 30)},
            ["s-a"],
            id="ES-53-whoever-owns-it",
        ),
    ],
)
def test_unsupported_address_types_are_deleted_last(
    of: Any, found: list[EndpointSlice], made: set[tuple[str, int]], gone: list[str]
) -> None:
    plan = planned(of, pods(130), found)
    assert {(each.address_type, len(each.endpoints)) for each in created(plan)} == made
    assert [each.name for each in plan.unsupported] == gone
    assert [family.writes.delete for family in plan.families] == [()]
    assert updated(plan) == []


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (service(ip_families=("IPv6", "IPv4")), ("IPv4", "IPv6")),
        (service(ip_families=("FQDN",)), ("IPv4",)),
        (service(ip_families=("IPv4",), cluster_ip="None"), ("IPv4",)),
        (service(ip_families=(), cluster_ip="::ffff:10.0.0.1"), ("IPv4",)),
    ],
)
def test_address_types_es_52(of: Any, expected: tuple[str, ...]) -> None:
    assert address_types(of) == expected


@pytest.mark.parametrize("name", ["", "web"])
def test_one_name_mapped_to_several_numbers_es_t46(name: str) -> None:
    of = service(ports=(ServicePort(name, "TCP", "http"),))
    numbers = range(8080, 8085)
    several = [pod(i, ports=(ContainerPort("http", "TCP", numbers[i % 5]),)) for i in range(300)]
    plan = planned(of, several)
    assert counts(plan) == (5, 0, 0)
    assert {(each.ports, len(each.endpoints)) for each in created(plan)} == {
        ((EndpointPort(name, "TCP", number),), 60) for number in numbers
    }
    assert [(size.endpoints, size.slices) for size in plan.families[0].sizes] == [(60, 1)] * 5


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        pytest.param((), (), id="ES-T47-absent"),
        pytest.param((ContainerPort("web", "UDP", 81),), (), id="ES-T50-other-protocol"),
        pytest.param(
            (ContainerPort("web", "TCP", 81), ContainerPort("web", "TCP", 82)),
            (EndpointPort("http", "TCP", 81),),
            id="ES-T49-app-container-first",
        ),
    ],
)
def test_named_port(ports: tuple[ContainerPort, ...], expected: tuple[EndpointPort, ...]) -> None:
    plan = planned(service(ports=(ServicePort("http", "TCP", "web"),)), [pod(ports=ports)])
    assert [(each.ports, len(each.endpoints)) for each in created(plan)] == [(expected, 1)]


def test_headless_without_ports_es_t51() -> None:
    first = planned(PORTLESS, [pod()])
    assert [(each.ports, len(each.endpoints)) for each in created(first)] == [((), 1)]
    assert not planned(PORTLESS, [pod()], apply(first, []))


def test_placeholder_of_a_headless_service_is_filled_es_t52() -> None:
    found = placeholder(annotations={"theirs": "1"})
    plan = planned(PORTLESS, [pod()], [found])
    assert counts(plan) == (0, 1, 0)
    (update,) = updated(plan)
    assert (update.name, update.endpoints) == (found.name, (endpoint(pod()),))
    # Not recycled: what others wrote there stays.
    assert (update.metadata.annotations or {})["theirs"] == "1"
    assert update.metadata.creation_timestamp == found.metadata.creation_timestamp


def test_written_order_of_ports_es_t53() -> None:
    of = service(ports=(ServicePort("http", "TCP", 80), ServicePort("https", "TCP", 443)))
    assert [port.name for port in created(planned(of, [pod()]))[0].ports] == ["https", "http"]


def test_a_group_without_endpoints_empties_its_slices_es_57() -> None:
    of = service(ports=(ServicePort("", "TCP", "web"),))
    one = pod(1, ports=(ContainerPort("web", "TCP", 81),))
    lost = pod(2, ports=(ContainerPort("web", "TCP", 82),), node_name="gone")
    ports = {number: (EndpointPort("", "TCP", number),) for number in (81, 82)}
    found = [existing("s-a", [one], ports=ports[81]), existing("s-b", [lost], ports=ports[82])]
    plan = planned(of, [one, lost], found)
    assert (counts(plan), [each.name for each in deleted(plan)]) == ((0, 0, 1), ["s-b"])
    assert plan.families[0].removed == 1
    # Whole groups that nobody wants any more are not counted (ES-61).
    assert planned(of, [one], found).families[0].removed == 0


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        pytest.param(service(), [(0, 0), (0, 1)], id="beside-an-empty-group"),
        pytest.param(PORTLESS, [(0, 1)], id="for-the-group-without-ports"),
    ],
)
def test_a_placeholder_counts_as_one_slice_es_147(of: Any, expected: list[tuple[int, int]]) -> None:
    plan = planned(of, [pod(node_name="gone")])
    assert [[(size.endpoints, size.slices) for size in family.sizes] for family in plan.families] == [expected]


def test_families_are_independent_es_54() -> None:
    both = pod(1, ipv6=("fd00::1",))
    found = [existing("s-4", [both]), existing("s-6", [both], address_type="IPv6")]
    plan = planned(DUAL, [both], found)
    assert [(family.address_type, bool(family.writes)) for family in plan.families] == [("IPv4", False), ("IPv6", True)]
    assert updated(plan)[0].endpoints == (endpoint(both, addresses=("fd00::1",)),)


def test_what_counts_as_something_to_write() -> None:
    assert not Writes()
    found = existing("s-a")
    assert all((Writes(create=(found,)), Writes(update=(found,)), Writes(delete=(found,))))
    assert Plan(unsupported=(found,))
    assert not Plan(families=())


def test_a_snapshot_needs_only_a_service() -> None:
    assert Snapshot(service=service()).max_endpoints == 100
