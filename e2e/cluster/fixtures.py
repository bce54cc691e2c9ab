"""Fixtures on a real API server, loaded by the conftest.py at the root."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from typing import NoReturn

import pytest
import urllib3

from e2e.cluster.local import ControlPlane
from e2e.cluster.rest import ApiError
from e2e.cluster.toolchain import BuildError


def unavailable(error: BuildError) -> NoReturn:
    """Skip the test because its binaries cannot be had; on CI that is a failure, or nobody would notice."""
    if os.environ.get("CI"):
        pytest.fail(f"the control plane cannot be built: {error}", pytrace=False)
    pytest.skip(f"the control plane cannot be built: {error}")


@contextlib.contextmanager
def plane_of(*flags: str) -> Iterator[ControlPlane]:
    """A control plane of the test's own: what is done to it would be in the way of others. `flags` are the server's."""
    try:
        with ControlPlane(extra_apiserver_args=flags) as made:
            yield made
    except BuildError as error:
        unavailable(error)


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """One control plane for all tests of this worker, started by the first that asks. Isolate by `namespace`."""
    try:
        plane = ControlPlane()
        plane.start()
    except BuildError as error:
        unavailable(error)
    yield plane
    plane.stop()


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """A fresh namespace. At the end it is only asked to go: emptying it would take a namespace controller."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    api = control_plane.client()
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    with contextlib.suppress(ApiError, urllib3.exceptions.HTTPError):
        api.delete("Namespace", name)
