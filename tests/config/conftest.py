"""The overlays, as kustomize prints them."""

import pytest

from tests.config.overlay import Overlay


@pytest.fixture(params=["default", "kind", "staging", "sharded 0-of-2", "sharded 1-of-2"])
def overlay(request: pytest.FixtureRequest) -> Overlay:
    """Each overlay in turn, and of a sharded one each shard."""
    return Overlay(*request.param.split())


@pytest.fixture
def default() -> Overlay:
    return Overlay("default")
