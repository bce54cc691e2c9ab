"""Whatever is in a manifest, `ipam check` has something to say, and never a traceback."""

import copy
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.ipam_tools.check import check
from controllers.ipam_tools.findings import as_json, as_text
from tests.ipam_tools.builders import Object, facts, ip_pool, manifest, manifests, reservation, service, wanted

SAMPLES = Path(__file__).parents[2] / "config" / "samples"
DOCUMENTS: list[Object] = [
    *(each for file in sorted(SAMPLES.glob("*.yaml")) for each in yaml.safe_load_all(file.read_text())),
    wanted(
        type="LoadBalancer",
        externalTrafficPolicy="Local",
        healthCheckNodePort=30090,
        clusterIP="10.96.0.5",
        clusterIPs=["10.96.0.5", "fd00:10:96::5"],
        ipFamilyPolicy="RequireDualStack",
        ipFamilies=["IPv4", "IPv6"],
        ports=[{"name": "a", "port": 80, "nodePort": 30080, "protocol": "TCP"}, {"name": "b", "port": 81}],
    ),
    manifest("ServiceCIDR", "more", version="networking.k8s.io/v1", cidrs=["10.97.0.0/16"]),
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "payments", "labels": {"team": "shop"}}},
]
LIVE = facts(
    ip_pool("payments", "10.96.0.32/27", select={"namespaces": ["payments"]}, exclusive=True, enforcement="Enforce"),
    service("shop/web", "10.96.0.5", ports=(30080,)),
    reservation("payments/checkout", "10.96.0.40"),
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["None", "10.96.0.0/15", "fd00::/8", "10.96.0.040", "::ffff:10.96.0.5", "fe80::1%eth0", "a.b/c"]),
    st.lists(st.integers(0, 3), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(0, 3), max_size=3),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value within."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(each for step, inner in steps for each in places(inner, (*path, step)))]


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_never_a_traceback(data: st.DataObject) -> None:
    documents = copy.deepcopy(data.draw(st.permutations(DOCUMENTS)))
    for _ in range(data.draw(st.integers(1, 4))):
        document = data.draw(st.sampled_from(documents))
        path = data.draw(st.sampled_from([each for each in places(document) if each]))
        at = document
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = data.draw(VALUES)
    outcome = check(manifests(*documents), LIVE)
    assert as_text(outcome.findings, quiet=False).count("\n") == len(outcome.findings)
    as_json(outcome)
