"""The real kustomize, pinned in tools/go.mod, and applying what it prints as strictly as the API server can."""

import functools
import subprocess
from pathlib import Path

import yaml

from e2e.cluster.build import build_module
from e2e.cluster.rest import Api, Object, Objects

CONFIG = Path(__file__).parents[2] / "config"

_TOOLS = Path(__file__).parent / "tools"
_PACKAGE = "sigs.k8s.io/kustomize/kustomize/v5"


class KustomizeError(Exception):
    """kustomize refused an overlay; the message is its own."""


def kustomize(overlay: str) -> Objects:
    """The objects of an overlay in config/, in the order in which they are to be applied.

    Builds kustomize when it is not there yet. Raises KustomizeError, build.BuildError.
    """
    return list(yaml.safe_load_all(_printed(overlay)))


def apply_strictly(api: Api, objects: Objects, *, dry_run: bool = False) -> Objects:
    """Server-side apply that refuses what the API server would otherwise drop: unknown and repeated fields.

    Raises rest.ApiError, and LookupError for a kind that the API server does not serve.
    """
    # The API server makes this namespace by itself, but not before it says that it is ready.
    api.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}}])
    return [_apply_strictly(api, obj, dry_run) for obj in objects]


@functools.cache
def _printed(overlay: str) -> str:
    program = build_module("kustomize", _TOOLS, _PACKAGE)
    done = subprocess.run([program, "build", CONFIG / overlay], capture_output=True, text=True)
    if done.returncode != 0:
        raise KustomizeError(f"config/{overlay}: {done.stderr.strip()}")
    return done.stdout


def _apply_strictly(api: Api, obj: Object, dry_run: bool) -> Object:
    version, kind, metadata = obj["apiVersion"], obj["kind"], obj["metadata"]
    group = f"/{'apis' if '/' in version else 'api'}/{version}"
    # As kubectl does it: the API server knows best where its kinds are.
    served = {each["kind"]: each for each in api.get(group)["resources"] if "/" not in each["name"]}
    if kind not in served:
        raise LookupError(f"{version} has no {kind}")
    space = f"/namespaces/{metadata['namespace']}" if served[kind]["namespaced"] else ""
    params = {"fieldManager": "sliceplane-e2e", "force": "true", "fieldValidation": "Strict"}
    if dry_run:
        params["dryRun"] = "All"
    path = f"{group}{space}/{served[kind]['name']}/{metadata['name']}"
    return api.request("PATCH", path, obj, params=params, content_type="application/apply-patch+yaml")
