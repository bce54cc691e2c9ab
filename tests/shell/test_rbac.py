"""No superfluous right: whichever verb on whichever resource is taken away, something is refused."""

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from e2e.cluster.fixtures import unavailable
from e2e.cluster.local import ControlPlane
from e2e.cluster.product import rights
from e2e.cluster.rest import ApiError
from e2e.cluster.toolchain import BuildError
from tests.shell.sliceplane import Sliceplane, running
from tests.shell.waiting import eventually
from tests.shell.world import ZONES, World, node, subset

pytestmark = pytest.mark.server

Object = dict[str, Any]
Right = tuple[str, str]


def _roles() -> list[Object]:
    return [each for each in rights() if each["kind"] in ("ClusterRole", "Role")]


RIGHTS: list[Right] = [
    (resource, verb)
    for role in _roles()
    for rule in role["rules"]
    for resource in rule["resources"]
    for verb in rule["verbs"]
]


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """An API server that also asks who may block the deletion of an owner, as OpenShift's does."""
    try:
        with ControlPlane(
            extra_apiserver_args=("--enable-admission-plugins=OwnerReferencesPermissionEnforcement",)
        ) as made:
            made.client().apply(
                [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}}, *map(node, ZONES)]
            )
            yield made
    except BuildError as error:
        unavailable(error)


def _without(right: Right, user: str) -> list[Object]:
    """Sliceplane's roles but for one right, bound to a user."""
    made = []
    for role in copy.deepcopy(_roles()):
        role["metadata"]["name"] = f"{role['metadata']['name']}-of-{user}"
        rules = []
        for rule in role["rules"]:
            for resource in rule["resources"]:
                verbs = [verb for verb in rule["verbs"] if (resource, verb) != right]
                if verbs:
                    rules.append({**rule, "resources": [resource], "verbs": verbs})
        role["rules"] = rules
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": f"{role['kind']}Binding",
            "metadata": role["metadata"],
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": role["kind"],
                "name": role["metadata"]["name"],
            },
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}],
        }
        made += [role, binding]
    return made


def _refusal(right: Right) -> str:
    resource, verb = right
    if resource.endswith("/finalizers"):
        return "cannot set blockOwnerDeletion"
    return f'cannot {verb} resource \\"{resource}\\"'


def _everyday(world: World) -> None:
    """What a cluster does: Services, Pods and Endpoints come, change and go."""
    world.service()
    # An annotation that is no valid value is told by an Event.
    _spoil(world, "x")
    world.pods(range(2))
    world.manual_service("manual")
    world.manual("manual", subset("10.9.0.1"))


def _spoil(world: World, value: str | None) -> None:
    body = {"metadata": {"annotations": {"sliceplane.dev/topology-mode": value}}}
    world.api.patch("Service", "web", body, world.namespace)


def _go(world: World) -> None:
    """Something to delete: mirrored slices of Endpoints that go, Endpoints of a Service that goes."""
    world.manual("manual", subset("10.9.0.1"))
    world.service("short")
    eventually(lambda: _written(world))
    world.api.delete("Endpoints", "manual", world.namespace)
    world.api.delete("Service", "short", world.namespace)


def _written(world: World) -> None:
    assert world.mirrored("manual")
    assert world.addresses("short")


def _change(world: World) -> None:
    """A Pod whose readiness turns over, once slices and Endpoints are there."""
    for ready in (False, True):
        world.set_status(0, ready=ready)
        time.sleep(0.3)


def _again(world: World) -> None:
    """An Event that has been told before is counted: the annotation is mended and spoilt again."""
    for value in (None, "x"):
        _spoil(world, value)
        time.sleep(0.3)


def _disturb(kind: str) -> Callable[[World], None]:
    """Others write what we write, until our write comes too late and we read what is there."""

    def disturb(world: World) -> None:
        name = "web" if kind == "Endpoints" else world.slices()[0]["metadata"]["name"]
        for number in range(20):
            world.set_status(0, ready=number % 2 == 0)
            world.api.patch(kind, name, {"metadata": {"annotations": {"example.com/n": str(number)}}}, world.namespace)

    return disturb


# What it takes besides everyday life for a right to be used; repeated until it is.
PROVOKED: dict[Right, Callable[[World], None]] = {
    ("endpointslices", "get"): _disturb("EndpointSlice"),
    ("endpoints", "get"): _disturb("Endpoints"),
    ("endpointslices", "update"): _change,
    ("endpoints", "update"): _change,
    ("endpointslices", "delete"): _go,
    ("endpoints", "delete"): _go,
    ("events", "patch"): _again,
}


@pytest.mark.parametrize("right", RIGHTS, ids="/".join)
def test_every_right_is_needed(plane: ControlPlane, right: Right) -> None:
    user = f"without-{'-'.join(right).replace('/', '-')}"
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": user}}
    plane.client().apply([namespace, *_without(right, user)])
    world = World(plane, user)
    with suppress(ApiError):
        plane.client().delete("Lease", "sliceplane", "kube-system")
    flags = ("--leader-elect=true", "--v=4")
    with running(plane, *flags, kubeconfig=plane.kubeconfig(user), wait=False) as sliceplane:
        _everyday(world)
        eventually(lambda: _refused(sliceplane, right, world))


def _refused(sliceplane: Sliceplane, right: Right, world: World) -> None:
    provoked = PROVOKED.get(right)
    if provoked is not None and _refusal(right) not in sliceplane.log():
        with suppress(ApiError):
            provoked(world)
    assert _refusal(right) in sliceplane.log(), sliceplane.process.tail()
