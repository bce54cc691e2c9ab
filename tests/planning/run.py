"""Runs the command on text, and reads back what it printed."""

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from click.testing import CliRunner

from controllers.planning.command import plan_command

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "docs" / "examples" / "shop.yaml"
COMMAND = "from controllers.planning.command import plan_command; plan_command()"


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def slices(self) -> list[dict[str, Any]]:
        return [each for each in yaml.safe_load_all(self.out) if each]

    @property
    def endpoints(self) -> list[dict[str, Any]]:
        return [endpoint for each in self.slices for endpoint in each["endpoints"]]


def run(*args: str, stdin: str | bytes | None = None) -> Ran:
    result = CliRunner().invoke(plan_command, list(args), input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ran(result.exit_code, result.stdout, result.stderr)


def at_a_terminal(*args: str) -> str:
    """What a process of its own shows on a terminal as its standard error."""
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        with os.fdopen(theirs, "wb", buffering=0) as end:
            done = subprocess.run(
                [sys.executable, "-c", COMMAND, *args], stdout=subprocess.DEVNULL, stderr=end, cwd=ROOT, timeout=60
            )
        assert done.returncode == 0
        return terminal.read(65536).decode()


def planned(text: str, *args: str) -> Ran:
    """The plan of one text, which must be fine."""
    ran = run("-f", "-", *args, stdin=text)
    assert ran.code == 0, ran.err
    return ran


def dump(*objects: dict[str, Any]) -> str:
    return yaml.safe_dump_all(objects)


def service(name: str = "web", **spec: Any) -> dict[str, Any]:
    spec = {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80}], **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def workload(kind: str, name: str = "web", *, template: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    pod = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c"}], **(template or {})}}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": {"template": pod, **spec}}


def node(name: str, zone: str = "", *, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    found = {**(labels or {}), **({"topology.kubernetes.io/zone": zone} if zone else {})}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": found}, "spec": spec}


def pod(name: str, ip: str = "10.0.0.1", *, node: str = "n1", phase: str = "Running", **meta: Any) -> dict[str, Any]:
    status: dict[str, Any] = {"phase": phase, "conditions": [{"type": "Ready", "status": "True"}]}
    if ip:
        status |= {"podIP": ip, "podIPs": [{"ip": ip}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "web"}, **meta},
        "spec": {"nodeName": node},
        "status": status,
    }
