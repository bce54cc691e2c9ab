"""`python -m e2e.bench.synthetic.server`: serves a cluster that is made up, and the load on it, until SIGTERM."""

import asyncio
import gc
import signal
import ssl
import time
from collections import Counter
from typing import Final

import click
import msgspec
import uvloop
from msgspec import Struct

from e2e.bench.synthetic.flips import Flips, Result, Tracker
from e2e.bench.synthetic.population import Scale
from e2e.bench.synthetic.statuses import bad_request
from e2e.bench.synthetic.wire import Answer, Connection, Request
from e2e.bench.synthetic.world import ENDPOINTS, PODS, SLICES, World

CONTROL: Final = "/synthetic"


class Stats(Struct):
    """How things stand; `quiet_seconds` since the last write, `result` of the last run of changes that has ended."""

    slices: int
    endpoints: int
    watching_pods: int
    quiet_seconds: float
    cpu_seconds: float
    counts: dict[str, int]
    running: bool
    result: Result | None


class Server:
    """The worlds of all shards; the load and what is told of it are the same whichever is asked."""

    def __init__(self, scales: list[Scale]) -> None:
        self.worlds = [World(scale) for scale in scales]
        self._scale = scales[0]
        self._counts: Counter[str] = Counter()
        tracker = Tracker(("IPv4", "IPv6") if self._scale.dual else ("IPv4",))
        for world in self.worlds:
            # One clock and one set of books for all.
            world.counts, world.tracker = self._counts, tracker
        self._flips = Flips(self._scale.pods, self._flip, tracker, self._counts)

    def handle(self, world: World, request: Request, connection: Connection) -> Answer | None:
        """Answers for one of the worlds, or for the load."""
        if request.path.startswith(CONTROL):
            return self._control(request)
        return world.handle(request, connection)

    def _flip(self, number: int) -> None:
        self.worlds[self._scale.shard_of(number % self._scale.services)].flip(number)

    def _control(self, request: Request) -> Answer:
        if request.path == f"{CONTROL}/flips" and request.method == "POST":
            if self._flips.running:
                return bad_request("a run has not ended yet")
            query = request.query
            try:
                self._flips.start(float(query["rate"]), float(query["seconds"]), int(query.get("seed", "0")))
            except (KeyError, ValueError) as error:
                return bad_request(f"rate and seconds are needed: {error}")
        return Answer(200, msgspec.json.encode(self._stats()))

    def _stats(self) -> Stats:
        last = max(world.last_write for world in self.worlds)
        return Stats(
            slices=sum(len(world.stored[SLICES]) for world in self.worlds),
            endpoints=sum(len(world.stored[ENDPOINTS]) for world in self.worlds),
            watching_pods=sum(world.channels[PODS].followed for world in self.worlds),
            quiet_seconds=time.monotonic() - last,
            cpu_seconds=time.process_time(),
            counts=dict(self._counts),
            running=self._flips.running,
            result=self._flips.result,
        )


async def serve(server: Server, ports: list[int], tls: ssl.SSLContext) -> None:
    """Serves each world on a port of its own until SIGTERM. Raises OSError when one is taken."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    listening = []
    for world, port in zip(server.worlds, ports, strict=True):

        def handle(request: Request, connection: Connection, world: World = world) -> Answer | None:
            return server.handle(world, request, connection)

        listening.append(
            await loop.create_server(lambda handle=handle: Connection(handle), "127.0.0.1", port, ssl=tls)  # type: ignore[misc]
        )
    await stopping.wait()
    for each in listening:
        each.close()


@click.command()
@click.option("--port", "ports", type=int, multiple=True, required=True, help="One for each shard.")
@click.option("--cert", required=True)
@click.option("--key", required=True)
@click.option("--client-ca", required=True)
@click.option("--pods", default=10_000, show_default=True)
@click.option("--services", default=500, show_default=True)
@click.option("--nodes", default=99, show_default=True)
@click.option("--namespaces", default=1, show_default=True)
@click.option("--dual/--single", default=True, show_default=True, help="IP families of the Services.")
def main(
    ports: tuple[int, ...],
    cert: str,
    key: str,
    client_ca: str,
    pods: int,
    services: int,
    nodes: int,
    namespaces: int,
    dual: bool,
) -> None:
    """A synthetic API server on 127.0.0.1."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=client_ca)
    tls.load_cert_chain(cert, key)
    # The API server asks too; what a client may do is not looked at here.
    tls.verify_mode = ssl.CERT_OPTIONAL
    shards = range(len(ports))
    server = Server([Scale(pods, services, nodes, namespaces, dual, len(ports), shard) for shard in shards])
    gc.freeze()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(server, list(ports), tls))


if __name__ == "__main__":
    main()
