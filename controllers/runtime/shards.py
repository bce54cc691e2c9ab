"""Which Namespaces are whose, when several processes share them (`--shards`).

A Namespace is the smallest thing that can be shared: a Service, its Pods and what is written for it are all in one.
"""

from functools import lru_cache
from hashlib import blake2s
from typing import NamedTuple


class Shard(NamedTuple):
    """One of so many shares of the Namespaces, its number from 0."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}-of-{self.of}"

    def has(self, namespace: str) -> bool:
        """Whether a Namespace belongs to this share; it belongs to exactly one."""
        return shard_of(namespace, self.of) == self.number


def chosen(number: int, of: int) -> Shard | None:
    """What the flags say; None for everything, which is no share. Raises ValueError for a share that there is not."""
    if not 0 <= number < of:
        raise ValueError(f"there is no shard {number} of {of}")
    return Shard(number, of) if of > 1 else None


# Namespaces are few, and asked for at every event. What is unknown is computed again: a bound costs no right answer.
@lru_cache(maxsize=65536)
def shard_of(namespace: str, of: int) -> int:
    """The number, below `of`, of the share that a Namespace belongs to: the same everywhere and in every version.

    To change it is to change who writes what: then `election.together` must give another name, too.
    """
    # Short names that differ in a digit fall evenly: a CRC or FNV modulo 2 is little more than a parity of their bits.
    return int.from_bytes(blake2s(namespace.encode(), digest_size=8).digest(), "big") % of
