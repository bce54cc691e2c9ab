"""The kind cluster's kube-controller-manager runs everything but the controllers that we replace."""

import yaml

from api.controllers import CONTROLLERS
from tests.config.overlay import ROOT


def kcm_controllers() -> list[str]:
    """What cluster.yaml gives kube-controller-manager as `--controllers`."""
    cluster = yaml.safe_load((ROOT / "config/kind/cluster.yaml").read_text())
    (patch,) = map(yaml.safe_load, cluster["kubeadmConfigPatches"])
    # A list of names and values is v1beta4's; the versions before have a mapping.
    assert patch["apiVersion"] == "kubeadm.k8s.io/v1beta4"
    flags = {each["name"]: each["value"] for each in patch["controllerManager"]["extraArgs"]}
    controllers: list[str] = flags["controllers"].split(",")
    return controllers


def test_just_our_controllers_are_off() -> None:
    off = {each.removeprefix("-") for each in kcm_controllers() if each.startswith("-")}
    assert off == CONTROLLERS.keys()


def test_nodes_can_join() -> None:
    """kubeadm's own value, which is replaced, has these: KCM runs them only when they are named."""
    on = [each for each in kcm_controllers() if not each.startswith("-")]
    assert on == ["*", "bootstrap-signer-controller", "token-cleaner-controller"]
