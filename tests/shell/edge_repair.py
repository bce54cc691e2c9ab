"""Table C, what the API server's repair makes of IPAddresses that are missing, another's, or nobody's.

Sliceplane reports and mends nothing here: what is mended the API server mends. Where the age of an object matters it
is stored as if it were so old; the rules that are waited for are then seen by what goes and what stays beside it.
"""

import contextlib
import datetime

from e2e.cluster.rest import ApiError, Object
from tests.shell.edge_cases import Case, World
from tests.shell.ipaming import address_object, refused, service_cidr
from tests.shell.waiting import eventually

_GATEWAY: Object = {"group": "foo.io", "resource": "gateways", "namespace": "team", "name": "gateway"}
_FOREIGN = "example.com"
_YOUNG = datetime.timedelta(seconds=5)


def _parent(name: str) -> Object:
    return {"group": "", "resource": "services", "namespace": "team", "name": name}


def _lost(world: World, address: str) -> str:
    """Deletes the IPAddress of a live Service, by hand; its uid."""
    uid = world.address(address)
    assert uid, address
    world.api.delete("IPAddress", address)
    return uid


def _mended(world: World, name: str, address: str, *was: str) -> None:
    """The repair has been told of the Service, and has made an object of its own."""

    def check() -> None:
        world.touch(name)
        assert world.address(address) not in ("", *was)
        assert world.told(name, "ClusterIPNotAllocated")
        # Here, too: who has not yet seen that it is mended deletes it, and makes it once more.
        found = world.api.read("IPAddress", address)
        assert found["spec"]["parentRef"] == {key: value for key, value in _parent(name).items() if value}
        assert found["metadata"]["labels"]["ipaddress.kubernetes.io/managed-by"] == "ipallocator.k8s.io"

    eventually(check)


def missing(world: World) -> None:
    """C-42, IP-51, IP-56."""
    address = world.team.create("c42")["clusterIP"]
    _mended(world, "c42", address, _lost(world, address))


def parent_is_no_service(world: World) -> None:
    """C-43, IP-51."""
    address = world.team.create("c43")["clusterIP"]
    _lost(world, address)
    foreign = eventually(lambda: _put_in_place(world, address))
    _mended(world, "c43", address, foreign)


def _put_in_place(world: World, address: str) -> str:
    """A gateway's IPAddress instead of what there is; its uid. ApiError when the repair was quicker."""
    if world.address(address):
        world.api.delete("IPAddress", address)
    return str(world.api.create(address_object(address, _GATEWAY, _FOREIGN))["metadata"]["uid"])


def listed_twice(world: World) -> None:
    """C-44, IP-51, IP-56: the second one has stolen it; both go on, and one is told."""
    team = world.team
    address = team.create("c44-first", clusterIP="10.96.0.50")["clusterIP"]

    def steal() -> None:
        with contextlib.suppress(ApiError):
            team.delete("c44-second")
        if world.address(address):
            world.api.delete("IPAddress", address)
        team.create("c44-second", clusterIP=address)
        # Who looked at the first one before the second one was stored has given it back.
        assert team.held().get(address) == "c44-second"

    eventually(steal)
    uid = world.address(address)

    def told() -> None:
        world.touch("c44-first")
        assert world.told("c44-first", "ClusterIPAlreadyAllocated")

    eventually(told)
    # A visit before the new IPAddress had been seen may have told the second one, too. None does so from now on.
    before = world.told("c44-second", "ClusterIPAlreadyAllocated")
    world.touch("c44-second")
    third = team.create("c44-third")["clusterIP"]
    _mended(world, "c44-third", third, _lost(world, third))
    assert world.told("c44-second", "ClusterIPAlreadyAllocated") == before
    assert team.held()[address] == "c44-second"
    assert world.address(address) == uid
    assert [team.spec(name)["clusterIP"] for name in ("c44-first", "c44-second")] == [address, address]


