"""A small blocking client for plain dicts, for tests and the demo. The product has its own."""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import urllib3

from e2e.cluster.certs import Pair

Object = dict[str, Any]
Objects = list[Object]

_RBAC = "rbac.authorization.k8s.io/v1"
_ADMISSION = "admissionregistration.k8s.io/v1"
_IPAM = "ipam.sliceplane.dev/v1alpha1"

# kind: (API version unless the object names another, plural, lives in a namespace)
KINDS: dict[str, tuple[str, str, bool]] = {
    "Namespace": ("v1", "namespaces", False),
    "Node": ("v1", "nodes", False),
    "Pod": ("v1", "pods", True),
    "Binding": ("v1", "bindings", True),
    "Service": ("v1", "services", True),
    "Endpoints": ("v1", "endpoints", True),
    "Event": ("v1", "events", True),
    "ConfigMap": ("v1", "configmaps", True),
    "ServiceAccount": ("v1", "serviceaccounts", True),
    "EndpointSlice": ("discovery.k8s.io/v1", "endpointslices", True),
    "Lease": ("coordination.k8s.io/v1", "leases", True),
    "Deployment": ("apps/v1", "deployments", True),
    "ReplicaSet": ("apps/v1", "replicasets", True),
    "StatefulSet": ("apps/v1", "statefulsets", True),
    "DaemonSet": ("apps/v1", "daemonsets", True),
    "Role": (_RBAC, "roles", True),
    "RoleBinding": (_RBAC, "rolebindings", True),
    "ClusterRole": (_RBAC, "clusterroles", False),
    "ClusterRoleBinding": (_RBAC, "clusterrolebindings", False),
    "ServiceCIDR": ("networking.k8s.io/v1", "servicecidrs", False),
    "IPAddress": ("networking.k8s.io/v1", "ipaddresses", False),
    "MutatingWebhookConfiguration": (_ADMISSION, "mutatingwebhookconfigurations", False),
    "ValidatingWebhookConfiguration": (_ADMISSION, "validatingwebhookconfigurations", False),
    "MutatingAdmissionPolicy": (_ADMISSION, "mutatingadmissionpolicies", False),
    "MutatingAdmissionPolicyBinding": (_ADMISSION, "mutatingadmissionpolicybindings", False),
    "ValidatingAdmissionPolicy": (_ADMISSION, "validatingadmissionpolicies", False),
    "ValidatingAdmissionPolicyBinding": (_ADMISSION, "validatingadmissionpolicybindings", False),
    "ServiceIPPool": (_IPAM, "serviceippools", False),
    "ServicePortPool": (_IPAM, "serviceportpools", False),
    "ServiceReservation": (_IPAM, "servicereservations", True),
    "CustomResourceDefinition": ("apiextensions.k8s.io/v1", "customresourcedefinitions", False),
}


