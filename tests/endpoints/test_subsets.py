"""From Pods to subsets, and what 1,000 addresses leave out (EP-29 ... EP-35, EP-51, EP-52)."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from controllers.endpoints.subsets import CAPACITY, desired, truncate
from controllers.model.objects import (
    ContainerPort,
    EndpointAddress,
    EndpointSubset,
    Pod,
    Service,
    ServicePort,
    SubsetPort,
)
from controllers.model.wire import WirePod, pod_from_wire
from tests.builders import HEADLESS, SUBSET_HTTP, address, pod, service, subset

Sizes = list[tuple[int, int]]
PORTLESS = service(cluster_ip="None", ports=())
PUBLISHING = service(publish_not_ready=True)
PORTS = tuple(SubsetPort(port=number) for number in range(1, 6))


def ips(subsets: tuple[EndpointSubset, ...]) -> dict[str, bool]:
    """Each published address, and whether it is ready."""
    found = {one.ip: True for each in subsets for one in each.addresses}
    return found | {one.ip: False for each in subsets for one in each.not_ready_addresses}


def listed(*texts: str, pod_ip: str | None = None) -> Pod:
    """A Pod with these `status.podIPs`, as the API server lists it."""
    document = {
        "metadata": {"name": "p", "namespace": "ns", "uid": "uid-p"},
        "spec": {"nodeName": "node-1"},
        "status": {
            "phase": "Running",
            "podIP": texts[0] if pod_ip is None else pod_ip,
            "podIPs": [{"ip": text} for text in texts],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }
    return pod_from_wire(msgspec.json.decode(msgspec.json.encode(document), type=WirePod))


@pytest.mark.parametrize("protocol", ["TCP", "UDP", "SCTP"])
@pytest.mark.parametrize("app_protocol", [None, "http"])
def test_one_pod_ep_t9_ep_t51(protocol: str, app_protocol: str | None) -> None:
    """The whole address: nodeName and the target, no zone and no resourceVersion (EP-32, EP-34)."""
    of = service(ports=(ServicePort("dns", protocol, 53, app_protocol),))
    assert desired(of, [pod(7)]) == (subset([pod(7)], [], SubsetPort("dns", 53, protocol, app_protocol)),)


def test_pods_share_the_ports_of_their_service_ep_36() -> None:
    """Ports with an appProtocol, too, which are kept apart only where they were read."""
    of = service(ports=(ServicePort("web", "TCP", 80, "h2c"),))
    assert desired(of, [pod(2), pod(1)]) == (subset([pod(1), pod(2)], [], SubsetPort("web", 80, "TCP", "h2c")),)


def test_pod_without_a_node_has_no_node_name_ep_32() -> None:
    """KCM writes the empty one, and the API server refuses the whole object."""
    assert desired(service(), [pod(node_name="")]) == (subset([address(pod(), node_name=None)]),)


@pytest.mark.parametrize(
    ("hostname", "subdomain", "expected"),
    [("h", "s", "h"), ("h", "other", ""), ("h", "", ""), ("", "s", "")],
    ids=["ours", "other-subdomain", "no-subdomain", "no-hostname"],
)
def test_hostname_ep_32(hostname: str, subdomain: str, expected: str) -> None:
    found = desired(service(), [pod(hostname=hostname, subdomain=subdomain)])
    assert found == (subset([address(pod(), hostname=expected)]),)


def test_two_protocols_ep_t10() -> None:
    of = service(ports=(ServicePort("", "TCP", 8080), ServicePort("", "UDP", 8080)))
    assert desired(of, [pod()]) == (subset([pod()], [], SubsetPort("", 8080, "UDP"), SubsetPort("", 8080, "TCP")),)


def test_ready_and_not_ready_ep_t12() -> None:
    assert desired(service(), [pod(1), pod(2, ready=False)]) == (subset([pod(1)], [pod(2)]),)


@pytest.mark.parametrize(
    ("of", "subsets"),
    [
        pytest.param(PORTLESS, (EndpointSubset((address(pod()),)),), id="EP-T17"),
        pytest.param(service(ports=()), (), id="EP-T18"),
        pytest.param(service(ports=(), cluster_ip=""), (), id="EP-33-no-cluster-ip"),
        pytest.param(HEADLESS, (subset([pod()]),), id="EP-34-headless-with-ports"),
        pytest.param(
            replace(HEADLESS, ports=(ServicePort("", "TCP", "web"),)),
            (),
            id="EP-34-headless-with-ports-but-not-the-Pod",
        ),
    ],
)
def test_service_without_ports_ep_33(of: Service, subsets: tuple[EndpointSubset, ...]) -> None:
    assert desired(of, [pod()]) == subsets


@pytest.mark.parametrize("of", [service(), PUBLISHING], ids=["ordinary", "publish-not-ready"])
@pytest.mark.parametrize(
    "changes", [{"phase": "Failed"}, {"phase": "Succeeded"}, {"first_family": "", "ipv4": ()}], ids=str
)
def test_who_is_never_in_ep_t19(of: Service, changes: dict[str, Any]) -> None:
    assert desired(of, [pod(**changes)]) == ()


@pytest.mark.parametrize("phase", ["Running", "Unknown", "Pending"])
@pytest.mark.parametrize(
    ("ready", "terminating", "ordinary", "publishing"),
    [
        pytest.param(True, False, True, True, id="EP-35"),
        pytest.param(True, True, None, True, id="EP-T20"),
        pytest.param(False, True, None, True, id="EP-T20-not-ready"),
        pytest.param(False, False, False, True, id="EP-T21"),
    ],
)
def test_readiness(phase: str, ready: bool, terminating: bool, ordinary: bool | None, publishing: bool) -> None:
    """None: absent."""
    found = pod(phase=phase, ready=ready, terminating=terminating)
    assert ips(desired(service(), [found])).get("10.0.0.1") is ordinary
    assert ips(desired(PUBLISHING, [found])).get("10.0.0.1") is publishing


DUAL = ("1.2.3.4", "fd00::1")


@pytest.mark.parametrize(
    ("of", "texts", "expected"),
    [
        pytest.param({"ip_families": ("IPv4",)}, DUAL, "1.2.3.4", id="EP-T22-IPv4"),
        pytest.param({"ip_families": ("IPv6",)}, DUAL, "fd00::1", id="EP-T22-IPv6"),
        pytest.param({"ip_families": ("IPv6", "IPv4")}, DUAL, "fd00::1", id="EP-T22-first-family"),
        pytest.param({"ip_families": ("IPv4",), "cluster_ip": "fd00::10"}, DUAL, "1.2.3.4", id="EP-30-families-win"),
        pytest.param({"ip_families": ("IPv6",)}, ("1.2.3.4",), None, id="EP-T23"),
        pytest.param({"ip_families": ("IPv4",)}, ("01.2.3.4",), "1.2.3.4", id="EP-T24"),
        pytest.param({}, DUAL, "1.2.3.4", id="EP-T25-IPv4-cluster-ip"),
        pytest.param({"cluster_ip": "fd00::10"}, DUAL, "fd00::1", id="EP-T25-IPv6-cluster-ip"),
        pytest.param({"cluster_ip": "nonsense"}, DUAL, "1.2.3.4", id="EP-30-IPv4-unless-it-parses"),
        pytest.param({"cluster_ip": "None"}, DUAL, "1.2.3.4", id="EP-T25-headless-IPv4-Pod"),
        pytest.param({"cluster_ip": "None"}, DUAL[::-1], "fd00::1", id="EP-T25-headless-IPv6-Pod"),
        pytest.param({"cluster_ip": ""}, DUAL[::-1], "fd00::1", id="EP-30-no-cluster-ip"),
        pytest.param({}, ("fd00::1",), None, id="EP-T25-IPv6-Pod-alone"),
    ],
)
def test_one_family_ep_30(of: dict[str, Any], texts: tuple[str, ...], expected: str | None) -> None:
    found = ips(desired(service(**{"ip_families": (), **of}), [listed(*texts)]))
    assert [*found] == [each for each in (expected,) if each is not None]


def test_headless_service_of_pods_of_both_families_ep_30() -> None:
    """Each Pod's own first address decides, when the Service has no family yet."""
    four, six = listed("1.2.3.4", "fd00::4"), replace(listed("fd00::6", "1.2.3.6"), uid="uid-6")
    assert [*ips(desired(replace(HEADLESS, ip_families=()), [four, six]))] == ["1.2.3.4", "fd00::6"]


