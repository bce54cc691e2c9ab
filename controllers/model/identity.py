"""Which endpoint is which: what makes two of them the same one, and what makes a write necessary (ES-45, ES-46)."""

from controllers.model.objects import Endpoint, TargetRef

# (addresses, hostname, target namespace, target name): what makes an endpoint the same one (ES-45).
Identity = tuple[tuple[str, ...], str, str, str]


def identity(endpoint: Endpoint) -> Identity:
    """What an endpoint is recognised by; conditions, Node, zone and UID are not part of it (ES-45)."""
    target = endpoint.target_ref
    where = (target.namespace, target.name) if target is not None else ("", "")
    addresses = endpoint.addresses
    return (addresses if len(addresses) == 1 else tuple(sorted(addresses)), endpoint.hostname or "", *where)


def _same_target(one: TargetRef | None, other: TargetRef | None) -> bool:
    if one is None or other is None:
        return one is other
    return (
        one.uid == other.uid
        and one.name == other.name
        and one.namespace == other.namespace
        and one.kind == other.kind
        and one.api_version == other.api_version
        and one.field_path == other.field_path
    )


def equal_beyond_identity(one: Endpoint, other: Endpoint) -> bool:
    """Whether endpoints of equal identity need no write; hints are somebody else's business (ES-46)."""
    return (
        one.conditions == other.conditions
        and one.node_name == other.node_name
        and one.zone == other.zone
        # Compared as a whole first: that is one step, and what differs is rarely what does not count.
        and (one.target_ref == other.target_ref or _same_target(one.target_ref, other.target_ref))
    )
