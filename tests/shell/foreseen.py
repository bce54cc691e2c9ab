"""The foreseen families and numbers of Services, beside what a real API server decides."""

import contextlib
import copy
import itertools
import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from controllers.ipam.families import canonical, resulting
from controllers.ipam.needs import Needs, needs
from controllers.ipam.objects import Service, service_from_object
from controllers.ipam.patching import patched
from e2e.cluster.rest import Api, ApiError, Object
from tests.shell.world import namespaced

Change = Callable[[Object], Object]

# Why the API server refuses what we let pass: for what has nothing to do with numbers, or its own range of them.
_FOREIGN = (
    "spec.allocateLoadBalancerNodePorts: Forbidden",
    "spec.externalTrafficPolicy: Invalid",
    "spec.ports: Required",
    "The range of valid ports",
)


_IN_THE_WAY = 4


class Bench:
    """One Service after the other on one API server. `wrong` are the requests that were foreseen wrongly."""

    def __init__(self, api: Api, namespace: str, configured: tuple[str, ...], *, fills: bool = True) -> None:
        self._api, self._namespace, self._configured, self._fills = api, namespace, configured, fills
        self._stored: Object | None = None
        self._start: Object | None = None
        # From the static bands: the API server's own picks stay away from these (IP-14, IP-38).
        self._numbers = itertools.cycle(range(100, 250))
        self._ports = itertools.cycle(range(30050, 30086))
        self.wrong: list[str] = []
        self.seen: dict[str, int] = {"taken": 0, "refused": 0, "filled": 0}

    def create(self, spec: Object) -> None:
        """A create with this spec."""
        self._judge(None, lambda _: copy.deepcopy(spec))

    def update(self, start: Object, change: Change) -> None:
        """An update of a Service that was created with the spec `start`; `change` makes the new spec of its own."""
        self._judge(start, change)

    def start(self, spec: Object) -> None:
        """Create the Service that `update` wants, unless it is there already."""
        if self._start is not spec or self._stored is None:
            self.clear()
            body = namespaced("Service", self._namespace, "web", spec=copy.deepcopy(spec))
            self._start, self._stored = spec, self._written(lambda: self._api.create(body))

    def clear(self) -> None:
        """Delete the Service."""
        if self._stored is not None:
            self._api.delete("Service", "web", self._namespace)
        self._stored = None

    def _judge(self, start: Object | None, change: Change) -> None:
        old, body = self._prepared(start, change)
        before = service_from_object(old) if old else None
        found = self._send(body, old)
        foreseen = needs(service_from_object(body), before, self._configured)
        problem = _problem(body, before, found, foreseen, self._configured)
        if not problem and foreseen is not None and isinstance(found, dict) and self._fills:
            problem = self._fill(start, change)
        self.seen["taken" if isinstance(found, dict) else "refused"] += 1
        if problem:
            self.wrong.append(f"{problem}:\n  {start} -> {body['spec']}\n  {foreseen}\n  {_told(found)}")

    def _prepared(self, start: Object | None, change: Change) -> tuple[Object | None, Object]:
        """The Service to be updated, if any, and the request. One that was refused left it as it was."""
        body = namespaced("Service", self._namespace, "web", spec={})
        if start is None:
            self.clear()
            return None, {**body, "spec": change({})}
        self.start(start)
        old = self._stored or {}
        return old, {**old, "spec": change(copy.deepcopy(old["spec"]))}

    def _send(self, body: Object, old: Object | None) -> Object | str:
        """The Service as it is afterwards, or why not."""
        body = copy.deepcopy(body)
        body["metadata"].pop("resourceVersion", None)
        try:
            answer = self._written(lambda: self._api.replace(body) if old is not None else self._api.create(body))
        except ApiError as error:
            return str(error)
        self._start, self._stored = None, answer
        return answer

    def _written(self, write: Callable[[], Object]) -> Object:
        """Do it once more for each IPAddress that is in the way and whose Service is gone.

        A repair that still saw the Service made it again right after its release (IP-51); it would go after 60 s. There
        may be one of each family, and a repair may be as late again.
        """
        for _ in range(_IN_THE_WAY):
            try:
                return write()
            except ApiError as error:
                left = re.search(r"failed to allocate IP (\S+): provided IP is already allocated", str(error))
                if left is None or self._owned(address := canonical(left[1]) or ""):
                    raise
            with contextlib.suppress(ApiError):
                self._api.delete("IPAddress", address)
        return write()

    def _owned(self, address: str) -> bool:
        there = self._api.list("IPAddress", fieldSelector=f"metadata.name={address}")
        if not there:
            return False
        parent = there[0]["spec"]["parentRef"]
        found = self._api.list("Service", parent["namespace"], fieldSelector=f"metadata.name={parent['name']}")
        return any(address in service_from_object(each).addresses for each in found)

    def _fill(self, start: Object | None, change: Change) -> str:
        """The same request to a Service of the same making, but with numbers of ours for all that it needs."""
        old, body = self._prepared(start, change)
        before = service_from_object(old) if old else None
        foreseen = needs(service_from_object(body), before, self._configured)
        assert foreseen is not None
        addresses = tuple(
            known or ("10.96.0.{}" if family == "IPv4" else "fd00:10:96::{:x}").format(next(self._numbers))
            for family, known in zip(foreseen.families, foreseen.addresses, strict=True)
        )
        ports = tuple(next(self._ports) for _ in foreseen.port_groups)
        health = next(self._ports) if foreseen.health else 0
        patch = patched(body, foreseen, addresses, ports, health, "main")
        found = self._send(_patched(body, patch), old)
        self.seen["filled"] += 1
        if not isinstance(found, dict):
            return f"refused when filled ({patch}): {found}"
        after = service_from_object(found)
        numbers = {index: ports[at] for at, group in enumerate(foreseen.port_groups) for index in group}
        wanted = tuple(numbers.get(index, known) for index, known in enumerate(foreseen.node_ports))
        exact = (
            (after.cluster_ip, after.cluster_ips, after.families) == (addresses[0], addresses, foreseen.families)
            and tuple(port.node_port for port in after.ports) == wanted
            and (not health or after.health_check_node_port == health)
            and after.pool == ("main" if patch else "")
        )
        return "" if exact else f"not as filled ({patch}): {_told(found)}"


