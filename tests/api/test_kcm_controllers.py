"""`--controllers` takes what kube-controller-manager's takes: no name less, old ones too, and those of older KCMs."""

import re
import subprocess

import pytest

from api.controllers import CONTROLLERS, KCM_ALIASES, KCM_CONTROLLERS, UnknownController, chosen
from e2e.cluster import build
from e2e.cluster.fixtures import unavailable
from e2e.cluster.toolchain import BuildError

# `aliases:` in cmd/kube-controller-manager/app/*.go of Kubernetes 1.37.2, in their order there.
_ALIASES = """
daemonset statefulset replicaset deployment horizontalpodautoscaling job cronjob bootstrapsigner tokencleaner csrsigning
csrapproving csrcleaner root-ca-cert-publisher nodeipam nodelifecycle persistentvolume-binder attachdetach
persistentvolume-expander ephemeral-volume endpoint replicationcontroller podgc resourcequota namespace serviceaccount
ttl garbagecollector pvc-protection pv-protection ttl-after-finished legacy-service-account-token-cleaner
storage-version-gc endpointslice endpointslicemirroring disruption clusterrole-aggregation resource-claim-controller
serviceaccount-token svm
"""
ALIASES = _ALIASES.split()
OLDER = ["cloud-node-lifecycle-controller", "node-route-controller", "service-lb-controller", "route", "service"]
UNKNOWN = ["endpoints", "bootstrap-signer", "--job", "-*"]


@pytest.mark.parametrize("name", [*ALIASES, *OLDER, *sorted(KCM_CONTROLLERS)])
def test_names_and_old_names_are_taken(name: str) -> None:
    """Those that are not ours change nothing, nor do those that only older KCMs know."""
    ours = {each for each, alias in CONTROLLERS.items() if name in (each, alias)}
    assert chosen(name) == ours
    assert chosen(f"*,-{name}") == CONTROLLERS.keys() - ours


@pytest.mark.parametrize("name", UNKNOWN)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(UnknownController):
        chosen(f"*,{name}")


def test_old_names_are_those_of_the_source() -> None:
    assert sorted(KCM_ALIASES) == sorted(ALIASES)
    assert {KCM_ALIASES[alias]: alias for alias in CONTROLLERS.values()} == CONTROLLERS
    assert set(KCM_ALIASES.values()) <= KCM_CONTROLLERS


def said_by_kcm(*flags: str) -> str:
    try:
        program = build.binaries(("kube-controller-manager",))["kube-controller-manager"]
    except BuildError as error:
        unavailable(error)
    ended = subprocess.run([program, *flags], capture_output=True, text=True, timeout=60, check=False)
    return ended.stdout + ended.stderr


@pytest.mark.server
def test_names_are_those_of_the_real_one() -> None:
    [names] = re.findall(r"All controllers: (.+?)(?: Disabled-by-default|\n)", said_by_kcm("--help"))
    assert set(names.strip().split(", ")) == KCM_CONTROLLERS


@pytest.mark.server
def test_the_real_one_refuses_what_is_refused_and_no_more() -> None:
    given = ",".join([*KCM_CONTROLLERS, *KCM_ALIASES, *UNKNOWN])
    # Its log has escaped the quotation marks.
    said = said_by_kcm(f"--controllers={given}").replace("\\", "")
    refused = re.findall(r'"([^"\s]+)" is not in the list of known controllers', said)
    assert set(refused) == {each.removeprefix("-") for each in UNKNOWN}
