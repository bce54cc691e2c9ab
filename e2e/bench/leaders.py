"""`make bench-leaders`: two replicas under churn for ten minutes, and every 30 s the one that leads is killed.

Afterwards the API server's audit log tells of each write who sent it and when, so that a write by a replica that did
not hold the Lease any more cannot hide. Each replica is a user of its own for that, with the rights of all.
"""

import asyncio
import json
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click
import urllib3
import uvloop
import yaml
from rich.console import Console
from rich.table import Table

from controllers.runtime.api_client import ApiClient
from controllers.runtime.clock import SystemClock
from controllers.runtime.credentials import Credentials
from e2e.bench.load import NAMESPACE, Flips, Size, fill
from e2e.bench.observer import Observer
from e2e.bench.options import COUNT, POSITIVE
from e2e.cluster.local import ControlPlane
from e2e.cluster.process import Process, end_on_sigterm
from e2e.cluster.product import rights, start_sliceplane
from e2e.cluster.rest import Api, Object, Objects

_OUT: Final = Path(__file__).parents[2] / "out"
_GROUP: Final = "sliceplane-replicas"
_LEASE: Final = "sliceplane"
_RATE: Final = 20.0
_KILL_SECONDS: Final = 30.0
_SETTLE_SECONDS: Final = 30.0

_POLICY: Final = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {
            "level": "RequestResponse",
            "verbs": ["create", "update", "patch"],
            "resources": [{"group": "coordination.k8s.io", "resources": ["leases"]}],
        },
        {
            "level": "Metadata",
            "verbs": ["create", "update", "patch", "delete"],
            "resources": [
                {"group": "discovery.k8s.io", "resources": ["endpointslices"]},
                {"group": "", "resources": ["endpoints"]},
            ],
        },
        {"level": "None"},
    ],
}


@dataclass
class Found:
    """What ten minutes of it came to. Times in seconds."""

    kills: int = 0
    changes: int = 0
    writes: int = 0
    refused: dict[int, int] = field(default_factory=dict)
    stale_writes: int = 0
    gaps: list[float] = field(default_factory=list)
    outstanding: int = 0
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Write:
    """One write that the audit log tells of: who sent it, when it was received and answered, and with what code."""

    user: str
    resource: str
    received: datetime
    answered: datetime
    code: int
    holder: str | None


