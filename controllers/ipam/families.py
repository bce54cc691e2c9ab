"""Which IP families a Service will have, by the API server's own rules (IP-9, IP-10, IP-27 … IP-36).

It decides them after every mutating webhook, so who wants to choose its addresses has to know beforehand.
"""

from ipaddress import IPv6Address, ip_address
from typing import Final

import msgspec

from controllers.ipam.objects import HEADLESS, PREFER, REQUIRE, SINGLE, Service, other
from controllers.ipam.ranges import IPV4, IPV6, family_of

_POLICIES: Final = frozenset({"", SINGLE, PREFER, REQUIRE})
_FAMILIES: Final = frozenset({IPV4, IPV6})


def resulting(new: Service, old: Service | None, configured: tuple[str, ...]) -> tuple[str, ...] | None:
    """The families of `new` in their order, or None when the API server will refuse the request for them.

    `old` is None for a create. `configured` are the cluster's families, the primary first (IP-70). An ExternalName
    Service has none: (). What a request leaves out is taken from `old` first (IP-9, IP-10).
    """
    new = with_addresses(new, old)
    if new.external:
        return None if new.cluster_ip or new.cluster_ips or new.families or new.policy else ()
    if old is not None and _untouched(new, old):
        return new.families
    policy = _policy(new, old)
    if not _well_formed(new):
        return None
    if old is not None:
        if _shrinks_unasked(new, old, policy):
            return None
        new = _downgraded(new, old, policy)
    if policy == SINGLE and max(len(new.cluster_ips), len(new.families)) > 1:
        return None  # IP-29
    families = _completed(new, policy, configured)
    return None if families is None or (old is not None and _mutates(new, families, old)) else families


def policy_to_set(new: Service, old: Service | None, families: tuple[str, ...]) -> str:
    """The ipFamilyPolicy to send along when two addresses are set, "" when the request says it itself (IP-29, IP-70).

    It is the one that the API server would take anyway: `families` are two only under such a policy (IP-27).
    """
    return _policy(new, old) if len(families) > 1 and not new.policy else ""


def with_addresses(new: Service, old: Service | None) -> Service:
    """`new` as the API server sees its addresses: carried over (IP-9), normalised (IP-10), dropped (IP-11)."""
    singular, plural = new.cluster_ip, new.cluster_ips
    if old is None:
        return msgspec.structs.replace(new, cluster_ips=plural or ((singular,) if singular else ()))
    if not new.external and not old.external:
        singular = singular or old.cluster_ip
    if not plural and singular == old.cluster_ip:
        plural = old.cluster_ips
    elif plural == old.cluster_ips and singular != old.cluster_ip:
        plural = (singular,) if singular else ()
    families, policy = new.families, new.policy
    if new.external and not old.external:
        singular, plural = ("", ()) if plural == old.cluster_ips else (singular, plural)
        families = () if families == old.families else families
        policy = "" if policy == old.policy else policy
    return msgspec.structs.replace(new, cluster_ip=singular, cluster_ips=plural, families=families, policy=policy)


def canonical(text: str) -> str | None:
    """An address in canonical text (IP-55), None when the API server does not take it for one.

    Zones and IPv4 addresses in IPv6's clothes are none to it.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and (address.scope_id is not None or address.ipv4_mapped is not None):
        return None
    return str(address)


def _policy(new: Service, old: Service | None) -> str:
    """IP-27."""
    if new.policy or (old is not None and old.policy):
        return new.policy or (old.policy if old is not None else "")
    return REQUIRE if new.headless and not new.has_selector else SINGLE


def _untouched(new: Service, old: Service) -> bool:
    """Whether an update says nothing about families: then even a changed cluster changes nothing (IP-35)."""
    return (
        new.policy == PREFER == old.policy
        and new.type == old.type
        and new.cluster_ips == old.cluster_ips
        and new.families == old.families
    )


def _well_formed(new: Service) -> bool:
    """Whether the fields make sense by themselves and together, whatever the cluster (IP-10, IP-36, C-37)."""
    families = new.families
    if new.policy not in _POLICIES or not _FAMILIES.issuperset(families) or len(set(families)) < len(families):
        return False
    if new.cluster_ip != (new.cluster_ips[0] if new.cluster_ips else ""):
        return False
    if new.headless:
        return new.cluster_ips == (HEADLESS,) and new.type == "ClusterIP"
    given = [family_of(text) for text in new.cluster_ips]
    return (
        all(canonical(text) for text in new.cluster_ips)
        and len(set(given)) == len(given)
        and all(has == wanted for has, wanted in zip(given, families, strict=False))
    )


def _shrinks_unasked(new: Service, old: Service, policy: str) -> bool:
    """Whether a list got shorter although the policy is not SingleStack (IP-34)."""
    return policy != SINGLE and (
        0 < len(new.cluster_ips) < len(old.cluster_ips) or 0 < len(new.families) < len(old.families)
    )


def _downgraded(new: Service, old: Service, policy: str) -> Service:
    """SingleStack alone says enough: lists that were left as they are lose their second (IP-34)."""
    if policy != SINGLE:
        return new
    return msgspec.structs.replace(
        new,
        cluster_ips=new.cluster_ips[:1] if new.cluster_ips == old.cluster_ips else new.cluster_ips,
        families=new.families[:1] if new.families == old.families else new.families,
    )


def _completed(new: Service, policy: str, configured: tuple[str, ...]) -> tuple[str, ...] | None:
    """IP-28: from the addresses, else the cluster's primary one, and the second that the policy asks for."""
    inferred = () if new.headless else tuple(family_of(text) for text in new.cluster_ips[len(new.families) :])
    families = new.families + inferred
    if new.headless and not new.has_selector:
        # Its endpoints come from somebody else, so the cluster's families say nothing about them (IP-32).
        families = families or configured[:1]
        return families if policy == SINGLE or len(families) > 1 else (families[0], other(families[0]))
    if (policy == REQUIRE and len(configured) < 2) or not set(configured).issuperset(families):
        return None  # IP-29, IP-31
    families = families or configured[:1]
    both = policy != SINGLE and len(families) == 1 and len(configured) > 1
    return (families[0], other(families[0])) if both else families


def _mutates(new: Service, families: tuple[str, ...], old: Service) -> bool:
    """Whether an update changes what must stay: the addresses and families it has, or being headless (IP-36)."""
    if old.external:
        return False
    if new.headless or old.headless:
        return new.headless != old.headless
    return any(
        any(now != before for now, before in zip(after, earlier, strict=False))
        for after, earlier in ((new.cluster_ips, old.cluster_ips), (families, old.families))
    )
