"""`make bench-ipam`: what address pools cost, and that they never give a number twice.

32 clients create and delete Services as fast as they can while the pools that these draw from are 95 % full: first with
the API server alone, then with three replicas of `sliceplane ipam run`, then alone again. Each create is timed; every
error and every address or node port that two Services have at a time is counted; at the end the pools' statuses are
compared with the Services that there are.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import click
import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from controllers.runtime.api_client import ApiClient
from controllers.runtime.clock import SystemClock
from controllers.runtime.credentials import Credentials
from controllers.runtime.errors import ApiError
from e2e.bench.options import COUNT
from e2e.cluster.build import kubernetes_version
from e2e.cluster.ipam import Ipam, ip_pool, port_pool
from e2e.cluster.local import ControlPlane
from e2e.cluster.process import end_on_sigterm

_OUT: Final = Path(__file__).parents[2] / "out"
NAMESPACE: Final = "team"
_PATH: Final = f"/api/v1/namespaces/{NAMESPACE}/services"
_RANGE: Final = "10.96.16.0/21"
_FIRST: Final = int(ip_address("10.96.16.0"))
_ADDRESSES: Final = 2048
_PORTS: Final = (31000, 32023)
_FULL: Final = 0.95
# One Service of so many has a node port.
_NODE_PORTS: Final = 4
_SELECT: Final = {"namespaces": [NAMESPACE]}


@dataclass
class Turn:
    """One stretch of load. Times of creates in seconds."""

    name: str
    creates: list[float] = field(default_factory=list)
    seconds: float = 0.0
    errors: dict[str, int] = field(default_factory=dict)
    duplicates: int = 0
    outside: int = 0

    @property
    def rate(self) -> float:
        """Services created (and deleted) a second."""
        return len(self.creates) / self.seconds if self.seconds else 0.0

    def quantile(self, part: float) -> float:
        """Milliseconds."""
        ordered = sorted(self.creates)
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))] * 1000 if ordered else 0.0


class Load:
    """Clients on one API server; knows what each living Service holds."""

    def __init__(self, client: ApiClient, clients: int) -> None:
        self._client, self._clients = client, clients
        self._held: dict[object, str] = {}
        self._random = random.Random(1)

    async def fill(self) -> None:
        """Services that stay, with numbers that they name themselves: the pools are 95 % full."""
        addresses, ports = int(_ADDRESSES * _FULL), int((_PORTS[1] - _PORTS[0] + 1) * _FULL)

        async def one(number: int) -> None:
            text = str(ip_address(_FIRST + number))
            spec: dict[str, Any] = {"clusterIP": text, "ports": [{"port": 80}]}
            if number < ports:
                spec |= {"type": "NodePort", "ports": [{"port": 80, "nodePort": _PORTS[0] + number}]}
            await self._client.request("POST", _PATH, body=_body(f"full-{number}", spec))
            self._held[text] = f"full-{number}"

        await self._each(range(addresses), one)

    async def run(self, name: str, count: int, *, pooled: bool) -> Turn:
        """Creates and deletes so many Services. `pooled`: whether each must have its numbers from the pools."""
        turn = Turn(name)
        started = time.monotonic()

        async def one(number: int) -> None:
            node_port = number % _NODE_PORTS == 0
            await self._one(f"{name}-{number}", turn, node_port=node_port, pooled=pooled)

        await self._each(range(count), one)
        turn.seconds = time.monotonic() - started
        return turn

    async def _one(self, name: str, turn: Turn, *, node_port: bool, pooled: bool) -> None:
        spec: dict[str, Any] = {"ports": [{"port": 80}], "type": "NodePort" if node_port else "ClusterIP"}
        started = time.perf_counter()
        try:
            answer = await self._client.request("POST", _PATH, body=_body(name, spec), attempts=1)
        except ApiError as error:
            text = str(error).partition(": ")[2][:160]
            turn.errors[text] = turn.errors.get(text, 0) + 1
            return
        turn.creates.append(time.perf_counter() - started)
        found = msgspec.json.decode(answer)["spec"]
        numbers = [*found["clusterIPs"], *(port["nodePort"] for port in found["ports"] if "nodePort" in port)]
        for each in numbers:
            turn.duplicates += each in self._held
            self._held[each] = name
            turn.outside += pooled and not _pooled(each)
        await asyncio.sleep(self._random.random() * 0.05)
        for each in numbers:
            del self._held[each]
        await self._client.request("DELETE", f"{_PATH}/{name}")

    async def _each(self, numbers: range, one: Callable[[int], Awaitable[None]]) -> None:
        left = iter(numbers)

        async def worker() -> None:
            for number in left:
                await one(number)

        await asyncio.gather(*(worker() for _ in range(self._clients)))


def _body(name: str, spec: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"metadata": {"name": name}, "spec": spec})


def _pooled(number: object) -> bool:
    if isinstance(number, int):
        return _PORTS[0] <= number <= _PORTS[1]
    return 0 <= int(ip_address(str(number))) - _FIRST < _ADDRESSES


async def measure(plane: ControlPlane, count: int, clients: int, console: Console) -> tuple[list[Turn], list[str]]:
    """The three turns, and what the pools' statuses say wrongly after the second. NAMESPACE must be there."""
    async with ApiClient(Credentials(str(plane.kubeconfig("admin"))), SystemClock(), user_agent="bench") as client:
        load = Load(client, clients)
        await load.fill()
        console.print("pools filled")
        turns = [await load.run("before", count // 2, pooled=False)]
        ipam = await asyncio.to_thread(Ipam, plane)
        await asyncio.to_thread(ipam.start, 3)
        api = plane.client()
        common = {"select": _SELECT, "exclusive": True, "enforcement": "Enforce", "onExhausted": "Deny"}
        api.apply([ip_pool("busy", _RANGE, **common), port_pool("busy", _PORTS, **common)])
        await asyncio.to_thread(ipam.in_force)
        console.print("pools in force, three replicas")
        turns.append(await load.run("pools", count, pooled=True))
        problems = await asyncio.to_thread(_compare, plane)
        await asyncio.to_thread(ipam.stop)
        await asyncio.to_thread(ipam.remove)
        turns.append(await load.run("after", count // 2, pooled=False))
    return turns, problems


def _compare(plane: ControlPlane) -> list[str]:
    """What the pools' statuses say that is not so, once they have had the time to say it."""
    api, problems = plane.client(), [""]
    until = time.monotonic() + 30
    while problems and time.monotonic() < until:
        time.sleep(1)
        services = api.list("Service", NAMESPACE)
        addresses = sum(_pooled(ip) for each in services for ip in each["spec"]["clusterIPs"])
        ports = sum(
            _pooled(port["nodePort"]) for each in services for port in each["spec"]["ports"] if "nodePort" in port
        )
        told = api.read("ServiceIPPool", "busy")["status"]["capacity"][0]["used"]
        told_ports = api.read("ServicePortPool", "busy")["status"]["capacity"]["used"]
        problems = [
            f"{what}: the status says {said}, there are {there}"
            for what, said, there in (("addresses", told, addresses), ("ports", told_ports, ports))
            if said != there
        ]
    return problems


def _table(turns: list[Turn], title: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in ("", *(turn.name for turn in turns), "pools / alone"):
        table.add_column(column, justify="right")
    alone = [turn for turn in turns if turn.name != "pools"]
    pools = next(turn for turn in turns if turn.name == "pools")
    figures: dict[str, Callable[[Turn], float]] = {
        "Services a second": lambda turn: turn.rate,
        "create p50, ms": lambda turn: turn.quantile(0.5),
        "create p99, ms": lambda turn: turn.quantile(0.99),
    }
    for text, of in figures.items():
        mean = sum(map(of, alone)) / len(alone)
        table.add_row(text, *(f"{of(turn):.1f}" for turn in turns), f"{of(pools) / mean:.2f}")
    counts: dict[str, Callable[[Turn], int]] = {
        "errors": lambda turn: sum(turn.errors.values()),
        "duplicates": lambda turn: turn.duplicates,
        "outside the pools": lambda turn: turn.outside,
    }
    for text, count in counts.items():
        table.add_row(text, *(str(count(turn)) for turn in turns), "")
    return table


@click.command()
@click.option("--services", type=COUNT, default=5_000, show_default=True)
@click.option("--clients", type=COUNT, default=32, show_default=True)
def main(services: int, clients: int) -> None:
    """Create and delete Services against pools that are 95 % full, with and without Sliceplane."""
    end_on_sigterm()
    console = Console(width=120)
    flags = ["--max-mutating-requests-inflight=0", "--max-requests-inflight=0", "--enable-priority-and-fairness=false"]
    with ControlPlane(extra_apiserver_args=flags) as plane:
        plane.client().create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            turns, problems = runner.run(measure(plane, services, clients, console))
    title = f"{services} Services, {clients} clients, pools 95 % full, 3 replicas; Kubernetes {kubernetes_version()}"
    console.print(_table(turns, title))
    for turn in turns:
        for error, times in turn.errors.items():
            console.print(f"{turn.name}: {times} x {error}")
    console.print("\n".join(problems) or "the pools' statuses are right")
    _OUT.mkdir(exist_ok=True)
    record = {
        turn.name: asdict(turn) | {"creates": [turn.quantile(q / 100) for q in (50, 90, 99, 100)]} for turn in turns
    }
    (_OUT / "ipam.json").write_text(json.dumps({"title": title, "turns": record}, indent=2) + "\n")
    if problems or any(turn.duplicates or turn.outside or turn.errors for turn in turns):
        sys.exit(1)


if __name__ == "__main__":
    main()
