"""A receiver of traces that hangs or is not there costs spans, and neither slices nor an orderly end."""

from collections.abc import Iterator
from functools import partial

import pytest

from e2e.cluster.local import ControlPlane
from e2e.cluster.otlp import HttpReceiver
from e2e.cluster.process import free_port
from e2e.cluster.product import grant
from tests.shell.sliceplane import running
from tests.shell.waiting import eventually
from tests.shell.world import ZONES, World, node

pytestmark = pytest.mark.server


@pytest.fixture(params=["hangs", "down"])
def endpoint(request: pytest.FixtureRequest) -> Iterator[str]:
    """Of a receiver that takes every request and is silent, or of none at all."""
    if request.param == "down":
        yield f"http://127.0.0.1:{free_port()}/v1/traces"
        return
    with HttpReceiver(answers=False) as receiver:
        yield receiver.endpoint


def test_all_is_published_though_nobody_takes_the_traces(
    control_plane: ControlPlane, namespace: str, endpoint: str
) -> None:
    grant(control_plane)
    control_plane.client().apply([node(zone) for zone in ZONES])
    world = World(control_plane, namespace)
    world.service()
    every = f"--tracing-endpoint={endpoint}", "--tracing-sampling-rate-per-million=1000000"
    # That it ends by itself, and with exit status 0, is part of this.
    with running(control_plane, *every) as sliceplane:
        for count in range(1, 11):
            world.pod(count)
            eventually(partial(_assert_published, world, count))
        assert sliceplane.metric("sliceplane_syncs_total", controller="endpointslice-controller", result="success") >= 9


def _assert_published(world: World, count: int) -> None:
    for family in ("IPv4", "IPv6"):
        assert world.numbers(family=family) == set(range(1, count + 1))
