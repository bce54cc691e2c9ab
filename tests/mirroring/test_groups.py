"""From subsets to the endpoints of each port set and family (MI-25 ... MI-32)."""

from collections.abc import Iterable

import pytest

from controllers.membership.subsets import subset_hash
from controllers.mirroring.groups import Desired, desired
from controllers.model.objects import Endpoint, EndpointAddress, EndpointPort, EndpointSubset, SubsetPort, TargetRef
from tests.mirroring.builders import DNS, DNS_PORT, HTTP, HTTP_PORT, endpoint, subset

HTTPS = SubsetPort("https", 443, "TCP")
H2C, H2C_PORT = SubsetPort("http", 80, "TCP", "h2c"), EndpointPort("http", "TCP", 80, "h2c")
V4, V4_DNS, V6, V6_DNS = ("IPv4", HTTP_PORT), ("IPv4", DNS_PORT), ("IPv6", HTTP_PORT), ("IPv6", DNS_PORT)
# A family and the ports, and the IPs under them; one that is not ready ends in "-".
Found = dict[tuple[str | EndpointPort, ...], set[str]]


def found(want: Desired) -> Found:
    """What is to be mirrored, without the empty groups."""
    return {
        (family, *sorted(ports, key=lambda port: port.name or "")): {
            each.addresses[0] + ("" if each.conditions.ready else "-") for each in members.values()
        }
        for (family, ports), members in want.groups.items()
        if members
    }


def ips(number: int, first: int = 0) -> list[str]:
    return [f"10.0.{each // 250}.{each % 250 + 1}" for each in range(first, first + number)]


@pytest.mark.parametrize(
    ("subsets", "expected"),
    [
        pytest.param([], {}, id="MI-T1"),
        pytest.param([subset()], {}, id="MI-T2"),
        pytest.param([subset("10.0.0.1", not_ready=["10.0.0.2"])], {V4: {"10.0.0.1", "10.0.0.2-"}}, id="MI-T11"),
        pytest.param(
            [subset("10.0.0.1", "10.0.0.2", not_ready=["10.0.0.3", "10.0.0.4"], ports=[HTTP, DNS])],
            {("IPv4", DNS_PORT, HTTP_PORT): {"10.0.0.1", "10.0.0.2", "10.0.0.3-", "10.0.0.4-"}},
            id="MI-T12",
        ),
        pytest.param(
            [subset("10.0.0.1"), subset("10.0.0.2", ports=[DNS])],
            {V4: {"10.0.0.1"}, V4_DNS: {"10.0.0.2"}},
            id="MI-T13",
        ),
        pytest.param(
            [subset("10.0.0.1"), subset("10.0.0.1", ports=[DNS])],
            {("IPv4", DNS_PORT, HTTP_PORT): {"10.0.0.1"}},
            id="MI-T14",
        ),
        pytest.param(
            [subset("10.0.0.1"), subset("10.0.0.1", "10.0.0.2", ports=[DNS])],
            {V4: {"10.0.0.1"}, V4_DNS: {"10.0.0.1", "10.0.0.2"}},
            id="MI-25-same-addresses-only",
        ),
        pytest.param([subset("10.0.0.1"), subset("10.0.0.2")], {V4: {"10.0.0.1", "10.0.0.2"}}, id="MI-T15"),
        pytest.param(
            [subset("10.0.0.1", not_ready=["fd00::1"]), subset("10.0.0.2", "fd00::2", ports=[DNS])],
            {V4: {"10.0.0.1"}, V6: {"fd00::1-"}, V4_DNS: {"10.0.0.2"}, V6_DNS: {"fd00::2"}},
            id="MI-T16",
        ),
        pytest.param(
            [subset("fd00::1"), subset("fd00::2", ports=[DNS])], {V6: {"fd00::1"}, V6_DNS: {"fd00::2"}}, id="MI-T17"
        ),
        pytest.param([subset("10.0.0.1", ports=[])], {("IPv4",): {"10.0.0.1"}}, id="MI-T46"),
        pytest.param([subset("::ffff:10.0.0.1")], {V4: {"10.0.0.1"}}, id="MI-T47"),
        pytest.param([subset("::ffff:a00:1", "FD00:0::1")], {V4: {"10.0.0.1"}, V6: {"fd00::1"}}, id="MI-29-canonical"),
        pytest.param(
            [subset("10.0.0.1", "10.0.0.2"), subset(not_ready=["10.0.0.1"])],
            {V4: {"10.0.0.1-", "10.0.0.2"}},
            id="MI-25-not-ready-wins",
        ),
        pytest.param(
            [subset("10.0.0.1", ports=[SubsetPort("", 80, "TCP")])],
            {("IPv4", EndpointPort("", "TCP", 80)): {"10.0.0.1"}},
            id="MI-31-name-is-always-there",
        ),
        pytest.param([subset("10.0.0.1", ports=[H2C])], {("IPv4", H2C_PORT): {"10.0.0.1"}}, id="MI-31-app-protocol"),
        pytest.param([subset("10.0.0.01", "10.0.0.1")], {V4: {"10.0.0.1"}}, id="MI-32-one-endpoint"),
        pytest.param(
            [subset("10.0.0.01", not_ready=["10.0.0.1"])], {V4: {"10.0.0.1-"}}, id="MI-32-the-later-one-stays"
        ),
    ],
)
def test_groups(subsets: list[EndpointSubset], expected: Found) -> None:
    want = desired(subsets, 1000)
    assert found(want) == expected
    assert (want.invalid, want.skipped) == (0, 0)


