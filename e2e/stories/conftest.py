"""One cluster for all stories of a worker, and a namespace with an eye on its slices for each."""

import contextlib
import os
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
import urllib3

from e2e.cluster.clusters import KIND, LOCAL, Cluster, Unavailable, chosen
from e2e.cluster.deployed import DeployedCluster
from e2e.cluster.fixtures import unavailable
from e2e.cluster.kind import KindCluster, Options
from e2e.cluster.rest import ApiError
from e2e.cluster.simulated import SimulatedCluster
from e2e.cluster.toolchain import BuildError
from e2e.stories.shop import Shop
from e2e.stories.watching import SliceLog

# For the first story of a machine that has nothing in its cache, CoreDNS is built: that does not count.
_HERE = pytest.mark.timeout(300, func_only=True)
# Images are built, nodes are started, and real containers take their time.
_ELSEWHERE = pytest.mark.timeout(1800)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    try:
        patience = _HERE if chosen() == LOCAL else _ELSEWHERE
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(patience)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, None, None]:
    with _skipping():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    with _skipping():
        return (yield)


@contextlib.contextmanager
def _skipping() -> Iterator[None]:
    try:
        yield
    except Unavailable as reason:
        pytest.skip(str(reason))
    except BuildError as error:
        unavailable(error)


@pytest.fixture(scope="package")
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster that `E2E_CLUSTER` asks for. Who serves in it is up to the story."""
    wanted = chosen()
    with contextlib.ExitStack() as stack:
        if wanted == LOCAL:
            yield stack.enter_context(SimulatedCluster())
            return
        folder = tmp_path_factory.mktemp("cluster")
        if wanted == KIND:
            made: DeployedCluster = KindCluster(_options(request.config), folder)
        else:
            made = DeployedCluster(Path(wanted), folder)
        stack.enter_context(made)
        if "PYTEST_XDIST_WORKER" in os.environ:
            pytest.fail("stories restart what others rely on: on one cluster run them without -n", pytrace=False)
        yield made


@pytest.fixture
def sliceplane(cluster: Cluster) -> Cluster:
    """The cluster, with Sliceplane serving."""
    cluster.serve_with_sliceplane()
    return cluster


@pytest.fixture
def shop(cluster: Cluster) -> Iterator[Shop]:
    """A namespace of its own. KCM's controllers clear it up."""
    name = f"story-{uuid.uuid4().hex[:10]}"
    cluster.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield Shop(cluster.api, name, cluster.image)
    with contextlib.suppress(ApiError, urllib3.exceptions.HTTPError):
        cluster.api.delete("Namespace", name)


@pytest.fixture
def log(shop: Shop) -> Iterator[SliceLog]:
    """What becomes of the namespace's slices, from the start of the story."""
    with SliceLog(shop.api, shop.namespace) as made:
        yield made


def _options(config: pytest.Config) -> Options:
    """What pytest-kind's options say; they are there because its plugin is loaded."""
    return Options(
        name=config.getoption("cluster_name"),
        keep=config.getoption("keep_cluster"),
        image=config.getoption("kind_image"),
        kind=config.getoption("kind_bin"),
        kubectl=config.getoption("kind_kubectl_bin"),
    )
