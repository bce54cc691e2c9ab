"""The mirroring controller's shell: its routes, what it says and counts around a plan (MI-13 ... MI-24, MI-49 ...)."""

from collections.abc import Callable

import msgspec
import pytest
from msgspec.structs import replace

from api.names import (
    ENDPOINTS_MANAGED_BY,
    ENDPOINTS_MANAGED_BY_LABEL,
    ENDPOINTSLICE_MANAGED_BY,
    LEADER_ANNOTATION,
    MANAGED_BY_LABEL,
    REASON_UPDATE_FAILED,
    SERVICE_NAME_LABEL,
    SKIP_MIRROR_LABEL,
)
from controllers.mirroring.reconcile import Counts, Plan
from controllers.model.objects import Labels, ServicePort
from controllers.model.reasons import Reason
from controllers.runtime.api_client import ApiClient
from controllers.runtime.errors import ServerError
from controllers.runtime.events import Regarding
from controllers.runtime.loop import Controller
from controllers.runtime.mirroring_metrics import MirroringMetrics
from controllers.runtime.stores import Stores
from controllers.telemetry import metrics
from tests.mirroring.builders import SERVICE, endpoints, existing, labelled, subset
from tests.mirroring.hands import Hands, asked, confirm, put, started, writing
from tests.runtime.api_server import ApiServer, refuse, say

ENDPOINTS = endpoints(subset("10.0.0.1"))
SELECTING = replace(SERVICE, selector=Labels(app="e"))
SKIPPED, LOCK = {"labels": {SKIP_MIRROR_LABEL: "true"}}, {"annotations": {LEADER_ANNOTATION: ""}}
THEIRS = {**labelled(), MANAGED_BY_LABEL: ENDPOINTSLICE_MANAGED_BY}
DONE = say({"kind": "Status", "status": "Success"})


@pytest.fixture
def stores() -> Stores:
    """A Service without a selector, and its Endpoints."""
    made = Stores()
    made.services.put(SERVICE)
    made.endpoints.put(ENDPOINTS)
    return made


@pytest.fixture
def hands(stores: Stores) -> Hands:
    return Hands(stores)


@pytest.fixture
def controller(stores: Stores, hands: Hands) -> Controller:
    return started(stores, hands)


