"""Two processes share the Namespaces on a real API server, under the rights of config/sharded and no more."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from controllers.runtime.shards import Shard
from e2e.cluster.local import ControlPlane
from e2e.cluster.rest import ApiError, Object
from tests.config.overlay import NAMESPACE, Overlay
from tests.shell.sliceplane import Sliceplane, running
from tests.shell.test_leader import LEASE
from tests.shell.waiting import eventually
from tests.shell.world import World, subset

pytestmark = pytest.mark.server

USER = "sharded"
SHARDS = (Shard(0, 2), Shard(1, 2))
COMMON = "sliceplane"


def _bound(role: Object) -> list[Object]:
    """A role of the overlay under another name, given to USER: the other tests' user gets no right by it."""
    rbac, kind, metadata = "rbac.authorization.k8s.io", role["kind"], {**role["metadata"]}
    metadata["name"] = f"{metadata['name']}-{USER}"
    reference = {"apiGroup": rbac, "kind": kind, "name": metadata["name"]}
    subjects = [{"kind": "User", "apiGroup": rbac, "name": USER}]
    binding = {"apiVersion": f"{rbac}/v1", "kind": f"{kind}Binding", "metadata": metadata}
    return [{**role, "metadata": metadata}, {**binding, "roleRef": reference, "subjects": subjects}]


@pytest.fixture
def kubeconfig(granted: ControlPlane) -> Iterator[Path]:
    """That of a user with the overlay's rights; no Lease is left from another test, or for one."""
    overlay = Overlay("sharded", "0-of-2")
    for kind in ("ClusterRole", "Role"):
        granted.client().apply(_bound(overlay.one(kind)))

    def forget() -> None:
        for name in (COMMON, *(f"{COMMON}-{shard}" for shard in SHARDS)):
            with suppress(ApiError):
                granted.client().delete("Lease", name, NAMESPACE)

    forget()
    yield granted.kubeconfig(USER)
    forget()


Start = Callable[[Shard], Sliceplane]


@pytest.fixture
def start(granted: ControlPlane, kubeconfig: Path) -> Iterator[Start]:
    """Starts the process of a shard."""
    with ExitStack() as stack:
        yield lambda shard: stack.enter_context(
            running(granted, *LEASE, f"--shards={shard.of}", f"--shard={shard.number}", kubeconfig=kubeconfig)
        )


@pytest.fixture
def worlds(granted: ControlPlane, namespace: str) -> dict[Shard, list[World]]:
    """Two Namespaces of each shard."""
    found: dict[Shard, list[World]] = {shard: [] for shard in SHARDS}
    for number in range(100):
        name = f"{namespace}-{number}"
        of = next(shard for shard in SHARDS if shard.has(name))
        if len(found[of]) < 2:
            granted.client().create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
            found[of].append(World(granted, name))
    return found


def _leads(sliceplane: Sliceplane) -> None:
    assert sliceplane.metric("leader_election_master_status") == 1, sliceplane.process.tail()


def _waits(sliceplane: Sliceplane) -> None:
    assert sliceplane.metric("leader_election_master_status") == 0
    assert sliceplane.ready


def _served(world: World, pods: int) -> None:
    """Each Pod is in one slice of each family, in the Endpoints, and nowhere twice."""
    assert world.numbers() == world.numbers(family="IPv6") == set(range(pods))
    assert len(world.slices()) == len(world.slices(family="IPv6")) == 1
    assert len(world.addresses()[0]) == pods
    assert len(world.mirrored("manual")) == 1


def _fill(world: World) -> None:
    world.service()
    world.pods(range(2))
    world.manual_service("manual")
    world.manual("manual", subset("10.9.0.1"))


def _all_served(worlds: dict[Shard, list[World]], pods: int) -> None:
    for world in (each for found in worlds.values() for each in found):
        eventually(lambda world=world: _served(world, pods))  # type: ignore[misc]


def _holder(world: World, name: str) -> str:
    return str(world.api.read("Lease", name, NAMESPACE)["spec"].get("holderIdentity") or "")


