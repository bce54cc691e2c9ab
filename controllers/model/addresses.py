"""IP addresses as EndpointSlices want them: canonical text, and which ones the API refuses (ES-39, ES-44, ES-152)."""

import re
from ipaddress import IPv6Address
from typing import Final, NamedTuple

# Leading zeros are read as decimal (ES-44).
_DOTTED: Final = re.compile(r"0*(\d{1,3})\.0*(\d{1,3})\.0*(\d{1,3})\.0*(\d{1,3})", re.ASCII)
_CANONICAL_IPV4: Final = re.compile(r"(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!\Z)|\Z)){4}", re.ASCII)
# IPv6 whose groups are not 0 but where `::` stands for them: canonical, if that stands for two or more.
_GROUP: Final = "[1-9a-f][0-9a-f]{0,3}"
_PLAIN_IPV6: Final = re.compile(rf"{_GROUP}(?::{_GROUP})*(::{_GROUP}(?::{_GROUP})*)?", re.ASCII)
# Unspecified, loopback, link-local, link-local multicast; on canonical text.
_REFUSED: Final = re.compile(r"0\.0\.0\.0\Z|127\.|169\.254\.|224\.0\.0\.|::1?\Z|fe[89ab][0-9a-f]:|ff[0-9a-f]2:")


class ByFamily(NamedTuple):
    """Addresses of one Pod, canonical, sorted as plain strings; `refused` keeps the text that was given."""

    ipv4: tuple[str, ...]
    ipv6: tuple[str, ...]
    refused: tuple[str, ...]


def _ipv4(text: str) -> str | None:
    if _CANONICAL_IPV4.fullmatch(text):
        return text
    match = _DOTTED.fullmatch(text)
    if match is None:
        return None
    octets = [int(octet) for octet in match.groups()]
    return ".".join(map(str, octets)) if max(octets) <= 255 else None


def canonical(text: str) -> str | None:
    """The address as the API renders it, or None when it is none (ES-44).

    An IPv4-mapped IPv6 address is an IPv4 address; `::1.2.3.4` is IPv6 in pure hexadecimal. A zone (`%eth0`) is
    refused.
    """
    if ":" not in text:
        return _ipv4(text)
    plain = _PLAIN_IPV6.fullmatch(text)
    if plain is not None and (text.count(":") <= 6 if plain[1] else text.count(":") == 7):
        return text
    if "." in text:
        head, _, tail = text.rpartition(":")
        text = f"{head}:{_ipv4(tail)}"
    if "%" in text:
        return None
    try:
        address = IPv6Address(text)
    except ValueError:
        return None
    return str(address.ipv4_mapped or address)


def publishable(address: str) -> bool:
    """Whether a slice may hold this canonical address: not unspecified, loopback or link-local (ES-152)."""
    return _REFUSED.match(address) is None


def by_family(texts: tuple[str, ...]) -> ByFamily:
    """Sorts `status.podIPs` into families; what no slice may hold is handed back as `refused`."""
    ipv4: list[str] = []
    ipv6: list[str] = []
    refused: list[str] = []
    for text in texts:
        address = canonical(text)
        if address is None or not publishable(address):
            refused.append(text)
        elif ":" in address:
            ipv6.append(address)
        else:
            ipv4.append(address)
    return ByFamily(tuple(sorted(ipv4)), tuple(sorted(ipv6)), tuple(refused))


def is_ipv6(text: str) -> bool:
    """Whether the text parses as an IPv6 address (anything else counts as IPv4: ES-52)."""
    address = canonical(text)
    return address is not None and ":" in address
