"""Table C, what requests do to addresses: each case is a row, played in a world of `edge_cases.py`."""

from functools import partial

from e2e.cluster.rest import ApiError, Object, path_of
from tests.shell.edge_cases import SMALL, Case, World
from tests.shell.ipaming import Team, refused, service_cidr
from tests.shell.waiting import eventually

_V4, _V6, _OTHER4 = "10.96.0.20", "fd00:10:96::20", "10.96.0.21"
_PREFER: Object = {"ipFamilyPolicy": "PreferDualStack"}
_REQUIRE: Object = {"ipFamilyPolicy": "RequireDualStack"}
_NAMELESS: tuple[Object, ...] = ({}, {"clusterIP": "10.96.0.30"})
_DRY: tuple[Object, ...] = ({}, {"type": "NodePort"}, {"type": "NodePort", **_REQUIRE})
_MISMATCH = "the provided network does not match"
_THEN = "2026-01-01T00:00:00Z"
_HELD = "provided IP is already allocated"


def nested_range(world: World) -> None:
    """C-7, IP-17: the network address of the inner range only; in the outer one it is an ordinary address."""
    with world.cidr("outer", "192.168.0.0/16"):
        eventually(lambda: world.team.create("probe", clusterIP="192.168.7.7"))
        with world.cidr("inner", "192.168.1.0/24"):
            eventually(lambda: world.team.insist(lambda: world.team.create("web", clusterIP="192.168.1.0")))


def unready_range(world: World) -> None:
    """C-10, IP-12: 200 addresses, all from the range that is ready; one of the other cannot even be named."""
    team = world.team
    with world.cidr("unready", "10.98.0.0/24"):
        eventually(lambda: team.create("probe", clusterIP="10.98.0.9"))
        condition = {"type": "Ready", "status": "False", "reason": "Test", "message": "", "lastTransitionTime": _THEN}
        world.api.patch("ServiceCIDR", "unready", {"status": {"conditions": [condition]}}, subresource="status")

        until_unusable(world, "10.98.0.10")
        found = [team.create(f"web-{number}")["clusterIP"] for number in range(200)]
        assert [each for each in found if not each.startswith("10.96.")] == []
        assert len(set(found)) == 200


def until_unusable(world: World, address: str) -> None:
    """The API server has seen that no range has this address any more: it cannot even be named (IP-17)."""

    def unusable() -> None:
        answer = "taken"
        try:
            world.team.create("probe-of-range", clusterIP=address)
            world.team.delete("probe-of-range")
        except ApiError as error:
            answer = str(error)
        assert (answer[:3], _MISMATCH in answer) == ("422", True), answer

    eventually(unusable)


def no_name(world: World) -> None:
    """C-14: refused at once, since its IPAddress would be nobody's; an address that it named is still free."""
    for spec in _NAMELESS:
        body = world.team.body("", **spec)
        with refused(422, "spec.parentRef.name: Required value"):
            world.api.request("POST", path_of("Service", namespace=world.team.namespace), body)
    assert world.address("10.96.0.30") == ""
    assert world.team.create("web", clusterIP="10.96.0.30")["clusterIP"] == "10.96.0.30"


def impossible_addresses(world: World) -> None:
    """C-15, IP-22."""
    for each in ("192.0.2.1", "10.96.0.0", "10.96.255.255", "fd00:10:96::", "fd00:10:97::1"):
        with refused(422, "spec.clusterIPs"):
            world.team.create("web", clusterIP=each)


def used_again(world: World) -> None:
    """C-16, IP-21: a static address is free when its owner has gone, whatever caches say."""
    team = world.team
    for number in range(5):
        team.create("before", clusterIP="10.96.0.31")
        with refused(422, _HELD):
            team.create(f"after-{number}", clusterIP="10.96.0.31")
        team.delete("before")
        world.team.insist(partial(team.create, f"after-{number}", clusterIP="10.96.0.31"))
        team.delete(f"after-{number}")
        world.sweep()


def dry_create(world: World) -> None:
    """C-17, IP-24, IP-46: values are shown, nothing is reserved.

    What the API server shows of its own are dummies, the same each time. Where another team's pool is in the way we
    show a number that could be had, not always the same one.
    """
    team = world.team
    for spec in _DRY:
        shown = [team.create("c17", dry=True, **spec) for _ in range(3)]
        assert all(each["clusterIP"] for each in shown), shown
        if "type" in spec:
            assert all(each["ports"][0]["nodePort"] for each in shown), shown
        if world.ipam is None:
            assert shown[0] == shown[1] == shown[2], shown
    given: Object = {"type": "NodePort", "clusterIP": _V4, "ports": [{"port": 80, "nodePort": 30001}]}
    assert team.create("c17", dry=True, **given) == team.create("c17", dry=True, **given)
    assert world.held_by("c17") == []
    made = world.team.insist(partial(team.create, "c17", **given))
    assert (made["clusterIP"], made["ports"][0]["nodePort"]) == (_V4, 30001)


