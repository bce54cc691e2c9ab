"""The second act: two teams with their own ranges, and a reservation that outlives its Service."""

import time
from collections.abc import Callable

from e2e.cluster.ipam import Ipam, ip_pool, port_pool
from e2e.cluster.local import ControlPlane
from e2e.cluster.rest import ApiError, Object
from e2e.demo.table import Check, Screen

TEAMS = ("red", "blue")
_RANGES = {"red": "10.96.40.0/24", "blue": "10.96.41.0/24"}
_PORTS = {"red": (30100, 30199), "blue": (30200, 30299)}
_SERVICES = 5
_KEPT = "10.96.40.10"
_TIMEOUT = 30.0


class PoolsAct:
    """`sliceplane ipam run` on the demo's control plane; `checks` says what came of it."""

    def __init__(self, plane: ControlPlane, screen: Screen) -> None:
        self._api, self._screen = plane.client(), screen
        self._ipam = Ipam(plane)
        self.checks: list[Check] = []

    def play(self) -> None:
        """All of it. Raises StartError."""
        with self._screen.step("sliceplane ipam run") as step:
            self._ipam.start()
            for team in TEAMS:
                self._api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": team}})
                own = {"select": {"namespaces": [team]}, "exclusive": True, "enforcement": "Enforce"}
                self._api.create(ip_pool(team, _RANGES[team], **own))
                self._api.create(port_pool(team, _PORTS[team], **own))
            self._ipam.in_force()
            step.result = "two teams, each with a range of addresses and of node ports of its own"
        with self._screen.step("Services of two teams, a thief, and a Service that comes back"):
            self._teams_draw_from_their_own()
            self._no_team_takes_the_others()
            self._a_reservation_outlives_its_service()

    def _teams_draw_from_their_own(self) -> None:
        made = [self._service(team, f"web-{number}") for number in range(_SERVICES) for team in TEAMS]
        own = [each for each in made if _own(each)]
        first, second = (each["spec"]["clusterIP"] for each in made[:2])
        text = f"{len(own)} of {len(made)} Services, among them {first} and {second}"
        self.checks.append(Check("each team's Services have addresses and node ports of its own", text, own == made))

    def _no_team_takes_the_others(self) -> None:
        address = _RANGES["red"].replace(".0/24", ".77")
        try:
            self._service("blue", "thief", clusterIP=address)
            refused = ""
        except ApiError as error:
            refused = str(error).rpartition("request: ")[2]
        self.checks.append(
            Check("nobody gets an address of another team", refused or "nothing was refused", bool(refused))
        )

    def _a_reservation_outlives_its_service(self) -> None:
        self._api.create(
            {
                "apiVersion": "ipam.sliceplane.dev/v1alpha1",
                "kind": "ServiceReservation",
                "metadata": {"name": "shop", "namespace": "red"},
                "spec": {"serviceName": "shop", "addresses": [_KEPT]},
            }
        )
        self._await(lambda: self._phase() == "Held")
        before = self._service("red", "shop")["spec"]["clusterIP"]
        self._await(lambda: self._phase() == "Bound")
        self._api.delete("Service", "shop", "red")
        self._await(lambda: self._phase() == "Held")
        others = [self._service("red", f"other-{number}")["spec"]["clusterIP"] for number in range(_SERVICES)]
        after = self._service("red", "shop")["spec"]["clusterIP"]
        good = before == after == _KEPT and _KEPT not in others
        self.checks.append(
            Check("a reserved address outlives its Service", f"{before}, and {after} when made again", good)
        )

    def _service(self, team: str, name: str, **spec: object) -> Object:
        ports = [{"port": 80, "protocol": "TCP"}]
        return self._api.create(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": name, "namespace": team},
                "spec": {"type": "NodePort", "selector": {"app": name}, "ports": ports, **spec},
            }
        )

    def _phase(self) -> str:
        phase: str = self._api.read("ServiceReservation", "shop", "red").get("status", {}).get("phase", "")
        return phase

    def _await(self, done: Callable[[], bool]) -> None:
        until = time.monotonic() + _TIMEOUT
        while not done() and time.monotonic() < until:
            time.sleep(0.05)


def _own(service: Object) -> bool:
    team, spec = service["metadata"]["namespace"], service["spec"]
    first, last = _PORTS[team]
    start = _RANGES[team].removesuffix("0/24")
    return bool(spec["clusterIP"].startswith(start) and first <= spec["ports"][0]["nodePort"] <= last)
