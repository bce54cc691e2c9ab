"""`sliceplane ipam run`, put together: every replica serves webhooks, the leader audits, guards and writes statuses."""

import asyncio
import contextlib
import logging
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Final, TypeVar

import aiohttp
import kopf
import uvloop

from api import names
from api.ipam_config import IPAMConfiguration
from controllers import __version__
from controllers.ipam.webhook_configurations import WebhookClient
from controllers.ipam_operator import guard_writer, kinds, listening
from controllers.ipam_operator.auditor import Auditor
from controllers.ipam_operator.claimer import Claimer
from controllers.ipam_operator.guard_writer import GuardWriter, whoami
from controllers.ipam_operator.repairing import Repairer
from controllers.ipam_operator.served import WatchingClient, follow
from controllers.ipam_operator.server import Certificates, WebhookServer, own_names
from controllers.ipam_operator.state import State
from controllers.ipam_operator.webhooks import Webhooks
from controllers.model.plan import Notice
from controllers.runtime import election, health, pages
from controllers.runtime.api_client import ApiClient
from controllers.runtime.clock import SystemClock
from controllers.runtime.credentials import Credentials
from controllers.runtime.events import EventRecorder, Regarding
from controllers.runtime.stopping import until_stopped
from controllers.runtime.store import Store
from controllers.runtime.watch import Malformed, Reflector
from controllers.telemetry import ipam_metrics, metrics
from controllers.telemetry.logs import bind

C = TypeVar("C", bound=ApiClient)

STOP_SECONDS: Final = 8.0
_LISTEN_SECONDS: Final = 20.0
_KOPF_SECONDS: Final = 0.5
# A round over everything, and the writes that follow; then something is stuck.
_ROUND_SECONDS: Final = 600.0
_SERVICE_PORT: Final = 443
# Of the instruments that `sliceplane run` has, too.
_SHARED: Final = (
    "leader_election_",
    "process_",
    "rest_client_",
    "sliceplane_build_info",
    "sliceplane_decode_",
    "sliceplane_events_",
)


