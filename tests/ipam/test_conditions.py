"""What the conditions of pools say, and that each says what to do."""

from typing import Any

import pytest

from controllers.ipam.audit import Finding, Kind, Ref
from controllers.ipam.capacity import ip_pool_counts, port_pool_count
from controllers.ipam.conditions import Enforcement, Verdict, ip_pool_verdicts, port_pool_verdicts
from controllers.ipam.networks import Networks
from controllers.ipam.objects import ServiceCIDR
from controllers.ipam.pools import IPPool, PortPool, Reservation
from controllers.ipam.ranges import Span
from controllers.ipam.snapshot import Snapshot
from tests.ipam.snapshots import DEFAULT_CIDR, addresses, ip_pool, port_pool, service, snapshot, team

PROBED = Enforcement(True, "The policies refuse what they should")
A = ip_pool("a", "10.96.0.32-10.96.0.41")
P = port_pool("p", 30100, 30109)


def of_pool(
    pool: IPPool,
    view: Snapshot | None = None,
    found: tuple[Finding, ...] = (),
    enforcement: Enforcement = PROBED,
) -> dict[str, Verdict]:
    view = view or snapshot()
    verdicts = ip_pool_verdicts(pool, view, ip_pool_counts(pool, view), found, enforcement)
    assert [each.type for each in verdicts] == [
        "Ready",
        "RangeConflict",
        "ServiceCIDRCovered",
        "EnforcementActive",
        "NearExhaustion",
        "Exhausted",
        "Drift",
    ]
    return {each.type: each for each in verdicts}


def of_ports(pool: PortPool, view: Snapshot | None = None, found: tuple[Finding, ...] = ()) -> dict[str, Verdict]:
    view = view or snapshot()
    verdicts = port_pool_verdicts(pool, view, port_pool_count(pool, view), found, PROBED)
    return {each.type: each for each in verdicts}


def test_a_pool_without_faults() -> None:
    found = of_pool(A)
    assert [name for name, each in found.items() if each.true] == ["Ready", "ServiceCIDRCovered"]
    assert [name for name, each in of_ports(P).items() if each.true] == ["Ready"]


