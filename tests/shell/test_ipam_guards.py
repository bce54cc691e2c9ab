"""The generated guards on the real API server: what is refused, filled and skipped, and that repair never is."""

import itertools
import json
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from controllers.ipam import guard_cel as cel
from controllers.ipam.guard_rules import Facts, Rules, rules, violation
from controllers.ipam.guards import policies
from controllers.ipam.objects import address_from_object
from controllers.ipam.ranges import IPV4, text_of
from controllers.ipam.webhook_configurations import webhooks
from e2e.cluster.fixtures import unavailable
from e2e.cluster.local import ControlPlane
from e2e.cluster.rest import Api, ApiError, Object
from e2e.cluster.toolchain import BuildError
from tests.ipam.test_guard_texts import HOSTILE
from tests.shell.guard_cases import FILLS, TABLE
from tests.shell.guarding import (
    ADDRESSES,
    ADMISSION,
    FACTS,
    NAMESPACES,
    PAY,
    US,
    address,
    enact,
    in_force,
    pool,
    repeal,
    served,
    service,
    tried,
)
from tests.shell.ipaming import Team
from tests.shell.waiting import eventually

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """One of our own, as the guards would be in the way of other tests; the API server's picks meet its few ranges."""
    try:
        with ControlPlane(extra_apiserver_args=("--service-cluster-ip-range=10.96.0.0/22,fd00:10:96::/112",)) as made:
            made.client().apply(
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in NAMESPACES
            )
            yield made
    except BuildError as error:
        unavailable(error)


@pytest.fixture
def api(plane: ControlPlane) -> Iterator[Api]:
    made = plane.client()
    yield made
    repeal(made)
    for namespace in NAMESPACES:
        Team(made, namespace).clear()


def test_what_is_refused(api: Api) -> None:
    enact(api, policies(rules(FACTS)))
    wrong = []
    for name, (obj, expected) in TABLE.items():
        said = tried(api, obj)
        if (expected not in said) if expected else said:
            wrong.append((name, said))
    assert wrong == []
    # Nothing that the type checker of the API server complains about, and no expression that it could not compile.
    found = api.get(f"{ADMISSION}/validatingadmissionpolicies")["items"]
    assert [each["status"] for each in found if each.get("status", {}).get("typeChecking")] == []


def test_cel_and_python_agree_about_addresses(plane: ControlPlane, api: Api) -> None:
    enact(api, policies(rules(FACTS)))
    users = {"admin": api, US: plane.client(US, ("system:masters",))}
    found, draw = rules(FACTS), random.Random(18)
    refused, differing = 0, []
    for _ in range(300):
        obj = _random_address(draw)
        user = draw.choice(["admin", "admin", "admin", US])
        python = violation(address_from_object(obj), found, user) or ""
        said = tried(users[user], obj)
        refused += bool(python)
        if (python not in said) if python else said:
            differing.append((user, obj, python, said))
    assert differing == []
    assert 60 < refused < 240


def _random_address(draw: random.Random) -> Object:
    base = draw.choice([(10 << 24) + (96 << 16) + (1 << 8), (10 << 24) + (96 << 16) + (2 << 8)])
    name = draw.choice(
        [
            text_of(IPV4, base + draw.randrange(80)),
            text_of(IPV4, base + draw.randrange(80)),
            f"fd00:10:96::{draw.randrange(0xF0, 0x210):x}",
            draw.choice(["10.96.1.3", "10.96.3.7", "10.96.3.8", "fd00:10:96::77"]),
        ]
    )
    key = f"{draw.choice(NAMESPACES)}/{draw.choice(['web', 'svc', 'gone', 'x'])}"
    key = draw.choice([key, key, key, key, "default/kubernetes"])
    manager = draw.choice(["ipallocator.k8s.io", "metallb", ""])
    obj = address(name, key, **({"ipaddress.kubernetes.io/managed-by": manager} if manager else {}))
    if draw.random() < 0.15:
        obj["spec"]["parentRef"] |= {"group": "gateway.networking.k8s.io", "resource": "gateways"}
    return obj


