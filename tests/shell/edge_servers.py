"""Table C, what takes two API servers: the small world with a second one, and what both of them are asked at once."""

import contextlib
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from e2e.cluster.rest import Api, ApiError, Object
from tests.shell.edge_addresses import filled
from tests.shell.edge_cases import SMALL, SMALL_PORTS, World, passed_by, second_server
from tests.shell.ipaming import Team, node_ports, refused, service_cidr
from tests.shell.waiting import eventually

_SMALL6 = "fd00:10:96::/120"
_ADMISSION = "admissionregistration.k8s.io/v1"
_RACES = 5
_CLIENTS = 4


class Pair(NamedTuple):
    """The small world, whose API server knows one family, and the team's view by a second one that knows both.

    `forbidden` is what a user was told who made a ServiceCIDR while only the API server might (C-54); the second one
    was started then, and `default` is the ServiceCIDR that is there since, in place of one that was deleted. `old` is
    the spec of a Service from before (C-40).
    """

    world: World
    second: Team
    forbidden: str
    default: Object
    old: Object


@contextlib.contextmanager
def pair(world: World) -> Iterator[Pair]:
    world.team.create("old", ipFamilyPolicy="PreferDualStack")
    old = world.team.spec("old")
    with _only_the_servers(world.api) as forbidden:
        before = world.api.read("ServiceCIDR", "kubernetes")["metadata"]["uid"]
        world.api.delete("ServiceCIDR", "kubernetes")
        with second_server(world.plane, f"--service-cluster-ip-range={SMALL},{_SMALL6}") as second:

            def made() -> Object:
                found = second.read("ServiceCIDR", "kubernetes")
                assert found["metadata"]["uid"] != before
                assert found["spec"]["cidrs"] == [SMALL, _SMALL6]
                return found

            default = eventually(made)
            _repeal(world.api)
            both = Team(second, world.team.namespace)
            # Each server learns a moment later that it is there, and that it is ready.
            for team, policy in ((world.team, "SingleStack"), (both, "RequireDualStack")):
                eventually(partial(team.create, "probe-of-default", ipFamilyPolicy=policy))
                team.delete("probe-of-default")
            world.sweep()
            yield Pair(world, both, forbidden, default, old)
            assert world.ipam is None or passed_by(second) <= 5


