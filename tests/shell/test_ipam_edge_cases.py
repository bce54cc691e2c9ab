"""Table C of the spec on the real API server, with Sliceplane in the path and without: the same results.

Each case is played in both worlds, where no pool concerns the Services; those that are internal to the API server
cannot be seen from outside (C-5, C-6, C-11, C-12, C-33, C-34, C-41, C-50 to C-53).
"""

import contextlib
from collections.abc import Iterator

import pytest

from tests.shell import edge_addresses, edge_ports, edge_repair, edge_servers
from tests.shell.edge_cases import World, large_world, small_world

pytestmark = pytest.mark.server


@pytest.fixture(scope="module", params=[True, False], ids=["with us", "without us"])
def large(request: pytest.FixtureRequest) -> Iterator[World]:
    with large_world(us=request.param) as made:
        yield made


@pytest.fixture(scope="module", params=[True, False], ids=["with us", "without us"])
def small(request: pytest.FixtureRequest) -> Iterator[World]:
    with small_world(us=request.param) as made:
        yield made


@pytest.fixture(scope="module")
def pair(small: World) -> Iterator[edge_servers.Pair]:
    """From here on the small world is dual stack."""
    with edge_servers.pair(small) as made:
        yield made


@pytest.mark.parametrize("row", edge_addresses.LARGE)
def test_addresses(large: World, row: str) -> None:
    with cleared(large):
        edge_addresses.LARGE[row](large)


@pytest.mark.parametrize("row", edge_ports.CASES)
def test_ports(large: World, row: str) -> None:
    with cleared(large):
        edge_ports.CASES[row](large)


@pytest.mark.parametrize("row", edge_repair.CASES)
def test_repair(large: World, row: str) -> None:
    with cleared(large):
        edge_repair.CASES[row](large)


@pytest.mark.parametrize("row", edge_addresses.FULL)
def test_full_ranges(small: World, row: str) -> None:
    with cleared(small):
        edge_addresses.FULL[row](small)


@pytest.mark.parametrize("row", edge_servers.CASES)
def test_two_servers(pair: edge_servers.Pair, row: str) -> None:
    with cleared(pair.world):
        edge_servers.CASES[row](pair)


@contextlib.contextmanager
def cleared(world: World) -> Iterator[None]:
    """One case must not be in the way of the next, however it ends."""
    try:
        yield
    finally:
        world.clear()
