"""What the API server says when it refuses, and when it has deleted something."""

from dataclasses import dataclass
from typing import Any

import msgspec

from e2e.bench.synthetic.wire import Answer


@dataclass(frozen=True)
class Resource:
    """A kind as paths and messages name it."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def details(self, name: str, uid: str = "") -> dict[str, str]:
        """The `details` of a Status."""
        found = {"name": name, "group": self.group, "kind": self.plural, "uid": uid}
        return {key: value for key, value in found.items() if value}

    @property
    def head(self) -> bytes:
        """The beginning of an object's JSON that stands alone."""
        return f'{{"kind":"{self.kind}","apiVersion":"{self.api_version}",'.encode()


def failure(code: int, reason: str, message: str, details: dict[str, str] | None = None) -> Answer:
    """A Status that refuses."""
    status: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
    }
    if details:
        status["details"] = details
    return Answer(code, msgspec.json.encode({**status, "code": code}) + b"\n")


def not_found(resource: Resource, name: str) -> Answer:
    """404."""
    return failure(404, "NotFound", f'{resource.qualified} "{name}" not found', resource.details(name))


def already_exists(resource: Resource, name: str, generated: bool) -> Answer:
    """409 on a create; the API server is not aware that a name with a `generateName` beside it is no attempt of its."""
    why = ", the server was not able to generate a unique name for the object" if generated else ""
    return failure(409, "AlreadyExists", f'{resource.qualified} "{name}" already exists{why}', resource.details(name))


def modified(resource: Resource, name: str) -> Answer:
    """409 on an update that names another version."""
    why = "the object has been modified; please apply your changes to the latest version and try again"
    return _conflict(resource, resource.qualified, name, why)


def another_uid(resource: Resource, namespace: str, name: str, wanted: str, found: str) -> Answer:
    """409 on an update that names another uid."""
    why = (
        f"StorageError: invalid object, Code: 4, Key: /registry/{resource.plural}/{namespace}/{name}, "
        "ResourceVersion: 0, AdditionalErrorMsg: "
        f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}"
    )
    return _conflict(resource, resource.qualified, name, why)


def not_deleted(resource: Resource, name: str, what: str, wanted: str, found: str) -> Answer:
    """409 on a delete whose precondition on `what` ("UID" or "ResourceVersion") does not hold."""
    happened = {"UID": "deleted and then recreated", "ResourceVersion": "modified"}[what]
    why = (
        f"the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). "
        f"The object might have been {happened}"
    )
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    return _conflict(resource, kind, name, why)


def _conflict(resource: Resource, named: str, name: str, why: str) -> Answer:
    message = f'Operation cannot be fulfilled on {named} "{name}": {why}'
    return failure(409, "Conflict", message, resource.details(name))


def bad_request(message: str) -> Answer:
    """400."""
    return failure(400, "BadRequest", message)


def deleted(resource: Resource, name: str, uid: str) -> Answer:
    """200: it is gone."""
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": resource.details(name, uid),
    }
    return Answer(200, msgspec.json.encode(status) + b"\n")
