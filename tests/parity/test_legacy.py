"""Some hundreds of random sequences, Endpoints and mirroring against upstream's own controllers."""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from controllers.endpoints import reconcile as endpoints
from controllers.endpoints import subsets as endpoint_subsets
from controllers.membership import pods, subsets
from controllers.mirroring import groups, mirrorable
from controllers.mirroring import reconcile as mirroring
from tests.parity import legacy
from tests.parity.oracle_legacy_client import LegacyOracle

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def oracle() -> Iterator[LegacyOracle]:
    with LegacyOracle() as running:
        yield running


def different(oracle: LegacyOracle, kind: str, seed: int) -> str:
    return legacy.play(oracle, kind, Random(f"{kind}-{seed}"))[1]


@pytest.mark.parametrize("kind", ["endpoints", "mirroring"])
def test_core_agrees_with_upstream(oracle: LegacyOracle, kind: str) -> None:
    found = {seed: different(oracle, kind, seed) for seed in range(800)}
    assert {seed: text for seed, text in found.items() if text} == {}


MUTATIONS: dict[str, tuple[str, Any, str, Callable[..., Any]]] = {
    "subsets in the order of ports": ("endpoints", subsets, "subset_hash", lambda subset: str(subset.ports)),
    "ports by number": ("endpoints", subsets, "port_hash", lambda port: port.port),
    "subsets as they are": ("mirroring", groups, "repack", lambda found, **_: tuple(found)),
    "terminating Pods stay": (
        "endpoints",
        pods,
        "left_out_of_endpoints",
        lambda pod, service, family: pods._without_address(pod, family),
    ),
    "the second family": (
        "endpoints",
        endpoint_subsets,
        "family_of",
        lambda service, pod: (service.ip_families or ("IPv4",))[-1],
    ),
    "no truncation": ("endpoints", endpoints, "truncate", lambda found: endpoint_subsets.Truncated(found, 0)),
    "no trigger time": ("endpoints", endpoints, "trigger_time", lambda service, *_: ("", None)),
    "always written": ("endpoints", endpoints, "up_to_date", lambda *_: False),
    "never written again": ("endpoints", endpoints, "up_to_date", lambda *_: True),
    "all is mirrored": (
        "mirroring",
        mirroring,
        "not_mirrored",
        lambda found, service: mirrorable.not_mirrored(found, service) if found is None or service is None else None,
    ),
    "slices are never found equal": ("mirroring", mirroring, "up_to_date", lambda *_: False),
    "one address less": (
        "mirroring",
        mirroring,
        "desired",
        lambda found, limit: groups.desired(found, max(1, limit - 1)),
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutation_is_caught(name: str, oracle: LegacyOracle, monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness must notice a core that is wrong."""
    kind, where, attribute, wrong = MUTATIONS[name]
    monkeypatch.setattr(where, attribute, wrong)
    assert any(different(oracle, kind, seed) for seed in range(1500)), "nobody notices"