def nobodys(world: World) -> None:
    """C-45, C-46, IP-52, IP-54: the allocator's goes when it is a minute old, anybody else's stays."""
    young = world.api.create(address_object("10.96.0.51", _parent("nobody")))["metadata"]["uid"]
    foreign = world.put_aged(address_object("10.96.0.52", _parent("nobody"), _FOREIGN), 120)
    other = world.put_aged(address_object("10.96.0.53", _GATEWAY, _FOREIGN), 120)
    world.put_aged(address_object("10.96.0.54", _parent("nobody")), 120)
    _gone(world, "10.96.0.54", "IPAddressNotAllocated")
    assert [world.address(f"10.96.0.{last}") for last in (51, 52, 53)] == [young, foreign, other]
    assert [world.told(f"10.96.0.{last}", "IPAddressNotAllocated") for last in (51, 52, 53)] == [[]] * 3


def _gone(world: World, address: str, reason: str) -> None:
    def check() -> None:
        assert world.address(address) == ""
        assert world.told(address, reason)

    eventually(check)


def being_created_again(world: World) -> None:
    """C-47, IP-53: an existing Service is created again, and refused. Its second address is not the repair's business
    for 5 s, so that it is told of none; an older one is."""
    address = world.team.create("c47")["clusterIP"]
    since = datetime.datetime.fromisoformat(
        world.api.read("Service", "c47", world.team.namespace)["metadata"]["creationTimestamp"]
    )

    def later() -> None:
        # The repair compares whole seconds: what is of the same one was not made after the Service.
        assert datetime.datetime.now(datetime.UTC).replace(microsecond=0) > since

    eventually(later)
    for _ in range(10):
        with refused(409, "already exists"):
            world.team.create("c47")
    made = world.api.create(address_object("10.96.0.55", _parent("c47")))["metadata"]
    world.put_aged(address_object("10.96.0.56", _parent("c47")), 30)
    _gone(world, "10.96.0.56", "IPAddressWrongReference")
    told = world.told("10.96.0.55", "IPAddressWrongReference")
    assert told or world.address("10.96.0.55") == made["uid"]
    for each in told:
        # This machine was slow: then it was told when it was no longer young.
        at = datetime.datetime.fromisoformat(each["eventTime"])
        assert at - datetime.datetime.fromisoformat(made["creationTimestamp"]) >= _YOUNG
    assert set(world.held_by("c47")) <= {address, "10.96.0.55"}
    assert world.team.spec("c47")["clusterIP"] == address


def being_given_an_address(world: World) -> None:
    """C-48, IP-53: a Service that is an alias still. For a minute its new IPAddress is kept, a ClusterIP's is not."""
    world.team.create("c48", type="ExternalName")
    world.team.create("c48-other")
    new = world.put_aged(address_object("10.96.0.57", _parent("c48")), 20)
    world.put_aged(address_object("10.96.0.58", _parent("c48")), 120)
    world.put_aged(address_object("10.96.0.59", _parent("c48-other")), 20)
    _gone(world, "10.96.0.58", "IPAddressWrongReference")
    _gone(world, "10.96.0.59", "IPAddressWrongReference")
    assert world.address("10.96.0.57") == new
    assert world.told("10.96.0.57", "IPAddressWrongReference") == []


def out_of_range(world: World) -> None:
    """C-49, IP-51: told of, and kept."""
    world.api.create(service_cidr("lost", "10.97.0.0/28"))
    before = eventually(lambda: world.team.create("c49", clusterIP="10.97.0.5"))
    uid = world.address("10.97.0.5")
    world.api.delete("ServiceCIDR", "lost")

    def told() -> None:
        world.touch("c49")
        assert world.told("c49", "ClusterIPOutOfRange")

    eventually(told)
    assert (world.team.spec("c49"), world.address("10.97.0.5")) == (before, uid)


CASES: dict[str, Case] = {
    "C-42": missing,
    "C-43": parent_is_no_service,
    "C-44": listed_twice,
    "C-45 C-46": nobodys,
    "C-47": being_created_again,
    "C-48": being_given_an_address,
    "C-49": out_of_range,
}