def test_services_are_judged_by_namespace_and_labels(api: Api) -> None:
    enact(api, policies(rules(FACTS)))
    draw, differing, refused = random.Random(4), [], 0
    for _ in range(250):
        namespace = draw.choice(NAMESPACES)
        labels = {k: v for k in ("tier", "stage", "v") if (v := draw.choice(["gold", "lab", "1", ""]))}
        number = (10 << 24) + (96 << 16) + draw.choice([256, 512]) + draw.randrange(64)
        keeping = [p for p in FACTS.ip_pools if number in p.addresses.ipv4]
        admitted = any(
            namespace in p.select.namespaces and (p.select.service is None or p.select.service.admits(labels))
            for p in keeping
        )
        expected = bool(keeping) and not admitted and namespace != "kube-system"
        said = tried(api, service(f"{namespace}/x", labels, clusterIP=text_of(IPV4, number)))
        refused += expected
        if expected != ("is kept by" in said) or (said and not expected):
            differing.append((namespace, labels, text_of(IPV4, number), said))
    assert differing == []
    assert 50 < refused < 230


def test_updates_that_add_no_number_pass(api: Api) -> None:
    ports = [{"port": 80, "name": "http", "nodePort": 30001}]
    api.create(service("old/svc", clusterIP="10.96.1.3", type="NodePort", ports=ports))
    enact(api, policies(rules(FACTS)))
    api.patch("Service", "svc", {"metadata": {"labels": {"a": "b"}}, "spec": {"sessionAffinity": "ClientIP"}}, "old")
    more = [*ports, {"port": 81, "name": "more", "nodePort": 30002}]
    with pytest.raises(ApiError, match="kept by ServicePortPool ports"):
        api.patch("Service", "svc", {"spec": {"ports": more}}, "old")
    # Who gives a number up may not take it again.
    api.patch("Service", "svc", {"spec": {"type": "ClusterIP", "ports": [{"port": 80, "name": "http"}]}}, "old")
    with pytest.raises(ApiError, match="kept by ServicePortPool ports"):
        api.patch("Service", "svc", {"spec": {"type": "NodePort", "ports": ports}}, "old")


def test_reserved_numbers_are_filled_with_nobody_of_us_there(api: Api) -> None:
    enact(api, policies(rules(FACTS)))
    team = Team(api, "shop")
    for name, (spec, addresses, policy, ports, health) in FILLS.items():
        made = team.insist(partial(api.create, service("shop/web", **spec)))["spec"]
        assert (name, tuple(made["clusterIPs"]), made["ipFamilyPolicy"]) == (name, addresses, policy)
        found = [each.get("nodePort", 0) for each in made["ports"]]
        assert (name, [n if wanted >= 0 else -1 for n, wanted in zip(found, ports, strict=True)]) == (name, ports)
        assert (name, made.get("healthCheckNodePort", 0)) == (name, health)
        api.delete("Service", "web", "shop")
    alias = api.create(service("shop/web", type="ExternalName", externalName="example.com"))["spec"]
    assert "clusterIPs" not in alias


# Half of what the API server picks from by itself, in pieces: past a range it goes address by address.
PIECES = [f"10.96.{at // 8}.{at % 8 * 32}/28" for at in range(8, 32)]
HALF = Facts(ip_pools=(pool("half", *PIECES, namespaces=frozenset({"payments"})),), user=US)


def _pick(api: Api, count: int) -> tuple[list[str], list[str]]:
    """Addresses that the API server chose for Services of a stranger, and its refusals."""
    picked, refused = [], []
    for number in range(count):
        try:
            picked.append(api.create(service(f"shop/dynamic-{number}"))["spec"]["clusterIP"])
        except ApiError as error:
            refused.append(str(error))
    return picked, refused


def test_a_pick_of_the_servers_own_is_stopped_by_the_policy(api: Api) -> None:
    enact(api, policies(rules(HALF)))
    picked, refused = _pick(api, 40)
    kept = HALF.ip_pools[0].addresses
    assert picked
    assert refused
    assert not any(map(kept.holds, picked))
    assert all("422 Invalid" in each and "is kept by ServiceIPPool half" in each for each in refused)
    # What was refused holds nothing.
    assert [each["metadata"]["name"] for each in api.list("IPAddress") if kept.holds(each["metadata"]["name"])] == []


def test_a_pick_of_the_servers_own_goes_on_to_the_next_where_the_webhook_answers(api: Api, tmp_path: Path) -> None:
    found = rules(HALF)
    asked: list[str] = []

    def answer(request: Object) -> Object:
        asked.append(request["name"])
        message = violation(address_from_object(request["object"]), found, request["userInfo"]["username"])
        if message is None:
            return {"allowed": True}
        return {"allowed": False, "status": {"code": 409, "reason": "AlreadyExists", "message": message}}

    with served(tmp_path / "pki", answer) as client:
        enact(api, [*policies(found), *webhooks(found, client)[2:]])
        eventually(lambda: _assert_skips(api))
        for each in api.list("Service", "shop"):
            api.delete("Service", each["metadata"]["name"], "shop")
        asked.clear()
        picked, refused = _pick(api, 40)
    assert refused == []
    kept = HALF.ip_pools[0].addresses
    assert not any(map(kept.holds, picked))
    # Asked about what would be refused, and about nothing else.
    assert asked
    assert all(map(kept.holds, asked))


