"""The benchmark's scenarios by name, and how a run of them is made smaller or longer."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeVar

from e2e.bench.load import NODES, Size
from e2e.bench.scenarios.big import Big
from e2e.bench.scenarios.churn import Churn
from e2e.bench.scenarios.cold import Cold
from e2e.bench.scenarios.idle import Idle
from e2e.bench.scenarios.rolling import Rolling
from e2e.bench.scenarios.scenario import Scenario
from e2e.bench.scenarios.storm import Storm

T = TypeVar("T")

_PODS_IN_NAMESPACE: Final = 1_000


@dataclass(frozen=True)
class Options:
    """What replaces the scenarios' own sizes and seconds; None leaves them."""

    pods: int | None = None
    services: int | None = None
    nodes: int | None = None
    namespaces: int | None = None
    seconds: float | None = None
    wave: int | None = None


class _Scale:
    """A scenario's own measures, or the options'."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def size(self, pods: int, services: int, nodes: int = NODES) -> Size:
        """With some thousand Pods in a Namespace, unless the options say how many Namespaces."""
        options = self._options
        pods, services = _given(options.pods, pods), _given(options.services, services)
        namespaces = _given(options.namespaces, min(services, max(1, pods // _PODS_IN_NAMESPACE)))
        return Size(pods, services, _given(options.nodes, nodes), namespaces)

    def seconds(self, usual: float) -> float:
        return _given(self._options.seconds, usual)

    def wave(self, usual: int) -> int:
        return _given(self._options.wave, usual)


def _given(option: T | None, usual: T) -> T:
    return usual if option is None else option


def _churn(name: str, rate: float) -> Callable[[_Scale], Scenario]:
    return lambda scale: Churn(name=name, size=scale.size(10_000, 500), rate=rate, seconds=scale.seconds(60))


_MAKERS: Final[dict[str, Callable[[_Scale], Scenario]]] = {
    "cold-10k": lambda scale: Cold(name="cold-10k", size=scale.size(10_000, 500)),
    "cold-50k": lambda scale: Cold(name="cold-50k", size=scale.size(50_000, 2_500)),
    **{name: _churn(name, rate) for rate in (20, 100, 150, 200) if (name := f"churn-{rate}")},
    "rolling-one": lambda scale: Rolling(name="rolling-one", size=scale.size(5_000, 1), wave=scale.wave(100)),
    "rolling-many": lambda scale: Rolling(name="rolling-many", size=scale.size(5_000, 200), wave=scale.wave(1_000)),
    "big": lambda scale: Big(name="big", size=scale.size(150_000, 10_000, 5_000), seconds=scale.seconds(60)),
    "storm": lambda scale: Storm(name="storm", size=scale.size(10_000, 500, 5_000), seconds=scale.seconds(10)),
    "idle": lambda scale: Idle(name="idle", size=scale.size(10_000, 500), seconds=scale.seconds(600)),
}
NAMES: Final = tuple(_MAKERS)
QUICK: Final = ("cold-10k", "churn-100")
# What `--scenario` takes: a name, the part of it before the hyphen for all that have it, or `all`.
CHOICES: Final = tuple(dict.fromkeys(["all", *(name.split("-")[0] for name in NAMES), *NAMES]))


def chosen(wanted: Iterable[str], options: Options) -> list[Scenario]:
    """The scenarios that these choices name, once each, in the order of NAMES."""
    asked = set(wanted)
    names = [name for name in NAMES if asked & {"all", name, name.split("-")[0]}]
    return [_MAKERS[name](_Scale(options)) for name in names]