def test_pod_ip_alone_is_no_address_ep_31() -> None:
    assert desired(service(), [listed(pod_ip="1.2.3.4")]) == ()


SVC1, SVC2 = ServicePort("svc1", "TCP", "svc1"), ServicePort("svc2", "TCP", "svc2")
ONE, TWO = (
    pod(number, ports=(ContainerPort(f"svc{number}", "TCP", 8000 + number), ContainerPort("web", "UDP", 80)))
    for number in (1, 2)
)


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        pytest.param((SVC1, SVC2), {(("svc1", 8001),): {"10.0.0.2"}, (("svc2", 8002),): {"10.0.0.3"}}, id="EP-T26"),
        pytest.param((SVC2,), {(("svc2", 8002),): {"10.0.0.3"}}, id="EP-T27"),
        pytest.param(
            (SVC1, ServicePort("n", "TCP", 9)),
            {(("svc1", 8001),): {"10.0.0.2"}, (("n", 9),): {"10.0.0.2", "10.0.0.3"}},
            id="EP-34-that-port-only",
        ),
        pytest.param((ServicePort("web", "TCP", "web"),), {}, id="EP-34-other-protocol"),
    ],
)
def test_named_ports_ep_34(
    ports: tuple[ServicePort, ...], expected: dict[tuple[tuple[str, int], ...], set[str]]
) -> None:
    found = desired(service(ports=ports), [ONE, TWO])
    assert {
        tuple((p.name, p.port) for p in each.ports): {one.ip for one in each.addresses} for each in found
    } == expected