class App:
    """One replica."""

    def __init__(self, configuration: IPAMConfiguration, certificates: Certificates) -> None:
        self._config, self._certificates = configuration, certificates
        self._clock = SystemClock()
        self._state = State(configuration, self._clock)
        self._stopping = asyncio.Event()
        self._reflectors: list[Reflector[Any]] = []
        self._auditor: Auditor | None = None
        self._listening = asyncio.Event()
        # What the API server does not know, by kind; the client of the watches tells.
        self._unknown: Mapping[str, str] = {}
        self._at_work = False
        self._broken = False
        self._identity = election.identity()
        self._log = bind("controllers.ipam_operator.app")

    async def run(self) -> None:
        """Runs until SIGTERM or SIGINT. Raises CredentialsError, OSError, ApiError when it cannot even start."""
        self._take_signals()
        page = pages.Pages(self._not_alive, self._not_ready, _metrics)
        serving = self._client(WatchingClient)
        self._unknown = serving.unknown
        # Three clients: what is asked for a request waits behind nothing, and a renewal is no write that the lease
        # itself forbids.
        async with (
            self._client(ApiClient) as leading,
            serving,
            self._client(ApiClient) as electing,
            pages.served(self._config.metrics_bind_address, page),
        ):
            self._log.info("starting", version=__version__, server=leading.server_url)
            if self._config.leader_elect:
                leading.may_write = lambda: False
            await self._work(leading, serving, electing)
        self._log.info("stopped")
        if self._broken:
            raise OSError("the webhooks were not served any more")

    def _client(self, made: type[C]) -> C:
        credentials = Credentials(self._config.kubeconfig or None, self._config.context or None)
        return made(credentials, self._clock, user_agent=f"sliceplane-ipam/{__version__}")

    async def _work(self, leading: ApiClient, serving: ApiClient, electing: ApiClient) -> None:
        recorder = EventRecorder(leading, self._clock, names.EVENT_COMPONENT_IPAM)
        self._reflectors = self._watch(serving, recorder)
        background = [asyncio.create_task(follow(each, self._clock)) for each in self._reflectors]
        background += [asyncio.create_task(recorder.run()), asyncio.create_task(self._certificates.follow())]
        work = self._serve_and_lead(leading, serving, electing, recorder)
        await until_stopped(work, background, self._stopping, self._patience)

    def _watch(self, client: ApiClient, recorder: EventRecorder) -> list[Reflector[Any]]:
        state = self._state

        def malformed(found: Malformed) -> None:
            about = Regarding(found.kind, found.namespace, found.name, found.uid)
            recorder.record(about, Notice("Warning", names.REASON_MALFORMED, f"Skipped: {found.error}"))

        stores: tuple[Store[Any], ...] = (
            state.services,
            state.addresses,
            state.service_cidrs,
            state.namespaces,
            state.ip_pools,
            state.port_pools,
            state.reservations,
        )
        watched = zip(kinds.FOLLOWED, stores, strict=True)
        return [Reflector(client, kind, store, self._clock, malformed) for kind, store in watched]

    async def _serve_and_lead(
        self, leading: ApiClient, serving: ApiClient, electing: ApiClient, recorder: EventRecorder
    ) -> None:
        """Once the caches have synced: webhooks on every replica, and the leader's work by election."""
        for reflector in self._reflectors:
            await reflector.synced.wait()
        user = await whoami(serving)
        claimer = Claimer(serving, self._clock, self._state.world, self._config.namespace, self._identity)
        webhooks = Webhooks(self._state, claimer, serving, user)
        self._state.subscribe(webhooks.noticed)
        self._state.subscribe(claimer.noticed)
        self._log.info("caches synced", services=len(self._state.services), pools=len(self._state.ip_pools))
        async with self._webhooks_served(serving, webhooks):
            self._at_work = True
            if not self._config.leader_elect:
                await self._lead(leading, recorder, user)
                return
            elector = election.elector(self._config, electing, self._clock, recorder, self._identity)
            leading.may_write = elector.may_write
            await elector.run(lambda: self._lead(leading, recorder, user), self._stopping)

    async def _lead(self, client: ApiClient, recorder: EventRecorder, user: str) -> None:
        """One term."""
        state = self._state
        guards = GuardWriter(client, state, user, self._webhook_client, self._clock)
        repairer = Repairer(client, state, self._clock)
        auditor = Auditor(client, state, self._config, recorder, self._clock, guards, repairer)
        guards_dirty, audit_dirty = asyncio.Event(), asyncio.Event()

        def changed(kind: str, old: object, new: object) -> None:
            audit_dirty.set()
            if kind not in ("IPAddress", "ServiceCIDR"):
                guards_dirty.set()
            if self._config.repair == "on":
                repairer.noticed(kind, old, new)

        state.subscribe(changed)
        self._auditor = auditor
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(
                        guard_writer.run(guards, guards_dirty, self._clock, self._config.audit_period, audit_dirty.set)
                    ),
                    group.create_task(auditor.run(audit_dirty)),
                    group.create_task(repairer.run()),
                ]
                await self._stopping.wait()
                for task in tasks:
                    task.cancel()
        finally:
            self._auditor = None
            state.unsubscribe(changed)

    def _webhook_client(self) -> WebhookClient:
        config, bundle = self._config, self._certificates.ca_bundle
        if config.webhook_url:
            return WebhookClient(url=config.webhook_url.rstrip("/"), ca_bundle=bundle)
        return WebhookClient(
            namespace=config.namespace, name=config.webhook_service, port=_SERVICE_PORT, ca_bundle=bundle
        )

    @contextlib.asynccontextmanager
    async def _webhooks_served(self, client: ApiClient, webhooks: Webhooks) -> AsyncIterator[None]:
        """kopf in this event loop: it serves admission and nothing else, watches nothing and elects nobody."""
        address = self._config.webhook_bind_address
        registry = kopf.OperatorRegistry()
        webhooks.register(registry)
        settings = kopf.OperatorSettings()
        server = WebhookServer(*listening.place_of(address), self._certificates)
        settings.admission.server = server
        settings.admission.managed = None
        settings.scanning.disabled = True
        settings.posting.enabled = False
        _login(registry, client)
        stop = asyncio.Event()
        operator = asyncio.create_task(self._kopf(registry, settings, stop))
        try:
            await _first(operator, server, address)
            self._listening = server.listening
            operator.add_done_callback(self._webhooks_ended)
            yield
        finally:
            operator.remove_done_callback(self._webhooks_ended)
            stop.set()
            # kopf takes every task of this loop for its own, and waits 5 s for them: it need not.
            await asyncio.wait({operator}, timeout=_KOPF_SECONDS)
            operator.cancel()
            await asyncio.wait({operator}, timeout=_KOPF_SECONDS)

    async def _kopf(
        self, registry: kopf.OperatorRegistry, settings: kopf.OperatorSettings, stop: asyncio.Event
    ) -> None:
        """kopf.operator, but that signals stay ours: one that comes while kopf starts would be a failure to serve."""
        before = asyncio.all_tasks()
        tasks = await kopf.spawn_tasks(
            registry=registry, settings=settings, standalone=True, clusterwide=True, stop_flag=stop
        )
        self._take_signals()
        await kopf.run_tasks(tasks, ignored=before)

    def _webhooks_ended(self, operator: asyncio.Task[None]) -> None:
        """kopf ends when its server does: better a new process than one that answers nobody."""
        self._log.error("the webhooks are not served any more", exc_info=operator.exception())
        self._broken = True
        self._stopping.set()

    def _take_signals(self) -> None:
        """How we stop is ours to decide."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)

    def _patience(self) -> float:
        """For how many seconds what is in flight is waited for: before there is any work, nothing is."""
        self._log.info("stopping")
        return STOP_SECONDS if self._at_work else 0.0

    def _not_alive(self) -> list[str]:
        now = self._clock.now()
        problems = health.not_alive(now, self._reflectors, ())
        auditor = self._auditor
        if auditor is not None and now - auditor.last_round > _ROUND_SECONDS + self._config.audit_period:
            problems.append(f"the audit has not finished a round for {now - auditor.last_round:.0f} s")
        return problems

    def _not_ready(self) -> list[str]:
        problems = health.not_ready(self._reflectors) if self._reflectors else ["starting"]
        waiting = [each.kind for each in self._reflectors if not each.synced.is_set()]
        problems += [self._unknown[kind] for kind in waiting if kind in self._unknown]
        return problems or ([] if self._listening.is_set() else ["webhooks are not served yet"])


def _metrics() -> bytes:
    return metrics.render(of=_SHARED) + metrics.render(ipam_metrics.REGISTRY)


def _login(registry: kopf.OperatorRegistry, client: ApiClient) -> None:
    """kopf asks the API server what kinds there are: through a session of its own, with our credentials."""

    async def login(**_: Any) -> Any:  # noqa: ANN401
        headers = await client.credentials.headers()
        connector = aiohttp.TCPConnector(ssl=client.credentials.tls or True)
        session = aiohttp.ClientSession(connector=connector, headers=headers)
        return kopf.AiohttpSession(server=client.server_url, aiohttp_session=session)

    kopf.on.login(registry=registry)(login)


async def _first(operator: asyncio.Task[None], server: WebhookServer, address: str) -> None:
    """Waits until kopf serves. Raises what ended it if it does not, and OSError when it cannot listen there."""
    waiting = asyncio.create_task(server.listening.wait())
    try:
        events: set[asyncio.Future[Any]] = {operator, waiting, server.failed}
        await asyncio.wait(events, timeout=_LISTEN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    if server.failed.done():
        raise listening.told(address, server.failed.result())
    if operator.done():
        operator.result()
    if not server.listening.is_set():
        raise OSError(f"the webhooks are not served at --webhook-bind-address={address} (see the log)")


def run(configuration: IPAMConfiguration) -> None:
    """Runs on uvloop until told to stop. Raises OSError, CredentialsError, ApiError."""
    # kopf tells of every step, and of a refusal as an error of ours: what matters of both we tell ourselves.
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("kopf.objects").setLevel(logging.CRITICAL)

    async def main() -> None:
        with _certificates(configuration) as certificates:
            # What is wrong with the flags is told now, also while the API server is away.
            certificates.called_by(configuration.webhook_host)
            listening.try_out(configuration.webhook_bind_address)
            await App(configuration, certificates).run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


@contextlib.contextmanager
def _certificates(configuration: IPAMConfiguration) -> Iterator[Certificates]:
    if configuration.webhook_self_signed:
        hosts = dict.fromkeys([configuration.webhook_host, *own_names()])
        with tempfile.TemporaryDirectory(prefix="sliceplane-ipam-") as folder:
            yield Certificates.self_signed(hosts, folder)
        return
    yield Certificates(configuration.webhook_cert_file, configuration.webhook_key_file, configuration.webhook_ca_file)