@contextlib.contextmanager
def _only_the_servers(api: Api) -> Iterator[str]:
    """A policy that lets nobody write ServiceCIDRs but the API server, once it is in force; what a user is told."""
    rule = {"apiGroups": ["networking.k8s.io"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"]}
    spec: Object = {
        "matchConstraints": {"resourceRules": [{**rule, "resources": ["servicecidrs"]}]},
        "validations": [{"expression": "request.userInfo.username == 'system:apiserver'", "message": "not for users"}],
    }
    binding = {"policyName": "only-the-servers", "validationActions": ["Deny"]}
    for kind, body in (("ValidatingAdmissionPolicy", spec), ("ValidatingAdmissionPolicyBinding", binding)):
        api.create({"apiVersion": _ADMISSION, "kind": kind, "metadata": {"name": "only-the-servers"}, "spec": body})

    def told() -> str:
        answer = "taken"
        try:
            api.create(service_cidr("a-users", "10.99.0.0/24"))
            api.delete("ServiceCIDR", "a-users")
        except ApiError as error:
            answer = str(error)
        assert "not for users" in answer
        return answer

    try:
        yield eventually(told)
    finally:
        _repeal(api)


def _repeal(api: Api) -> None:
    for kind in ("ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy"):
        with contextlib.suppress(ApiError):
            api.delete(kind, "only-the-servers")


def default_range(pair: Pair) -> None:
    """C-54: denied to users, but the API server starts, and makes its own."""
    assert pair.forbidden.startswith(("403", "422")), pair.forbidden
    assert pair.default["spec"]["cidrs"] == [SMALL, _SMALL6]
    assert pair.second.create("dual", ipFamilyPolicy="RequireDualStack")["ipFamilies"] == ["IPv4", "IPv6"]


def became_dual(pair: Pair) -> None:
    """C-40, IP-35: an update that says nothing of families leaves it single; a bare PUT says that none are wanted."""
    team = pair.second
    for change in ({"sessionAffinity": "ClientIP"}, {"selector": {"app": "web"}}):
        assert team.patch("old", **change)["clusterIPs"] == pair.old["clusterIPs"]
    after = team.spec("old")
    assert (after["ipFamilies"], after["ipFamilyPolicy"]) == (["IPv4"], "PreferDualStack")
    four, six = team.put("old")["clusterIPs"]
    assert [four] == pair.old["clusterIPs"]

    def held() -> None:
        # Addresses change hands fast here: the repair may give one to its last Service, gone by now, for a moment.
        assert sorted(pair.world.held_by("old")) == sorted([four, six]), pair.world.team.held()

    eventually(held)


def sizes_of_ipv6(pair: Pair) -> None:
    """C-3: 255 of a /120, one by one; of a /116 the API server's own count."""
    six = {"ipFamilies": ["IPv6"]}
    assert sorted(filled(pair.world, pair.second, **six)) == sorted(f"fd00:10:96::{last:x}" for last in range(1, 256))
    with pair.world.cidr("wide", "fd00:10:98::/116"):
        eventually(lambda: pair.second.create("last", clusterIP="fd00:10:98::fff"))

        def counted() -> None:
            # The gauges are set at an allocation, one after the other, from a cache that may not know of it yet.
            pair.second.delete("last")
            pair.second.create("last", clusterIP="fd00:10:98::fff")
            sizes = [
                _gauge(pair.second.api, f"{state}_ips", "fd00:10:98::/116") for state in ("allocated", "available")
            ]
            assert sum(sizes) == 4095, sizes

        eventually(counted)


def _gauge(api: Api, name: str, cidr: str) -> float:
    pattern = rf'^kube_apiserver_clusterip_allocator_{name}\{{cidr="{re.escape(cidr)}"\}} (\S+)$'
    return float(re.findall(pattern, api.text("/metrics"), re.MULTILINE)[0])


def one_address_at_once(pair: Pair) -> None:
    """C-13, IP-17: of two API servers one gives it."""
    for turn in range(_RACES):
        requests = [
            partial(team.create, f"c13-{turn}-{number}", clusterIP="10.96.0.9")
            for number, team in enumerate((pair.world.team, pair.second))
        ]
        answers = _at_once(requests)
        if all("already allocated" in each for each in answers) and pair.world.sweep():
            # A repair had made it again for the last one's, which was just gone.
            answers = _at_once(requests)
        assert sorted(isinstance(each, str) for each in answers) == [False, True], answers
        [lost] = [each for each in answers if isinstance(each, str)]
        assert lost.startswith("422")
        assert "already allocated" in lost
        pair.world.clear()


def _at_once(requests: Sequence[Callable[[], Object]]) -> list[Object | str]:
    """The answers, or why not, of requests that start together."""
    start = threading.Barrier(len(requests))

    def sent(request: Callable[[], Object]) -> Object | str:
        start.wait()
        try:
            return request()
        except ApiError as error:
            return str(error)

    with ThreadPoolExecutor(len(requests)) as threads:
        return list(threads.map(sent, requests))


def node_ports_at_once(pair: Pair) -> None:
    """C-55, IP-37: every node port that nobody has, once, and then none."""
    others = {number for each in pair.world.api.list("Service", "others") for number in _numbers(each["spec"])}
    free = {*range(SMALL_PORTS[0], SMALL_PORTS[1] + 1)} - others
    with pair.world.cidr("room", "10.96.1.0/24"):
        for team, address in ((pair.world.team, "10.96.1.1"), (pair.second, "10.96.1.2")):
            eventually(partial(team.create, "probe", clusterIP=address))
            team.delete("probe")

        def some(client: int) -> list[int]:
            team = (pair.world.team, pair.second)[client % 2]
            mine = range(client, len(free), _CLIENTS)
            return [node_ports(team.create(f"c55-{number}", type="NodePort"))[0] for number in mine]

        with ThreadPoolExecutor(_CLIENTS) as threads:
            found = [number for each in threads.map(some, range(_CLIENTS)) for number in each]
        assert sorted(found) == sorted(free)
        for team in (pair.world.team, pair.second):
            with refused(500, "range is full"):
                team.create("more", type="NodePort")


def _numbers(spec: Object) -> list[int]:
    return [number for number in node_ports(spec) if number]


CASES: dict[str, Callable[[Pair], None]] = {
    "C-40": became_dual,
    "C-54": default_range,
    "C-3": sizes_of_ipv6,
    "C-13": one_address_at_once,
    "C-55": node_ports_at_once,
}