class Replicas:
    """Two at a time, each under a user of its own; `leader` is who holds the Lease."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane, self._running, self._count = plane, dict[str, Process](), 0

    def start(self) -> None:
        """One more."""
        self._count += 1
        user = f"replica-{self._count}"
        self._running[user] = start_sliceplane(self._plane, user=user, groups=(_GROUP,))

    def kill_leader(self) -> bool:
        """SIGKILL for the one that leads, by its own word; another takes its place. False when none says so."""
        for user, process in self._running.items():
            if self._leads(process):
                process.kill()
                del self._running[user]
                self.start()
                return True
        return False

    def stop(self) -> None:
        """Ends them all."""
        for process in self._running.values():
            process.send(signal.SIGTERM)
        for process in self._running.values():
            process.stop()

    def _leads(self, process: Process) -> bool:
        with urllib3.PoolManager(retries=False, timeout=5.0) as http:
            page = http.request("GET", f"{process.url}/metrics").data.decode()
        return f'leader_election_master_status{{name="{_LEASE}"}} 1\n' in page


async def _churn(plane: ControlPlane, size: Size, seconds: float, console: Console) -> tuple[Found, Observer]:
    found, replicas = Found(), Replicas(plane)
    async with ApiClient(Credentials(str(plane.kubeconfig("admin"))), SystemClock(), user_agent="bench") as client:
        await fill(client, size)
        async with Observer(client) as observer:
            try:
                for _ in range(2):
                    await asyncio.to_thread(replicas.start)
                while len(observer.names) < size.slices:
                    observer.check()
                    await asyncio.sleep(0.05)
                load = asyncio.create_task(Flips(client, size, seed=1).run(_RATE, seconds, observer))
                started = time.monotonic()
                while time.monotonic() + _KILL_SECONDS < started + seconds:
                    at = time.monotonic()
                    await asyncio.sleep(_KILL_SECONDS)
                    found.kills += await asyncio.to_thread(replicas.kill_leader)
                    found.gaps.append(observer.longest_gap(at))
                    console.print(f"{time.monotonic() - started:5.0f} s: {found.kills} leaders killed")
                found.changes = await load
                await asyncio.sleep(_SETTLE_SECONDS)
                found.outstanding = observer.outstanding
                found.wrong = await asyncio.to_thread(wrong, plane.client(), size)
            finally:
                await asyncio.to_thread(replicas.stop)
            return found, observer


def wrong(api: Api, size: Size) -> list[str]:
    """What of the slices and Endpoints does not say what the Pods say."""
    pods: dict[str, dict[str, bool]] = {}
    for pod in api.list("Pod", NAMESPACE):
        ready = {each["type"]: each["status"] for each in pod["status"]["conditions"]}["Ready"] == "True"
        pods.setdefault(pod["metadata"]["labels"]["app"], {})[pod["metadata"]["name"]] = ready
    told: dict[tuple[str, str], list[dict[str, bool]]] = {}
    for each in api.list("EndpointSlice", NAMESPACE):
        key = each["metadata"]["labels"]["kubernetes.io/service-name"], each["addressType"]
        told.setdefault(key, []).append(
            {endpoint["targetRef"]["name"]: endpoint["conditions"]["ready"] for endpoint in each["endpoints"]}
        )
    problems = [
        f"svc-{number} {family}"
        for number in range(size.services)
        for family in ("IPv4", "IPv6")
        if told.get((f"svc-{number}", family)) != [pods[f"app-{number}"]]
    ]
    for each in api.list("Endpoints", NAMESPACE):
        subsets = each.get("subsets") or []
        said = {a["targetRef"]["name"]: True for s in subsets for a in s.get("addresses") or []}
        said |= {a["targetRef"]["name"]: False for s in subsets for a in s.get("notReadyAddresses") or []}
        if said != pods[each["metadata"]["name"].replace("svc", "app")]:
            problems.append(f"Endpoints {each['metadata']['name']}")
    return problems


def read_audit(lines: Iterable[str]) -> list[Write]:
    """The writes of replicas that an audit log tells of, in the order in which they were answered."""
    found = []
    for line in lines:
        event: dict[str, Any] = json.loads(line)
        reference = event.get("objectRef", {})
        if not event["user"]["username"].startswith("replica-"):
            continue
        if reference.get("resource") == "leases" and reference.get("name", _LEASE) != _LEASE:
            continue
        spec = (event.get("responseObject") or {}).get("spec") or {}
        found.append(
            Write(
                user=event["user"]["username"],
                resource=reference["resource"],
                received=datetime.fromisoformat(event["requestReceivedTimestamp"]),
                answered=datetime.fromisoformat(event["stageTimestamp"]),
                code=event.get("responseStatus", {}).get("code", 0),
                holder=spec.get("holderIdentity") if reference["resource"] == "leases" else None,
            )
        )
    return sorted(found, key=lambda write: write.answered)


def stale(writes: Iterable[Write]) -> list[Write]:
    """Writes of slices and Endpoints that the server carried out, received when another replica held the Lease."""
    leader = ""
    terms: list[tuple[datetime, str]] = []
    ordered = list(writes)
    for write in ordered:
        if write.resource == "leases" and write.code < 300 and write.holder and write.user != leader:
            leader = write.user
            terms.append((write.answered, leader))
    found = []
    for write in ordered:
        if write.resource == "leases" or write.code >= 300:
            continue
        before = [user for begun, user in terms if begun <= write.received]
        if not before or before[-1] != write.user:
            found.append(write)
    return found


def _grants() -> Objects:
    """The rights that ship, bound to the group of all replicas."""

    def bound(each: Object) -> Object:
        if not each["kind"].endswith("Binding"):
            return each
        group = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": _GROUP}
        return {**each, "subjects": [group]}

    return [bound(each) for each in rights()]


@click.command()
@click.option("--minutes", type=POSITIVE, default=10.0, show_default=True)
@click.option("--pods", type=COUNT, default=1_000, show_default=True)
@click.option("--services", type=COUNT, default=50, show_default=True)
def main(minutes: float, pods: int, services: int) -> None:
    """Kill the leader of two replicas again and again under churn: nothing lost, nothing stale."""
    end_on_sigterm()
    console, size = Console(width=120), Size(pods, services)
    with tempfile.TemporaryDirectory() as folder:
        policy, log = Path(folder) / "policy.yaml", Path(folder) / "audit.log"
        policy.write_text(yaml.safe_dump(_POLICY))
        flags = (f"--audit-policy-file={policy}", f"--audit-log-path={log}", "--audit-log-mode=blocking-strict")
        with ControlPlane(extra_apiserver_args=flags) as plane:
            plane.client().apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}}])
            plane.client().apply(_grants())
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                found, _ = runner.run(_churn(plane, size, minutes * 60, console))
        writes = read_audit(log.read_text().splitlines())
    objects = [write for write in writes if write.resource != "leases"]
    found.writes = sum(write.code < 300 for write in objects)
    found.refused = dict(Counter(write.code for write in objects if write.code >= 300))
    found.stale_writes = len(stale(writes))
    _report(found, f"{pods} Pods, {services} Services, {_RATE:g} changes/s for {minutes:g} minutes", console)
    if found.wrong or found.stale_writes or not found.kills:
        sys.exit(1)


def _report(found: Found, title: str, console: Console) -> None:
    table = Table(title=title, title_justify="left", show_header=False)
    gaps = found.gaps or [0.0]
    rows = {
        "leaders killed": found.kills,
        "changes made": found.changes,
        "slices and Endpoints written": found.writes,
        "writes refused, by code": found.refused or "none",
        "writes by who did not hold the Lease": found.stale_writes,
        "seconds without a write, median and longest": f"{statistics.median(gaps):.1f}, {max(gaps):.1f}",
        "changes undone before they could show": found.outstanding,
        "wrong at the end": ", ".join(found.wrong) or "nothing",
    }
    for name, value in rows.items():
        table.add_row(name, str(value))
    console.print(table)
    _OUT.mkdir(exist_ok=True)
    (_OUT / "leaders.json").write_text(json.dumps({"title": title, "result": asdict(found)}, indent=2) + "\n")


if __name__ == "__main__":
    main()
