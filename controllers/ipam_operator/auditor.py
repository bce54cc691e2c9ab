"""The leader's rounds: statuses of pools and reservations, findings as Events, and what follows from both."""

import asyncio
import contextlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from api.ipam_config import IPAMConfiguration
from api.v1alpha1.common import API_VERSION, Forecast
from controllers.ipam import audit, repairs, status
from controllers.ipam.audit import Finding, Kind
from controllers.ipam.networks import Networks
from controllers.ipam.reservation_status import reservation_status
from controllers.ipam.snapshot import Snapshot
from controllers.ipam_operator.applying import apply
from controllers.ipam_operator.forecasts import Forecasts
from controllers.ipam_operator.guard_writer import GuardWriter
from controllers.ipam_operator.keeping import Keeper
from controllers.ipam_operator.networking import NodeNetworks
from controllers.ipam_operator.repairing import Repairer
from controllers.ipam_operator.state import State
from controllers.model.plan import Notice
from controllers.runtime.api_client import ApiClient
from controllers.runtime.clock import Clock
from controllers.runtime.errors import ApiError, NotFound
from controllers.runtime.events import EventRecorder, Regarding
from controllers.telemetry import ipam_metrics
from controllers.telemetry.logs import bind

# What changes is gathered so long, and longer where a round takes long: it must not be all that is done.
_GATHER: Final = 1.0
_REST: Final = 3.0
_PARTS: Final = 64
# Audit periods between two looks at the Nodes, whose networks hardly ever change.
_NODES: Final = 10
_VERSIONS: Final = {"Service": "v1", "IPAddress": "networking.k8s.io/v1", "ServiceCIDR": "networking.k8s.io/v1"}


