"""Random changes of Pods and Services while the API server misbehaves, and what must hold when it is over."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import urllib3

from e2e.cluster.rest import ApiError, Object
from tests.shell.world import World

PODS, SERVICES = 24, 5
SINGLE = {"ipFamilyPolicy": "SingleStack"}


def change(world: World, dice: random.Random) -> None:
    """One change, refused or not."""
    number, name = dice.randrange(PODS), f"late-{dice.randrange(SERVICES)}"
    with suppress(ApiError, urllib3.exceptions.HTTPError):
        match dice.randrange(8):
            case 0 | 1 | 2:
                world.pod(number, ready=dice.random() < 0.7)
            case 3 | 4:
                world.set_status(number, ready=dice.random() < 0.5)
            case 5:
                world.api.delete("Pod", f"pod-{number:03}", world.namespace, grace=0)
            case 6:
                world.service(name, **(SINGLE if dice.random() < 0.5 else {}))
            case 7 if dice.random() < 0.3:
                world.api.delete("Service", name, world.namespace)


@contextmanager
def raging(world: World, seed: int) -> Iterator[None]:
    """Changes, one after the other, as long as the block runs."""
    over, dice = threading.Event(), random.Random(seed)

    def rage() -> None:
        while not over.wait(0.01):
            change(world, dice)

    thread = threading.Thread(target=rage)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _wanted(pods: list[Object], service: Object, family: str) -> dict[str, bool]:
    found = {}
    for pod in pods:
        conditions = {each["type"]: each["status"] for each in pod["status"].get("conditions") or []}
        ips = [each["ip"] for each in pod["status"].get("podIPs") or []]
        selected = service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        if selected and any((":" in ip) == (family == "IPv6") for ip in ips):
            found[pod["metadata"]["name"]] = conditions.get("Ready") == "True"
    return found


def check_all(world: World) -> None:
    """Every Service has exactly one slice of each family, and in it what its Pods say; its Endpoints say the same."""
    pods = world.api.list("Pod", world.namespace)
    services = world.api.list("Service", world.namespace)
    assert services
    _check_endpoints(world, pods, services)
    for service in services:
        name = service["metadata"]["name"]
        for family in service["spec"]["ipFamilies"]:
            slices = [each for each in world.slices(name, family) if _owned(each, service)]
            assert len(slices) == 1, f"{name}: {[each['metadata']['name'] for each in slices]}"
            endpoints = slices[0].get("endpoints") or []
            found = {each["targetRef"]["name"]: each["conditions"]["ready"] for each in endpoints}
            assert found == _wanted(pods, service, family), name
            assert len(endpoints) == len(found), name


def _check_endpoints(world: World, pods: list[Object], services: list[Object]) -> None:
    """Of the first family alone (EP-30), and none of a Service that has gone: nobody else deletes them (EP-24)."""
    all_subsets = {e["metadata"]["name"]: e.get("subsets") or [] for e in world.api.list("Endpoints", world.namespace)}
    assert all_subsets.keys() == {each["metadata"]["name"] for each in services}
    for service in services:
        name = service["metadata"]["name"]
        found = [
            (address["targetRef"]["name"], key == "addresses")
            for subset in all_subsets[name]
            for key in ("addresses", "notReadyAddresses")
            for address in subset.get(key) or []
        ]
        wanted = _wanted(pods, service, service["spec"]["ipFamilies"][0])
        assert sorted(found) == sorted(wanted.items()), name


def _owned(found: Object, service: Object) -> bool:
    return bool(found["metadata"]["ownerReferences"][0]["uid"] == service["metadata"]["uid"])
