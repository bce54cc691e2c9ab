"""`python -m e2e.bench.synthetic.capture`: writes the templates anew, from answers of the real API server."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from controllers.runtime.api_client import ApiClient
from controllers.runtime.clock import SystemClock
from controllers.runtime.credentials import Credentials
from e2e.bench.load import NAMESPACE, READY_SINCE, Size, fill
from e2e.bench.synthetic.templates import FOLDER
from e2e.cluster.local import ControlPlane

Object = dict[str, Any]

_PATH: Final = f"/api/v1/namespaces/{NAMESPACE}"
_META: Final = (("name", "{{name}}"), ("uid", "{{uid}}"), ("resourceVersion", "{{version}}"))
_POD_LABELS: Final = {"app": "{{app}}", "pod-template-hash": "{{hash}}", "topology.kubernetes.io/zone": "{{zone}}"}
_NODE_LABELS: Final = {"kubernetes.io/hostname": "{{name}}", "topology.kubernetes.io/zone": "{{zone}}"}


async def captured(client: ApiClient) -> dict[str, bytes]:
    """The templates by name: what the API server makes of the benchmark's first Pod, Service and Node."""
    await fill(client, Size(pods=1, services=1))
    single = {
        "metadata": {"name": "single", "labels": {"app": "app-0"}},
        "spec": {**(await _get(client, f"{_PATH}/services/svc-0"))["spec"]},
    }
    for key in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        del single["spec"][key]
    await client.request("POST", f"{_PATH}/services", body=msgspec.json.encode(single))
    return {
        "pod": _pod(await _get(client, f"{_PATH}/pods/pod-0")),
        "node": _node(await _get(client, "/api/v1/nodes/node-0")),
        "service-dual": _service(await _get(client, f"{_PATH}/services/svc-0"), ("{{ipv4}}", "{{ipv6}}")),
        "service-single": _service(await _get(client, f"{_PATH}/services/single"), ("{{ipv4}}",)),
    }


async def _get(client: ApiClient, path: str) -> Object:
    found: Object = msgspec.json.decode(await client.request("GET", path))
    return found


def _text(found: Object, replaced: Mapping[str, str] | None = None) -> bytes:
    """One line of JSON, as an item of a list: those name no kind."""
    text = msgspec.json.encode({key: value for key, value in found.items() if key not in ("kind", "apiVersion")})
    for old, new in (replaced or {}).items():
        text = text.replace(old.encode(), new.encode())
    return text + b"\n"


def _meta(found: Object, more: Iterable[tuple[str, Any]]) -> None:
    found["metadata"].update((*_META, *more))


def _pod(found: Object) -> bytes:
    _meta(found, (("namespace", "{{namespace}}"), ("labels", {**found["metadata"]["labels"], **_POD_LABELS})))
    found["spec"]["nodeName"] = "{{node}}"
    (ready,) = (each for each in found["status"]["conditions"] if each["type"] == "Ready")
    assert ready["lastTransitionTime"] == READY_SINCE
    ready.update(status="{{ready}}", lastTransitionTime="{{since}}")
    four, six = (each["ip"] for each in found["status"]["podIPs"])
    # Also in the names of the fields that are managed, where the quotes are escaped.
    quoted = {f'"{four}"': '"{{ipv4}}"', f'"{six}"': '"{{ipv6}}"'}
    return _text(found, quoted | {_escaped(old): _escaped(new) for old, new in quoted.items()})


def _escaped(text: str) -> str:
    return text.replace('"', '\\"')


def _service(found: Object, addresses: tuple[str, ...]) -> bytes:
    labels = {"app": "{{app}}"}
    _meta(found, (("namespace", "{{namespace}}"), ("labels", labels)))
    found["spec"].update(selector=labels, clusterIP=addresses[0], clusterIPs=list(addresses))
    return _text(found)


def _node(found: Object) -> bytes:
    _meta(found, (("labels", {**found["metadata"]["labels"], **_NODE_LABELS}),))
    return _text(found)


async def _capture(plane: ControlPlane) -> None:
    credentials = Credentials(str(plane.kubeconfig("admin")))
    async with ApiClient(credentials, SystemClock(), user_agent="kubelet") as client:
        for name, text in (await captured(client)).items():
            (FOLDER / f"{name}.json").write_bytes(text)


def main() -> None:
    """Starts a control plane, asks it, and writes the files beside this one."""
    FOLDER.mkdir(exist_ok=True)
    with ControlPlane() as plane:
        asyncio.run(_capture(plane))


if __name__ == "__main__":
    main()
