"""The architecture: who may import whom, and what the core may not import at all (DESIGN section 3)."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
FEATURES = {"endpointslice", "endpoints", "mirroring", "servicecidr", "nodeipam", "ipam"}
CORE = {"model", "membership", "topology", *FEATURES}
IO = {"asyncio", "aiohttp", "kopf", "kubernetes", "os", "socket", "tenacity", "threading", "subprocess"}
REST = {"time", "random", "uuid", "secrets", "logging", "opentelemetry", "prometheus_client", "click", "yaml"}
BANNED = IO | REST
# May import its own kind and what is below: cli → app → runtime → features → topology → membership → model → api
RANK = {
    "api": 0,
    "model": 1,
    "membership": 2,
    # Hints are given to slices before they are written: what the reconcile calls stands below it.
    "topology": 3,
    **dict.fromkeys(FEATURES, 4),
    "planning": 5,
    "telemetry": 5,
    "runtime": 6,
    "starting": 7,
    "workshop": 7,
    "ipam_operator": 7,
    "ipam_tools": 8,
    "app": 8,
    "cli": 9,
    "__main__": 10,
}


def layer(module: str) -> str | None:
    """`controllers.model.wire` → `model`; None for what is not ours."""
    first, *rest = module.split(".")
    return "api" if first == "api" else rest[0] if first == "controllers" and rest else None


def imports(source: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            # A relative import is one that this test cannot read: it counts as a breach.
            found |= {f"{'.' * node.level}{node.module or ''}.{name.name}" for name in node.names}
    return found


def breaches(module: str, source: str) -> list[str]:
    """What a module imports against the rules; a package without a rank is a breach by itself."""
    here = layer(module)
    found = [] if here in {*RANK, "__init__", None} else [f"{module} has no rank"]
    for name in sorted(imports(source)):
        there = layer(name)
        up = here in RANK and there in RANK and RANK[there] > RANK[here]
        across = there in FEATURES and here in FEATURES and there != here
        if name.startswith(".") or up or across or (here in CORE and name.split(".")[0] in BANNED):
            found.append(f"{module} imports {name}")
    return found


def modules() -> dict[str, str]:
    paths = [path for top in ("api", "controllers") for path in sorted((ROOT / top).rglob("*.py"))]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts): path.read_text() for path in paths}


def test_layers() -> None:
    found = modules()
    assert {"controllers.model.wire", "controllers.endpointslice.reconcile", "api.names"} <= set(found)
    assert [breach for module, source in found.items() for breach in breaches(module, source)] == []


BREACHES = {
    "controllers.model.pods": "import time",
    "controllers.membership.pods": "def late():\n    from os.path import join",
    "controllers.endpointslice.pods": "import prometheus_client.core as p",
    "controllers.model.ports": "from controllers.membership import ports",
    "controllers.endpointslice.ports": "from controllers.mirroring.reconcile import plan",
    "controllers.mirroring.ports": "from controllers.runtime import store",
    "controllers.runtime.store": "import controllers.app",
    "controllers.topology.ports": "from . import capacity",
    "api.config": "from controllers import model",
}


def test_layers_catch_a_breach() -> None:
    assert {module: len(breaches(module, source)) for module, source in BREACHES.items()} == dict.fromkeys(BREACHES, 1)
    assert breaches("controllers.runtime.store", "import asyncio, os\nfrom controllers.model import objects") == []
    assert breaches("controllers.endpointslice.pack", "import re\nfrom controllers.endpointslice import slices") == []