def _assert_skips(api: Api) -> None:
    with pytest.raises(ApiError) as caught:
        api.request("POST", ADDRESSES, address("10.96.2.9", "shop/x"), params={"dryRun": "All"})
    assert caught.value.reason == "AlreadyExists"


def _grandfather(api: Api, *keys: str) -> tuple[list[str], Rules]:
    """Live Services in a range that is then enforced against them: their addresses, and the rules."""
    held = {}
    for number, key in enumerate(keys):
        pair = [f"10.96.1.{number + 34}", f"fd00:10:96::1{number}0"]
        spec = {"clusterIP": pair[0], "clusterIPs": pair, "ipFamilyPolicy": "RequireDualStack"}
        made = api.create(service(key, None, **spec))
        held.update({text: (key,) for text in made["spec"]["clusterIPs"]})
    found = rules(Facts(ip_pools=(PAY,), holders=held, user=US))
    enact(api, policies(found))
    return list(held), found


def _parents(api: Api, addresses: list[str]) -> list[str]:
    found = {each["metadata"]["name"]: each for each in api.list("IPAddress")}
    parents = [found[text]["spec"]["parentRef"] for text in addresses]
    assert all("ipallocator.k8s.io" in json.dumps(found[text]["metadata"]["labels"]) for text in addresses)
    return [f"{each['namespace']}/{each['name']}" for each in parents]


def test_a_grandfathered_service_gets_a_lost_address_back(api: Api) -> None:
    addresses, _ = _grandfather(api, "old/one")
    for text in addresses:
        api.delete("IPAddress", text)
    turns = itertools.count()

    def touched() -> list[str]:
        # The API server repairs at the Service's next event (IP-56): one after it has seen that they are lost.
        api.patch("Service", "one", {"metadata": {"labels": {"touched": str(next(turns))}}}, "old")
        return _parents(api, addresses)

    assert eventually(touched) == ["old/one", "old/one"]


def test_the_api_server_starts_and_repairs_with_ranges_enforced_over_live_services(
    plane: ControlPlane, api: Api
) -> None:
    keys = [f"{namespace}/late-{n}" for namespace in ("old", "shop") for n in range(4)]
    addresses, _ = _grandfather(api, *keys)
    gone = address("10.96.1.50", "payments/gone", **{"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"})
    gone["metadata"]["labels"]["ipaddress.kubernetes.io/ip-family"] = "IPv4"
    api.create(gone)
    for text in addresses:
        api.delete("IPAddress", text)
    plane.stop_apiserver(kill=True)
    plane.start_apiserver()
    expected = [key for key in keys for _ in range(2)]
    assert eventually(lambda: _parents(api, addresses)) == expected
    # The policies are still in force, against others.
    in_force(api)
    assert "is kept by" in tried(api, address("10.96.1.34", "shop/other"))
    # A leaked address of no Service, in the range, is taken away when it is 60 s old (IP-54).
    eventually(lambda: _assert_gone(api, "10.96.1.50"), timeout=150)


def test_hostile_texts_are_accepted_in_expressions(api: Api) -> None:
    """One label that the API server could not read would keep all other guards from being written, too."""
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["services"]}

    def send(expression: str) -> None:
        spec = {"matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": expression}]}
        kind = "ValidatingAdmissionPolicy"
        body = {"apiVersion": f"{ADMISSION.removeprefix('/apis/')}", "kind": kind, "metadata": {"name": "texts"}}
        path = f"{ADMISSION}/validatingadmissionpolicies"
        api.request("POST", path, {**body, "spec": spec}, params={"dryRun": "All"})

    send(f"object.metadata.name in {cel.listed(HOSTILE)} || {cel.text(HOSTILE[0])} in {cel.LABELS}")
    # As JSON has it.
    with pytest.raises(ApiError, match="invalid unicode code point"):
        send(f"object.metadata.name == {json.dumps('😀')}")


def _assert_gone(api: Api, name: str) -> None:
    assert name not in [each["metadata"]["name"] for each in api.list("IPAddress")]
