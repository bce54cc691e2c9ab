"""What two results have in common when both are right: everything but what section 20 of the spec calls free."""

import json
from collections.abc import Collection, Iterable
from typing import Any, Final

import msgspec

from api import names
from controllers.membership.subsets import repack
from controllers.model import wire
from controllers.model.objects import EndpointSubset

Object = dict[str, Any]
# Made by one thread: msgspec prepares a type at its first use, and crashes when several threads do so at once.
_decode: Final = msgspec.json.Decoder(wire.WireEndpoints).decode
_KEPT = ("labels", "annotations", "ownerReferences", "generateName", "finalizers")


def normal(slices: Iterable[Object], written: Collection[str] | None = None) -> Object:
    """Slices without what is free: their names, their order, and which endpoint is in which of a group.

    A group is the slices of one address type with the same ports. Kept are its endpoints, and of each slice its size
    and the rest of its content; so a lost, doubled or altered endpoint shows, and so does a different packing.

    `written` are the names of slices written just now. When it is given, nothing but their size is kept of the others,
    and of these only what a write decides: which of several slices of equal size is topped up or recycled is free, so
    what such a slice carried before says nothing.
    """
    groups: dict[str, Object] = {}
    for found in slices:
        ports = found.get("ports") or []
        key = _text([found["addressType"], sorted(map(_text, ports))])
        group = groups.setdefault(key, {"slices": [], "endpoints": []})
        endpoints = found.get("endpoints") or []
        group["endpoints"] += [_text(_endpoint(each)) for each in endpoints]
        content = {"ports": ports, **{key: found["metadata"][key] for key in _KEPT if found["metadata"].get(key)}}
        if written is not None:
            content = _decided(content) if found["metadata"]["name"] in written else {}
        group["slices"].append(_text({"size": len(endpoints), **content}))
    return {key: {part: sorted(texts) for part, texts in group.items()} for key, group in sorted(groups.items())}


def read_subsets(subsets: list[Object] | None) -> tuple[EndpointSubset, ...]:
    """The subsets of Endpoints as our own controllers read them. May be called by several threads."""
    return wire.endpoints_from_wire(_decode(msgspec.json.encode({"metadata": {}, "subsets": subsets}))).subsets or ()


def canonical(found: Object) -> bool:
    """Whether subsets are in canonical order by our own hash: what KCM has written must be in its order, too."""
    read = read_subsets(found.get("subsets"))
    return repack(read, from_api=False) == read


def normal_endpoints(found: Object | None) -> Object:
    """Endpoints without what is free.

    The order of canonical subsets depends on uids, so that it says no more than that they are canonical (EP-38); others
    stay as somebody has ordered them.
    """
    if found is None:
        return {}
    meta = found["metadata"]
    subsets = list(map(_text, found.get("subsets") or []))
    if not found["canonical"]:
        subsets = [f"{number} {text}" for number, text in enumerate(subsets)]
    order = "canonical" if found["canonical"] else "as written"
    parts: Object = {"object": ["there"], "order": [order], "subsets": sorted(subsets)}
    parts |= {key: [_text({k: v}) for k, v in sorted(meta.get(key, {}).items())] for key in ("labels", "annotations")}
    return parts | {key: [_text(meta[key])] for key in ("ownerReferences", "finalizers") if meta.get(key)}


def _decided(content: Object) -> Object:
    time = content.get("annotations", {}).get(names.TRIGGER_TIME_ANNOTATION)
    kept = {key: content.get(key) for key in ("ports", "ownerReferences", "labels")}
    return {**kept, "time": time}


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _endpoint(endpoint: Object) -> Object:
    return {key: value for key, value in endpoint.items() if value not in (None, [], {})}


def difference(ours: Object, theirs: Object) -> str:
    """The two normal forms, line by line, where they differ; "" when they do not."""
    lines = []
    for group in sorted(ours.keys() | theirs.keys()):
        left, right = ours.get(group, {}), theirs.get(group, {})
        for part in dict.fromkeys((*left, *right)):
            mine, other = left.get(part, []), right.get(part, [])
            if mine != other:
                lines += [f"{part} of {group}:"]
                lines += [f"  only ours:   {text}" for text in _more(mine, other)]
                lines += [f"  only theirs: {text}" for text in _more(other, mine)]
    return "\n".join(lines)


def _more(one: Collection[str], other: Collection[str]) -> list[str]:
    rest = list(other)
    left = []
    for text in one:
        if text in rest:
            rest.remove(text)
        else:
            left.append(text)
    return left
