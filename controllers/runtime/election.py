"""The election that the flags ask for (`--leader-elect-…`), with its metrics."""

import socket
import uuid

from api.config import Common
from controllers.runtime.api_client import ApiClient
from controllers.runtime.clock import Clock
from controllers.runtime.events import EventRecorder
from controllers.runtime.lease import Elector
from controllers.telemetry import metrics


def identity() -> str:
    """A name that no other process has."""
    return f"{socket.gethostname()}_{uuid.uuid4()}"


def elector(config: Common, client: ApiClient, clock: Clock, recorder: EventRecorder, own: str) -> Elector:
    """Our part in the election of the replica that works, under `own` identity. `client` writes without leading."""
    lease = config.leader_elect_resource_name
    return Elector(
        client,
        clock,
        namespace=config.leader_elect_resource_namespace,
        name=lease,
        identity=own,
        lease_seconds=config.leader_elect_lease_duration,
        renew_seconds=config.leader_elect_renew_deadline,
        retry_seconds=config.leader_elect_retry_period,
        told=recorder.record,
        led=metrics.LEADING.labels(name=lease).set,
        slowpath=metrics.LEADING_SLOWPATH.labels(name=lease).inc,
    )
