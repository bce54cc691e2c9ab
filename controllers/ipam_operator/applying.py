"""Objects that only we write: applied on the server's side, so that a repeated write changes nothing."""

from typing import Any, Final

import msgspec

from api import names
from controllers.runtime.api_client import ApiClient
from controllers.runtime.errors import NotFound

APPLY_PATCH: Final = "application/apply-patch+yaml"
# What we have made.
SELECTOR: Final = ",".join(f"{key}={value}" for key, value in names.IPAM_LABELS.items())

PLURALS: Final = {
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
    "MutatingAdmissionPolicy": "mutatingadmissionpolicies",
    "MutatingAdmissionPolicyBinding": "mutatingadmissionpolicybindings",
    "MutatingWebhookConfiguration": "mutatingwebhookconfigurations",
    "ValidatingWebhookConfiguration": "validatingwebhookconfigurations",
    "ConfigMap": "configmaps",
    "ServiceCIDR": "servicecidrs",
    "ServiceIPPool": "serviceippools",
    "ServicePortPool": "serviceportpools",
    "ServiceReservation": "servicereservations",
    "IPAddress": "ipaddresses",
}

Object = dict[str, Any]


class _Meta(msgspec.Struct, rename="camel"):
    name: str = ""
    generation: int = 0


class Applied(msgspec.Struct):
    """What the server answers, as far as it is read."""

    metadata: _Meta


class _List(msgspec.Struct):
    items: list[Applied] | None = None


def path_of(api_version: str, kind: str, namespace: str = "", name: str = "") -> str:
    """The path of a collection or, with a name, of an object."""
    base = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    base += f"/namespaces/{namespace}" if namespace else ""
    return f"{base}/{PLURALS[kind]}" + (f"/{name}" if name else "")


async def apply(client: ApiClient, body: Object, subresource: str = "") -> Applied:
    """Makes the object be like this, whether it exists or not. Raises ApiError."""
    meta = body["metadata"]
    path = path_of(body["apiVersion"], body["kind"], meta.get("namespace", ""), meta["name"])
    answer = await client.request(
        "PATCH",
        path + (f"/{subresource}" if subresource else ""),
        query={"fieldManager": names.IPAM_MANAGED_BY, "force": "true"},
        body=msgspec.json.encode(body),
        content_type=APPLY_PATCH,
        attempts=2,
    )
    return msgspec.json.decode(answer, type=Applied)


async def delete(client: ApiClient, path: str, uid: str = "") -> None:
    """Deletes an object, if it is there (and is the one of this uid). Raises ApiError."""
    body = msgspec.json.encode({"preconditions": {"uid": uid}}) if uid else None
    try:
        await client.request("DELETE", path, body=body, attempts=2)
    except NotFound:
        return


async def labelled(client: ApiClient, path: str, selector: str) -> list[Applied]:
    """The objects of a collection with these labels. Raises ApiError."""
    body = await client.request("GET", path, query={"labelSelector": selector}, attempts=2)
    return [each for each in msgspec.json.decode(body, type=_List).items or ()]
