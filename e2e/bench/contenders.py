"""Who is measured: the real KCM, as users have it and at full speed, and Sliceplane, with the same controllers.

And the floor, loops that only write: what of the CPU is HTTP, TLS and JSON, on the machine of the day.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from api.controllers import CONTROLLERS, ENDPOINTSLICE
from e2e.bench.floor import starting
from e2e.cluster.local import ControlPlane
from e2e.cluster.process import Process, free_port
from e2e.cluster.product import spawn_sliceplane, start_sliceplane

# Which controllers both sides run, by the name that the command line has for it.
SETS: Final[Mapping[str, tuple[str, ...]]] = {"all": tuple(CONTROLLERS), "slices": (ENDPOINTSLICE,)}

# What a floor is the floor of.
CHANGE: Final = "change"
START: Final = "start"


@dataclass(frozen=True)
class Contender:
    """What can be started; with `once`, one round of it is enough, since nobody is compared with it.

    A `floor` is no controller: it plays only where that is measured which it is the floor of (CHANGE, START).
    """

    name: str
    start: Callable[[ControlPlane], Process]
    once: bool = False
    floor: str = ""


def contenders(controllers: str = "all") -> tuple[Contender, ...]:
    """KCM as users have it, KCM at full speed (the fair peer), and Sliceplane, all with one of SETS; and the floor."""
    chosen = SETS[controllers]

    def kcm(*flags: str) -> Callable[[ControlPlane], Process]:
        return lambda plane: plane.start_kcm(*flags, controllers=chosen)

    def sliceplane(plane: ControlPlane) -> Process:
        page = f"--metrics-bind-address=127.0.0.1:{free_port()}"
        return spawn_sliceplane(plane, "--leader-elect=false", page, f"--controllers={','.join(chosen)}")

    workers = ("--concurrent-service-endpoint-syncs=50", "--concurrent-endpoint-syncs=50")
    return (
        Contender("KCM defaults", kcm(), once=True),
        Contender("KCM tuned", kcm("--kube-api-qps=5000", "--kube-api-burst=10000", *workers)),
        Contender("Sliceplane", sliceplane),
        Contender("Floor", starting.fill, floor=START),
        Contender("Floor", starting.follow, once=True, floor=CHANGE),
    )


def _kcm_replica(plane: ControlPlane) -> Process:
    limits = ("--kube-api-qps=5000", "--kube-api-burst=10000")
    return plane.start_kcm(*limits, "--leader-elect=true", "--leader-elect-resource-name=kcm")


def _sliceplane_replica(plane: ControlPlane) -> Process:
    return start_sliceplane(plane)


# With leader election, at its defaults; returns when the process says that it is ready.
REPLICAS: Final = (
    Contender("kube-controller-manager", _kcm_replica),
    Contender("sliceplane", _sliceplane_replica),
)
