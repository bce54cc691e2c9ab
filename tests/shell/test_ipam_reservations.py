"""Reservations that cannot be kept as they are written, and pools that are taken away from under their Services.

Most of them came in while nobody was asked: before Sliceplane was there. The others are refused, and change nothing.
"""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import pytest

from e2e.cluster.fixtures import plane_of
from e2e.cluster.ipam import Ipam, ip_pool
from e2e.cluster.rest import Api, ApiError, Object
from tests.shell.ipaming import Team, metric, namespaces, node_ports, refused, service_cidr
from tests.shell.waiting import eventually

pytestmark = pytest.mark.server

_OWN = {"exclusive": True, "enforcement": "Enforce"}
_LONGEST = "r" * 253


class World(NamedTuple):
    """A control plane whose team had made Services and reservations before Sliceplane started."""

    api: Api
    ipam: Ipam
    team: Team
    others: Team


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with plane_of() as plane:
        api = plane.client()
        namespaces(api, "team", "others")
        team, others = Team(api, "team"), Team(api, "others")
        # That a time is over is seen by the audit.
        ipam = Ipam(plane, "--audit-period=1s")
        others.create("holder", type="NodePort", clusterIP="10.96.0.60", ports=[{"port": 80, "nodePort": 30060}])
        team.reserve("late", addresses=["10.96.0.60"], nodePorts=[{"portName": "http", "nodePort": 30060}])
        # Of the same second the name decides which is the older one.
        team.reserve("twice-a", addresses=["10.96.0.61", "fd00:10:96::61"])
        team.reserve("twice-b", addresses=["10.96.0.61", "fd00:10:96::62"])
        team.reserve("far", addresses=["10.97.0.5"])
        team.reserve("far-too", addresses=["10.98.0.5"])
        ipam.start()
        ipam.in_force()
        eventually(lambda: _kept_by_policies(api, "twice-a"))
        yield World(api, ipam, team, others)
        assert metric(ipam.replicas, "sliceplane_ipam_admission_decisions_total", reason="InternalError") == 0
        assert ipam.stop() == [0]


def _judged(team: Team, name: str, phase: str, reason: str, said: str) -> None:
    status = team.until_phase(name, phase)
    [found] = [
        each for each in status["conditions"] if each["type"] == ("Conflict" if phase == "Conflict" else "Bound")
    ]
    assert (found["reason"], said in found["message"]) == (reason, True), found


def test_what_somebody_has(world: World) -> None:
    """A live Service keeps its numbers, the owner gets others meanwhile, and has the reserved ones when it goes."""
    _judged(world.team, "late", "Conflict", "HeldByOther", "10.96.0.60 is held by the Service others/holder; 30060 is")
    made = world.team.create("late", type="NodePort")
    assert made["clusterIP"] != "10.96.0.60"
    assert node_ports(made) != [30060]
    world.team.delete("late")
    assert world.others.spec("holder")["clusterIP"] == "10.96.0.60"
    world.others.delete("holder")
    world.team.until_phase("late", "Held")
    with refused(403, "reserved for Service team/late"):
        world.others.create("thief", clusterIP="10.96.0.60")
    eventually(partial(_exactly, world.team, "late", "10.96.0.60", [30060]))


def _exactly(team: Team, name: str, address: str, ports: list[int]) -> Object:
    """A NodePort Service that has these numbers; none is left otherwise."""
    made = team.create(name, type="NodePort")
    if (made["clusterIP"], node_ports(made)) != (address, ports):
        team.delete(name)
        raise AssertionError(made)
    return made


def test_reserved_twice(world: World) -> None:
    """The older one is in force, and the other one when it has gone."""
    world.team.until_phase("twice-a", "Held")
    _judged(world.team, "twice-b", "Conflict", "ReservedByOther", "10.96.0.61 is reserved by team/twice-a")
    with refused(403, "reserved for Service team/twice-a"):
        world.team.create("twice-b", clusterIP="10.96.0.61")
    world.api.delete("ServiceReservation", "twice-a", "team")
    world.team.until_phase("twice-b", "Held")
    # The policies follow a moment later.
    made = eventually(partial(world.team.create, "twice-b", ipFamilyPolicy="RequireDualStack"))
    assert made["clusterIPs"] == ["10.96.0.61", "fd00:10:96::62"]


