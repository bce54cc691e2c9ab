"""The harness must notice a core that is wrong: each of these mutations is caught, shrunk and told apart."""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from controllers.endpointslice import endpoints, packing, reconcile, slices
from controllers.membership import ports
from controllers.model import identity as model_identity
from tests.parity import core
from tests.parity.oracle_client import Oracle
from tests.parity.rules import broken, rule

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
        "_candidate",
        lambda pod, *rest, original=endpoints._candidate: original(replace(pod, terminating=False), *rest),
    ),
}


# What the difference may be taken for.
KINDS = {
    "unchanged slices are never filled up": {"packing", "writes"},
    "the emptiest slice is filled instead of the fullest": {"packing"},
    "labels are not mirrored": {"labels", "writes"},
    "ports in the Service's order": {"ports order"},
    "a changed UID goes unnoticed": {"endpoints"},
    "somebody else's slices are taken for ours": {"owner", "writes"},
    "the placeholder is always written anew": {"writes"},
    "no trigger time": {"trigger time"},
    "headless Services are not labelled": {"labels"},
    "terminating Pods are ready": {"endpoints"},
}


def first_caught(oracle: Oracle, patch: Patch) -> core.Sequence:
    """The first sequence that shows a mutation; sequences are made without it."""
    for seed in range(4000):
        made = core.sequence(Random(f"mutation-{seed}"))
        with pytest.MonkeyPatch.context() as context:
            context.setattr(*patch)
            if core.compare(oracle, made):
                return made
    pytest.fail("nobody notices")


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutation_is_caught_and_shrunk(name: str, oracle: Oracle, monkeypatch: pytest.MonkeyPatch) -> None:
    made = first_caught(oracle, MUTATIONS[name])
    monkeypatch.setattr(*MUTATIONS[name])
    shrunk = core.shrink(oracle, made)
    found = core.compare(oracle, shrunk)
    assert broken(found) == broken(core.compare(oracle, made))
    assert broken(found) in KINDS[name]
    assert "ES-" in rule(found)
    assert len(msgspec.json.encode(shrunk.steps)) < len(msgspec.json.encode(made.steps)) / 2
    assert core.shrink(oracle, shrunk) == shrunk, "something more can be left out"
    monkeypatch.undo()
    assert core.compare(oracle, shrunk) == ""
