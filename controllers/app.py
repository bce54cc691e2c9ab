"""The composition root: the one place that builds things, and starts and stops them in order."""

import asyncio
import gc
import signal
from typing import Any, Final

import uvloop

from api.config import Configuration
from controllers import __version__
from controllers.runtime import health
from controllers.runtime.api_client import ApiClient
from controllers.runtime.clock import SystemClock
from controllers.runtime.credentials import Credentials
from controllers.runtime.loop import Loop
from controllers.runtime.pages import Pages, served
from controllers.runtime.stopping import until_stopped
from controllers.runtime.stores import Stores
from controllers.runtime.watch import Reflector
from controllers.telemetry import metrics
from controllers.telemetry.logs import bind
from controllers.workshop import Workshop

# What is in flight when SIGTERM comes may finish in this time; then it is abandoned (kubelet's patience is 15 s).
STOP_SECONDS: Final = 8.0
_GC_THRESHOLD: Final = 10_000


class App:
    """`sliceplane run`: caches, controllers, and the page that tells how they are."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._clock = SystemClock()
        self._stores = Stores()
        self._stopping = asyncio.Event()
        self._reflectors: list[Reflector[Any]] = []
        self._loops: list[Loop] = []
        self._log = bind("controllers.app")

    async def run(self) -> None:
        """Runs until SIGTERM or SIGINT; returns when every write has been finished or abandoned.

        Raises CredentialsError when the API server cannot even be looked for, AddressError when nothing can be served.
        """
        # Loading makes many objects and no garbage worth looking for.
        gc.set_threshold(100_000)
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._complained)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        config = self._configuration
        pages = Pages(self._not_alive, self._not_ready, metrics.render)
        async with (
            self._client(config.kube_api_qps, config.kube_api_burst) as client,
            served(config.metrics_bind_address, pages),
        ):
            self._log.info("starting", version=__version__, server=client.server_url)
            await self._serve_until_stopped(client)
        self._log.info("stopped")

    def _complained(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What went wrong in nobody's task; uvloop minds when data comes over a TLS connection that is being closed."""
        closed = isinstance(context.get("exception"), RuntimeError) and "closed" in str(context["exception"])
        if closed and "SSL" in str(context.get("message")):
            self._log.debug("data after the end of a connection", error=str(context["exception"]))
        else:
            loop.default_exception_handler(context)

    def _client(self, qps: float = 0.0, burst: int = 0) -> ApiClient:
        config = self._configuration
        credentials = Credentials(config.kubeconfig or None, config.context or None)
        return ApiClient(credentials, self._clock, user_agent=f"sliceplane/{__version__}", qps=qps, burst=burst)

    async def _serve_until_stopped(self, client: ApiClient) -> None:
        workshop = Workshop(self._configuration, self._stores, client, self._clock)
        if self._configuration.leader_elect:
            client.may_write = lambda: False
        self._reflectors = workshop.reflectors
        background = [asyncio.create_task(recorder.run()) for recorder in workshop.recorders]
        background += [asyncio.create_task(reflector.run()) for reflector in workshop.reflectors]
        try:
            await until_stopped(self._serve(workshop, client), background, self._stopping, self._patience)
        finally:
            workshop.close()

    async def _serve(self, workshop: Workshop, client: ApiClient) -> None:
        """Waits for the caches, then works: nothing is written from half a picture (ES-18, EP-11).

        With an election, whoever has no caches yet does not run for the lease, and whoever loses it keeps them (D-10).
        """
        for reflector in self._reflectors:
            await reflector.synced.wait()
        # What was loaded stays: the collector need not look at it again.
        gc.freeze()
        gc.set_threshold(_GC_THRESHOLD)
        stores = self._stores
        self._log.info(
            "caches synced",
            controllers=",".join(workshop.names),
            pods=len(stores.pods),
            services=len(stores.services),
            nodes=len(stores.nodes),
        )
        if not self._configuration.leader_elect:
            await self._work(workshop)
            return
        # A client of its own: a renewal waits behind nothing, and is no write that the lease itself forbids.
        async with self._client() as own, workshop.lease_recorder(own) as recorder:
            elector = workshop.elector(own, recorder)
            client.may_write = elector.may_write
            await elector.run(lambda: self._work(workshop), self._stopping)

    async def _work(self, workshop: Workshop) -> None:
        """One term: the controllers, until they are told to stop or cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for loop, workers in workshop.loops():
                    self._loops.append(loop)
                    group.create_task(loop.run(workers, self._stopping))
        finally:
            self._loops.clear()
            self._stores.unsubscribe_all()
            metrics.forget_totals()

    def _patience(self) -> float:
        """For how many seconds what is in flight is waited for, now that the stop has been asked for."""
        self._log.info("stopping")
        return 0.0 if self._not_ready() else STOP_SECONDS

    def _not_alive(self) -> list[str]:
        return health.not_alive(self._clock.now(), self._reflectors, self._loops)

    def _not_ready(self) -> list[str]:
        return health.not_ready(self._reflectors) if self._reflectors else ["starting"]


def run(configuration: Configuration) -> None:
    """Runs the controllers on uvloop until they are told to stop."""

    async def main() -> None:
        await App(configuration).run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