def test_two_shards_serve_every_service_once(
    granted: ControlPlane, start: Start, worlds: dict[Shard, list[World]]
) -> None:
    processes = [start(shard) for shard in SHARDS]
    for each in processes:
        eventually(lambda each=each: _leads(each))  # type: ignore[misc]
    for world in (each for found in worlds.values() for each in found):
        _fill(world)
    _all_served(worlds, 2)

    api = granted.client()
    world = worlds[SHARDS[0]][0]
    assert _holder(world, COMMON) == "2-shards"
    assert "" not in {_holder(world, f"{COMMON}-{shard}") for shard in SHARDS}
    for kind in ("Pod", "Service", "EndpointSlice", "Endpoints"):

        def stored(kind: str = kind) -> None:
            counts = [each.metric("sliceplane_stored_objects", kind=kind) for each in processes]
            assert sum(counts) == len(api.list(kind))
            # Two Namespaces of each shard are ours, and whatever else other tests have left.
            assert min(counts) >= 2

        eventually(stored)
    for shard, each in zip(SHARDS, processes, strict=True):
        assert each.metric("sliceplane_stored_objects", kind="Node") == len(api.list("Node"))
        assert each.metric("sliceplane_shards", shard=str(shard.number)) == shard.of
        assert each.metric("sliceplane_decode_errors_total") == 0
        failures = [line for found in worlds.values() for world in found for line in each.failures(world.namespace)]
        assert failures == []


def test_shard_that_dies_costs_the_other_nothing(start: Start, worlds: dict[Shard, list[World]]) -> None:
    dies, lives = (start(shard) for shard in SHARDS)
    for world in (each for found in worlds.values() for each in found):
        _fill(world)
    _all_served(worlds, 2)
    dies.process.kill()
    for world in (each for found in worlds.values() for each in found):
        world.pod(2)
    _all_served({SHARDS[1]: worlds[SHARDS[1]]}, 3)
    # Nobody takes what is not his, and what was published stays.
    _all_served({SHARDS[0]: worlds[SHARDS[0]]}, 2)
    _leads(lives)
    start(SHARDS[0])
    _all_served(worlds, 3)


@contextmanager
def whole(plane: ControlPlane, kubeconfig: Path) -> Iterator[Sliceplane]:
    """A process without shards: it has everything."""
    with running(plane, *LEASE, kubeconfig=kubeconfig) as made:
        yield made


def test_to_shards_and_back_never_with_two_writers(
    granted: ControlPlane, kubeconfig: Path, start: Start, worlds: dict[Shard, list[World]]
) -> None:
    """The order of docs/operations.md: those who come wait, ready, until those who are there have gone."""
    some = [found[0] for found in worlds.values()]
    with whole(granted, kubeconfig) as before:
        eventually(lambda: _leads(before))
        shards = [start(shard) for shard in SHARDS]
        for world in some:
            _fill(world)
        for world in some:
            eventually(lambda world=world: _served(world, 2))  # type: ignore[misc]
        for each in shards:
            eventually(lambda each=each: _waits(each))  # type: ignore[misc]
            assert "became leader" not in [*_said(each, COMMON)]
    for each in shards:
        eventually(lambda each=each: _leads(each))  # type: ignore[misc]
    with whole(granted, kubeconfig) as after:
        for world in some:
            world.pod(2)
        for world in some:
            eventually(lambda world=world: _served(world, 3))  # type: ignore[misc]
        _waits(after)
        assert shards[0].process.stop(20) == 0
        some[1].pod(3)
        eventually(lambda: _served(some[1], 4))
        _waits(after)
        assert shards[1].process.stop(20) == 0
        some[0].pod(3)
        eventually(lambda: _served(some[0], 4))
        _leads(after)


def _said(sliceplane: Sliceplane, lease: str) -> Iterator[str]:
    """The messages of its log about a Lease."""
    for line in sliceplane.log().splitlines():
        if f'lease="{NAMESPACE}/{lease}"' in line:
            yield line.partition('] "')[2].partition('"')[0]
