"""The election that the flags ask for (`--leader-elect-…`), with its metrics."""

import asyncio
import socket
import uuid
from typing import Protocol, TypedDict

from api.config import Common
from controllers.runtime.api_client import ApiClient
from controllers.runtime.clock import Clock
from controllers.runtime.events import EventRecorder
from controllers.runtime.lease import Elector, Lead
from controllers.runtime.shard_election import JointElector, ShardElection
from controllers.runtime.shards import Shard
from controllers.telemetry import metrics


class _Seconds(TypedDict):
    lease_seconds: float
    renew_seconds: float
    retry_seconds: float


class Election(Protocol):
    """Our part in an election."""

    def may_write(self) -> bool:
        """Whether nobody else can be the leader yet."""
        ...

    async def run(self, lead: Lead, stopping: asyncio.Event) -> None:
        """As `Elector.run`."""
        ...


def identity() -> str:
    """A name that no other process has."""
    return f"{socket.gethostname()}_{uuid.uuid4()}"


def together(shard: Shard) -> str:
    """The name that the leaders of all shards have in common; no process has it for itself."""
    return f"{shard.of}-shards"


def elector(config: Common, client: ApiClient, clock: Clock, recorder: EventRecorder, own: str) -> Elector:
    """Our part in the election of the replica that works, under `own` identity. `client` writes without leading."""
    lease = config.leader_elect_resource_name
    return Elector(
        client,
        clock,
        namespace=config.leader_elect_resource_namespace,
        name=lease,
        identity=own,
        told=recorder.record,
        led=metrics.LEADING.labels(name=lease).set,
        slowpath=metrics.LEADING_SLOWPATH.labels(name=lease).inc,
        **_seconds(config),
    )


def shard_elector(
    config: Common, client: ApiClient, clock: Clock, recorder: EventRecorder, own: str, shard: Shard
) -> ShardElection:
    """As `elector`, of the replica that works on a shard.

    The shard's Lease is called as the Lease of one that has everything, and the shard. Where such a one holds its own,
    or shards of another number do, nobody leads.
    """
    everything = config.leader_elect_resource_name
    lease, namespace, told = f"{everything}-{shard}", config.leader_elect_resource_namespace, recorder.record
    ours = Elector(
        client,
        clock,
        namespace=namespace,
        name=lease,
        identity=own,
        told=told,
        slowpath=metrics.LEADING_SLOWPATH.labels(name=lease).inc,
        **_seconds(config),
    )
    joint = JointElector(
        client,
        clock,
        namespace=namespace,
        name=everything,
        identity=together(shard),
        told=told,
        # Only who has both leads.
        led=metrics.LEADING.labels(name=lease).set,
        **_seconds(config),
    )
    return ShardElection(ours, joint)


def _seconds(config: Common) -> _Seconds:
    return {
        "lease_seconds": config.leader_elect_lease_duration,
        "renew_seconds": config.leader_elect_renew_deadline,
        "retry_seconds": config.leader_elect_retry_period,
    }
