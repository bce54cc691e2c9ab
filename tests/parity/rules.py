"""Which rule of the specification a difference probably breaks: where to begin to read."""

import json
import re
from collections import Counter
from typing import Any, Final

_LINE: Final = re.compile(r"^  only (ours|theirs): +(.*)$")

RULES: Final = {
    "packing": "ES-58 ... ES-66 (packing)",
    "writes": "ES-59, ES-60, ES-67 ... ES-75 (what is written: changes, placeholder, recycling)",
    "endpoints": "ES-36 ... ES-46 (from Pod to endpoint)",
    "ports": "ES-47 ... ES-50 (ports of a Pod)",
    "ports order": "ES-51 (order of ports)",
    "owner": "ES-55, ES-80 (owner)",
    "labels": "ES-83 ... ES-85 (labels)",
    "trigger time": "ES-87 ... ES-92 (trigger time)",
    "hints in proportion": "ES-101 ... ES-108 (hints in proportion)",
    "hints by distribution": "ES-113 ... ES-117 (traffic distribution)",
    "hints": "ES-101 ... ES-108 or ES-113 ... ES-117 (hints)",
    "events": "ES-38, ES-103 ... ES-110 (Events)",
    "error": "ES-38 (Node not found)",
    "subsets": "EP-29 ... EP-38, EP-51 (addresses, ports and order of Endpoints)",
    "labels of Endpoints": "EP-42, EP-48 (labels of Endpoints)",
    "annotations of Endpoints": "EP-43, EP-49, EP-50 (trigger time, over-capacity)",
    "presence of Endpoints": "EP-17, EP-24, EP-25 (whether there are Endpoints)",
    "owner of Endpoints": "EP-12 (Endpoints have no owner)",
    "mirrored": "MI-12, MI-22 ... MI-46 (what is mirrored, and how)",
    "told": "MI-49, MI-50 (Events)",
}
# How a line begins that is not about slices made from Pods.
_BEGINNINGS: Final = (
    (r"\w+ hints for zones:", "hints in proportion"),
    (r"\w+ hints:", "hints by distribution"),
    (r"\w+: ours .*their events", "hints in proportion"),
    (r"endpoints of hints of", "hints"),
    ("events:", "events"),
    ("writes:", "writes"),
    ("error:", "error"),
    (r"\w+ of mirrored ", "mirrored"),
    ("reasons of Warnings:", "told"),
    ("object of Endpoints:", "presence of Endpoints"),
    ("(order|subsets) of Endpoints:", "subsets"),
    ("labels of Endpoints:", "labels of Endpoints"),
    ("annotations of Endpoints:", "annotations of Endpoints"),
    (r"(ownerReferences|finalizers) of Endpoints:", "owner of Endpoints"),
)
# What may differ of a slice whose size does not.
_PARTS: Final = (
    ("ports", "ports order"),
    ("labels", "labels"),
    ("time", "trigger time"),
    ("annotations", "trigger time"),
    ("ownerReferences", "owner"),
)


def broken(found: str) -> str:
    """The kind of a difference, as `core.compare` and `live.play` tell it: a key of RULES, or "" for none."""
    for line in found.splitlines():
        for beginning, kind in _BEGINNINGS:
            if re.match(beginning, line):
                return kind
    endpoints, slices = _sides(found, "endpoints"), _sides(found, "slices")
    if endpoints["ours"] != endpoints["theirs"]:
        return "endpoints"
    if endpoints["ours"]:
        # The same endpoints, in other groups.
        return "ports"
    if not (slices["ours"] or slices["theirs"]):
        return ""
    return _of_slices([json.loads(text) for text in slices["ours"]], [json.loads(text) for text in slices["theirs"]])


def rule(found: str) -> str:
    """What is printed beside a difference."""
    return f"probably: {RULES.get(broken(found), 'no rule known')}"


def _sides(found: str, part: str) -> dict[str, list[str]]:
    """What only one side has of a part, over all groups."""
    sides: dict[str, list[str]] = {"ours": [], "theirs": []}
    inside = False
    for line in found.splitlines():
        match = _LINE.match(line)
        if match is None:
            inside = line.startswith(f"{part} of ")
        elif inside:
            sides[match[1]].append(match[2])
    return {side: sorted(texts) for side, texts in sides.items()}


def _of_slices(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> str:
    if _values(ours, "size") != _values(theirs, "size"):
        return "packing"
    if _untouched(ours) != _untouched(theirs):
        return "writes"
    return next((kind for part, kind in _PARTS if _values(ours, part) != _values(theirs, part)), "packing")


def _untouched(slices: list[dict[str, Any]]) -> int:
    """How many were not written in this step: nothing but their size is told of them."""
    return sum(1 for each in slices if each.keys() == {"size"})


def _values(slices: list[dict[str, Any]], part: str) -> Counter[str]:
    return Counter(json.dumps(each.get(part), sort_keys=True) for each in slices)
