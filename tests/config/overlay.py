"""What an overlay says, by kind."""

from pathlib import Path
from typing import Any

from e2e.cluster.fixtures import unavailable
from e2e.cluster.kustomize import kustomize
from e2e.cluster.rest import Api, Object, path_of
from e2e.cluster.toolchain import BuildError
from tests.shell.ipaming import refused
from tests.shell.waiting import eventually

ROOT = Path(__file__).parents[2]
NAMESPACE = "kube-system"
SHARD_LABEL = "sliceplane.dev/shard"


class Overlay:
    """The objects that kustomize prints for an overlay in config/; of a sharded one, those of one shard and of all."""

    def __init__(self, name: str, shard: str = "") -> None:
        try:
            printed = kustomize(name)
        except BuildError as error:
            unavailable(error)
        self.name = name
        self.objects = [each for each in printed if each["metadata"].get("labels", {}).get(SHARD_LABEL, shard) == shard]

    def one(self, kind: str) -> Object:
        """The only object of a kind."""
        (found,) = (each for each in self.objects if each["kind"] == kind)
        return found

    @property
    def template(self) -> Any:
        """The Deployment's Pod template."""
        return self.one("Deployment")["spec"]["template"]

    @property
    def container(self) -> Any:
        (found,) = self.template["spec"]["containers"]
        return found

    def pod(self, namespace: str) -> Object:
        """A Pod of the template."""
        metadata = {**self.template["metadata"], "name": "sliceplane", "namespace": namespace}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": self.template["spec"]}

    def write_configuration(self, folder: Path) -> dict[str, str]:
        """Puts into a folder what the kubelet would mount, and returns its paths there by their paths in the Pod."""
        name = self.one("ConfigMap")["metadata"]["name"]
        mounts = {each["name"]: each["mountPath"] for each in self.container["volumeMounts"]}
        (mounted,) = (v["name"] for v in self.template["spec"]["volumes"] if v["configMap"]["name"] == name)
        for key, text in self.one("ConfigMap")["data"].items():
            (folder / key).write_text(text)
        return {f"{mounts[mounted]}/{key}": str(folder / key) for key in self.one("ConfigMap")["data"]}

    def arguments(self, folder: Path) -> list[str]:
        """The container's arguments, with its configuration in a folder of ours."""
        arguments: list[str] = self.container["args"]
        for inside, outside in self.write_configuration(folder).items():
            arguments = [each.replace(inside, outside) for each in arguments]
        return arguments


def restrict(api: Api, namespace: str) -> None:
    """Has the API server admit only Pods of the standard "restricted"; returns when it does: it learns of it later."""
    enforced = {"pod-security.kubernetes.io/enforce": "restricted"}
    api.patch("Namespace", namespace, {"metadata": {"labels": enforced}})
    bare = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "bare", "namespace": namespace},
        "spec": {"containers": [{"name": "main", "image": "none"}]},
    }

    def in_force() -> None:
        with refused(403, "violates PodSecurity"):
            api.request("POST", path_of("Pod", namespace=namespace), bare, params={"dryRun": "All"})

    eventually(in_force)
