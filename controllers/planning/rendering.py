"""An outcome as text: the slices as YAML, everything as JSON, or a table as kubectl prints one."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

import msgspec
import yaml

from api import names
from controllers.model.objects import EndpointSlice
from controllers.planning.planning import Outcome, ServicePlan

try:
    from yaml import CSafeDumper as _SafeDumper
except ImportError:  # PyYAML was built without libyaml
    from yaml import SafeDumper as _SafeDumper  # type: ignore[assignment]

_SHOWN: Final = 3


class _Dumper(_SafeDumper):
    """Writes equal values out each time: kubectl reads aliases, people do not."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def as_yaml(outcome: Outcome) -> str:
    """The slices that would be written, one document each; deletes are comments."""
    writes = outcome.writes
    parts: list[str] = []
    for verb, slices in (("create", writes.create), ("update", writes.update)):
        for each in slices:
            count = _counted(len(each.endpoints), "endpoint")
            title = f"# {verb} {_full_name(each)} ({each.address_type}, {count})\n"
            parts.append(title + yaml.dump(_object(each), Dumper=_Dumper, sort_keys=False, width=10_000))
    text = "---\n".join(parts)
    return text + "".join(f"# delete {_full_name(each)}\n" for each in writes.delete)


def as_json(outcome: Outcome) -> str:
    """Everything that is known, for programs."""
    writes = outcome.writes
    content = {
        "create": [_object(each) for each in writes.create],
        "update": [_object(each) for each in writes.update],
        "delete": [{"namespace": each.metadata.namespace, "name": each.name} for each in writes.delete],
        "leftOut": [
            {
                "namespace": plan.service.namespace,
                "service": plan.service.name,
                "pod": absent.pod,
                "families": absent.families,
                "reason": absent.reason.value,
                "message": absent.text,
            }
            for plan in outcome.plans
            for absent in plan.absent
        ],
        "notSynced": [
            {
                "namespace": plan.service.namespace,
                "service": plan.service.name,
                "reason": plan.not_synced.value,
                "message": plan.not_synced.text,
            }
            for plan in outcome.plans
            if plan.not_synced is not None
        ],
    }
    return msgspec.json.format(msgspec.json.encode(content), indent=2).decode() + "\n"


def as_table(outcome: Outcome) -> str:
    """One line per Service and slice, and below one per Pod that is left out."""
    rows = [row for plan in outcome.plans for row in _rows(plan)]
    text = _table(("NAMESPACE", "SERVICE", "ACTION", "SLICE", "ADDRESSTYPE", "PORTS", "ENDPOINTS"), rows)
    absent = [
        (plan.service.namespace, plan.service.name, each.pod, each.text)
        for plan in outcome.plans
        for each in plan.absent
    ]
    return text + ("\n" + _table(("NAMESPACE", "SERVICE", "LEFT OUT", "REASON"), absent) if absent else "")


def _rows(plan: ServicePlan) -> Iterator[tuple[str, ...]]:
    service = plan.service
    stages = (
        ("create", plan.writes.create),
        ("update", plan.writes.update),
        ("delete", plan.writes.delete),
        ("unchanged", plan.unchanged),
    )
    rows = [(action, each) for action, slices in stages for each in slices]
    for action, each in sorted(rows, key=lambda row: (row[1].address_type, row[1].name)):
        ports = ",".join(str(port.port) for port in each.ports)
        cells = (action, each.name, each.address_type, ports or "<unset>", _addresses(each))
        yield (service.namespace, service.name, *cells)
    if not rows:
        yield (service.namespace, service.name, "none", *["<none>"] * 4)


def _addresses(found: EndpointSlice) -> str:
    addresses = [address for endpoint in found.endpoints for address in endpoint.addresses]
    more = len(addresses) - _SHOWN
    return (",".join(addresses[:_SHOWN]) or "<unset>") + (f" + {more} more..." if more > 0 else "")


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ("   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "".join(line.rstrip() + "\n" for line in padded)


def summary(outcome: Outcome) -> str:
    """One line: what was read, and what would be written."""
    writes = outcome.writes
    simulated = ""
    if outcome.simulated:
        simulated = " (simulated)" if outcome.simulated == outcome.pods else f" ({outcome.simulated} simulated)"
    read = ", ".join(
        (
            _counted(len(outcome.plans), "Service"),
            _counted(outcome.pods, "Pod") + simulated,
            _counted(outcome.nodes, "Node") + _made_up(outcome),
        )
    )
    create = _counted(len(writes.create), "slice")
    return f"{read}: {create} to create, {len(writes.update)} to update, {len(writes.delete)} to delete"


def _made_up(outcome: Outcome) -> str:
    """Which of the Nodes were not given."""
    kinds = {"sample": outcome.sample, "taken to exist": len(outcome.assumed)}
    found = [what if count == outcome.nodes else f"{count} {what}" for what, count in kinds.items() if count]
    return f" ({', '.join(found)})" if found else ""


def warnings(outcome: Outcome, pods: Literal["each", "grouped", "none"]) -> Iterator[str]:
    """What a person should know: Services that are not synced or select nothing, Pods that are left out."""
    for plan in outcome.plans:
        name = f"{plan.service.namespace}/{plan.service.name}"
        if plan.not_synced is not None:
            yield f"Service {name}: no slices: {plan.not_synced.text}"
        elif not plan.selected:
            selector = ",".join(f"{key}={value}" for key, value in sorted((plan.service.selector or {}).items()))
            yield f"Service {name}: no Pod has the labels {selector}"
        else:
            refused = plan.service.refused_annotations
            yield from (f"Service {name}: {names.REASON_INVALID_ANNOTATION}: {text}" for text in refused)
        yield from (f"Service {name}: {notice.reason}: {notice.message}" for notice in plan.notices)
        if pods == "each":
            yield from (f"Service {name}: Pod {absent.pod} left out: {absent.text}" for absent in plan.absent)
        elif pods == "grouped":
            yield from (f"Service {name}: {line}" for line in _grouped(plan))


def _grouped(plan: ServicePlan) -> Iterator[str]:
    by_text: dict[str, list[str]] = {}
    for absent in plan.absent:
        by_text.setdefault(absent.text, []).append(absent.pod)
    for text, pods in sorted(by_text.items()):
        shown = ", ".join(pods[:_SHOWN]) + (", ..." if len(pods) > _SHOWN else "")
        yield f"{_counted(len(pods), 'Pod')} left out: {text}: {shown}"


def _object(found: EndpointSlice) -> dict[str, Any]:
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", **msgspec.to_builtins(found)}


def _full_name(found: EndpointSlice) -> str:
    return f"{found.metadata.namespace}/{found.name}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
