"""The families of a Service, row by row of the specification. tests/shell has the same beside a real API server."""

import itertools

import msgspec
import pytest

from controllers.ipam.families import canonical, policy_to_set, resulting
from controllers.ipam.objects import HEADLESS, PREFER, REQUIRE, SINGLE, Service
from controllers.ipam.ranges import IPV4, IPV6

A, B, C, D = "10.96.0.20", "fd00:10:96::20", "10.96.0.21", "fd00:10:96::21"
FOUR, SIX, BOTH, REVERSED = (IPV4,), (IPV6,), (IPV4, IPV6), (IPV6, IPV4)
FAMILIES = {"": (), "4": FOUR, "6": SIX, "46": BOTH, "64": REVERSED, "-": None}


def service(*ips: str, families: str | tuple[str, ...] = "", policy: str = "", **fields: object) -> Service:
    """A Service with both fields of its addresses, as a create wants them."""
    made = Service(
        namespace="default",
        name="web",
        cluster_ip=ips[0] if ips else "",
        cluster_ips=ips,
        families=(FAMILIES[families] or ()) if isinstance(families, str) else families,
        policy=policy,
        has_selector=True,
    )
    return msgspec.structs.replace(made, **fields)


# Addresses, policy, and what comes of the families none, [4], [6], [4,6], [6,4]; "-" is refused.
CREATES = [
    # IP-30, no IPs
    ((), "", "4 4 6 - -"),
    ((), SINGLE, "4 4 6 - -"),
    ((), PREFER, "46 46 64 46 64"),
    ((), REQUIRE, "46 46 64 46 64"),
    # IP-30, one IP, IPv4 and mirrored
    ((A,), "", "4 4 - - -"),
    ((A,), SINGLE, "4 4 - - -"),
    ((A,), PREFER, "46 46 - 46 -"),
    ((A,), REQUIRE, "46 46 - 46 -"),
    ((B,), "", "6 - 6 - -"),
    ((B,), SINGLE, "6 - 6 - -"),
    ((B,), PREFER, "64 - 64 - 64"),
    ((B,), REQUIRE, "64 - 64 - 64"),
    # IP-29, IP-30, two IPs
    ((A, B), "", "- - - - -"),
    ((A, B), SINGLE, "- - - - -"),
    ((A, B), PREFER, "46 46 - 46 -"),
    ((A, B), REQUIRE, "46 46 - 46 -"),
    ((B, A), PREFER, "64 - 64 - 64"),
    ((B, A), REQUIRE, "64 - 64 - 64"),
    # IP-32, headless with selector: as without IPs
    ((HEADLESS,), "", "4 4 6 - -"),
    ((HEADLESS,), SINGLE, "4 4 6 - -"),
    ((HEADLESS,), PREFER, "46 46 64 46 64"),
    ((HEADLESS,), REQUIRE, "46 46 64 46 64"),
]
SINGLE_STACK_CREATES = [
    # IP-31
    ((), "", "4 4 - - -"),
    ((), SINGLE, "4 4 - - -"),
    ((), PREFER, "4 4 - - -"),
    ((), REQUIRE, "- - - - -"),
    ((A,), "", "4 4 - - -"),
    ((A,), PREFER, "4 4 - - -"),
    ((A,), REQUIRE, "- - - - -"),
    ((B,), "", "- - - - -"),
    ((B,), PREFER, "- - - - -"),
    ((A, B), PREFER, "- - - - -"),
    ((A, B), REQUIRE, "- - - - -"),
    # IP-32
    ((HEADLESS,), "", "4 4 - - -"),
    ((HEADLESS,), PREFER, "4 4 - - -"),
    ((HEADLESS,), REQUIRE, "- - - - -"),
]
# IP-27, IP-32, C-36: the same whatever the cluster's other family
WITHOUT_SELECTOR = [
    ("", "46 46 64 46 64"),
    (SINGLE, "4 4 6 - -"),
    (PREFER, "46 46 64 46 64"),
    (REQUIRE, "46 46 64 46 64"),
]


def _row(made: list[tuple[str, ...] | None]) -> str:
    return " ".join(next(text for text, families in FAMILIES.items() if families == each) for each in made)