def _problem(
    body: Object, old: Service | None, found: Object | str, foreseen: Needs | None, configured: tuple[str, ...]
) -> str:
    """What was foreseen wrongly, "" when nothing."""
    families = resulting(service_from_object(body), old, configured)
    if isinstance(found, str):
        ports = "spec.ports" in found or "nodePort" in found or "ealthCheck" in found
        if any(text in found for text in _FOREIGN):
            return ""
        return "foreseen, but refused" if foreseen or (families is not None and not ports) else ""
    after = service_from_object(found)
    after = _canonical(after) if foreseen and foreseen.canonicalised else after
    if families != after.families:
        return f"families foreseen as {families}"
    held = old.addresses + tuple(map(str, old.node_ports)) if old is not None else ()
    fresh = [text for text in (*after.addresses, *map(str, after.node_ports)) if text not in held]
    if foreseen is None:
        return f"nothing foreseen, but {fresh}" if fresh else ""
    known = [text for text in foreseen.addresses if text]
    known += [str(number) for number in (*foreseen.node_ports, foreseen.given_health) if number]
    lacking = foreseen.addresses.count("") + len(foreseen.port_groups) + foreseen.health
    picked = [text for text in fresh if text not in known]
    if len(picked) != lacking:
        return f"{lacking} to be allocated, but {picked}"
    given = {*foreseen.given_addresses, *map(str, foreseen.given_ports)}
    if given != set(fresh) - set(picked):
        return f"fresh are {fresh}"
    return _placed(after, foreseen)


def _placed(after: Service, foreseen: Needs) -> str:
    """Whether every number is where it was foreseen."""
    numbers = [port.node_port for port in after.ports]
    groups = [{numbers[index] for index in group} for group in foreseen.port_groups]
    told = zip(foreseen.addresses, after.addresses, strict=True)
    if any(known and known != text for known, text in told):
        return "addresses elsewhere"
    if any(known and known != number for known, number in zip(foreseen.node_ports, numbers, strict=True)):
        return "node ports elsewhere"
    if any(len(group) != 1 for group in groups) or len(set().union(*groups)) != len(groups):
        return "node ports shared otherwise"
    return ""


def _canonical(service: Service) -> Service:
    return msgspec.structs.replace(service, cluster_ips=tuple(canonical(text) or text for text in service.cluster_ips))


def _patched(body: Object, patch: Iterable[dict[str, Any]]) -> Object:
    """RFC 6902, of which only "add" is needed."""
    body = copy.deepcopy(body)
    for each in patch:
        *path, last = [part.replace("~1", "/").replace("~0", "~") for part in each["path"].split("/")[1:]]
        at: Any = body
        for part in path:
            at = at[int(part) if isinstance(at, list) else part]
        at[last] = each["value"]
    return body


def _told(found: Object | str) -> str:
    return found if isinstance(found, str) else str(found["spec"])
