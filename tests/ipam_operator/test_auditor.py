"""The leader's rounds: what each --repair counts, tells and writes, and what is left when the term ends."""

import asyncio
from typing import Any

import msgspec
import pytest

from api.ipam_config import IPAMConfiguration
from api.v1alpha1.service_ip_pool import ServiceIPPool
from controllers.ipam import compiled
from controllers.ipam.conditions import Enforcement
from controllers.ipam_operator.auditor import Auditor
from controllers.ipam_operator.guard_writer import GuardWriter
from controllers.ipam_operator.kinds import Known
from controllers.ipam_operator.repairing import Repairer
from controllers.ipam_operator.state import State
from controllers.model.plan import Notice
from controllers.runtime.api_client import ApiClient
from controllers.runtime.errors import Forbidden
from controllers.runtime.events import EventRecorder, Regarding
from controllers.telemetry import ipam_metrics, metrics
from tests.ipam.snapshots import DEFAULT_CIDR, address, service
from tests.runtime.clocks import LoopClock, virtually

POOL = {
    "apiVersion": "ipam.sliceplane.dev/v1alpha1",
    "kind": "ServiceIPPool",
    "metadata": {"name": "kept", "uid": "uid-kept", "generation": 1},
    "spec": {
        "ranges": [{"cidr": "10.96.0.16/28"}],
        "select": {"namespaces": ["shop"]},
        "exclusive": True,
        "enforcement": "Enforce",
    },
}
# It lacks its IPAddress; the other one came past the webhooks.
BEFORE = "2025-12-01T00:00:00Z"
LACKS = service("a/lacks", "10.96.0.9", created=BEFORE)
PASSED = service("shop/passed", "10.96.0.200", created=BEFORE)


class Client(ApiClient):
    """An API server with one Node and Service "a/lacks"; keeps what is written."""

    def __init__(self) -> None:
        self.written: list[tuple[str, str]] = []
        self.bodies: dict[str, Any] = {}
        self.refuses = False

    async def request(self, method: str, path: str, **more: Any) -> bytes:
        if self.refuses:
            raise Forbidden("not you")
        if method != "GET":
            self.written.append((method, path))
            self.bodies[path] = msgspec.json.decode(more["body"])
            return b'{"metadata": {}}'
        if path == "/api/v1/nodes":
            return b'{"metadata": {}, "items": [{"spec": {"podCIDRs": ["10.96.0.24/29"]}}]}'
        if path.endswith("/services/lacks"):
            meta = {"namespace": "a", "name": "lacks", "uid": LACKS.uid}
            return msgspec.json.encode({"metadata": meta, "spec": {"clusterIPs": LACKS.cluster_ips}})
        return b'{"metadata": {}, "items": []}'


class Guards(GuardWriter):
    """In force."""

    def __init__(self) -> None:
        pass

    def enforcement_of(self, pool: Any) -> Enforcement:
        return Enforcement(True, "")


class Recorder(EventRecorder):
    """Keeps what is recorded."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str, str]] = []

    def record(self, about: Regarding, notice: Notice) -> None:
        self.said.append((notice.reason, about.name, notice.message))


class Term:
    """One term of a leader, in virtual time."""

    def __init__(self, repair: str) -> None:
        told = {"webhook_self_signed": True, "repair": repair, "exempt_namespaces": ("kube-system",)}
        configuration, clock = IPAMConfiguration.model_validate(told), LoopClock()
        self.client, self.recorder = Client(), Recorder()
        state = State(configuration, clock)
        state.service_cidrs.put(DEFAULT_CIDR)
        for each in (LACKS, PASSED):
            state.services.put(each)
        state.addresses.put(address("10.96.0.200", PASSED.key))
        resource = ServiceIPPool.model_validate(POOL)
        state.ip_pools.put(Known(resource, compiled.ip_pool(resource)))
        self.repairer = Repairer(self.client, state, clock)
        self.auditor = Auditor(self.client, state, configuration, self.recorder, clock, Guards(), self.repairer)

    @property
    def made(self) -> list[str]:
        """The IPAddresses that were made, by whoever calls them so in a body."""
        return [self.client.bodies[path]["metadata"]["name"] for verb, path in self.client.written if verb == "POST"]


def page() -> str:
    return metrics.render(ipam_metrics.REGISTRY).decode()


@pytest.mark.parametrize("repair", ["off", "report", "on"])
def test_every_mode_audits_and_counts_and_only_on_repairs(repair: str) -> None:
    async def scenario() -> None:
        term, before = Term(repair), ipam_metrics.FAIL_OPEN._value.get()
        await term.auditor.round()
        await term.auditor.round()
        # Once, as it is the same finding.
        assert ipam_metrics.FAIL_OPEN._value.get() == before + 1
        for kind in ("missing_ipaddress", "outside_pool", "network_overlap"):
            assert f'sliceplane_ipam_drift{{kind="{kind}"}} 1\n' in page()
        assert ("PATCH", "/apis/ipam.sliceplane.dev/v1alpha1/serviceippools/kept/status") in term.client.written
        assert set(term.made) == ({"10.96.0.9"} if repair == "on" else set())
        told = {(reason, name) for reason, name, _ in term.recorder.said}
        every = {("MissingIpaddress", "lacks"), ("OutsidePool", "passed"), ("NetworkOverlap", "kubernetes")}
        assert told == (set() if repair == "off" else every)
        (promised,) = {said for reason, _, said in term.recorder.said if reason == "MissingIpaddress"} or {""}
        assert ("at once" in promised) is (repair == "on")

    virtually(scenario())


def test_networks_of_nodes_are_in_the_status_of_a_pool() -> None:
    async def scenario() -> None:
        term = Term("report")
        await term.auditor.round()
        status = term.client.bodies["/apis/ipam.sliceplane.dev/v1alpha1/serviceippools/kept/status"]["status"]
        (conflict,) = (each for each in status["conditions"] if each["type"] == "RangeConflict")
        assert (conflict["status"], conflict["reason"]) == ("True", "NetworkOverlap")
        assert "10.96.0.24-10.96.0.31 is also in a network of Pods" in conflict["message"]

    virtually(scenario())


def test_gauges_go_with_the_term() -> None:
    """A replica that lost the lease would show its last figures for ever, and `max` of a job would take them."""

    async def scenario() -> None:
        term = Term("report")
        task = asyncio.create_task(term.auditor.run(asyncio.Event()))
        await asyncio.sleep(90)
        assert 'sliceplane_ipam_pool_level{kind="ServiceIPPool",pool="kept"} 0\n' in page()
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        gauges = ("pool_addresses", "pool_level", "servicecidr_addresses", "reservations", "drift")
        assert [name for name in gauges if f"\nsliceplane_ipam_{name}{{" in page()] == []

    virtually(scenario())


def test_a_round_that_fails_is_made_again() -> None:
    async def scenario() -> None:
        term = Term("report")
        term.client.refuses = True
        task = asyncio.create_task(term.auditor.run(asyncio.Event()))
        await asyncio.sleep(5)
        assert term.client.written == []
        term.client.refuses = False
        await asyncio.sleep(5)
        assert term.client.written
        task.cancel()
        await asyncio.wait({task})

    virtually(scenario())