@pytest.mark.parametrize(("ips", "policy", "row"), CREATES)
def test_create(ips: tuple[str, ...], policy: str, row: str) -> None:
    given = ("", "4", "6", "46", "64")
    assert _row([resulting(service(*ips, families=each, policy=policy), None, BOTH) for each in given]) == row


@pytest.mark.parametrize(("ips", "policy", "row"), SINGLE_STACK_CREATES)
def test_create_on_a_single_stack_cluster(ips: tuple[str, ...], policy: str, row: str) -> None:
    given = ("", "4", "6", "46", "64")
    assert _row([resulting(service(*ips, families=each, policy=policy), None, FOUR) for each in given]) == row


@pytest.mark.parametrize("configured", [FOUR, BOTH])
@pytest.mark.parametrize(("policy", "row"), WITHOUT_SELECTOR)
def test_create_headless_without_selector(policy: str, row: str, configured: tuple[str, ...]) -> None:
    given = ("", "4", "6", "46", "64")
    made = [service(HEADLESS, families=each, policy=policy, has_selector=False) for each in given]
    assert _row([resulting(each, None, configured) for each in made]) == row


def test_create_where_ipv6_is_primary() -> None:
    """IP-28."""
    assert resulting(service(), None, REVERSED) == SIX
    assert resulting(service(policy=PREFER), None, REVERSED) == REVERSED
    assert resulting(service(A, policy=PREFER), None, REVERSED) == BOTH


@pytest.mark.parametrize(
    "new",
    [
        service(A, cluster_ip=""),  # IP-10, C-37: plural without singular
        service(A, cluster_ip=C),  # IP-10: the first is not the singular
        service(A, B, D, policy=PREFER),  # C-37: three
        service(A, C, policy=PREFER),  # C-37: two of one family
        service("banana"),  # C-37: malformed
        service("10.96.0.020"),
        service("fe80::1%eth0"),
        service("::ffff:10.96.0.20"),
        service(HEADLESS, B, policy=PREFER),  # C-37: `None` with an IP
        service(A, HEADLESS, policy=PREFER),
        service(HEADLESS, type="NodePort"),  # IP-36
        service(A, type="ExternalName"),  # IP-36
        service(type="ExternalName", families="4"),
        service(families="4", policy="Both"),
        service(policy=PREFER, families=(IPV4, IPV4)),
        service(families=("IPv5",)),
    ],
)
def test_create_refused(new: Service) -> None:
    assert resulting(new, None, BOTH) is None


def test_create_with_the_singular_alone() -> None:
    """IP-10."""
    assert resulting(service(cluster_ip=B), None, BOTH) == SIX
    assert resulting(service(cluster_ip=HEADLESS), None, BOTH) == FOUR


def test_external_name_has_no_families() -> None:
    assert resulting(service(type="ExternalName"), None, BOTH) == ()
    assert resulting(service(A, families="4", policy=SINGLE, type="ExternalName"), SINGLE_OLD, BOTH) == ()  # IP-11
    assert resulting(service(C, families="4", policy=SINGLE, type="ExternalName"), SINGLE_OLD, BOTH) is None


SINGLE_OLD = service(A, families="4", policy=SINGLE)
PREFER_OLD = service(A, families="4", policy=PREFER)
DUAL_OLD = service(A, B, families="46", policy=PREFER)
REQUIRE_OLD = service(B, A, families="64", policy=REQUIRE)
HEADLESS_OLD = service(HEADLESS, families="46", policy=REQUIRE, has_selector=False)
EXTERNAL_OLD = service(type="ExternalName")

