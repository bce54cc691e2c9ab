"""What every scenario is, and the rows that several of them share."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from e2e.bench.contenders import Contender
from e2e.bench.figures import Outcome, Row
from e2e.bench.load import Size
from e2e.bench.stage import Stage

MB: Final = 1e-6
# How long a contender may need after the load to show what has changed.
DRAIN_SECONDS: Final = 180.0
# To ask is to go through all endpoints: rarely enough that it delays no event.
DRAIN_POLL: Final = 0.25


@dataclass(frozen=True, kw_only=True)
class Scenario(ABC):
    """A load on a cluster of one size. With `once`, one round says enough, or takes too long for several."""

    once: ClassVar[bool] = False
    # Every so many Services ask for hints by zone.
    hinted_every: ClassVar[int] = 0
    # Which floor can play.
    floor: ClassVar[str] = ""
    name: str
    size: Size

    @property
    @abstractmethod
    def title(self) -> str:
        """What is done to how much."""

    @property
    @abstractmethod
    def rows(self) -> Sequence[Row]:
        """What is shown of its outcomes."""

    @abstractmethod
    async def run(self, stage: Stage, contender: Contender, seed: int) -> Outcome:
        """One turn of one contender; leaves the cluster as it was. Raises StageError, ApiError, EtcdError.

        Turns with the same seed have the same load.
        """


def amount(size: Size) -> str:
    """How much there is, in words."""
    spread = f"{size.namespaces:,} Namespaces" if size.namespaces > 1 else "one Namespace"
    return f"{size.pods:,} Pods, {size.services:,} dual-stack Services, {size.nodes:,} Nodes, {spread}"
