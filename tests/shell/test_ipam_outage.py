"""All our processes are killed: Services go on as ever, what is kept stays kept, and the audit tells of it later.

Also the storm of `make bench-ipam` in small, since it starts and ends replicas, too.
"""

import asyncio
from collections.abc import Iterator
from functools import partial

import pytest
import uvloop
from rich.console import Console

from e2e.bench import ipam as storm
from e2e.cluster.fixtures import plane_of
from e2e.cluster.ipam import Ipam, ip_pool
from e2e.cluster.local import ControlPlane
from e2e.cluster.rest import Api, ApiError, path_of
from tests.shell.ipaming import Team, address_object, condition, metric, namespaces, refused
from tests.shell.waiting import eventually

pytestmark = pytest.mark.server

# Seconds; somewhat less than a replica waits for a claim.
_LATE = 1.0


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    with plane_of() as made:
        yield made


def test_killed_and_back(plane: ControlPlane) -> None:
    """IP-63, IP-63a, IP-49: also the API server starts again meanwhile, with un-entitled holders in the range."""
    api = plane.client()
    namespaces(api, "red", "blue")
    red, blue = Team(api, "red"), Team(api, "blue")
    squatter = blue.create("squatter", clusterIP="10.96.40.99")["clusterIP"]
    ipam = Ipam(plane)
    ipam.start(2)
    own = {"select": {"namespaces": ["red"]}, "exclusive": True, "enforcement": "Enforce"}
    api.create(ip_pool("red", "10.96.40.0/24", **own))
    ipam.in_force()
    red.reserve("shop", addresses=["10.96.40.7"])
    red.reserve("held", addresses=["10.96.40.8"], enforcement="Hold")
    red.until_phase("shop", "Held")
    eventually(lambda: api.read("IPAddress", "10.96.40.8"))
    eventually(lambda: _filled(api, "shop"))
    ipam.kill()
    eventually(lambda: _kept_by_policy(api, "10.96.40.7", "reserved for Service red/shop"))
    eventually(lambda: _filled_by_policy(red, "shop", "10.96.40.7"))

    # As before: chosen by the API server, also for the team whose pool nobody serves now.
    # It is refused where that is in the pool, and nobody is there to say so beforehand: one time in 256.
    assert eventually(partial(blue.create, "web"))["clusterIP"]
    lost = red.create("web")["clusterIP"]
    assert red.patch("web", type="NodePort")["type"] == "NodePort"
    # Kept by the policies alone, and given by one to the Service that it is for.
    with refused(422, "reserved for Service red/shop"):
        red.create("other", clusterIP="10.96.40.7")
    with refused(422, "is kept by ServiceIPPool red"):
        blue.create("thief", clusterIP="10.96.40.5")
    assert red.create("shop")["clusterIP"] == "10.96.40.7"
    red.delete("shop")
    # The API server mends the address of whoever held it before the pool was: else it would not start (IP-63a).
    api.delete("IPAddress", squatter)
    plane.stop_apiserver()
    plane.start_apiserver()
    eventually(lambda: api.read("IPAddress", squatter))
    blue.delete("web")

    ipam.start(1)
    red.until_phase("shop", "Held")

    def told() -> None:
        drift = condition(api.read("ServiceIPPool", "red"), "Drift")
        assert drift["status"] == "True", drift
        assert metric(ipam.replicas, "sliceplane_ipam_drift", kind="foreign_use") == 1
        # The Service of the pool's namespace that got an address of nobody's choice.
        if not lost.startswith("10.96.40."):
            assert metric(ipam.replicas, "sliceplane_ipam_failopen_total") == 1
            assert red.events("web", "OutsidePool")
        assert blue.events("squatter", "ForeignUse")

    eventually(told)
    assert red.create("again")["clusterIP"].startswith("10.96.40.")
    assert ipam.stop() == [0]


def _kept_by_policy(api: Api, address: str, said: str) -> None:
    """A policy is in force a moment after it is there: when the API server has compiled it."""
    parent = {"group": "", "resource": "services", "namespace": "red", "name": "other"}
    answer = "not refused"
    try:
        api.request("POST", path_of("IPAddress"), address_object(address, parent), params={"dryRun": "All"})
    except ApiError as error:
        answer = str(error)
    assert said in answer


def _filled_by_policy(team: Team, name: str, address: str) -> None:
    assert team.create(name, dry=True)["clusterIP"] == address


def _filled(api: Api, name: str) -> None:
    """The policy that fills a reserved name is there."""
    policies = api.list("MutatingAdmissionPolicy")
    assert name in str(policies)


def test_storm_in_small(plane: ControlPlane) -> None:
    """32 clients, three replicas, pools 95 % full: no number twice, no error, and statuses that are right (IP-58)."""
    namespaces(plane.client(), storm.NAMESPACE)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        turns, problems = runner.run(storm.measure(plane, 300, 32, Console(quiet=True)))
    assert problems == []
    for turn in turns:
        # A machine may be so busy that no claim or no answer is there in time: who has waited for that gets what the
        # API server picks, or hears that all is claimed. Nobody else does.
        late = sum(seconds > _LATE for seconds in turn.creates)
        full = sum(times for text, times in turn.errors.items() if "has no free" in text)
        assert (turn.duplicates, sum(turn.errors.values()) - full) == (0, 0), turn
        assert max(full, turn.outside) <= late, turn
        assert turn.creates
