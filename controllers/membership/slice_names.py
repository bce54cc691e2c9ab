"""Names of new slices: shaped as the API server would generate them, but the same again for the same slice (D-3)."""

from collections.abc import Container, Iterable
from hashlib import blake2s
from typing import Final

from msgspec.structs import replace

from controllers.membership.ports import port_hash
from controllers.model.objects import EndpointPort, EndpointSlice, ObjectMeta

# The API server's own alphabet for generated names, and its limit for the part before them.
_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
_LONGEST_PREFIX: Final = 58


def free_name(
    owner: str, owner_uid: str, address_type: str, ports: Iterable[EndpointPort], taken: Container[str]
) -> str:
    """The first free name for a slice of these ports: the same one again, if the answer to a create was lost.

    The owner's name, cut at 58 characters, and five more.
    """
    prefix = f"{owner}-"[:_LONGEST_PREFIX]
    about = "\0".join((owner_uid, address_type, *map(port_hash, ports)))
    position = 0
    while True:
        digest = int.from_bytes(blake2s(f"{about}\0{position}".encode(), digest_size=8).digest())
        suffix = ""
        for _ in range(5):
            digest, index = divmod(digest, len(_ALPHABET))
            suffix += _ALPHABET[index]
        name = prefix + suffix
        if name not in taken:
            return name
        position += 1


def named(new: Iterable[EndpointSlice], owner: str, owner_uid: str, taken: Container[str]) -> tuple[EndpointSlice, ...]:
    """New slices of an owner, each under a free name of its own."""
    found: dict[str, EndpointSlice] = {}
    for each in new:
        name = free_name(owner, owner_uid, each.address_type, each.ports, _Either(taken, found))
        found[name] = replace(each, metadata=replace(each.metadata, name=name))
    return tuple(found.values())


def in_place_of(new: EndpointSlice, found: EndpointSlice) -> EndpointSlice:
    """A new slice under the name of one that exists: nothing else of that survives (ES-76, MI-42, MI-44).

    Unlike KCM's, the request carries uid and resourceVersion, so that it cannot overwrite what it has not seen.
    """
    meta = found.metadata
    replaced: ObjectMeta = replace(new.metadata, name=meta.name, uid=meta.uid, resource_version=meta.resource_version)
    return replace(new, metadata=replaced)


class _Either:
    """Membership in either of two containers, without copying them."""

    def __init__(self, one: Container[str], other: Container[str]) -> None:
        self._one, self._other = one, other

    def __contains__(self, name: object) -> bool:
        return name in self._one or name in self._other