OTHER, BOTH = "f", {"ns/e", "ns/f"}
NAMED = {"name": OTHER, "uid": "uid-f"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(lambda s: put(s, ENDPOINTS, **NAMED), {"ns/f"}, id="MI-13-add"),
        pytest.param(lambda s: put(s, ENDPOINTS, **NAMED, **SKIPPED), set(), id="MI-13-add-skipped"),
        pytest.param(lambda s: put(s, ENDPOINTS, **NAMED, **LOCK), set(), id="MI-13-add-lock"),
        pytest.param(lambda s: s.endpoints.drop(ENDPOINTS), {"ns/e"}, id="MI-13-delete"),
        pytest.param(lambda s: s.endpoints.drop_named("ns", "lock", "uid-lock"), set(), id="MI-13-delete-lock"),
        pytest.param(lambda s: put(s, ENDPOINTS), {"ns/e"}, id="MI-14-update"),
        pytest.param(lambda s: put(s, ENDPOINTS, **SKIPPED), {"ns/e"}, id="MI-14-not-any-more"),
        pytest.param(lambda s: put(s, ENDPOINTS, name="lock", uid="uid-lock"), {"ns/lock"}, id="MI-14-from-now-on"),
        pytest.param(
            lambda s: put(s, ENDPOINTS, name="lock", uid="uid-lock", **SKIPPED), set(), id="MI-14-neither-old-nor-new"
        ),
        pytest.param(lambda s: put(s, replace(SERVICE, name=OTHER)), {"ns/f"}, id="MI-15-add"),
        pytest.param(lambda s: put(s, replace(SELECTING, name=OTHER)), set(), id="MI-15-add-with-selector"),
        pytest.param(lambda s: s.services.drop(SERVICE), {"ns/e"}, id="MI-15-delete"),
        pytest.param(lambda s: s.services.drop_named("ns", "pods"), set(), id="MI-15-delete-with-selector"),
        pytest.param(lambda s: put(s, SELECTING), {"ns/e"}, id="MI-16-gained"),
        pytest.param(lambda s: put(s, replace(SERVICE, name="pods")), {"ns/pods"}, id="MI-16-lost"),
        pytest.param(
            lambda s: put(s, replace(SELECTING, name="pods", selector=Labels(b="c"))), set(), id="MI-16-other-selector"
        ),
        pytest.param(lambda s: put(s, replace(SERVICE, ports=(ServicePort("http", "TCP", 81),))), set(), id="MI-T41"),
        pytest.param(lambda s: put(s, replace(SERVICE, type="ExternalName")), set(), id="MI-16-type"),
        pytest.param(lambda s: put(s, existing("f-1"), labels=labelled()), {"ns/e"}, id="MI-17-add"),
        pytest.param(lambda s: put(s, existing("f-1"), labels=THEIRS), set(), id="MI-17-add-theirs"),
        pytest.param(
            lambda s: put(s, existing("f-1"), labels={MANAGED_BY_LABEL: labelled()[MANAGED_BY_LABEL]}),
            set(),
            id="MI-21",
        ),
        pytest.param(
            lambda s: put(s, existing("e-1"), labels={**labelled(), SERVICE_NAME_LABEL: OTHER}), BOTH, id="MI-18"
        ),
        pytest.param(lambda s: put(s, existing("e-1")), {"ns/e"}, id="MI-19-update"),
        pytest.param(lambda s: put(s, existing("e-1"), labels=THEIRS), {"ns/e"}, id="MI-19-taken-from-us"),
        pytest.param(lambda s: put(s, existing("e-2"), labels=labelled()), {"ns/e"}, id="MI-19-given-to-us"),
        pytest.param(lambda s: put(s, existing("e-2"), labels={**THEIRS, "a": "b"}), set(), id="MI-19-theirs"),
        pytest.param(lambda s: s.slices.drop(existing("e-1")), {"ns/e"}, id="MI-20-delete"),
        pytest.param(lambda s: s.slices.drop(existing("e-2")), set(), id="MI-20-delete-theirs"),
        pytest.param(lambda s: s.slices.deleted_by_us(existing("e-1")), set(), id="MI-20-our-own"),
    ],
)
async def test_routes(stores: Stores, hands: Hands, change: Callable[[Stores], None], expected: set[str]) -> None:
    """Beside `e` there are `lock`, which is not mirrored, and `pods`, a Service with a selector."""
    put(stores, ENDPOINTS, name="lock", uid="uid-lock", **LOCK)
    stores.services.put(replace(SELECTING, name="pods"))
    put(stores, existing("e-1"), resource_version="7")
    put(stores, existing("e-2"), labels=THEIRS)
    controller = started(stores, hands)
    await asked(controller)
    change(stores)
    assert await asked(controller) == expected


async def test_batch_period_is_for_slices_alone_mi_17_mi_21(stores: Stores, hands: Hands) -> None:
    """Without one there is no delay, unlike for slices of the EndpointSlice controller (ES-11)."""
    controller = started(stores, hands, batch_seconds=5)
    await asked(controller)
    put(stores, existing("e-1"))
    assert (len(controller.queue), controller.queue.idle) == (0, False)
    for urgent in (ENDPOINTS, SELECTING):
        put(stores, urgent)
        assert await asked(controller) == {"ns/e"}


async def test_start_asks_for_endpoints_and_for_orphans(stores: Stores, hands: Hands) -> None:
    put(stores, ENDPOINTS, name="alone", uid="uid-alone")
    put(stores, ENDPOINTS, name="lock", uid="uid-lock", **LOCK)
    put(stores, ENDPOINTS, name="left", uid="uid-left", **SKIPPED)
    for name in ("left", "orphan"):
        put(stores, existing(f"{name}-1"), labels={**labelled(), SERVICE_NAME_LABEL: name})
    put(stores, existing("theirs-1"), labels={**THEIRS, SERVICE_NAME_LABEL: "theirs"})
    assert await asked(started(stores, hands)) == {"ns/e", "ns/alone", "ns/left", "ns/orphan"}


