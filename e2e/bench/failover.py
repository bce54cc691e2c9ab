"""`make bench-failover`: for how long nobody writes slices when the leader goes, KCM and Sliceplane in one run.

Two replicas of each, leader election at its defaults, a steady rate of changes. First the leader is asked to end
(SIGTERM), then the next one is killed. Goals: 1 s, and the lease's duration and 1 s.
"""

import asyncio
import json
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import click
import uvloop
from rich.console import Console
from rich.table import Table

from controllers.runtime.api_client import ApiClient
from controllers.runtime.clock import SystemClock
from controllers.runtime.credentials import Credentials
from e2e.bench.contenders import REPLICAS, Contender
from e2e.bench.load import NAMESPACE, Flips, Size, fill
from e2e.bench.observer import Observer
from e2e.bench.options import COUNT
from e2e.cluster.build import kubernetes_version
from e2e.cluster.local import ControlPlane
from e2e.cluster.process import Process, end_on_sigterm
from e2e.cluster.product import grant

_OUT: Final = Path(__file__).parents[2] / "out"
_SLICES: Final = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
_RATE: Final = 20.0
_BEFORE_SECONDS: Final = 5.0
# KCM takes up to 22 s to go on.
_AFTER_SECONDS: Final = 35.0


@dataclass(frozen=True)
class Gaps:
    """Seconds without a write of slices around each end of a leader, and what was lost or is there twice."""

    ordinary: float
    sigterm: float
    sigkill: float
    outstanding: int
    surplus_slices: int


class Failover:
    """One API server on which each contender's leaders come and go."""

    def __init__(self, plane: ControlPlane, size: Size) -> None:
        self._plane, self._size = plane, size
        self._clients = Credentials(str(plane.kubeconfig("admin")))

    async def run(self, contenders: Sequence[Contender], console: Console) -> dict[str, Gaps]:
        """Fills the server, then measures one contender after the other."""
        async with ApiClient(self._clients, SystemClock(), user_agent="sliceplane-bench") as client:
            await fill(client, self._size)
            found = {}
            for contender in contenders:
                found[contender.name] = await self._turn(client, contender)
                console.print(f"{contender.name}: {found[contender.name]}")
            return found

    async def _turn(self, client: ApiClient, contender: Contender) -> Gaps:
        await client.request("DELETE", _SLICES)
        replicas: list[Process] = []
        async with Observer(client) as observer:
            try:
                # Who comes first leads: it has written every slice before the second starts.
                for _ in range(2):
                    replicas.append(await asyncio.to_thread(contender.start, self._plane))
                    await self._all_slices(observer)
                flips = Flips(client, self._size, seed=1)
                seconds = 2 * (_BEFORE_SECONDS + _AFTER_SECONDS)
                load = asyncio.create_task(flips.run(_RATE, seconds, observer))
                ordinary = await _longest(observer, _BEFORE_SECONDS)
                sigterm = await self._end(observer, replicas[0], signal.SIGTERM)
                replicas.append(await asyncio.to_thread(contender.start, self._plane))
                await asyncio.sleep(_BEFORE_SECONDS)
                sigkill = await self._end(observer, replicas[1], signal.SIGKILL)
                await load
                await asyncio.sleep(_BEFORE_SECONDS)
                outstanding, surplus = observer.outstanding, len(observer.names) - self._size.slices
            finally:
                for process in replicas:
                    await asyncio.to_thread(process.stop)
            await flips.restore()
        return Gaps(ordinary, sigterm, sigkill, outstanding, surplus)

    async def _all_slices(self, observer: Observer) -> None:
        until = time.monotonic() + 60
        while len(observer.names) < self._size.slices:
            observer.check()
            if time.monotonic() > until:
                raise click.ClickException("the slices were not written in a minute")
            await asyncio.sleep(0.05)

    async def _end(self, observer: Observer, leader: Process, how: signal.Signals) -> float:
        gap = asyncio.create_task(_longest(observer, _AFTER_SECONDS))
        await asyncio.sleep(0)
        leader.send(how)
        return await gap


async def _longest(observer: Observer, seconds: float) -> float:
    """The longest time without a write from now on, for so many seconds."""
    start = time.monotonic()
    await asyncio.sleep(seconds)
    return observer.longest_gap(start)


def _table(found: dict[str, Gaps], title: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in ("seconds without a write of slices", *found):
        table.add_column(column, justify="right")
    for text, field in (("ordinary", "ordinary"), ("SIGTERM", "sigterm"), ("SIGKILL", "sigkill")):
        table.add_row(text, *(f"{getattr(gaps, field):.2f}" for gaps in found.values()))
    for text, field in (("changes lost", "outstanding"), ("surplus slices", "surplus_slices")):
        table.add_row(text, *(str(getattr(gaps, field)) for gaps in found.values()))
    return table


@click.command()
@click.option("--pods", type=COUNT, default=1_000, show_default=True)
@click.option("--services", type=COUNT, default=50, show_default=True)
def main(pods: int, services: int) -> None:
    """KCM and Sliceplane with two replicas each: how long a change of leaders takes."""
    end_on_sigterm()
    console = Console(width=120)
    with ControlPlane() as plane, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        grant(plane)
        found = runner.run(Failover(plane, Size(pods, services)).run(REPLICAS, console))
    title = f"{pods} Pods, {services} Services, {_RATE:g} changes/s; KCM {kubernetes_version()}"
    console.print(_table(found, title))
    _OUT.mkdir(exist_ok=True)
    record = {name: asdict(gaps) for name, gaps in found.items()}
    (_OUT / "failover.json").write_text(json.dumps({"title": title, "results": record}, indent=2) + "\n")
    if any(gaps.outstanding or gaps.surplus_slices for gaps in found.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
