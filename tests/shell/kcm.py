"""The real kube-controller-manager as a process, and its page."""

import copy
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from e2e.cluster.fixtures import unavailable
from e2e.cluster.local import ControlPlane
from e2e.cluster.toolchain import BuildError

SYNCS = "endpoint_slice_controller_syncs"
CHANGES = "endpoint_slice_controller_changes"


@contextmanager
def kcm(plane: ControlPlane) -> Iterator[Callable[[str], float]]:
    """Runs it; gives the sum of a metric over its labels."""
    try:
        process = plane.start_kcm()
    except BuildError as error:
        unavailable(error)
    page = copy.copy(plane.client())
    page.url = process.url or ""

    def metric(name: str) -> float:
        samples = re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", page.text("/metrics"), re.MULTILINE)
        return sum(map(float, samples))

    try:
        yield metric
    finally:
        process.stop()