UPDATES = [
    # IP-9, IP-27: a PUT that says nothing keeps all
    (SINGLE_OLD, service(), "4"),
    (DUAL_OLD, service(), "46"),
    (REQUIRE_OLD, service(), "64"),
    # IP-34: from single, named or dynamic
    (SINGLE_OLD, service(policy=PREFER), "46"),
    (SINGLE_OLD, service(A, families="4", policy=REQUIRE), "46"),
    (SINGLE_OLD, service(A, B, families="4", policy=PREFER), "46"),
    (SINGLE_OLD, service(A, B, families="46", policy=REQUIRE), "46"),
    (SINGLE_OLD, service(A, families="46", policy=PREFER), "46"),
    (SINGLE_OLD, service(A, B, families="46"), "-"),  # dual values without policy
    (SINGLE_OLD, service(A, families="46"), "-"),
    (SINGLE_OLD, service(families="64", policy=PREFER), "-"),  # order
    (SINGLE_OLD, service(B, A, policy=PREFER), "-"),
    # IP-34, C-38: from dual
    (DUAL_OLD, service(A, B, families="46", policy=SINGLE), "4"),
    (DUAL_OLD, service(A, families="46", policy=SINGLE), "4"),
    (DUAL_OLD, service(A, B, families="4", policy=SINGLE), "4"),
    (DUAL_OLD, service(A, families="4", policy=SINGLE), "4"),
    (DUAL_OLD, service(policy=SINGLE), "4"),
    (REQUIRE_OLD, service(policy=SINGLE), "6"),
    (DUAL_OLD, service(A, D, families="46", policy=SINGLE), "-"),  # another second is no release
    # IP-34, C-39: reduced under another policy, or the first dropped
    (DUAL_OLD, service(A, families="4", policy=PREFER), "-"),
    (DUAL_OLD, service(A, families="46", policy=REQUIRE), "-"),
    (DUAL_OLD, service(A, B, families="4"), "-"),
    (DUAL_OLD, service(B, families="6", policy=SINGLE), "-"),
    (HEADLESS_OLD, service(HEADLESS, families="6", policy=REQUIRE, has_selector=False), "-"),
    # IP-36: what is there stays
    (SINGLE_OLD, service(C, families="4"), "-"),
    (SINGLE_OLD, service(cluster_ip=C, cluster_ips=(A,)), "-"),
    (DUAL_OLD, service(A, D, families="46", policy=PREFER), "-"),
    (DUAL_OLD, service(B, A, families="64", policy=PREFER), "-"),
    (SINGLE_OLD, service(HEADLESS, families="4"), "-"),
    (HEADLESS_OLD, service(A, families="46", policy=REQUIRE), "-"),
    # IP-36: unless one of both is an ExternalName
    (EXTERNAL_OLD, service(), "4"),
    (EXTERNAL_OLD, service(cluster_ip=B), "6"),
    (EXTERNAL_OLD, service(B, A, policy=REQUIRE), "64"),
    # IP-35, C-40: only what does not touch the policy, the families and the type upgrades nothing
    (PREFER_OLD, service(A, families="4", policy=PREFER), "4"),
    (PREFER_OLD, service(families="4", policy=PREFER), "4"),
    (PREFER_OLD, service(A, families="4"), "46"),
    (PREFER_OLD, service(A, policy=PREFER), "46"),
    (PREFER_OLD, service(A, families="4", policy=PREFER, type="NodePort"), "46"),
]


@pytest.mark.parametrize(("old", "new", "families"), UPDATES)
def test_update(old: Service, new: Service, families: str) -> None:
    assert resulting(new, old, BOTH) == FAMILIES[families]


def test_policy_to_set() -> None:
    """IP-29, IP-70: the old one where the request has none; nothing where it says it, or for one family."""
    assert policy_to_set(service(), DUAL_OLD, BOTH) == PREFER
    assert policy_to_set(service(), REQUIRE_OLD, REVERSED) == REQUIRE
    assert policy_to_set(service(policy=PREFER), SINGLE_OLD, BOTH) == ""
    assert policy_to_set(service(), SINGLE_OLD, FOUR) == ""
    assert policy_to_set(service(), None, FOUR) == ""


def test_canonical() -> None:
    """IP-55."""
    assert canonical("FD00:0010:96:0::0.0.0.32") == B
    assert canonical(A) == A
    assert [canonical(text) for text in ("", HEADLESS, "10.96.20", "::ffff:10.96.0.20", "fe80::1%1")] == [None] * 5


def test_an_accepted_outcome_is_stable() -> None:
    """Whatever a create makes, an update that says it all leaves, and one that says nothing, too.

    The latter not of a headless Service: no address tells its families (IP-28).
    """
    for (ips, policy, _), families in itertools.product(CREATES, ("", "4", "6", "46", "64")):
        made = resulting(service(*ips, families=families, policy=policy), None, BOTH)
        if made is None:
            continue
        addresses = ips if HEADLESS in ips else tuple((A if each == IPV4 else B) for each in made)
        old = service(*addresses, policy=policy or SINGLE, families=made)
        assert resulting(old, old, BOTH) == made
        assert HEADLESS in ips or resulting(service(), old, BOTH) == made
