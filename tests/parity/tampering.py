"""What other hands do to slices: each edit takes a slice of its own to change, and returns what is there afterwards."""

import copy
from collections.abc import Callable
from random import Random
from typing import Any, Final

from api import names

Object = dict[str, Any]


def tamper(rng: Random, slices: list[Object]) -> list[Object]:
    """The slices after somebody has edited some of them."""
    left: list[Object] = []
    for each in slices:
        edit = rng.choice(EDITS) if rng.random() < 0.6 else _nothing
        left += edit(rng, copy.deepcopy(each))
    return left


def _nothing(rng: Random, found: Object) -> list[Object]:
    return [found]


def _delete(rng: Random, found: Object) -> list[Object]:
    return []


def _double(rng: Random, found: Object) -> list[Object]:
    other = copy.deepcopy(found)
    other["metadata"]["name"] += "x"
    other["metadata"]["uid"] = f"uid-{other['metadata']['name']}"
    return [found, other]


def _lose(rng: Random, found: Object) -> list[Object]:
    endpoints = found.get("endpoints") or []
    if endpoints:
        endpoints.pop(rng.randrange(len(endpoints)))
    return [found]


def _on_endpoint(change: Callable[[Object, Object], None]) -> Callable[[Random, Object], list[Object]]:
    """An edit of one endpoint: `change(endpoint, slice)`."""

    def edit(rng: Random, found: Object) -> list[Object]:
        if found.get("endpoints"):
            change(rng.choice(found["endpoints"]), found)
        return [found]

    return edit


def _strange(endpoint: Object, found: Object) -> None:
    endpoint["addresses"] = ["192.0.2.1" if found["addressType"] == "IPv4" else "2001:db8::1"]


def _on_slice(change: Callable[[Object], None]) -> Callable[[Random, Object], list[Object]]:
    def edit(rng: Random, found: Object) -> list[Object]:
        change(found)
        return [found]

    return edit


def _number(found: Object) -> None:
    if found.get("ports"):
        found["ports"][0]["port"] += 1


def _going(found: Object) -> None:
    found["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["example.com/hold"]}


EDITS: Final = (
    _delete,
    _double,
    _lose,
    _lose,
    _on_endpoint(lambda endpoint, _: endpoint.update(conditions={"ready": False})),
    _on_endpoint(lambda endpoint, _: endpoint.setdefault("targetRef", {}).update(uid="uid-other")),
    _on_endpoint(_strange),
    _on_slice(_number),
    _on_slice(_going),
    _on_slice(lambda found: found.update(ports=list(reversed(found.get("ports") or [])))),
    _on_slice(lambda found: found["metadata"]["labels"].update(extra="x")),
    _on_slice(lambda found: found["metadata"]["labels"].update({names.MANAGED_BY_LABEL: "somebody-else"})),
    _on_slice(lambda found: found["metadata"]["ownerReferences"][0].update(uid="uid-before")),
    _on_slice(lambda found: found["metadata"].setdefault("annotations", {}).update({"example.com/note": "kept"})),
)