class ApiError(Exception):
    """The API server refused a request: `status` is the HTTP code, `reason` the API's word (NotFound, Conflict, …)."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason


def path_of(
    kind: str, name: str = "", namespace: str | None = None, *, api_version: str = "", subresource: str = ""
) -> str:
    """The URL path of an object, or of its collection without `name` (of all namespaces without `namespace`).

    Raises LookupError for a kind that KINDS does not have.
    """
    if kind not in KINDS:
        raise LookupError(f"kind {kind!r} is not in the table: add it to KINDS")
    version, plural, namespaced = KINDS[kind]
    version = api_version or version
    parts = ["apis" if "/" in version else "api", version]
    if namespaced and namespace:
        parts += ["namespaces", quote(namespace)]
    parts += [part for part in (plural, quote(name, safe=""), subresource) if part]
    return "/" + "/".join(parts)


class Api:
    """One user's view of an API server. Keeps connections open; may be used by several threads.

    Every method raises ApiError when the server refuses, and urllib3.exceptions.HTTPError when it cannot be reached or
    is not the one whose authority is given.
    """

    def __init__(self, url: str, ca_file: Path, client: Pair, *, timeout: float = 30.0) -> None:
        self.url = url
        self._timeout = timeout
        self._pool = urllib3.PoolManager(
            num_pools=2,
            maxsize=8,
            retries=False,
            timeout=timeout,
            cert_reqs="CERT_REQUIRED",
            ca_certs=str(ca_file),
            cert_file=str(client.cert),
            key_file=str(client.key),
        )

    def close(self) -> None:
        self._pool.clear()

    def text(self, path: str) -> str:
        """The answer to a plain GET, for what is not JSON (/readyz, /metrics)."""
        return self._send("GET", path, None, None, "").decode()

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        params: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Object:
        answer: Object = json.loads(self._send(method, path, body, params, content_type))
        return answer

    def get(self, path: str, **params: str) -> Object:
        """What is at a URL path (see `path_of`)."""
        return self.request("GET", path, params=params)

    def stream(self, path: str, **params: str) -> "Stream":
        """The JSON lines of a GET that goes on until the server or `Stream.close` ends it: a watch."""
        url = f"{self.url}{path}?{urlencode(params)}"
        timeout = urllib3.Timeout(connect=self._timeout, read=None)
        answer = self._pool.request("GET", url, preload_content=False, timeout=timeout)
        if answer.status >= 400:
            raise _error(answer.status, answer.read())
        return Stream(answer)

    def read(self, kind: str, name: str, namespace: str | None = None) -> Object:
        return self.get(path_of(kind, name, namespace))

    def list(self, kind: str, namespace: str | None = None, **params: str) -> Objects:
        """The objects of a kind, of all namespaces by default; `params` such as labelSelector="app=web"."""
        return self.get(path_of(kind, namespace=namespace), **params).get("items") or []

    def create(self, obj: Object, *, subresource: str = "") -> Object:
        """Create an object; with `subresource` ("binding", "eviction") post it to the Pod of that name instead."""
        namespace = _namespace(obj)
        if subresource:
            path = path_of("Pod", obj["metadata"]["name"], namespace, subresource=subresource)
        else:
            path = path_of(obj["kind"], namespace=namespace, api_version=obj["apiVersion"])
        return self.request("POST", path, obj)

    def replace(self, obj: Object, *, subresource: str = "") -> Object:
        """PUT an object; a resourceVersion in it makes a write in between a Conflict."""
        return self.request("PUT", _path(obj, subresource), obj)

    def patch(
        self, kind: str, name: str, body: object, namespace: str | None = None, *, subresource: str = ""
    ) -> Object:
        """Merge patch; a list as `body` is sent as a JSON patch."""
        content_type = "application/json-patch+json" if isinstance(body, list) else "application/merge-patch+json"
        path = path_of(kind, name, namespace, subresource=subresource)
        return self.request("PATCH", path, body, content_type=content_type)

    def delete(self, kind: str, name: str, namespace: str | None = None, *, grace: int | None = None) -> Object:
        """Delete an object; `grace` in seconds, 0 removes a Pod at once although no kubelet confirms it."""
        params = {} if grace is None else {"gracePeriodSeconds": str(grace)}
        return self.request("DELETE", path_of(kind, name, namespace), params=params)

    def apply(self, manifests: Iterable[Object], *, manager: str = "sliceplane-e2e") -> Objects:
        """Server-side apply, in the order given. A `status` in a manifest is applied too, through its subresource."""
        return [self._apply(manifest, manager) for manifest in manifests]

    def _apply(self, manifest: Object, manager: str) -> Object:
        params = {"fieldManager": manager, "force": "true"}
        content_type = "application/apply-patch+yaml"
        result = self.request("PATCH", _path(manifest), manifest, params=params, content_type=content_type)
        if "status" in manifest:
            status = {key: manifest[key] for key in ("apiVersion", "kind", "metadata", "status")}
            result = self.request("PATCH", _path(manifest, "status"), status, params=params, content_type=content_type)
        return result

    def _send(self, method: str, path: str, body: object, params: Mapping[str, str] | None, content_type: str) -> bytes:
        url = f"{self.url}{path}" + (f"?{urlencode(params)}" if params else "")
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": content_type} if data is not None else {}
        answer = self._pool.request(method, url, body=data, headers=headers)
        if answer.status >= 400:
            raise _error(answer.status, answer.data)
        return answer.data


class Stream:
    """The objects of an answer, one a line, as they come. `close` may be called by another thread."""

    def __init__(self, answer: urllib3.BaseHTTPResponse) -> None:
        self._answer = answer
        self._closed = False

    def __iter__(self) -> Iterator[Object]:
        """Raises urllib3.exceptions.HTTPError when the connection breaks; ends when it is closed."""
        rest = b""
        for chunk in self._answer.stream(65536):
            if self._closed:
                # Shutting a TLS socket down takes its TLS off: what a thread still reads from it is ciphertext.
                return
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield json.loads(line)

    def close(self) -> None:
        self._closed = True
        # Shut down first: closing alone would not wake a thread that reads.
        with contextlib.suppress(ValueError, RuntimeError, OSError):
            self._answer.shutdown()


def _namespace(obj: Object) -> str | None:
    """The object's namespace; "default" when it has none but must, as kubectl does."""
    namespaced = KINDS.get(obj["kind"], ("", "", True))[2]
    return obj["metadata"].get("namespace", "default") if namespaced else None


def _path(obj: Object, subresource: str = "") -> str:
    name = obj["metadata"]["name"]
    return path_of(obj["kind"], name, _namespace(obj), api_version=obj["apiVersion"], subresource=subresource)


def _error(status: int, data: bytes) -> ApiError:
    try:
        answer = json.loads(data)
        return ApiError(status, answer.get("reason", ""), answer.get("message", ""))
    except (ValueError, AttributeError):
        return ApiError(status, "", data.decode(errors="replace").strip()[:500])
