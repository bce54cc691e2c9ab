"""The CustomResourceDefinitions, made from the models in `api.v1alpha1`.

`python -m api.crds` writes them to config/crd. CRDs want structural schemas: no `$ref`, no `anyOf` with null, and
nothing that only pydantic knows.
"""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import JsonValue

from api.v1alpha1.common import CATEGORIES, GROUP, VERSION, Column, Resource
from api.v1alpha1.service_ip_pool import ServiceIPPool
from api.v1alpha1.service_port_pool import ServicePortPool
from api.v1alpha1.service_reservation import ServiceReservation

KINDS: Final[tuple[type[Resource], ...]] = (ServiceIPPool, ServicePortPool, ServiceReservation)
FOLDER: Final = Path(__file__).parents[1] / "config" / "crd"

Schema = dict[str, Any]

_HEADER: Final = "# Made from api/v1alpha1 by `python -m api.crds`: change it there.\n"
_COPIED: Final = (
    "type",
    "format",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "required",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-validations",
)
_IGNORED: Final = {"title", "description", "default", "properties", "items", "additionalProperties"}
_TYPE_META: Final[Schema] = {
    "apiVersion": {"type": "string", "description": "The version of the schema that this object is written in."},
    "kind": {"type": "string", "description": "The kind of this object."},
    # The API server has the schema of this one, and does not accept another.
    "metadata": {"type": "object"},
}


def structural(schema: Mapping[str, Any], definitions: Mapping[str, Schema]) -> Schema:
    """A schema as CRDs have it, of one that pydantic made.

    Raises ValueError for what cannot be said in a CRD, or what this function does not know.
    """
    found = _resolved(schema, definitions)
    unknown = found.keys() - _IGNORED - set(_COPIED)
    if unknown or "type" not in found:
        raise ValueError(f"not for a CRD: {sorted(unknown) or 'a schema without a type'} in {dict(schema)}")
    made: Schema = {"description": " ".join(found["description"].split())} if "description" in found else {}
    made |= {key: copy.deepcopy(found[key]) for key in _COPIED if key in found}
    default = _said(found.get("default"))
    if default is not None:
        made["default"] = default
    if "properties" in found:
        made["properties"] = {name: structural(each, definitions) for name, each in found["properties"].items()}
    for key in ("items", "additionalProperties"):
        if key in found:
            made[key] = structural(found[key], definitions)
    return made


def crd(kind: type[Resource]) -> Schema:
    """The CustomResourceDefinition of one kind."""
    scope = "Namespaced" if kind.NAMESPACED else "Cluster"
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _whole(kind)},
        "subresources": {"status": {}},
        "additionalPrinterColumns": [_column(column) for column in kind.COLUMNS],
    }
    names = {
        "kind": kind.__name__,
        "listKind": f"{kind.__name__}List",
        "plural": kind.PLURAL,
        "singular": kind.SINGULAR,
        "shortNames": [kind.SHORT_NAME],
        "categories": list(CATEGORIES),
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.PLURAL}.{GROUP}"},
        "spec": {"group": GROUP, "names": names, "scope": scope, "versions": [version]},
    }


def crds() -> list[Schema]:
    """All CustomResourceDefinitions, in a fixed order."""
    return [crd(kind) for kind in KINDS]


def files() -> dict[str, str]:
    """What is to be in config/crd: the text of each file."""
    return {f"{each['spec']['names']['plural']}.yaml": _HEADER + _yaml(each) for each in crds()}


def main() -> None:
    """Write config/crd."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (FOLDER / name).write_text(text)


def _resolved(schema: Mapping[str, Any], definitions: Mapping[str, Schema]) -> Schema:
    """The schema with what it refers to in it, and without null; what stands beside a reference wins."""
    found = dict(schema)
    if "$ref" in found:
        target = definitions[found.pop("$ref").removeprefix("#/$defs/")]
        return _resolved(target, definitions) | found
    if "anyOf" in found:
        choices = [choice for choice in found.pop("anyOf") if choice != {"type": "null"}]
        if len(choices) != 1:
            raise ValueError(f"not for a CRD: a choice of {len(choices)} schemas in {dict(schema)}")
        return _resolved(choices[0], definitions) | found
    if "const" in found:
        found["enum"] = [found.pop("const")]
    return found


def _said(default: JsonValue) -> JsonValue:
    """What there is to a default: in an object, a list that is absent is not an empty one. None if nothing."""
    if isinstance(default, dict):
        default = {key: said for key, value in default.items() if (said := _said(value)) is not None}
    return None if default in ({}, []) else default


def _whole(kind: type[Resource]) -> Schema:
    """The schema of a whole object."""
    schema = kind.model_json_schema()
    definitions = schema.pop("$defs")
    del schema["properties"]["metadata"]
    made = structural(schema, definitions)
    made["properties"] = copy.deepcopy(_TYPE_META) | made["properties"]
    return made


def _column(column: Column) -> Schema:
    made: Schema = {"name": column.name, "type": column.type, "jsonPath": column.path}
    return made | ({"priority": column.priority} if column.priority else {})


def _yaml(obj: Schema) -> str:
    return yaml.safe_dump(obj, sort_keys=False, width=120, allow_unicode=True)


if __name__ == "__main__":
    main()