async def test_endpoints_of_pods_wait_for_no_worker_but_for_leftovers_mi_56(stores: Stores, hands: Hands) -> None:
    """Those that the Endpoints controller keeps are most of all, and none of them is mirrored."""
    stores.services.put(SELECTING)
    controller = started(stores, hands)
    put(stores, ENDPOINTS)
    assert await asked(controller) == set()
    put(stores, existing("e-1"), labels=THEIRS)
    put(stores, ENDPOINTS)
    assert await asked(controller) == set()
    put(stores, existing("e-2"))
    await asked(controller)
    put(stores, ENDPOINTS)
    assert await asked(controller, sync=True) == {"ns/e"}
    assert [[each.name for each in writes.delete] for writes in hands.writes] == [["e-2"]]


async def test_service_that_gains_a_selector_loses_its_mirrored_slices_mi_56(
    controller: Controller, stores: Stores, hands: Hands
) -> None:
    await asked(controller, sync=True)
    put(stores, SELECTING)
    assert await asked(controller, sync=True) == {"ns/e"}
    created, gone = hands.writes
    assert [each.name for each in gone.delete] == [each.name for each in created.create]
    assert list(stores.slices.all()) == []


async def test_slice_that_a_user_deleted_comes_back_mi_t42(
    controller: Controller, stores: Stores, hands: Hands
) -> None:
    await asked(controller, sync=True)
    put(stores, ENDPOINTS)
    assert await asked(controller, sync=True) == {"ns/e"}
    assert len(hands.writes) == 1, "nothing to write the second time"
    (found,) = stores.slices.all()
    stores.slices.drop(found)
    assert await asked(controller, sync=True) == {"ns/e"}
    assert [each.endpoints for each in stores.slices.all()] == [found.endpoints]


async def test_slices_of_others_are_not_ours_but_their_names_are_taken_mi_t43(
    controller: Controller, stores: Stores, hands: Hands
) -> None:
    await asked(controller, sync=True)
    (own,) = stores.slices.all()
    stores.slices.drop(own)
    others = [
        replace(existing(own.name), metadata=replace(own.metadata, uid="theirs", labels=THEIRS)),
        existing("x-1", labels={**labelled(), SERVICE_NAME_LABEL: "x"}),
        existing("x-2", labels={SERVICE_NAME_LABEL: "e"}),
        existing("x-3", labels=None),
        existing("x-4", namespace="other"),
    ]
    for each in others:
        put(stores, each)
    hands.writes.clear()
    await controller.sync("ns/e")
    stores.services.drop(SERVICE)
    await controller.sync("ns/e")
    created, gone = hands.writes
    (again,) = created.create
    assert again.name != own.name
    assert [each.name for each in gone.delete] == [again.name]
    assert sorted(each.name for each in stores.slices.all()) == sorted(each.name for each in others)


BAD = [subset("!"), subset("!", "?"), subset("!", "10.0.0.1", "10.0.0.2", "10.0.0.3"), subset("10.0.0.1")]


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        pytest.param([0, 0, 0], ["Skipped 1"], id="MI-49-once"),
        pytest.param([0, 1, 0], ["Skipped 1", "Skipped 2", "Skipped 1"], id="MI-49-each-change"),
        pytest.param([0, 3, 0], ["Skipped 1", "Skipped 1"], id="MI-49-again-when-it-comes-back"),
        pytest.param([0, 2, 2], ["Skipped 1", "A max of "], id="MI-50-what-is-new-alone"),
        pytest.param([3], [], id="nothing"),
    ],
)
async def test_events_about_what_cannot_be_mirrored(
    controller: Controller, stores: Stores, hands: Hands, history: list[int], expected: list[str]
) -> None:
    """Unlike KCM, not at every sync."""
    for version in history:
        put(stores, endpoints(BAD[version]))
        await asked(controller, sync=True)
    assert [notice.message[:9] for _, notice in hands.told] == expected
    assert {about for about, _ in hands.told} <= {Regarding("Endpoints", "ns", "e", "uid-e")}


