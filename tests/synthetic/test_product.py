"""Sliceplane itself on the synthetic API server: a whole run in small."""

import asyncio

import msgspec
import pytest

from e2e.bench.synthetic.measured import Trial, opened
from e2e.bench.synthetic.plane import SyntheticPlane
from e2e.bench.synthetic.population import Scale
from tests.synthetic.conversation import Object


@pytest.mark.parametrize("shards", [1, 2])
async def test_every_change_is_shown(shards: int) -> None:
    scale = Scale(pods=200, services=20, nodes=9, namespaces=6)
    ready: dict[str, bool] = {}
    shown: dict[tuple[str, str], bool] = {}
    owners: dict[str, set[str]] = {}
    with SyntheticPlane(scale, shards) as plane:
        async with opened(plane) as client:
            trial = Trial(plane, client)
            try:
                started = await trial.start()
                step = await trial.step(rate=50, seconds=2)
            finally:
                await asyncio.to_thread(trial.stop)
            assert [process.poll() for process in trial.processes] == [0] * shards
        for shard in range(shards):
            with plane.at(shard):
                async with opened(plane) as client:
                    pods = msgspec.json.decode(await client.request("GET", "/api/v1/pods"))["items"]
                    path = "/apis/discovery.k8s.io/v1/endpointslices"
                    slices = msgspec.json.decode(await client.request("GET", path))["items"]
            ready |= {each["metadata"]["name"]: _ready(each) for each in pods}
            for each in slices:
                for endpoint in each["endpoints"]:
                    name = endpoint["targetRef"]["name"]
                    shown[name, each["addressType"]] = endpoint["conditions"]["ready"]
                    owners.setdefault(each["metadata"]["labels"]["kubernetes.io/service-name"], set()).add(name)
    assert (started.slices, started.endpoints) == (40, 20)
    assert (step.result.changes, step.result.outstanding) == (100, 0)
    assert step.result.shown + 2 * step.result.superseded >= 100
    assert len(ready) == 200
    assert not all(ready.values())
    assert shown == {(name, family): each for name, each in ready.items() for family in ("IPv4", "IPv6")}
    assert owners == {f"svc-{n}": {f"pod-{pod}" for pod in range(n, 200, 20)} for n in range(20)}


def _ready(pod: Object) -> bool:
    (condition,) = (each for each in pod["status"]["conditions"] if each["type"] == "Ready")
    return bool(condition["status"] == "True")
