"""What earlier leaders have written is read once, by the first round that can."""

import datetime
from typing import Any

import msgspec
import pytest

from controllers.ipam.forecast import Sample, encoded
from controllers.ipam.snapshot import Snapshot
from controllers.ipam_operator.forecasts import Forecasts
from controllers.runtime.api_client import ApiClient
from controllers.runtime.errors import ApiError, Forbidden
from tests.ipam.snapshots import ip_pool

NOW = datetime.datetime(2026, 11, 25, 8, tzinfo=datetime.UTC)
HOUR = int(NOW.timestamp()) // 3600


class Client(ApiClient):
    """Refuses as often as it is told, then has the samples of one pool; keeps what is written."""

    def __init__(self, refusals: int) -> None:
        self.refusals, self.reads, self.written = refusals, 0, list[Any]()

    async def request(self, method: str, path: str, **more: Any) -> bytes:
        if method == "PATCH":
            self.written.append(msgspec.json.decode(more["body"])["data"])
            return b'{"metadata": {}}'
        self.reads += 1
        if self.reads <= self.refusals:
            raise Forbidden("not yet")
        meta = {"name": "x", "annotations": {"ipam.sliceplane.dev/samples-of": "ip/a"}}
        data = {"IPv4": encoded([Sample(HOUR - 1, 3)])}
        return msgspec.json.encode({"items": [{"metadata": meta, "data": data}]})


async def test_a_refusal_is_asked_again_and_an_answer_is_not() -> None:
    client = Client(refusals=1)
    forecasts, snapshot = Forecasts(client, "kube-system"), Snapshot(ip_pools=[ip_pool("a", "10.96.0.16-10.96.0.31")])
    with pytest.raises(ApiError):
        await forecasts.sampled(snapshot, NOW)
    assert client.written == []
    for _ in range(2):
        await forecasts.sampled(snapshot, NOW)
    assert client.reads == 2
    assert client.written == [{"IPv4": encoded([Sample(HOUR - 1, 3), Sample(HOUR, 0)])}]