def test_what_is_out_of_reach_fails_no_service(world: World) -> None:
    """Its Service has rather another address, as the webhook decides when it is asked."""
    world.team.until_phase("far-too", "Pending")
    assert world.team.create("far-too")["clusterIP"].startswith("10.96.")


def test_outside_of_every_range(world: World) -> None:
    """The Service has the address as soon as there is a range with it."""
    _judged(world.team, "far", "Pending", "OutOfReach", "10.97.0.5 is in no ServiceCIDR that is ready")
    world.api.create(service_cidr("far", "10.97.0.0/28"))
    world.team.until_phase("far", "Held")
    assert eventually(partial(world.team.create, "far"))["clusterIP"] == "10.97.0.5"


def test_its_time_is_over(world: World) -> None:
    """It does not pass while the Service lives; afterwards anybody may have the address."""
    short = {"retain": {"policy": "TTL", "ttl": "2s"}}
    world.team.create("lives", clusterIP="10.96.0.62")
    eventually(partial(world.team.reserve, "lives", addresses=["10.96.0.62"], **short))
    world.team.until_phase("lives", "Bound")
    world.team.reserve("nobody", addresses=["10.96.0.63"], **short)
    world.team.until_phase("nobody", "Expired")
    eventually(partial(world.others.create, "heir", clusterIP="10.96.0.63"))
    assert world.team.reservation("lives")["phase"] == "Bound"
    with refused(403, "reserved for Service team/lives"):
        world.team.create("thief", clusterIP="10.96.0.62")
    world.team.delete("lives")
    world.team.until_phase("lives", "Expired")


