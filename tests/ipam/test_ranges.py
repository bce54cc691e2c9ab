"""Sets of numbers against Python's own sets, and the API server's arithmetic row by row of the specification."""

from ipaddress import ip_address, ip_network
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.ipam.ranges import (
    IPV4,
    IPV6,
    NONE,
    NOWHERE,
    Addresses,
    Span,
    Spans,
    cidrs,
    family_of,
    network,
    number_of,
    shown,
    static_band,
    static_ports,
    text_of,
    usable,
)
from tests.ipam.snapshots import addresses

spans = st.lists(st.builds(Span, st.integers(0, 40), st.integers(0, 40)), max_size=6)


def numbers(given_: list[Span]) -> set[int]:
    return {number for span in given_ for number in range(span.first, span.last + 1)}


@given(a=spans, b=spans)
def test_law_as_sets(a: list[Span], b: list[Span]) -> None:
    left, right, one, two = numbers(a), numbers(b), Spans(a), Spans(b)
    assert list(one) == sorted(left)
    assert (one.size, bool(one)) == (len(left), bool(left))
    assert list(one.union(two)) == sorted(left | right)
    assert list(one.minus(two)) == sorted(left - right)
    assert list(one.overlap(two)) == sorted(left & right)
    assert one.count_within(right) == len(left & right)
    assert [number in one for number in range(-1, 42)] == [number in left for number in range(-1, 42)]
    assert [one.nth(index) for index in range(one.size)] == sorted(left)
    assert (one == two) == (left == right)
    assert hash(one) == hash(Spans(Span(number, number) for number in left))


@given(a=spans)
def test_law_as_few_spans_as_can_be(a: list[Span]) -> None:
    found = Spans(a).spans
    assert all(span.first <= span.last for span in found)
    assert all(before.last + 1 < after.first for before, after in pairwise(found))


@pytest.mark.parametrize("index", [-1, 4, 1 << 70])
def test_no_number_at_a_place_outside(index: int) -> None:
    with pytest.raises(IndexError):
        Spans([Span(1, 2), Span(8, 9)]).nth(index)


def test_nothing_has_no_first() -> None:
    with pytest.raises(IndexError):
        NONE.nth(0)
    assert repr(Spans([Span(1, 2)])) == "Spans([Span(first=1, last=2)])"
    assert Spans([Span(1, 2)]) != [Span(1, 2)]


def test_size_is_more_than_len_may_say() -> None:
    """C-6: nothing overflows."""
    _, span = usable("fd00::/64")
    every = Spans([span])
    assert every.size == 2**64 - 1
    assert text_of(IPV6, every.nth(0)) == "fd00::1"
    assert text_of(IPV6, every.nth(every.size - 1)) == "fd00::ffff:ffff:ffff:ffff"


@pytest.mark.parametrize(
    ("cidr", "first", "last", "size"),
    [
        ("192.168.0.0/24", "192.168.0.1", "192.168.0.254", 254),  # C-2
        ("192.168.0.0/28", "192.168.0.1", "192.168.0.14", 14),  # C-1
        ("192.168.0.0/30", "192.168.0.1", "192.168.0.2", 2),  # C-4
        ("192.168.0.0/31", None, None, 0),
        ("192.168.0.0/32", None, None, 0),  # C-4
        ("fd00::/120", "fd00::1", "fd00::ff", 255),  # C-3
        ("fd00::/116", "fd00::1", "fd00::fff", 4095),  # C-3
        ("fd00::/127", "fd00::1", "fd00::1", 1),
        ("fd00::/128", None, None, 0),
    ],
)
def test_usable(cidr: str, first: str | None, last: str | None, size: int) -> None:
    """IP-13."""
    family, span = usable(cidr)
    found = Spans([span])
    assert (family, found.size) == (family_of(cidr), size)
    assert [text_of(family, each.first) for each in found.spans] == ([first] if first else [])
    assert [text_of(family, each.last) for each in found.spans] == ([last] if last else [])


