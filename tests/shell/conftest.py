"""A namespace with nodes, and one Sliceplane for the tests of a module."""

from collections.abc import Iterator

import pytest

from e2e.cluster.local import ControlPlane
from e2e.cluster.product import grant
from tests.shell.sliceplane import Sliceplane, running
from tests.shell.world import ZONES, World, node


@pytest.fixture(scope="session")
def granted(control_plane: ControlPlane) -> ControlPlane:
    """The control plane, with Sliceplane's rights and three nodes."""
    grant(control_plane)
    control_plane.client().apply([node(zone) for zone in ZONES])
    return control_plane


@pytest.fixture(scope="module")
def sliceplane(granted: ControlPlane) -> Iterator[Sliceplane]:
    with running(granted) as made:
        yield made


@pytest.fixture
def world(granted: ControlPlane, namespace: str) -> World:
    return World(granted, namespace)
