"""The harness must notice a core that is wrong: each of these mutations is caught within a few hundred snapshots."""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from controllers.endpointslice import endpoints, packing, reconcile, slices
from controllers.membership import ports
from controllers.model import identity as model_identity
from tests.parity import core
from tests.parity.oracle_client import Oracle

pytestmark = pytest.mark.server

Patch = tuple[Any, str, Callable[..., Any]]


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    with Oracle() as running:
        yield running


MUTATIONS: dict[str, Patch] = {
    "unchanged slices are never filled up": (packing, "_best_fit", lambda *_: None),
    "the emptiest slice is filled instead of the fullest": (
        packing,
        "_best_fit",
        lambda found, count, limit: min(
            (each for each in found if len(each.endpoints) + count <= limit),
            key=lambda each: len(each.endpoints),
            default=None,
        ),
    ),
    "labels are not mirrored": (packing, "labels_changed", lambda *_: False),
    "ports in the Service's order": (ports, "port_hash", lambda port: str(port.port)),
    "a changed UID goes unnoticed": (model_identity, "_same_target", lambda *_: True),
    "somebody else's slices are taken for ours": (reconcile, "owned", lambda *_: True),
    "the placeholder is always written anew": (reconcile, "placeholder_equal", lambda *_: False),
    "no trigger time": (reconcile, "with_trigger_time", lambda found, _: found),
    "headless Services are not labelled": (slices, "headless", lambda _: False),
    "terminating Pods are ready": (
        endpoints,
        "_endpoint",
        lambda pod, *rest, original=endpoints._endpoint: original(replace(pod, terminating=False), *rest),
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutation_is_caught(name: str, oracle: Oracle, monkeypatch: pytest.MonkeyPatch) -> None:
    module, attribute, wrong = MUTATIONS[name]
    made = [core.sequence(Random(f"mutation-{seed}")) for seed in range(500)]
    monkeypatch.setattr(module, attribute, wrong)
    assert any(core.compare(oracle, each) for each in made)
