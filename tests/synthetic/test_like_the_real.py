"""The synthetic API server answers as the real one does, as far as a controller asks."""

import asyncio
import difflib
from collections.abc import AsyncIterator, Iterator
from pprint import pformat

import msgspec
import pytest

from controllers.runtime.api_client import ApiClient
from controllers.runtime.errors import NotFound
from e2e.bench.load import Size, fill
from e2e.bench.synthetic.capture import captured
from e2e.bench.synthetic.measured import opened
from e2e.bench.synthetic.plane import SyntheticPlane
from e2e.bench.synthetic.population import Scale
from e2e.bench.synthetic.templates import FOLDER
from e2e.cluster.fixtures import plane_of
from e2e.cluster.local import ControlPlane
from tests.shell.waiting import PATIENCE
from tests.synthetic.conversation import PODS, Conversation, shape

pytestmark = pytest.mark.server

# The API server has a Service of its own (kubernetes), which is made up nowhere.
SIZE = Size(pods=7, services=5, nodes=4)


@pytest.fixture
def real() -> Iterator[ControlPlane]:
    with plane_of() as plane:
        yield plane


@pytest.fixture
async def both(real: ControlPlane) -> AsyncIterator[tuple[ApiClient, ApiClient]]:
    with SyntheticPlane(Scale(SIZE.pods, SIZE.services, SIZE.nodes)) as made:
        async with opened(real) as one, opened(made) as other:
            yield one, other


async def test_same_conversation(both: tuple[ApiClient, ApiClient]) -> None:
    await fill(both[0], SIZE)
    await without_its_own_service(both[0])
    notes = []
    for client in both:
        conversation = Conversation(client)
        await conversation.writes()
        await conversation.reads()
        notes.append(conversation.notes)
    real, made = notes
    assert list(made) == list(real)
    differing = [line for name in real for line in _diff(name, real[name], made[name])]
    assert not differing, "\n".join(differing)
    # As long as the real one's, but for the digits of its version.
    texts = [await client.request("GET", f"{PODS}/pod-5") for client in both]
    assert abs(len(texts[0]) - len(texts[1])) < 40


async def without_its_own_service(real: ApiClient) -> None:
    """Deletes the API server's own Service just after it was made again: the next look for it is 10 s away."""
    path = "/api/v1/namespaces/default/services/kubernetes"
    await real.request("DELETE", path)
    async with asyncio.timeout(PATIENCE):
        while not await _is_there(real, path):  # noqa: ASYNC110 (it is in another process)
            await asyncio.sleep(0.05)
    await real.request("DELETE", path)


async def _is_there(client: ApiClient, path: str) -> bool:
    try:
        await client.request("GET", path)
    except NotFound:
        return False
    return True


def _diff(name: str, real: object, made: object) -> list[str]:
    one, other = (pformat(each, width=60).splitlines() for each in (real, made))
    return list(difflib.unified_diff(one, other, f"{name} (real)", f"{name} (synthetic)", n=2, lineterm=""))


async def test_templates_are_what_the_api_server_answers_now(real: ControlPlane) -> None:
    async with opened(real) as client:
        found = await captured(client)
    kept = {name: msgspec.json.decode((FOLDER / f"{name}.json").read_bytes()) for name in found}
    assert {name: shape(msgspec.json.decode(text)) for name, text in found.items()} == {
        name: shape(each) for name, each in kept.items()
    }