@pytest.mark.parametrize(
    ("subsets", "limit", "expected", "invalid", "skipped"),
    [
        pytest.param(
            [subset("10.0.0.1", "bad"), subset("10.0.0.2", "10.0.0.3", not_ready=["1.2.3"], ports=[DNS])],
            1000,
            {V4: {"10.0.0.1"}, V4_DNS: {"10.0.0.2", "10.0.0.3"}},
            2,
            2,
            id="MI-T26",
        ),
        pytest.param([subset("1", "2", "3", not_ready=["fd00::%eth0", ""])], 1000, {}, 5, 5, id="MI-T27"),
        pytest.param(
            [subset("10.0.0.1", "10.0.0.2"), subset("10.0.1.1", "10.0.1.2", "10.0.1.3", ports=[DNS])],
            2,
            {V4: {"10.0.0.1", "10.0.0.2"}, V4_DNS: {"10.0.1.1", "10.0.1.2"}},
            0,
            1,
            id="MI-T28",
        ),
        pytest.param([subset(*ips(1000))], 1000, {V4: set(ips(1000))}, 0, 0, id="MI-T29-1000"),
        pytest.param([subset(*ips(1001))], 1000, {V4: set(sorted(ips(1001))[:1000])}, 0, 1, id="MI-T29-1001"),
        pytest.param(
            [subset("bad1", "10.0.0.1", "10.0.0.2", "10.0.0.3")], 2, {V4: {"10.0.0.1", "10.0.0.2"}}, 0, 2, id="MI-T30"
        ),
        pytest.param(
            [subset("!", "10.0.0.1", "10.0.0.2", "bad")], 1, {V4: {"10.0.0.1"}}, 1, 3, id="MI-28-before-and-after"
        ),
        pytest.param([subset("10.0.0.1", "bad")], 1, {V4: {"10.0.0.1"}}, 0, 1, id="MI-28-never-inspected"),
        pytest.param([subset("10.0.0.9", "10.0.0.10")], 1, {V4: {"10.0.0.10"}}, 0, 1, id="MI-27-order-of-strings"),
        pytest.param(
            [subset("10.0.0.2", not_ready=["10.0.0.1", "10.0.0.3"])],
            2,
            {V4: {"10.0.0.2", "10.0.0.1-"}},
            0,
            1,
            id="MI-27-ready-first-one-limit-for-both",
        ),
        pytest.param([subset("10.0.0.1", "fd00::1")], 1, {V4: {"10.0.0.1"}}, 0, 1, id="MI-27-one-limit-for-families"),
        pytest.param([subset("10.0.0.1"), subset("10.0.0.2")], 1, {V4: {"10.0.0.1"}}, 0, 1, id="MI-25-before-MI-27"),
        pytest.param(
            [subset("10.0.0.01", "10.0.0.1", "10.0.0.2")], 2, {V4: {"10.0.0.1"}}, 0, 1, id="MI-32-both-accepted"
        ),
        pytest.param(
            [subset("10.0.0.1", ports=[H2C]), subset("10.0.0.2", ports=[H2C])],
            1,
            {("IPv4", H2C_PORT): {"10.0.0.1", "10.0.0.2"}},
            0,
            0,
            id="EP-36-app-protocol-keeps-subsets-apart",
        ),
    ],
)
def test_what_is_left_out(
    subsets: list[EndpointSubset], limit: int, expected: Found, invalid: int, skipped: int
) -> None:
    want = desired(subsets, limit)
    assert found(want) == expected
    assert (want.invalid, want.skipped) == (invalid, skipped)