def dry_update(world: World) -> None:
    """C-18: from ExternalName to NodePort nothing is taken, and nothing is released the other way."""
    team = world.team
    team.create("c18-alias", type="ExternalName")
    ports = [{"port": 80, "nodePort": 30002}]
    shown = team.patch("c18-alias", dry=True, type="NodePort", externalName=None, clusterIP="10.96.0.32", ports=ports)
    assert (shown["clusterIP"], shown["ports"][0]["nodePort"]) == ("10.96.0.32", 30002)
    assert (team.spec("c18-alias")["type"], world.held_by("c18-alias")) == ("ExternalName", [])
    team.create("web", type="NodePort", clusterIP="10.96.0.32", ports=ports)
    uid = world.address("10.96.0.32")
    assert "clusterIP" not in team.patch("web", dry=True, type="ExternalName", externalName="example.com")
    assert (team.spec("web")["clusterIP"], world.address("10.96.0.32")) == ("10.96.0.32", uid)
    world.ports_taken(30002)


def dry_delete(world: World) -> None:
    """C-19."""
    world.team.create("web", type="NodePort", clusterIP="10.96.0.33", ports=[{"port": 80, "nodePort": 30003}])
    uid = world.address("10.96.0.33")
    world.team.delete("web", dry=True)
    assert world.address("10.96.0.33") == uid
    with refused(422, _HELD):
        world.team.create("thief", clusterIP="10.96.0.33")
    world.ports_taken(30003)


def finalizer(world: World) -> None:
    """C-20, IP-7: held until the Service has really gone, by an update of its metadata."""
    body = world.team.body("web", type="NodePort", clusterIP="10.96.0.34", ports=[{"port": 80, "nodePort": 30004}])
    body["metadata"]["finalizers"] = ["example.com/wait"]
    world.api.create(body)
    uid = world.address("10.96.0.34")
    world.team.delete("web")
    with refused(422, _HELD):
        world.team.create("thief", clusterIP="10.96.0.34")
    world.ports_taken(30004)
    assert world.address("10.96.0.34") == uid
    world.api.patch("Service", "web", {"metadata": {"finalizers": None}}, world.team.namespace)
    assert world.address("10.96.0.34") != uid
    world.team.insist(lambda: world.team.create("heir-of-ip", clusterIP="10.96.0.34"))
    world.ports_free(30004)


def headless(world: World) -> None:
    """C-35, IP-32."""
    made = world.team.create("c35", clusterIP="None", selector={"app": "web"}, **_PREFER)
    assert (made["ipFamilies"], made["clusterIPs"]) == (["IPv4", "IPv6"], ["None"])
    assert world.held_by("c35") == []


def headless_on_a_single_stack_cluster(world: World) -> None:
    """C-36, IP-32: without a selector, both families all the same."""
    made = world.team.create("c36", clusterIP="None")
    assert (made["ipFamilyPolicy"], made["ipFamilies"]) == ("RequireDualStack", ["IPv4", "IPv6"])
    assert world.held_by("c36") == []
    with refused(422, "not configured for dual-stack"):
        world.team.create("dual", **_REQUIRE)


ODD_ADDRESSES: dict[str, Object] = {
    "plural alone": {"clusterIPs": [_V4]},
    "three": {"clusterIP": _V4, "clusterIPs": [_V4, _V6, _OTHER4], **_PREFER},
    "two of one family": {"clusterIP": _V4, "clusterIPs": [_V4, _OTHER4], **_PREFER},
    "malformed": {"clusterIP": "banana", "clusterIPs": ["banana"]},
    "None and an address": {"clusterIP": "None", "clusterIPs": ["None", _V6], **_PREFER},
    "an address and None": {"clusterIP": _V4, "clusterIPs": [_V4, "None"], **_PREFER},
    "IPv4-mapped": {"clusterIP": "::ffff:10.96.0.20"},
    "zoned": {"clusterIP": "fd00:10:96::20%eth0"},
    "leading zeros": {"clusterIP": "10.96.0.020"},
    "singular and plural differ": {"clusterIP": _V4, "clusterIPs": [_OTHER4]},
}


def odd_addresses(world: World) -> None:
    """C-37, IP-10, IP-28, IP-55: refused with the same words, and nothing stays taken."""
    for name, fields in ODD_ADDRESSES.items():
        for dry in (True, False):
            with refused(422, "spec."):
                world.team.create("c37", dry=dry, **fields)
        assert world.held_by("c37") == [], name
    assert world.team.insist(lambda: world.team.create("web", clusterIP=_V4))["clusterIP"] == _V4