async def test_excluded_endpoints_are_told_anew_when_they_come_back_mi_49(
    controller: Controller, stores: Stores, hands: Hands
) -> None:
    for metadata in ({}, SKIPPED, {}):
        put(stores, endpoints(BAD[0]), **metadata)
        await asked(controller, sync=True)
    assert hands.reasons == ["InvalidIPAddress"] * 2


async def test_failure_is_told_on_the_endpoints(controller: Controller, stores: Stores, hands: Hands) -> None:
    """Ours: KCM keeps failures to itself (MI-23)."""
    controller.failed("ns/e", 1, "no way")
    ((about, notice),) = hands.told
    assert about == Regarding("Endpoints", "ns", "e", "uid-e")
    assert (notice.type, notice.reason) == ("Warning", REASON_UPDATE_FAILED)
    assert notice.message.endswith("for Endpoints ns/e: no way")
    stores.endpoints.drop(ENDPOINTS)
    controller.failed("ns/e", 2, "no way")
    assert len(hands.told) == 1, "nothing is left to tell it on"


OWN = {ENDPOINTS_MANAGED_BY_LABEL: ENDPOINTS_MANAGED_BY}


async def test_endpoints_whose_subsets_are_not_kept_are_read_mi_55(
    server: ApiServer, client: ApiClient, stores: Stores
) -> None:
    """Left over by our own Endpoints controller; its slices stay, too. Only what is to be mirrored is read."""
    left = replace(ENDPOINTS, metadata=replace(ENDPOINTS.metadata, labels=OWN, resource_version="6"))
    stores.endpoints.put(left)
    put(stores, existing("e-1"), labels=THEIRS)
    put(stores, SELECTING)
    changes: list[str] = []
    controller = writing(client, stores, changes)
    await controller.sync("ns/e")
    assert server.asked == []
    put(stores, SERVICE)
    server.will("GET", say(msgspec.to_builtins(left))).will("POST", confirm)
    assert await asked(controller, sync=True) == {"ns/e"}
    read, create = server.asked
    assert read.path == "/api/v1/namespaces/ns/endpoints/e"
    assert [each["addresses"] for each in create.body["endpoints"]] == [["10.0.0.1"]]
    assert create.body["metadata"]["labels"] == {**OWN, **labelled()}
    assert stores.slices.get("ns", "e-1") is not None
    server.will("GET", refuse(404, "NotFound")).will("DELETE", DONE)
    await controller.sync("ns/e")
    assert server.verbs == ["GET", "POST", "GET", "DELETE"], "the watch has not told yet that they have gone"
    assert changes == ["create"], "MI-24"


async def test_clean_up_is_not_counted_as_a_change_mi_24_mi_48(
    server: ApiServer, client: ApiClient, stores: Stores
) -> None:
    changes: list[str] = []
    controller = writing(client, stores, changes)
    server.will("POST", confirm).will("PUT", confirm).will("DELETE", DONE, DONE)
    await controller.sync("ns/e")
    put(stores, endpoints(subset("10.0.0.2")))
    await controller.sync("ns/e")
    put(stores, endpoints())
    await controller.sync("ns/e")
    assert changes == ["create", "update", "delete"]
    put(stores, existing("e-1"))
    stores.services.drop(SERVICE)
    await controller.sync("ns/e")
    assert server.verbs == ["POST", "PUT", "DELETE", "DELETE"]
    assert len(changes) == 3


def value(name: str) -> float:
    return metrics.REGISTRY.get_sample_value(f"endpoint_slice_mirroring_controller_{name}") or 0.0


def sizes() -> tuple[float, ...]:
    return tuple(value(name) for name in ("desired_endpoint_slices", "num_endpoint_slices", "endpoints_desired"))


def plan(*groups: tuple[int, int]) -> Plan:
    """Of each group its endpoints and slices; a slice holds 100."""
    endpoints, slices = (sum(each) for each in zip(*groups, strict=True))
    return Plan(counts=Counts(endpoints=endpoints, slices=slices, perfect_slices=len(groups)))