def test_both_families_have_a_group_mi_26() -> None:
    want = desired([subset("10.0.0.1"), subset(ports=[DNS])], 1000)
    assert {key: len(members) for key, members in want.groups.items()} == {
        ("IPv4", (HTTP_PORT,)): 1,
        ("IPv6", (HTTP_PORT,)): 0,
    }


def made(address: EndpointAddress) -> Endpoint:
    (only,) = (each for members in desired([subset(address)], 1000).groups.values() for each in members.values())
    return only


def test_endpoint_mi_30() -> None:
    target = TargetRef(
        kind="VM", namespace="other", name="t", uid="u", api_version="v9", resource_version="77", field_path="f"
    )
    full = EndpointAddress(ip="10.0.0.1", hostname="h", node_name="n", target_ref=target)
    assert made(full) == endpoint("10.0.0.1", hostname="h", node_name="n", target_ref=target)
    assert made(EndpointAddress(ip="10.0.0.1", hostname="", node_name="")) == endpoint("10.0.0.1", node_name="")


@pytest.mark.parametrize("ports", [[HTTP, HTTPS, DNS], [DNS, HTTPS, HTTP]])
def test_written_order_of_ports_is_that_of_the_hash_mi_31(ports: list[SubsetPort]) -> None:
    """Not that of the repacked subset (ES-139: dns 1c…, https 50…, http b6…)."""
    ((_, written), _) = desired([subset("10.0.0.1", ports=ports)], 1000).groups
    assert [port.name for port in written] == ["dns", "https", "http"]


def test_hostname_and_target_tell_equal_addresses_apart_mi_32() -> None:
    """Identity as in ES-45: a target's uid is not part of it."""

    def members(*addresses: EndpointAddress) -> list[Endpoint]:
        return list(desired([subset(*addresses)], 1000).groups["IPv4", (HTTP_PORT,)].values())

    plain, hosted = EndpointAddress(ip="10.0.0.01"), EndpointAddress(ip="10.0.0.1", hostname="h")
    assert members(plain, hosted) == [endpoint("10.0.0.1"), endpoint("10.0.0.1", hostname="h")]
    first, again, other = (TargetRef(kind="Pod", namespace="ns", name=n, uid=u) for n, u in ("a1", "a2", "b3"))
    targeted = [EndpointAddress(ip="10.0.0.1", target_ref=each) for each in (first, again, other)]
    assert members(*targeted) == [endpoint("10.0.0.1", target_ref=each) for each in (again, other)]


@pytest.mark.parametrize(
    "subsets",
    [
        pytest.param([subset("10.0.0.1", ports=[H2C, H2C])], id="in-one-subset"),
        pytest.param([subset("10.0.0.1", ports=[H2C]), subset("10.0.0.1", ports=[H2C])], id="in-two"),
        pytest.param([subset("10.0.0.1", ports=[HTTP, HTTP])], id="without-app-protocol"),
    ],
)
def test_port_given_twice_is_one_port(subsets: Iterable[EndpointSubset]) -> None:
    """Unlike KCM, which sends a slice with the port twice: the API server refuses it for ever (EP-36)."""
    assert {len(ports) for _, ports in desired(subsets, 1000).groups} == {1}


def test_not_ready_wins_only_where_ports_are_one_ep_36() -> None:
    """With an appProtocol they are not: of the two subsets, the later one in order of the hash counts (EP-38)."""
    subsets = [subset("10.0.0.1", ports=[H2C]), subset(not_ready=["10.0.0.1"], ports=[H2C])]
    ready = bool(max(subsets, key=subset_hash).addresses)
    for given in (subsets, subsets[::-1]):
        assert found(desired(given, 1000)) == {("IPv4", H2C_PORT): {"10.0.0.1" if ready else "10.0.0.1-"}}
