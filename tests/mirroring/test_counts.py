"""What a sync tells people and counts (MI-28, MI-39, MI-49, MI-50, MI-52)."""

import pytest
from msgspec.structs import replace

from controllers.mirroring.reconcile import Counts
from controllers.model.objects import Conditions, EndpointPort, Endpoints, EndpointSlice, SubsetPort
from controllers.model.plan import Notice
from tests.mirroring.builders import DNS, apply, endpoint, endpoints, existing, planned, subset

ONE = endpoints(subset("10.0.0.1"))
# A slice of ports that are not wanted any more.
UNDESIRED = existing("e-3", ["10.0.0.3"], ports=(EndpointPort("old", "TCP", 1),))
INVALID = "Skipped 2 invalid IP addresses when mirroring to EndpointSlices"
TOO_MANY = (
    "A max of 2 addresses can be mirrored to EndpointSlices per Endpoints subset. {} addresses were skipped".format
)


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        pytest.param(["10.0.0.1"], [], id="nothing"),
        pytest.param(["10.0.0.1", "!", "?"], [("InvalidIPAddress", INVALID)], id="MI-49"),
        pytest.param(
            ["bad1", "10.0.0.1", "10.0.0.2", "10.0.0.3"], [("TooManyAddressesToMirror", TOO_MANY(2))], id="MI-T30"
        ),
        pytest.param(
            ["!", "!!", "10.0.0.1", "10.0.0.2", "10.0.0.3"],
            [("InvalidIPAddress", INVALID), ("TooManyAddressesToMirror", TOO_MANY(3))],
            id="MI-50-invalid-included",
        ),
    ],
)
def test_notices(addresses: list[str], expected: list[tuple[str, str]]) -> None:
    plan = planned(endpoints(subset(*addresses)), limit=2)
    assert plan.notices == tuple(Notice("Warning", *each) for each in expected)


FOREIGN_EXTRA = replace(endpoint("10.0.0.2"), addresses=("10.0.0.2", "10.0.0.9"))
TWO_PORTS = endpoints(subset("10.0.0.1"), subset("10.0.1.1", "10.0.1.2", "10.0.1.3", ports=[DNS]))
H2C = SubsetPort("http", 80, "TCP", "h2c")


@pytest.mark.parametrize(
    ("of", "slices", "limit", "expected"),
    [
        pytest.param(endpoints(), [], 1, Counts(), id="nothing"),
        pytest.param(
            ONE,
            [existing("e-1", [endpoint("10.0.0.1", conditions=Conditions()), FOREIGN_EXTRA])],
            1,
            Counts(updated=1, removed=1, endpoints=1, slices=1, perfect_slices=1),
            id="MI-T24",
        ),
        pytest.param(
            TWO_PORTS,
            [existing("e-1", ["10.0.0.1"])],
            3,
            Counts(added=3, endpoints=4, slices=2, perfect_slices=2),
            id="MI-T25",
        ),
        pytest.param(endpoints(subset("10.0.0.1", "!", "bad")), [], 1, Counts(1, 0, 0, 2, 1, 1, 1), id="MI-28-skipped"),
        pytest.param(
            ONE,
            [existing("e-6", ["fd00::1", "fd00::2"], address_type="IPv6"), existing("e-1", ["10.0.0.1"])],
            1,
            Counts(removed=2, endpoints=1, slices=1, perfect_slices=1),
            id="MI-52-emptied-group",
        ),
        pytest.param(
            ONE,
            [existing("e-1", ["10.0.0.1"]), existing("e-2", ["10.0.0.1", "10.0.0.2"]), UNDESIRED],
            1,
            Counts(endpoints=1, slices=1, perfect_slices=1),
            id="MI-52-neither-duplicates-nor-undesired-groups",
        ),
        pytest.param(ONE, [UNDESIRED], 1, Counts(1, 0, 0, 0, 1, 1, 1), id="MI-T35-recycled"),
        pytest.param(
            endpoints(
                subset(*[f"10.0.0.{n}" for n in range(45)]), subset(*[f"10.0.1.{n}" for n in range(35)], ports=[DNS])
            ),
            [],
            100,
            Counts(added=80, endpoints=80, slices=2, perfect_slices=2),
            id="MI-T44",
        ),
        pytest.param(
            endpoints(*[subset(f"10.0.0.{n}", f"10.0.1.{n}", ports=[H2C]) for n in range(3)]),
            [],
            4,
            Counts(added=6, endpoints=6, slices=1, perfect_slices=2),
            id="MI-52-rounded-up",
        ),
    ],
)
def test_counts(of: Endpoints, slices: list[EndpointSlice], limit: int, expected: Counts) -> None:
    assert planned(of, slices, limit=limit).counts == expected


def test_surplus_of_subsets_in_one_group_is_dropped_silently_mi_39() -> None:
    """Unlike in KCM it is the same surplus at every sync, so that it costs no update."""
    of = endpoints(*[subset(f"10.0.0.{n}", ports=[H2C]) for n in range(1, 4)])
    plan = planned(of, limit=2)
    (made,) = plan.writes.create
    assert (len(made.endpoints), plan.notices) == (2, ())
    assert not planned(of, apply(plan.writes, []), limit=2).writes