HOSTILE: dict[str, tuple[str, Object, str]] = {
    "too long": ("r" * 254, {}, "must be no more than 253"),
    "unicode": ("überraschung", {}, "a lowercase RFC 1123 subdomain"),
    "quotes": ("x' in object.metadata || 'x", {}, "a lowercase RFC 1123 subdomain"),
    "service too long": ("hostile", {"serviceName": "s" * 64}, "spec.serviceName"),
    "service unicode": ("hostile", {"serviceName": "läden"}, "spec.serviceName"),
    "service with CEL": ("hostile", {"serviceName": "a') || ('a"}, "spec.serviceName"),
    "port name unicode": ("hostile", {"nodePorts": [{"portName": "pört", "nodePort": 30061}]}, "portName"),
    "address with a zone": ("hostile", {"addresses": ["fd00:10:96::9%eth0"]}, "addresses"),
    "IPv4-mapped": ("hostile", {"addresses": ["::ffff:10.96.0.9"]}, "addresses"),
    "negative time": ("hostile", {"retain": {"policy": "TTL", "ttl": "-1h"}}, "ttl"),
    "no number of time": ("hostile", {"retain": {"policy": "TTL", "ttl": "NaNh"}}, "ttl"),
    "65 ports": ("hostile", {"nodePorts": [{"portName": f"p{n}", "nodePort": 30100 + n} for n in range(65)]}, "64"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_names(world: World, case: str) -> None:
    name, spec, said = HOSTILE[case]
    with refused(422, said):
        world.team.reserve(name, **({"serviceName": "hostile", "addresses": ["10.96.0.9"]} | spec))
    assert "hostile" not in {each["spec"]["serviceName"] for each in world.api.list("ServiceReservation")}


def test_the_longest_names(world: World) -> None:
    """All that the API server takes is also kept, by policies, too."""
    service = "s" * 63
    ports = [{"portName": "p" * 15, "nodePort": 30062}]
    world.team.reserve(_LONGEST, serviceName=service, addresses=["10.96.0.64"], nodePorts=ports)
    world.team.until_phase(_LONGEST, "Held")
    eventually(lambda: _kept_by_policies(world.api, service))
    made = world.team.create(service, type="NodePort", ports=[{"name": "p" * 15, "port": 80}])
    assert (made["clusterIP"], node_ports(made)) == ("10.96.0.64", [30062])


def _kept_by_policies(api: Api, name: str) -> None:
    for kind in ("ValidatingAdmissionPolicy", "MutatingAdmissionPolicy"):
        assert name in str(api.list(kind)), kind


def test_a_refused_change_changes_nothing(world: World) -> None:
    world.others.create("has", clusterIP="10.96.0.65")
    world.team.reserve("steady", addresses=["10.96.0.66"])
    world.team.until_phase("steady", "Held")
    before = world.api.read("ServiceReservation", "steady", "team")["spec"]
    wrong: dict[str, Object] = {
        "10.96.0.65 is held by Service others/has": {"addresses": ["10.96.0.65"]},
        "outside every ready ServiceCIDR": {"addresses": ["10.96.0.66", "fd00:10:97::1"]},
        "serviceName cannot be changed": {"serviceName": "another"},
        "nothing is reserved": {"addresses": []},
    }
    for said, change in wrong.items():
        eventually(partial(_refused, world.api, change, said))
    assert world.api.read("ServiceReservation", "steady", "team")["spec"] == before
    assert world.team.reservation("steady")["phase"] == "Held"
    assert world.team.create("steady")["clusterIP"] == "10.96.0.66"


def _refused(api: Api, change: Object, said: str) -> None:
    answer = "taken"
    try:
        api.patch("ServiceReservation", "steady", {"spec": change}, "team")
    except ApiError as error:
        answer = str(error)
    assert (answer[:3], said in answer) == ("422", True), answer


def test_a_pool_that_is_in_use(world: World) -> None:
    """It cannot lose what Services have, unless by force; they keep it, and nobody guards it then."""
    api = world.api
    api.create(ip_pool("theirs", "10.96.70.0/28", select={"namespaces": ["team"]}, **_OWN))
    world.ipam.in_force()
    made = world.team.create("user", clusterIP="10.96.70.12")
    world.team.reserve("kept", addresses=["10.96.70.13"])
    with refused(403, "exclusive to namespace team"):
        world.others.create("thief", clusterIP="10.96.70.3")
    smaller: Object = {"spec": {"ranges": [{"cidr": "10.96.70.0/29"}]}}
    eventually(partial(_kept_whole, api, smaller))
    with refused(422, "in use by Service team/user (10.96.70.12)"):
        api.delete("ServiceIPPool", "theirs")
    # What nobody has may go.
    rest = [{"start": "10.96.70.8", "end": "10.96.70.15"}]
    api.patch("ServiceIPPool", "theirs", {"spec": {"ranges": rest}})
    eventually(partial(world.others.create, "now-free", clusterIP="10.96.70.3"))
    api.patch("ServiceIPPool", "theirs", {"metadata": {"annotations": {"ipam.sliceplane.dev/force": "true"}}})
    eventually(partial(api.delete, "ServiceIPPool", "theirs"))
    eventually(partial(world.others.create, "free-too", clusterIP="10.96.70.9"))
    assert world.team.spec("user") == made
    # A reservation needs no pool.
    with refused(403, "reserved for Service team/kept"):
        world.others.create("thief", clusterIP="10.96.70.13")


_DRY_MERGE: Object = {"params": {"dryRun": "All"}, "content_type": "application/merge-patch+json"}


def _kept_whole(api: Api, change: Object) -> None:
    answer = "taken"
    try:
        api.request("PATCH", "/apis/ipam.sliceplane.dev/v1alpha1/serviceippools/theirs", change, **_DRY_MERGE)
    except ApiError as error:
        answer = str(error)
    assert "in use by Service team/user (10.96.70.12)" in answer, answer