def second_family_dropped(world: World) -> None:
    """C-38, IP-34."""
    four, six = world.team.create("web", **_REQUIRE)["clusterIPs"]
    kept, dropped = world.address(four), world.address(six)
    made = world.team.patch("web", ipFamilyPolicy="SingleStack")
    assert (made["clusterIPs"], made["ipFamilies"]) == ([four], ["IPv4"])
    assert world.address(four) == kept
    assert world.address(six) != dropped


def lists_reduced(world: World) -> None:
    """C-39, IP-34."""
    made = world.team.create("web", **_PREFER)
    four = made["clusterIP"]
    for fields in ({"ipFamilies": ["IPv4"]}, {"clusterIPs": [four]}, {"ipFamilies": ["IPv4"], "clusterIPs": [four]}):
        with refused(422, "SingleStack"):
            world.team.patch("web", **fields)
    assert world.team.spec("web") == made


LARGE: dict[str, Case] = {
    "C-7": nested_range,
    "C-10": unready_range,
    "C-14": no_name,
    "C-15": impossible_addresses,
    "C-16": used_again,
    "C-17": dry_create,
    "C-18": dry_update,
    "C-19": dry_delete,
    "C-20": finalizer,
    "C-35": headless,
    "C-37": odd_addresses,
    "C-38": second_family_dropped,
    "C-39": lists_reduced,
}


def filled(world: World, team: Team | None = None, **spec: object) -> list[str]:
    """Services until there is no address left (IP-22); their addresses in the order of creation."""
    team = team or world.team
    found: list[str] = []
    before = len(team.api.list("Service", team.namespace))
    while True:
        answer = _one_more(team, f"web-{before + len(found)}", spec)
        if answer[:3] != "500":
            found.append(answer)
        elif not world.sweep():
            assert "range is full" in answer, answer
            return found


def _one_more(team: Team, name: str, spec: Object) -> str:
    """The address of a new Service, or why it has none."""
    try:
        return str(team.create(name, **spec)["clusterIP"])
    except ApiError as error:
        if error.status != 500:
            raise
        return str(error)


def _usable(prefix: str, count: int) -> list[str]:
    return [f"{prefix}.{last}" for last in range(1, count + 1)]


def until_full(world: World) -> None:
    """C-1: 14, of which the cluster's own Service has the first; what is freed is the next one."""
    found = filled(world)
    assert sorted(found) == sorted(_usable("10.96.0", 14)[1:]), (SMALL, found)
    freed = world.team.spec("web-5")["clusterIP"]
    world.team.delete("web-5")

    def again() -> str:
        world.sweep()
        return str(world.team.create("again")["clusterIP"])

    assert eventually(again) == freed


def grown(world: World) -> None:
    """C-8, C-2, IP-15: what is full goes on in a further range, there in the static band at last."""
    filled(world)
    with world.cidr("more", "10.96.1.0/24"):
        eventually(lambda: world.team.create("first"))
        found = [world.team.spec("first")["clusterIP"], *filled(world)]
        assert sorted(found) == sorted(_usable("10.96.1", 254))
        band = set(_usable("10.96.1", 16))
        assert set(found[-16:]) == band, found[-20:]


def tiny_ranges(world: World) -> None:
    """C-4: none and two."""
    filled(world)
    with world.cidr("one", "10.96.3.1/32"):
        with world.cidr("two", "10.96.2.0/30"):
            eventually(lambda: world.team.create("first"))
            assert sorted([world.team.spec("first")["clusterIP"], *filled(world)]) == ["10.96.2.1", "10.96.2.2"]
        until_unusable(world, "10.96.3.1")


def shrunk(world: World) -> None:
    """C-9: the addresses of what is left, and Services in the other range stay as they are."""
    filled(world)
    with world.cidr("left", "10.96.3.0/29"):
        world.api.create(service_cidr("going", "10.96.4.0/29"))
        eventually(lambda: world.team.create("old", clusterIP="10.96.4.3"))
        before, uid = world.team.spec("old"), world.address("10.96.4.3")
        world.api.delete("ServiceCIDR", "going")

        until_unusable(world, "10.96.4.4")
        assert sorted(filled(world)) == _usable("10.96.3", 6)
        assert (world.team.spec("old"), world.address("10.96.4.3")) == (before, uid)


FULL: dict[str, Case] = {
    "C-36": headless_on_a_single_stack_cluster,
    "C-1": until_full,
    "C-2 C-8": grown,
    "C-4": tiny_ranges,
    "C-9": shrunk,
}
