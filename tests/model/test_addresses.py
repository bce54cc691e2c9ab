"""Pod addresses: canonical text (ES-39, ES-44) and what the API refuses (ES-152)."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.model.addresses import by_family, canonical, is_ipv6, publishable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("1.2.3.4", "1.2.3.4", id="ipv4"),
        pytest.param("255.255.255.255", "255.255.255.255", id="ipv4-highest"),
        pytest.param("01.2.3.4", "1.2.3.4", id="ES-44-leading-zero-is-decimal"),
        pytest.param("010.020.030.040", "10.20.30.40", id="ES-44-not-octal"),
        pytest.param("0000.00.000.1", "0.0.0.1", id="ES-44-many-zeros"),
        pytest.param("::ffff:1.2.3.4", "1.2.3.4", id="ES-44-mapped-is-ipv4"),
        pytest.param("::FFFF:0102:0304", "1.2.3.4", id="ES-44-mapped-in-hexadecimal"),
        pytest.param("::ffff:01.2.3.4", "1.2.3.4", id="ES-44-mapped-with-leading-zero"),
        pytest.param("::1.2.3.4", "::102:304", id="ES-44-compatible-is-ipv6"),
        pytest.param("64:ff9b::1.2.3.4", "64:ff9b::102:304", id="ES-44-dotted-tail"),
        pytest.param("1234::5678:0000:0000:9abc:def0", "1234::5678:0:0:9abc:def0", id="ES-T14-leftmost-run-wins"),
        pytest.param("1:0:0:2:0:0:0:3", "1:0:0:2::3", id="ES-44-longest-run-wins"),
        pytest.param("1:2:3:4:5:6:0:8", "1:2:3:4:5:6:0:8", id="ES-44-one-zero-group-stays"),
        pytest.param("FD00::ABCD", "fd00::abcd", id="ES-44-lower-case"),
        pytest.param("::", "::", id="all-zero"),
        pytest.param("fe80::1%eth0", None, id="ES-44-zone"),
        pytest.param("::ffff:1.2.3.4%eth0", None, id="ES-44-mapped-with-zone"),
        pytest.param("1.2.3", None, id="ES-44-three-octets"),
        pytest.param("1.2.3.4.5", None, id="five-octets"),
        pytest.param("1.2.3.256", None, id="octet-too-large"),
        pytest.param("1.2.3.0256", None, id="octet-too-large-after-zeros"),
        pytest.param("1.2.3.4 ", None, id="ES-44-space-after"),
        pytest.param(" 1.2.3.4", None, id="ES-44-space-before"),
        pytest.param("1.2.3.4\n", None, id="newline"),
        pytest.param("1.2.3.-4", None, id="sign"),
        pytest.param("1.2..4", None, id="empty-octet"),
        pytest.param("1.2.3.4.", None, id="dot-at-the-end"),
        pytest.param("\u0661.2.3.4", None, id="digit-of-another-script"),
        pytest.param("1.2.3.4/32", None, id="prefix"),
        pytest.param("::1.2.3", None, id="dotted-tail-too-short"),
        pytest.param("1.2.3.4:80", None, id="with-port"),
        pytest.param("::1::", None, id="two-gaps"),
        pytest.param("1:2:3:4:5:6:7", None, id="seven-groups"),
        pytest.param("", None, id="empty"),
        pytest.param("localhost", None, id="a-name"),
        pytest.param("<nil>", None, id="ES-44-what-upstream-would-write"),
    ],
)
def test_canonical(text: str, expected: str | None) -> None:
    assert canonical(text) == expected


@given(st.ip_addresses())
@settings(max_examples=100, deadline=None, database=None)
def test_canonical_text_is_a_fixed_point(address: IPv4Address | IPv6Address) -> None:
    text = canonical(str(address))
    assert text is not None
    assert canonical(text) == text
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    assert canonical(address.exploded) == text == str(mapped or address)


GROUPS = st.sampled_from(["0", "1", "f", "10", "abcd", "0a", "FF"])
HALVES = st.lists(GROUPS, max_size=8).map(":".join)


@given(st.tuples(HALVES, HALVES).map("::".join) | st.lists(GROUPS, min_size=6, max_size=9).map(":".join))
@settings(max_examples=500)
def test_law_ipv6_is_what_the_library_makes_of_it(text: str) -> None:
    """Addresses that are canonical as they come take a short way: it must end where the long one does."""
    try:
        address = IPv6Address(text)
    except ValueError:
        assert canonical(text) is None
    else:
        assert canonical(text) == str(address.ipv4_mapped or address)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.0.0.1", True),
        ("0.0.0.0", False),
        ("0.0.0.1", True),
        ("127.0.0.1", False),
        ("127.255.0.9", False),
        ("126.255.255.255", True),
        ("12.7.0.1", True),
        ("169.254.0.1", False),
        ("169.253.255.255", True),
        ("224.0.0.1", False),
        ("224.0.1.1", True),
        ("::", False),
        ("::1", False),
        ("::12", True),
        ("::1:0:0:0", True),
        ("fe80::1", False),
        ("febf::1", False),
        ("fec0::1", True),
        ("fe8::1", True),
        ("fd00::1", True),
        ("ff02::1", False),
        ("ff12::1", False),
        ("ff05::1", True),
        ("2001:db8:fe80::1", True),
    ],
)
def test_publishable_es_152(address: str, expected: bool) -> None:
    assert publishable(address) is expected


def test_by_family_sorts_as_plain_strings_es_39() -> None:
    found = by_family(("10.0.0.2", "fd00::2", "10.0.0.10", "fd00::10", "::ffff:10.0.0.1"))
    assert found == (("10.0.0.1", "10.0.0.10", "10.0.0.2"), ("fd00::10", "fd00::2"), ())


def test_by_family_hands_back_what_no_slice_may_hold() -> None:
    found = by_family(("fe80::1%eth0", "010.0.0.1", "127.0.0.1", "nonsense", "", "FE80::1"))
    assert found == (("10.0.0.1",), (), ("fe80::1%eth0", "127.0.0.1", "nonsense", "", "FE80::1"))


def test_by_family_keeps_duplicates() -> None:
    assert by_family(("10.0.0.1", "10.0.0.01")).ipv4 == ("10.0.0.1", "10.0.0.1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("fd00::1", True), ("10.0.0.1", False), ("::ffff:10.0.0.1", False), ("None", False), ("a:b:c", False)],
)
def test_is_ipv6_es_52(text: str, expected: bool) -> None:
    assert is_ipv6(text) is expected