class Auditor:
    """Compares everything with everything, after changes and every `audit_period`."""

    def __init__(
        self,
        client: ApiClient,
        state: State,
        configuration: IPAMConfiguration,
        recorder: EventRecorder,
        clock: Clock,
        guards: GuardWriter,
        repairer: Repairer,
    ) -> None:
        self._client, self._state, self._config, self._clock = client, state, configuration, clock
        self._recorder, self._guards, self._repairer = recorder, guards, repairer
        self._keeper = Keeper(client, state)
        self._forecasts = Forecasts(client, configuration.namespace)
        self._networks = NodeNetworks(client, clock, _NODES * configuration.audit_period)
        self._told: set[Finding] = set()
        self._log = bind("controllers.ipam_operator.auditor")
        self.last_round = clock.now()

    async def run(self, dirty: asyncio.Event) -> None:
        """Makes rounds until cancelled. Then its gauges go: the next leader's are true, and these would stay."""
        try:
            while True:
                await self._step(dirty)
        finally:
            ipam_metrics.forget()

    async def _step(self, dirty: asyncio.Event) -> None:
        """One round, and the wait for the next."""
        dirty.clear()
        started = self._clock.now()
        try:
            await self.round()
        except ApiError as error:
            self._log.warning("round not finished", error=str(error))
            dirty.set()
        took = self._clock.now() - started
        self.last_round = self._clock.now()
        await self._clock.sleep(max(_GATHER, _REST * took))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._config.audit_period):
                await dirty.wait()

    async def round(self) -> None:
        """One comparison, and all that follows from it. Raises ApiError; what was not done is done by the next."""
        now = self._clock.wall()
        snapshot = self.snapshot(await self._networks.read())
        found = await self._findings(snapshot, now)
        forecasts = await self._forecasts.sampled(snapshot, now)
        ipam_metrics.measure(snapshot, found, self._forecasts.by_family, now)
        await self._write_statuses(snapshot, found, forecasts, now)
        self._tell(found)
        if self._config.repair == "on":
            for repair in repairs.repairs(snapshot, found):
                await self._repairer.carry_out(repair)
        await self._write_reservations(snapshot, now)
        await self._keeper.keep(snapshot)

    async def _findings(self, snapshot: Snapshot, now: datetime) -> list[Finding]:
        """The audit in small parts: webhooks are answered in between."""
        found: list[Finding] = []
        for index, part in enumerate(audit.parts(snapshot, now)):
            found += part
            if index % _PARTS == _PARTS - 1:
                await asyncio.sleep(0)
        return audit.ordered(found)

    def snapshot(self, networks: Networks) -> Snapshot:
        """Everything, as it is known now."""
        state, world = self._state, self._state.world
        return Snapshot(
            services={each.key: each for each in state.services.all()},
            addresses={each.name: each for each in state.addresses.all()},
            service_cidrs={each.name: each for each in state.service_cidrs.all()},
            namespaces=dict(world.namespaces),
            ip_pools=world.ip_pools,
            port_pools=world.port_pools,
            reservations=[each.compiled for each in state.reservations.all()],
            ledger=world.ledger,
            node_ports=world.node_ports,
            networks=networks,
            exempt_namespaces=world.exempt,
            recreates=self._config.repair == "on",
            monotonic=self._clock.now(),
        )

    async def _write_statuses(
        self, snapshot: Snapshot, found: list[Finding], forecasts: dict[str, Forecast | None], now: datetime
    ) -> None:
        for ip in list(self._state.ip_pools.all()):
            told = forecasts.get(f"ip/{ip.name}")
            enforcement = self._guards.enforcement_of(ip.compiled)
            new = status.ip_pool_status(ip.compiled, snapshot, found, enforcement, told, now, ip.resource.status)
            if new != ip.resource.status:
                await self._write("ServiceIPPool", "", ip.name, new.wire())
        for port in list(self._state.port_pools.all()):
            told = forecasts.get(f"port/{port.name}")
            enforcement = self._guards.enforcement_of(port.compiled)
            fresh = status.port_pool_status(
                port.compiled, snapshot, found, enforcement, told, now, port.resource.status
            )
            if fresh != port.resource.status:
                await self._write("ServicePortPool", "", port.name, fresh.wire())

    async def _write_reservations(self, snapshot: Snapshot, now: datetime) -> None:
        for index, known in enumerate(list(self._state.reservations.all())):
            new = reservation_status(known.resource, snapshot, now)
            if new != known.resource.status:
                if new.phase != known.resource.status.phase:
                    self._tell_phase(known.resource.metadata, new.phase or "", new.conditions)
                await self._write("ServiceReservation", known.namespace, known.name, new.wire())
            if index % 100 == 99:
                await asyncio.sleep(0)

    async def _write(self, kind: str, namespace: str, name: str, found: dict[str, Any]) -> None:
        meta = {"name": name} | ({"namespace": namespace} if namespace else {})
        body = {"apiVersion": API_VERSION, "kind": kind, "metadata": meta, "status": found}
        try:
            await apply(self._client, body, "status")
        except NotFound:
            self._log.debug("gone before its status was written", kind=kind, name=name)

    def _tell(self, found: Iterable[Finding]) -> None:
        """An Event for what is new, unless --repair=off; what goes on is seen in conditions and metrics."""
        present = set(found)
        for each in present - self._told:
            on = each.object
            service = self._state.services.get(on.namespace, on.name) if each.kind == Kind.OUTSIDE_POOL else None
            if service is not None and not service.pool:
                ipam_metrics.FAIL_OPEN.inc()
            if self._config.repair == "off":
                continue
            about = Regarding(on.kind, on.namespace, on.name, on.uid, _VERSIONS.get(on.kind, API_VERSION))
            reason = "".join(part.capitalize() for part in each.kind.split("_"))
            self._recorder.record(about, Notice("Warning", reason, each.message))
        self._told = present

    def _tell_phase(self, meta: Any, phase: str, conditions: Iterable[Any]) -> None:  # noqa: ANN401
        about = Regarding("ServiceReservation", meta.namespace, meta.name, meta.uid, API_VERSION)
        message = next((each.message for each in conditions if each.type == "Bound"), "")
        self._recorder.record(about, Notice("Warning" if phase == "Conflict" else "Normal", phase, message))