@pytest.mark.parametrize(
    ("case", "pool", "others", "fields", "reason", "said"),
    [
        ("alone", A, [], {}, "NoConflict", "no other pool"),
        ("beside", A, [ip_pool("b", "10.96.0.42-10.96.0.50")], {}, "NoConflict", "no other pool"),
        (
            "overlap, with which and where",
            A,
            [ip_pool("b", "10.96.0.40-10.96.0.50"), ip_pool("c", "10.96.0.32-10.96.0.32")],
            {},
            "PoolOverlap",
            "10.96.0.40-10.96.0.41 is also in the pool b; 10.96.0.32 is also in the pool c: change a range",
        ),
        (
            "overlap of an exclusive one",
            A,
            [ip_pool("b", "10.96.0.0/24", exclusive=True, select=team("b"))],
            {},
            "PoolOverlap",
            "10.96.0.32-10.96.0.41 is also in the pool b, which is exclusive,",
        ),
        (
            "Pods",
            A,
            [],
            {"networks": Networks(pods=addresses("10.96.0.40/31"))},
            "NetworkOverlap",
            "10.96.0.40-10.96.0.41 is also in a network",
        ),
        (
            "Nodes",
            A,
            [],
            {"networks": Networks(nodes=addresses("fd00::1/128", "10.96.0.33/32"))},
            "NetworkOverlap",
            "10.96.0.33 is also in a network of Nodes",
        ),
        (
            "other networks",
            A,
            [],
            {"networks": Networks(addresses("10.244.0.0/16"), addresses("fd00::1/128", "10.96.0.42/32"))},
            "NoConflict",
            "",
        ),
        (
            "nonsense",
            ip_pool("a", "10.96.0.32-10.96.0.41", broken=("10.96.0.9 - 10.96.0.1 is no range",)),
            [],
            {},
            "BrokenRange",
            "10.96.0.9 - 10.96.0.1 is no range",
        ),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_range_conflict(
    case: str, pool: IPPool, others: list[IPPool], fields: dict[str, Any], reason: str, said: str
) -> None:
    found = of_pool(pool, snapshot(ip_pools=[pool, *others], **fields))
    conflict = found["RangeConflict"]
    assert (conflict.reason, conflict.true) == (reason, reason != "NoConflict"), case
    assert said in conflict.message
    assert found["Ready"].true is not conflict.true


@pytest.mark.parametrize(
    ("case", "pool", "others", "reason", "said"),
    [
        ("alone", P, [], "NoConflict", "no other pool"),
        ("overlap", P, [port_pool("q", 30109, 30200)], "PoolOverlap", "30109 is also in the pool q"),
        (
            "overlap of another purpose: the numbers are the same",
            P,
            [port_pool("q", 30100, 30101, purposes=frozenset({"HealthCheck"}))],
            "PoolOverlap",
            "30100-30101",
        ),
        (
            "IP-44: outside",
            port_pool("p", 29999, 32769),
            [],
            "OutsideNodePortRange",
            "29999, 32768-32769 is outside --service-node-port-range=30000-32767",
        ),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_range_conflict_of_ports(case: str, pool: PortPool, others: list[PortPool], reason: str, said: str) -> None:
    found = of_ports(pool, snapshot(port_pools=[pool, *others]))
    conflict = found["RangeConflict"]
    assert (conflict.reason, conflict.true) == (reason, reason != "NoConflict"), case
    assert said in conflict.message
    assert found["Ready"].true is not conflict.true


def cidr(text: str, **fields: Any) -> ServiceCIDR:
    return ServiceCIDR(name=text, cidrs=(text,), **fields)


WHOLE = ip_pool("a", "10.97.0.0/24")


@pytest.mark.parametrize(
    ("case", "pool", "cidrs", "reason", "said"),
    [
        ("by one", WHOLE, [cidr("10.97.0.0/24")], "Covered", ""),
        ("by two", WHOLE, [cidr("10.97.0.0/25"), cidr("10.97.0.128/25")], "Covered", ""),
        ("by none", WHOLE, [], "NotCovered", "10.97.0.0-10.97.0.255 is in no ServiceCIDR"),
        (
            "by a part",
            WHOLE,
            [cidr("10.97.0.0/25")],
            "PartlyCovered",
            "10.97.0.128-10.97.0.255 is in no ServiceCIDR that is ready, and cannot be given to Services: make a",
        ),
        (
            "IP-12: not ready",
            WHOLE,
            [cidr("10.97.0.0/24", ready=False)],
            "NotCovered",
            "not ready, or is being deleted",
        ),
        ("going", WHOLE, [cidr("10.97.0.0/24", terminating=True)], "NotCovered", "not ready, or is being deleted"),
        (
            "to be made",
            ip_pool("a", "10.97.0.0/24", creates_service_cidr=True),
            [],
            "NotCovered",
            "a ServiceCIDR is made for each range",
        ),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_service_cidr_covered(case: str, pool: IPPool, cidrs: list[ServiceCIDR], reason: str, said: str) -> None:
    found = of_pool(pool, snapshot(cidrs=cidrs))
    covered, ready = found["ServiceCIDRCovered"], found["Ready"]
    assert (covered.reason, covered.true) == (reason, reason == "Covered"), case
    assert said in covered.message
    assert (ready.true, ready.reason) == ((True, "Ready") if covered.true else (False, "RangeNotReady"))
    # Nothing to give is not the same as all given.
    assert not found["Exhausted"].true


VIP = {"exclusive": True, "select": team("vip")}


@pytest.mark.parametrize(
    ("case", "pool", "expected"),
    [
        ("in the band of a /24: .1 to .16 (IP-14)", ip_pool("a", "10.96.0.1-10.96.0.16", **VIP), ""),
        ("partly behind it", ip_pool("a", "10.96.0.15-10.96.0.18", **VIP), "10.96.0.17-10.96.0.18 is not."),
        ("not exclusive", ip_pool("a", "10.96.0.15-10.96.0.18"), ""),
        ("too large for any band", ip_pool("a", "10.96.0.0/24", "fd00::/112", **VIP), ""),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_placement_advice(case: str, pool: IPPool, expected: str) -> None:
    view = snapshot(cidrs=[DEFAULT_CIDR, cidr("fd00::/112")])
    message = of_pool(pool, view)["ServiceCIDRCovered"].message
    assert message.endswith(expected), case
    assert ("Hint" in message) is bool(expected)


@pytest.mark.parametrize(
    ("enforced", "given", "expected"),
    [
        (False, PROBED, (False, "Audit")),
        (True, Enforcement(), (None, "NotProbed")),
        (True, PROBED, (True, "Effective")),
        (True, Enforcement(False, "policy x is missing"), (False, "NotEffective")),
    ],
)
def test_enforcement_is_as_the_probe_says(enforced: bool, given: Enforcement, expected: tuple[Any, str]) -> None:
    found = of_pool(ip_pool("a", "10.96.0.32-10.96.0.41", enforced=enforced), enforcement=given)["EnforcementActive"]
    assert (found.true, found.reason) == expected


def filled(used: int, reserved: int = 0) -> Snapshot:
    return snapshot(
        [service(f"a/s{n}", f"10.96.0.{32 + n}", ports=[30100 + n]) for n in range(used)],
        reservations=[
            Reservation(namespace="a", name=f"r{n}", addresses=(f"10.96.0.{41 - n}",), node_ports=(("", 30109 - n),))
            for n in range(reserved)
        ],
    )


@pytest.mark.parametrize(
    ("used", "reserved", "near", "exhausted"),
    [
        (0, 0, "EnoughLeft", False),
        (7, 0, "EnoughLeft", False),
        (8, 0, "Warning", False),
        (5, 3, "Warning", False),
        (9, 0, "Warning", False),
        (10, 0, "Critical", True),
        (8, 2, "Critical", True),
    ],
)
def test_exhaustion_by_default_thresholds(used: int, reserved: int, near: str, exhausted: bool) -> None:
    """80 and 95 percent of ten; reserved ones cannot be given to others either."""
    for found in (of_pool(A, filled(used, reserved)), of_ports(P, filled(used, reserved))):
        assert (found["NearExhaustion"].reason, found["NearExhaustion"].true) == (near, near != "EnoughLeft")
        assert found["Exhausted"].true is exhausted
        assert not exhausted or f"{used} used, {reserved} reserved, 0 cooling down of 10" in found["Exhausted"].message


def test_exhaustion_of_one_family_or_of_what_is_covered() -> None:
    both = ip_pool("a", "10.96.0.32-10.96.0.33", "fd00::1-fd00::ff", warn_percent=50, critical_percent=99)
    cidrs = [DEFAULT_CIDR, cidr("fd00::/112")]
    services = [service("a/b", "10.96.0.32"), service("a/c", "10.96.0.33")]
    assert "IPv4: 2 used" in of_pool(both, snapshot(services, cidrs=cidrs))["Exhausted"].message
    one = of_pool(both, snapshot(services[:1], cidrs=cidrs))
    assert (one["NearExhaustion"].reason, one["Exhausted"].true) == ("Warning", False)
    # Half of the range is in no ServiceCIDR: what is free there cannot be given.
    half = ip_pool("a", "10.96.0.254-10.96.1.9")
    assert of_pool(half, snapshot([service("a/b", "10.96.0.254")]))["Exhausted"].true


def test_ports_outside_the_range_do_not_count_as_free() -> None:
    view = snapshot([service("a/b", "10.96.0.1", ports=[105])], node_ports=Span(100, 105))
    assert of_ports(port_pool("p", 105, 110), view)["Exhausted"].true


def test_drift_has_its_cause() -> None:
    def one(kind: Kind, name: str, *pools: str) -> Finding:
        return Finding(kind=kind, object=Ref("Service", "shop", name), message=f"{name} is wrong", pools=pools)

    found = (
        one(Kind.DUPLICATE_ADDRESS, "x", "other"),
        one(Kind.FOREIGN_USE, "y", "a", "other"),
        one(Kind.MISSING_IPADDRESS, "z", "a"),
        one(Kind.MISSING_IPADDRESS, "w", "a"),
    )
    drift = of_pool(A, found=found)["Drift"]
    assert drift == Verdict(
        "Drift",
        True,
        "MissingIpaddress",
        "2 missing_ipaddress, 1 foreign_use. The first: Service shop/y: y is wrong",
    )
    assert not of_pool(ip_pool("b", "10.96.0.50-10.96.0.51"), found=found)["Drift"].true
    # Pools of the two kinds may have one name.
    assert not of_ports(port_pool("a", 30100, 30109), found=found)["Drift"].true
