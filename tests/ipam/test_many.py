"""10,000 reservations: each is kept for whom it is for, and a decision looks no more up than with a few."""

from collections import Counter
from typing import Any

import pytest

from api.v1alpha1.common import ObjectMeta
from api.v1alpha1.service_reservation import (
    ReservedPort,
    ServiceReservation,
    ServiceReservationSpec,
    ServiceReservationStatus,
)
from controllers.ipam import compiled
from controllers.ipam.admission import RESERVED
from controllers.ipam.objects import ServiceCIDR
from controllers.ipam.ranges import IPV4
from controllers.ipam.world import World
from tests.ipam.snapshots import ip_pool, team
from tests.ipam.worlds import address_ask, chosen, new, number, refused, world

MANY = 10_000
WIDE = ServiceCIDR(name="kubernetes", cidrs=("10.96.0.0/16",))
POOL = ip_pool("own", "10.96.128.0/17", select=team("a"), exclusive=True, enforced=True)
LOOKED_UP = Counter[str]()


class Counting(dict[Any, Any]):
    """Tells how often it is asked for one entry, and for all of them (`every`)."""

    def get(self, key: Any, default: Any = None) -> Any:
        LOOKED_UP["one"] += 1
        return super().get(key, default)

    def __getitem__(self, key: Any) -> Any:
        LOOKED_UP["one"] += 1
        return super().__getitem__(key)

    def __iter__(self) -> Any:
        LOOKED_UP["every"] += 1
        return super().__iter__()

    def items(self) -> Any:
        LOOKED_UP["every"] += 1
        return super().items()

    def values(self) -> Any:
        LOOKED_UP["every"] += 1
        return super().values()


def address(at: int) -> str:
    return f"10.96.{64 + at // 200}.{at % 200 + 1}"


def resource(at: int) -> ServiceReservation:
    """One as users write it; each 100th has a node port, too."""
    ports = (ReservedPort(port_name="p0", node_port=30000 + at // 100),) if at % 100 == 0 else ()
    return ServiceReservation(
        metadata=ObjectMeta(name=f"r{at}", namespace=f"n{at % 50}", uid=f"uid-{at}"),
        spec=ServiceReservationSpec(service_name=f"s{at}", addresses=(address(at),), node_ports=ports),
        status=ServiceReservationStatus(),
    )


def with_reservations(count: int) -> World:
    made = world(POOL, cidr=WIDE)
    for at in range(count):
        made.reservation_changed(None, compiled.reservation(resource(at)))
    made._by_service, made._reserved = Counting(made._by_service), Counting(made._reserved)
    return made


@pytest.fixture(scope="module")
def many() -> World:
    return with_reservations(MANY)


def test_each_is_for_its_service(many: World) -> None:
    for at in range(0, MANY, 37):
        ask = address_ask(new(f"n{at % 50}/s{at}"), many)
        assert (ask.kind, ask.reserved) == (IPV4, number(address(at)))
        # Of another namespace, a Service of that name is another Service.
        assert address_ask(new(f"n{at % 50 + 1}/s{at}"), many).reserved is None


def test_each_is_refused_to_others(many: World) -> None:
    for at in range(0, MANY, 41):
        refusal = refused(new("b/thief", address(at)), many)
        assert refusal.reason == RESERVED
        assert f"{address(at)} is reserved for Service n{at % 50}/s{at}" in refusal.message
    for at in range(0, MANY, 100):
        refusal = refused(new("b/thief", ports=(30000 + at // 100,)), many)
        assert f"node port {30000 + at // 100} is reserved for Service n{at % 50}/s{at}" in refusal.message


def test_each_is_there_whatever_else_it_names(many: World) -> None:
    ports = [ask for at in range(0, MANY, 100) for ask in chosen(new(f"n{at % 50}/s{at}", ports=(0,)), many).ports]
    assert [ask.reserved for ask in ports] == [30000 + at for at in range(MANY // 100)]


@pytest.mark.parametrize("at", [0, 3, 99])
@pytest.mark.parametrize("stranger", [False, True], ids=["owner", "stranger"])
def test_a_decision_looks_up_no_more_than_with_a_few(at: int, stranger: bool, many: World) -> None:
    def asked(of: World) -> Counter[str]:
        LOOKED_UP.clear()
        if stranger:
            refused(new("b/thief", address(at)), of)
        else:
            chosen(new(f"n{at % 50}/s{at}", ports=(0, 0)), of)
        return LOOKED_UP.copy()

    few = asked(with_reservations(100))
    assert asked(many) == few
    assert few["every"] == 0
    assert 0 < few["one"] < 20


def test_what_goes_is_free_again_and_the_others_stay() -> None:
    made = with_reservations(MANY)
    for at in range(0, MANY, 2):
        made.reservation_changed(compiled.reservation(resource(at)), None)
    for at in range(0, MANY, 250):
        assert made.reserved_for(IPV4, number(address(at))) is None
        assert made.reserved_for(IPV4, number(address(at + 1))) == f"n{(at + 1) % 50}/s{at + 1}"
    assert len(made._reserved) == len(made._by_service) == MANY // 2
