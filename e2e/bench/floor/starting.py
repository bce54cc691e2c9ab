"""Starts the floor on a control plane, with the product's own numbers."""

import sys
import time
from typing import Final

from controllers.runtime.api_client import METADATA_ONLY
from controllers.runtime.listing import AHEAD, PAGE
from controllers.runtime.writer import IN_FLIGHT
from e2e.bench.floor.following import READY
from e2e.bench.observer import SLICES
from e2e.cluster.local import ControlPlane, StartError
from e2e.cluster.process import Process
from e2e.cluster.product import ROOT, spawn_sliceplane

_START_SECONDS: Final = 120.0
_QUIET_SECONDS: Final = 2.0
_POLL: Final = 0.2


def fill(plane: ControlPlane) -> Process:
    """The floor of a start, on a cluster that has no slices; returns at once."""
    return _spawn(plane, "filling", f"--page={PAGE}", f"--ahead={AHEAD}")


def follow(plane: ControlPlane) -> Process:
    """The floor of a change: has Sliceplane write the slices, ends it, and starts what follows the Pods.

    The cluster must not change meanwhile. Raises StartError.
    """
    ours = spawn_sliceplane(plane, "--leader-elect=false", "--metrics-bind-address=0")
    try:
        _await_slices(plane, ours)
    finally:
        ours.stop()
    process = _spawn(plane, "following")
    until = time.monotonic() + _START_SECONDS
    while READY not in process.tail():
        if process.poll() is not None or time.monotonic() > until:
            raise StartError(f"the floor does not follow the Pods:\n{process.tail()}")
        time.sleep(_POLL)
    return process


def _spawn(plane: ControlPlane, module: str, *flags: str) -> Process:
    pair = plane.admin
    connection = (f"--server={plane.url}", f"--ca={plane.ca_file}", f"--cert={pair.cert}", f"--key={pair.key}")
    writes = (f"--in-flight={IN_FLIGHT}", f"--accept={METADATA_ONLY}")
    argv = [sys.executable, "-m", f"e2e.bench.floor.{module}", *connection, *writes, *flags]
    return plane.spawn(plane.fresh_name("floor"), argv, {"PYTHONPATH": str(ROOT)})


def _await_slices(plane: ControlPlane, ours: Process) -> None:
    """Returns when every Service that selects has one of each family, at least, and no more come."""
    services = [each["spec"] for each in plane.client().list("Service")]
    wanted = sum(len(spec["ipFamilies"]) for spec in services if spec.get("selector"))
    began = grown = time.monotonic()
    before = 0
    while before < wanted or time.monotonic() - grown < _QUIET_SECONDS:
        if ours.poll() is not None or time.monotonic() - began > _START_SECONDS:
            raise StartError(f"Sliceplane does not write the slices:\n{ours.tail()}")
        time.sleep(_POLL)
        page = plane.client().get(SLICES, limit="1")
        now = len(page["items"]) + page["metadata"].get("remainingItemCount", 0)
        if now != before:
            before, grown = now, time.monotonic()