def _addresses(number: int, offset: int) -> tuple[EndpointAddress, ...]:
    return tuple(EndpointAddress(ip=f"10.0.0.{offset + each}") for each in range(number))


def of_sizes(sizes: Sizes) -> tuple[EndpointSubset, ...]:
    """Subsets with so many ready and not ready addresses."""
    return tuple(
        EndpointSubset(_addresses(ready, 0), _addresses(unready, ready), (port,))
        for (ready, unready), port in zip(sizes, PORTS, strict=False)
    )


def sizes_of(subsets: tuple[EndpointSubset, ...]) -> Sizes:
    return [(len(each.addresses), len(each.not_ready_addresses)) for each in subsets]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([(600, 400)], [(600, 400)], id="EP-6-exactly-full"),
        pytest.param([(0, 500), (500, 0)], [(0, 500), (500, 0)], id="EP-6-summed-over-subsets"),
        pytest.param(
            [(90, 101), (110, 200), (50, 200), (10, 201), (20, 298)],
            [(90, 73), (110, 144), (50, 144), (10, 145), (20, 214)],
            id="EP-T28",
        ),
        pytest.param(
            [(205, 100), (400, 200), (402, 200), (400, 200), (693, 300)],
            [(98, 0), (191, 0), (192, 0), (191, 0), (328, 0)],
            id="EP-T29",
        ),
        pytest.param([(997, 4)], [(997, 3)], id="EP-T30"),
        pytest.param([(1000, 10)], [(1000, 0)], id="EP-T31"),
        pytest.param([(1001, 0)], [(1000, 0)], id="EP-T33"),
        # KCM leaves the second one empty, which the API server refuses: its sync fails for ever (EP-52).
        pytest.param([(1001, 0), (0, 5)], [(1000, 0)], id="EP-T34"),
        pytest.param([(0, 5), (1000, 0)], [(1000, 0)], id="EP-52-no-room-for-what-is-not-ready"),
        pytest.param([(1, 0)] * 3 + [(2000, 0), (1, 0)], [(1, 0)] * 3 + [(997, 0)], id="EP-51-late-ones-get-less"),
        pytest.param([(0, 3), (0, 999)], [(0, 3), (0, 997)], id="EP-51-rounded-up"),
        # 14 / 50 * 25 is a little more than 7.
        pytest.param([(975, 14), (0, 36)], [(975, 8), (0, 17)], id="EP-51-division-before-multiplication"),
    ],
)
def test_truncation_ep_51(before: Sizes, after: Sizes) -> None:
    found = truncate(of_sizes(before))
    assert sizes_of(found.subsets) == after
    assert (found.total, found.cut) == (sum(map(sum, before)), before != after)


@given(st.lists(st.tuples(st.integers(0, 800), st.integers(0, 800)), max_size=5))
@settings(max_examples=150, deadline=None, database=None, print_blob=True)
def test_truncation_keeps_ready_before_not_ready_ep_51(sizes: Sizes) -> None:
    """As many as there is room for; the first of each subset; nothing not ready while a ready one is left out."""
    before = of_sizes(sizes)
    found = truncate(before)
    ready, unready = (sum(some) for some in zip((0, 0), *sizes_of(found.subsets), strict=True))
    assert ready + unready == min(sum(map(sum, sizes)), CAPACITY)
    assert ready == sum(size for size, _ in sizes) or unready == 0
    assert found.cut or found.subsets == before
    original = {each.ports: each for each in before}
    for each in found.subsets:
        assert each.addresses or each.not_ready_addresses or not found.cut
        had = original[each.ports]
        assert each.addresses == had.addresses[: len(each.addresses)]
        assert each.not_ready_addresses == had.not_ready_addresses[: len(each.not_ready_addresses)]


def test_which_addresses_are_cut_depends_on_their_order_ep_54() -> None:
    many = [pod(number) for number in range(1001)]
    found = truncate(desired(service(), many))
    left_out = max(each.ipv4[0] for each in many)
    assert found.subsets[0].ports == (SUBSET_HTTP,)
    assert {each.ipv4[0] for each in many} - ips(found.subsets).keys() == {left_out}
