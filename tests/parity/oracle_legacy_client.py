"""Talks to the second oracle: upstream's Endpoints and mirroring controllers (tests/parity/oracle_legacy/README.md)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.parity.oracle_client import Peer

Object = dict[str, Any]


class LegacyOracle(Peer):
    """Each call is the life of one controller process, from an empty start."""

    name = "oracle_legacy"
    source = Path(__file__).parent / "oracle_legacy"

    def endpoints(self, steps: Sequence[Mapping[str, Any]]) -> list[Object]:
        """Syncs of the Endpoints controller; one result per step."""
        return self._results({"controller": "endpoints", "steps": steps})

    def mirroring(self, options: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> list[Object]:
        """Syncs of the EndpointSliceMirroring controller; one result per step."""
        return self._results({"controller": "mirroring", "options": options, "steps": steps})

    def repack(self, subsets: Sequence[Mapping[str, Any]]) -> list[Object]:
        """The subsets in upstream's canonical form."""
        result: list[Object] = self.ask({"repack": subsets})["subsets"]
        return result

    def _results(self, question: Mapping[str, Any]) -> list[Object]:
        result: list[Object] = self.ask(question)["steps"]
        return result