def test_gauges_are_sums_over_endpoints_mi_t44() -> None:
    found = MirroringMetrics()
    found.planned("ns/a", plan((45, 1), (35, 1)))
    found.planned("ns/b", plan((1, 1)))
    found.planned("ns/b", plan((12, 5), (18, 8)))
    assert sizes() == (4, 15, 110)
    found.planned("ns/a", Plan(not_mirrored=Reason.ENDPOINTS_GONE))
    assert sizes() == (2, 13, 30)


HISTOGRAMS = ("addresses_skipped", "endpoints_added", "endpoints_updated", "endpoints_removed")


async def test_syncs_are_measured_even_if_writes_fail_mi_52_mi_53(
    controller: Controller, stores: Stores, hands: Hands
) -> None:
    def observed() -> list[float]:
        return [*(value(f"{each}_per_sync_count") for each in HISTOGRAMS), value("endpoints_sync_duration_count")]

    def summed() -> list[float]:
        return [value(f"{each}_per_sync_sum") for each in HISTOGRAMS]

    count, total = observed(), summed()
    put(stores, endpoints(subset("10.0.0.1", "10.0.0.2", "10.0.0.3", not_ready=["10.0.0.4", "10.0.0.5"])))
    put(stores, existing("e-1", [replace(each, node_name="n") for each in existing("", ["10.0.0.1"]).endpoints]))
    put(stores, existing("e-6", ["fd00::1"] * 4, address_type="IPv6"))
    hands.error = ServerError("down")
    with pytest.raises(ServerError):
        await controller.sync("ns/e")
    assert [now - before for now, before in zip(summed(), total, strict=True)] == [3, 1, 1, 4]
    assert sizes() == (1, 1, 2)
    hands.error = None
    await controller.sync("ns/e")
    await controller.sync("ns/e")
    assert [now - before for now, before in zip(observed(), count, strict=True)] == [3, 3, 3, 3, 3]
    stores.services.drop(SERVICE)
    await controller.sync("ns/e")
    assert [now - before for now, before in zip(observed(), count, strict=True)] == [3, 3, 3, 3, 4], "no clean-ups"
    assert sizes() == (0, 0, 0)


async def test_why_endpoints_are_not_mirrored_is_counted(controller: Controller, stores: Stores) -> None:
    """Also of those that never wait for a worker; what has gone does not count."""

    def counted() -> list[float]:
        return [metrics.ENDPOINTS_NOT_MIRRORED.labels(reason=each.value)._value.get() for each in Reason]

    at_first = counted()
    lock = endpoints(name="lock", uid="uid-lock", **LOCK)
    story: list[tuple[Callable[[], None], list[Reason]]] = [
        (lambda: None, []),
        (lambda: put(stores, ENDPOINTS, **SKIPPED), [Reason.ENDPOINTS_SKIPPED]),
        (lambda: put(stores, ENDPOINTS, **LOCK), [Reason.ENDPOINTS_LEADER_ELECTION]),
        (lambda: put(stores, lock), [Reason.ENDPOINTS_LEADER_ELECTION] * 2),
        (lambda: put(stores, ENDPOINTS), [Reason.ENDPOINTS_LEADER_ELECTION]),
        (lambda: stores.services.drop(SERVICE), [Reason.ENDPOINTS_LEADER_ELECTION, Reason.ENDPOINTS_NO_SERVICE]),
        (lambda: stores.endpoints.drop(lock), [Reason.ENDPOINTS_NO_SERVICE]),
        (lambda: put(stores, SERVICE), []),
        (lambda: put(stores, SELECTING), [Reason.ENDPOINTS_SELECTOR]),
        (lambda: put(stores, ENDPOINTS), [Reason.ENDPOINTS_SELECTOR]),
        (lambda: stores.endpoints.drop(ENDPOINTS), []),
    ]
    for number, (change, expected) in enumerate(story):
        change()
        await asked(controller, sync=True)
        now = [after - before for after, before in zip(counted(), at_first, strict=True)]
        assert now == [expected.count(each) for each in Reason], f"after change {number}"
