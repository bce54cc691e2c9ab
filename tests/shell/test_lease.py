"""Leader election on a real API server, under the rights that it needs and no more, and against client-go's own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from controllers.model.plan import Notice
from controllers.runtime.api_client import ApiClient
from controllers.runtime.clock import SystemClock
from controllers.runtime.credentials import Credentials
from controllers.runtime.events import EventRecorder, Regarding
from controllers.runtime.lease import Elector
from e2e.cluster.fixtures import unavailable
from e2e.cluster.local import ControlPlane
from e2e.cluster.process import Process
from e2e.cluster.rest import ApiError, Object
from e2e.cluster.toolchain import BuildError
from tests.shell.waiting import PATIENCE

pytestmark = pytest.mark.server

NAME = "sliceplane"
# Often renewed, and not lost on a machine that is busy.
STEADY = {"lease_seconds": 60.0, "renew_seconds": 50.0, "retry_seconds": 0.5}
# Short enough to be waited for; as long as a busy machine allows.
SHORT = {"lease_seconds": 10.0, "renew_seconds": 9.0, "retry_seconds": 0.5}
QUICK = {"lease_seconds": 3.0, "renew_seconds": 2.0, "retry_seconds": 0.5}
# So that nothing but the watch can be in time.
PATIENT = {"lease_seconds": 300.0, "renew_seconds": 250.0, "retry_seconds": 200.0}
RULES = [
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
    {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "resourceNames": [NAME],
        "verbs": ["get", "update", "watch"],
    },
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
]


@dataclass
class Lease:
    """One Lease, seen by the administrator, and those who may run for it."""

    plane: ControlPlane
    namespace: str
    kubeconfig: Path

    def read(self) -> Object:
        return self.plane.client().read("Lease", NAME, self.namespace)

    @property
    def spec(self) -> Object:
        found: Object = self.read()["spec"]
        return found


@dataclass
class Candidate:
    """An elector, and what it has done."""

    elector: Elector
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    terms: int = 0
    ends: int = 0

    async def lead(self) -> None:
        self.terms += 1
        try:
            await self.stopping.wait()
        finally:
            self.ends += 1


@pytest.fixture
def lease(granted: ControlPlane, namespace: str) -> Lease:
    api, rbac = granted.client(), "rbac.authorization.k8s.io"
    user = f"candidate-{namespace}"
    metadata = {"name": "candidate", "namespace": namespace}
    api.create({"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": metadata, "rules": RULES})
    api.create(
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "candidate"},
            "subjects": [{"kind": "User", "name": user}],
        }
    )
    return Lease(granted, namespace, granted.kubeconfig(user))


@pytest.fixture
def kcm(lease: Lease) -> Iterator[Callable[[], Process]]:
    """Starts a kube-controller-manager that runs for the Lease, and does nothing that another test could notice."""
    flags = (
        "--leader-elect=true",
        "--leader-elect-lease-duration=10s",
        "--leader-elect-renew-deadline=9s",
        "--leader-elect-retry-period=500ms",
        f"--leader-elect-resource-name={NAME}",
        f"--leader-elect-resource-namespace={lease.namespace}",
    )
    with ExitStack() as stack:

        def start() -> Process:
            try:
                process = lease.plane.start_kcm(*flags, controllers=("ttl-after-finished-controller",))
            except BuildError as error:
                unavailable(error)
            stack.callback(process.kill)
            return process

        yield start


@asynccontextmanager
async def running(lease: Lease, identity: str, times: Object = STEADY) -> AsyncIterator[Candidate]:
    """Runs for the Lease, and ends it in the end."""
    clock = SystemClock()
    async with ApiClient(Credentials(str(lease.kubeconfig)), clock, user_agent="test") as client:
        recorder = EventRecorder(client, clock, "sliceplane")

        def told(about: Regarding, notice: Notice) -> None:
            recorder.record(about, notice)

        elector = Elector(client, clock, namespace=lease.namespace, name=NAME, identity=identity, told=told, **times)
        candidate = Candidate(elector)
        recording = asyncio.create_task(recorder.run())
        running = asyncio.create_task(elector.run(candidate.lead, candidate.stopping))
        try:
            yield candidate
        finally:
            candidate.stopping.set()
            await running
            recording.cancel()
            await asyncio.gather(recording, return_exceptions=True)


async def eventually(check: Callable[[], bool]) -> None:
    """Waits for what must come, however long it takes."""
    async with asyncio.timeout(PATIENCE):
        while not await asyncio.to_thread(_holds, check):  # noqa: ASYNC110 (it is in another process)
            await asyncio.sleep(0.05)


def _holds(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except (ApiError, LookupError):
        return False


async def renewals(lease: Lease, number: int) -> None:
    """Waits until the Lease has been renewed so often."""
    for _ in range(number):
        before = lease.spec["renewTime"]
        await eventually(lambda before=before: lease.spec["renewTime"] != before)  # type: ignore[misc]


async def test_it_acquires_renews_and_releases(lease: Lease) -> None:
    async with running(lease, "a") as a:
        await eventually(lambda: a.terms == 1)
        first = lease.read()
        assert first["spec"] == {
            "holderIdentity": "a",
            "leaseDurationSeconds": 60,
            "acquireTime": first["spec"]["acquireTime"],
            "renewTime": first["spec"]["renewTime"],
            "leaseTransitions": 0,
        }
        assert first["spec"]["acquireTime"] <= first["spec"]["renewTime"]
        await renewals(lease, 3)
        assert {**lease.spec, "renewTime": first["spec"]["renewTime"]} == first["spec"]
        assert a.elector.may_write()
        await eventually(lambda: [each["message"] for each in _events(lease)] == ["a became leader"])
        [event] = _events(lease)
        assert event["involvedObject"] == {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "name": NAME,
            "namespace": lease.namespace,
            "uid": first["metadata"]["uid"],
        }
    spec = lease.spec
    assert (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"]) == ("", 1, 0)
    assert (a.terms, a.ends, a.elector.leading) == (1, 1, False)


def _events(lease: Lease) -> list[Object]:
    return [
        each
        for each in lease.plane.client().list("Event", lease.namespace)
        if each["reason"] == "LeaderElection" and each["type"] == "Normal"
    ]


async def test_who_watches_leads_when_the_lease_is_released(lease: Lease) -> None:
    async with running(lease, "a", PATIENT) as a:
        await eventually(lambda: a.terms == 1)
        async with running(lease, "b", PATIENT) as b:
            await eventually(lambda: b.elector.holder == "a")
            a.stopping.set()
            await eventually(lambda: b.terms == 1)
            assert a.ends == 1
    assert lease.spec["leaseTransitions"] == 1


async def test_of_many_one_leads_and_then_the_next(lease: Lease) -> None:
    async with running(lease, "a") as a, running(lease, "b") as b, running(lease, "c") as c:
        left = [a, b, c]
        for number in range(3):
            await eventually(lambda: any(each.terms for each in left))
            [leader] = [each for each in left if each.terms]
            await renewals(lease, 2)
            assert [each.elector.leading for each in left].count(True) == 1
            assert lease.spec["leaseTransitions"] == number
            leader.stopping.set()
            left.remove(leader)
    assert [(each.terms, each.ends) for each in (a, b, c)] == [(1, 1)] * 3


async def test_labels_stay_and_a_deleted_lease_comes_back(lease: Lease) -> None:
    async with running(lease, "a") as a:
        await eventually(lambda: a.terms == 1)
        api = lease.plane.client()
        labels = {"metadata": {"labels": {"team": "net"}, "annotations": {"seen": "yes"}}}
        api.patch("Lease", NAME, labels, lease.namespace)
        await renewals(lease, 2)
        metadata = lease.read()["metadata"]
        assert (metadata["labels"], metadata["annotations"]) == ({"team": "net"}, {"seen": "yes"})
        api.delete("Lease", NAME, lease.namespace)
        await eventually(lambda: lease.read()["metadata"]["uid"] != metadata["uid"])
        await renewals(lease, 2)
        assert (lease.spec["holderIdentity"], a.terms, a.ends) == ("a", 1, 0)


async def test_lease_without_a_spec_is_free(lease: Lease) -> None:
    metadata = {"name": NAME, "namespace": lease.namespace}
    lease.plane.client().create({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata})
    async with running(lease, "a", PATIENT) as a:
        await eventually(lambda: a.terms == 1)
        assert lease.spec["leaseTransitions"] == 1


# A request that was given up leaves its TLS connection, whose end the server has not answered, to the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_api_server_that_hangs_closes_the_fence(lease: Lease) -> None:
    apiserver = psutil.Process(lease.plane.pids["kube-apiserver"])
    async with running(lease, "a", QUICK) as a:
        await eventually(lambda: a.elector.may_write())
        apiserver.suspend()
        try:
            await eventually(lambda: a.ends == a.terms)
            assert (a.elector.leading, a.elector.may_write()) == (False, False)
            ended = a.ends
        finally:
            apiserver.resume()
        await eventually(lambda: a.terms > ended)
        await eventually(lambda: a.elector.may_write())


async def test_it_waits_for_kcm_and_follows_it(lease: Lease, kcm: Callable[[], Process]) -> None:
    process = await asyncio.to_thread(kcm)
    await eventually(lambda: bool(lease.spec["holderIdentity"]))
    theirs = lease.spec
    async with running(lease, "a", SHORT) as a:
        # For longer than the lease.
        await renewals(lease, 24)
        assert (a.terms, a.elector.holder) == (0, theirs["holderIdentity"])
        await asyncio.to_thread(process.kill)
        await eventually(lambda: a.terms == 1)
        spec = lease.spec
        assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("a", theirs["leaseTransitions"] + 1)
        assert spec.keys() == theirs.keys()


async def test_kcm_waits_for_it_and_follows_it(lease: Lease, kcm: Callable[[], Process]) -> None:
    async with running(lease, "a", SHORT) as a:
        await eventually(lambda: a.terms == 1)
        process = await asyncio.to_thread(kcm)
        await eventually(lambda: "Attempting to acquire leader lease" in process.log.read_text())
        await renewals(lease, 24)
        assert (lease.spec["holderIdentity"], a.ends) == ("a", 0)
    await eventually(lambda: lease.spec["holderIdentity"] not in ("", "a"))
    assert lease.spec["leaseTransitions"] == 1
    await eventually(lambda: "Successfully acquired lease" in process.log.read_text())