@pytest.mark.parametrize(
    ("family", "sizes"),
    [
        (
            "10.0.0.0",
            {0: 0, 1: 0, 2: 256, 8: 256, 10: 256, 20: 256, 21: 128, 22: 64, 23: 32, 24: 16, 27: 16, 28: 0, 32: 0},
        ),
        (
            "fd00::",
            {0: 0, 1: 0, 2: 256, 10: 256, 64: 256, 116: 256, 117: 128, 118: 64, 119: 32, 120: 16, 123: 16, 124: 0}
            | {128: 0},
        ),
    ],
)
def test_static_band(family: str, sizes: dict[int, int]) -> None:
    """IP-14."""
    texts = {length: str(ip_network(f"{family}/{length}", strict=False)) for length in sizes}
    assert {length: static_band(text) for length, text in texts.items()} == sizes


@pytest.mark.parametrize(
    ("size", "band"),
    [
        *((1, 0), (16, 0), (17, 16), (128, 16), (129, 16), (512, 16), (544, 17)),
        *((2048, 64), (2768, 86), (4095, 127), (4096, 128), (10000, 128)),
    ],
)
def test_static_ports(size: int, band: int) -> None:
    """IP-38, C-33, C-34."""
    assert static_ports(30000, 30000 + size - 1) == band


@given(st.sets(st.integers(0, 70)), st.sets(st.integers(0, 70)))
def test_law_fewest_cidrs_hold_exactly_these(four: set[int], six: set[int]) -> None:
    given_ = Addresses(Spans(Span(each, each) for each in four), Spans(Span(each, each) for each in six))
    texts = cidrs(given_)
    assert addresses(*texts) == given_
    nets = [ip_network(text) for text in texts]
    assert sum(net.num_addresses for net in nets) == len(four) + len(six)


def test_addresses_by_family() -> None:
    one = addresses("10.0.0.0/30", "fd00::1-fd00::2")
    two = addresses("10.0.0.2-10.0.0.9")
    assert one.families == (IPV4, IPV6)
    assert (two.families, NOWHERE.families) == ((IPV4,), ())
    assert one.minus(two) == addresses("10.0.0.0/31", "fd00::1-fd00::2")
    assert one.overlap(two) == addresses("10.0.0.2/31")
    assert two.union(one) == addresses("10.0.0.0-10.0.0.9", "fd00::1-fd00::2")
    # The same number in the other family is another address.
    assert Addresses(ipv6=two.ipv4).overlap(two) == NOWHERE
    assert one.of(IPV6) == one.ipv6


@pytest.mark.parametrize(
    ("text", "held"),
    [
        *(("10.0.0.3", True), ("10.0.0.4", False), ("fd00::2", True), ("fd00:0::2", True), ("::10.0.0.3", False)),
        *(("None", False), ("", False), ("10.0.0.0/30", False)),
    ],
)
def test_holds(text: str, held: bool) -> None:
    assert addresses("10.0.0.0/30", "fd00::1-fd00::2").holds(text) is held


@given(st.ip_addresses())
def test_law_numbers_and_texts(address: object) -> None:
    text = str(address)
    family, number = number_of(text)
    assert (family, text_of(family, number)) == (family_of(text), text)
    assert number == int(ip_address(text))


@pytest.mark.parametrize("text", ["", "None", "10.0.0", "10.0.0.1/32", "010.0.0.1", "fd00::x"])
def test_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        number_of(text)


@pytest.mark.parametrize("text", ["", "10.0.0.1/24", "10.0.0.0/33", "fd00::1/64"])
def test_no_network(text: str) -> None:
    with pytest.raises(ValueError, match=r"does not appear to be|has host bits set"):
        network(text)


def test_shown_to_people() -> None:
    four = addresses("10.96.0.16/28", "10.96.0.40-10.96.0.40").ipv4
    assert shown(IPV4, four) == "10.96.0.16-10.96.0.31, 10.96.0.40"
    assert shown(IPV6, addresses("fd00::/126").ipv6) == "fd00::-fd00::3"
    assert shown(IPV4, NONE) == ""
