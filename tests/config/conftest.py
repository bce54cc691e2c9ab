"""The overlays, as kustomize prints them."""

import pytest

from tests.config.overlay import Overlay


@pytest.fixture(params=["default", "kind", "staging"])
def overlay(request: pytest.FixtureRequest) -> Overlay:
    """Each overlay in turn."""
    return Overlay(request.param)


@pytest.fixture
def default() -> Overlay:
    return Overlay("default")
