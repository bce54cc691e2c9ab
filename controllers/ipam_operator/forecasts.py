"""Hourly samples of how full each pool is, kept in one ConfigMap a pool, so that a new leader knows the past."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct

from api import names
from api.v1alpha1.common import Forecast
from controllers.ipam import capacity, forecast
from controllers.ipam.forecast import Sample
from controllers.ipam.snapshot import Snapshot
from controllers.ipam_operator.applying import apply
from controllers.runtime.api_client import ApiClient

_LABEL: Final = "ipam.sliceplane.dev/samples-of"
_PORTS: Final = "ports"
_LONGEST_LABEL: Final = 63


class _Meta(Struct):
    name: str = ""
    annotations: dict[str, str] | None = None


class _ConfigMap(Struct):
    metadata: _Meta
    data: dict[str, str] | None = None


class _List(Struct):
    items: list[_ConfigMap] | None = None


class Forecasts:
    """Samples by pool, "ip/<name>" or "port/<name>", and by family; `by_family` holds the last forecasts."""

    def __init__(self, client: ApiClient, namespace: str) -> None:
        self._client, self._namespace = client, namespace
        self._samples: dict[str, dict[str, tuple[Sample, ...]]] = {}
        self.by_family: dict[tuple[str, str], Forecast | None] = {}
        self._loaded = False

    async def _load(self) -> None:
        """Reads what earlier leaders have written, once. Raises ApiError."""
        if self._loaded:
            return
        path = f"/api/v1/namespaces/{self._namespace}/configmaps"
        body = await self._client.request("GET", path, query={"labelSelector": _LABEL})
        for each in msgspec.json.decode(body, type=_List).items or ():
            pool = (each.metadata.annotations or {}).get(_LABEL, "")
            self._samples[pool] = {family: forecast.decoded(text) for family, text in (each.data or {}).items()}
        self._loaded = True

    async def sampled(self, snapshot: Snapshot, now: datetime) -> dict[str, Forecast | None]:
        """The forecast of each pool, after this hour's sample; of two families the one that is full first.

        Raises ApiError.
        """
        await self._load()
        found: dict[str, Forecast | None] = {}
        self.by_family = {}
        for pool, counts in self._counts(snapshot).items():
            samples = self._samples.get(pool, {})
            new = {
                family: forecast.sampled(samples.get(family, ()), now, count.taken) for family, count in counts.items()
            }
            if new != samples:
                await self._write(pool, new)
                self._samples[pool] = new
            told = {family: forecast.forecast(new[family], count.total) for family, count in counts.items()}
            found[pool] = forecast.soonest(told.values())
            self.by_family.update({(pool.partition("/")[2], family): each for family, each in told.items()})
        return found

    def _counts(self, snapshot: Snapshot) -> Mapping[str, dict[str, capacity.Count]]:
        addresses = {
            f"ip/{pool.name}": {each.family: each for each in capacity.ip_pool_counts(pool, snapshot)}
            for pool in snapshot.ip_pools
        }
        ports = {
            f"port/{pool.name}": {_PORTS: capacity.port_pool_count(pool, snapshot)} for pool in snapshot.port_pools
        }
        return {**addresses, **ports}

    async def _write(self, pool: str, samples: Mapping[str, tuple[Sample, ...]]) -> None:
        kind, _, name = pool.partition("/")
        # A pool's name may be as long as a ConfigMap's.
        short = name if len(name) <= _LONGEST_LABEL else f"{name[:50]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        await apply(
            self._client,
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {
                    "name": f"sliceplane-ipam-samples-{kind}-{short}",
                    "namespace": self._namespace,
                    "labels": {**names.IPAM_LABELS, _LABEL: kind},
                    "annotations": {_LABEL: pool},
                },
                "data": {family: forecast.encoded(each) for family, each in samples.items()},
            },
        )
