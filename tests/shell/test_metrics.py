"""Our page beside KCM's: the same names, types, labels and buckets for what both measure."""

import copy
import re
from dataclasses import dataclass, field

import pytest

from e2e.cluster.fixtures import unavailable
from e2e.cluster.local import ControlPlane
from e2e.cluster.toolchain import BuildError
from tests.shell.sliceplane import running
from tests.shell.waiting import eventually
from tests.shell.world import World, namespaced

pytestmark = pytest.mark.server

# What issue and dashboards expect of these controllers, by the beginnings of the names.
FAMILIES = ("endpoint_slice_controller_", "endpoint_slice_mirroring_controller_", "workqueue_")
ALONE = {
    "rest_client_requests_total",
    "leader_election_master_status",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "process_start_time_seconds",
    "process_open_fds",
    "process_max_fds",
}
QUEUES = {"endpoint", "endpoint_slice", "endpoint_slice_mirroring"}


@dataclass
class Family:
    type: str
    labels: set[str] = field(default_factory=set)
    buckets: list[str] = field(default_factory=list)


def families(page: str) -> dict[str, Family]:
    """What a page says of each metric: of work queues, those of our controllers."""
    found = {name: Family(kind) for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE)}
    for sample, text in re.findall(r"^(\w+)(?:\{(.*)\})? \S+$", page, re.MULTILINE):
        name = sample if sample in found else re.sub(r"_(bucket|sum|count)$", "", sample)
        labels = dict(re.findall(r'(\w+)="([^"]*)"', text))
        if name.startswith("workqueue_") and labels["name"] not in QUEUES:
            continue
        family = found[name]
        bound = labels.pop("le", None)
        family.labels |= labels.keys()
        if bound is not None and bound not in family.buckets:
            family.buckets.append(bound)
    return found


def wanted(name: str) -> bool:
    return name.startswith(FAMILIES) or name in ALONE


def busy(world: World) -> None:
    """Something for each of the three controllers to do."""
    world.service()
    world.pod(0)
    spec = {"ports": [{"name": "http", "port": 80}]}
    world.api.create(namespaced("Service", world.namespace, "manual", spec=spec))
    subsets = [{"addresses": [{"ip": "10.9.0.1"}], "ports": [{"name": "http", "port": 8080}]}]
    world.api.create(namespaced("Endpoints", world.namespace, "manual", subsets=subsets))


def test_what_kcm_measures_we_measure_alike(granted: ControlPlane, world: World) -> None:
    try:
        kcm = granted.start_kcm("--leader-elect=true", "--leader-elect-resource-name=kcm-of-this-test")
    except BuildError as error:
        unavailable(error)
    busy(world)
    page = copy.copy(world.api)
    page.url = kcm.url or ""
    theirs = eventually(lambda: _all_of_kcms(page.text("/metrics")))
    kcm.stop()
    with running(granted, "--leader-elect=true") as sliceplane:
        world.service("another")
        world.pod(1)
        world.api.patch("Endpoints", "manual", {"metadata": {"labels": {"a": "b"}}}, world.namespace)
        eventually(lambda: _alike(sliceplane.get("/metrics")[1], theirs))


def _alike(page: str, theirs: dict[str, Family]) -> None:
    """What is measured when a sync or a request has ended comes after what it has written."""
    _written(page)
    ours = families(page)
    assert {name: ours.get(name) for name in theirs} == theirs


def _all_of_kcms(page: str) -> dict[str, Family]:
    """KCM shows most of it only once there is something to show."""
    _written(page)
    found = {name: family for name, family in families(page).items() if wanted(name)}
    assert len(found) > 25
    assert found.keys() >= ALONE
    return found


def _written(page: str) -> None:
    for name in ("endpoint_slice_controller_changes", "endpoint_slice_mirroring_controller_changes"):
        assert re.search(rf"^{name}\{{", page, re.MULTILINE)
    assert "workqueue_retries_total" in page
