"""The benchmark itself, tiny: each scenario counts what it should, and the report shows what was measured."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner

from controllers.runtime.api_client import ApiClient
from controllers.runtime.clock import SystemClock
from controllers.runtime.credentials import Credentials
from e2e.bench import __main__ as bench
from e2e.bench import plots, report
from e2e.bench.contenders import SETS, Contender, contenders
from e2e.bench.figures import OURS, Goal, Outcome, Row, Section, quantile, ranks, ratio
from e2e.bench.load import NAMESPACE, Size
from e2e.bench.loader import LoadError, Template, pod_addresses, pod_name, service_addresses
from e2e.bench.observer import Observer
from e2e.bench.probes import count_writes
from e2e.bench.scenarios import CHOICES, NAMES, QUICK, Options, chosen
from e2e.bench.scenarios.big import BigOutcome
from e2e.bench.scenarios.churn import ChurnOutcome
from e2e.bench.scenarios.cold import ColdOutcome
from e2e.bench.scenarios.idle import IdleOutcome, growth
from e2e.bench.scenarios.rolling import RollingOutcome
from e2e.bench.scenarios.storm import StormOutcome
from e2e.bench.suite import play, playing, turns
from e2e.cluster.fixtures import plane_of
from e2e.cluster.local import ControlPlane
from e2e.cluster.product import grant

PNG: Final = b"\x89PNG"


def outcome(seconds: float, *latencies: float, lost: int = 0) -> ColdOutcome:
    return ColdOutcome(
        peak_memory=100_000_000,
        memory=[(0.0, 50_000_000), (0.2, 100_000_000)],
        latencies=latencies,
        lost=lost,
        start_seconds=seconds,
        start_cpu=1.0,
        server_cpu=2.0,
        writes=12,
        bytes_written=34_000,
    )


def section(results: Mapping[str, list[Outcome]]) -> Section:
    rows = (
        Row("start (s)", "start_seconds", 2, goal=Goal(ratio=0.7)),
        Row("peak RSS (MB)", "peak_memory", 0, 1e-6, Goal(most=99)),
        Row("writes", "writes", 0),
    )
    return Section("cold-10k", "Cold start", rows, results)


@pytest.mark.parametrize(
    ("share", "wanted"), [(0.0, 1.0), (0.5, 3.0), (0.625, 3.5), (1.0, 5.0)], ids=["least", "middle", "between", "most"]
)
def test_quantiles(share: float, wanted: float) -> None:
    assert quantile([5.0, 1.0, 4.0, 2.0, 3.0], share) == wanted


def test_ranks_are_milliseconds() -> None:
    found = ranks([number / 1000 for number in range(101)])
    assert [round(each, 6) for each in (found.p50, found.p90, found.p99, found.most)] == [50, 90, 99, 100]
    with pytest.raises(ValueError, match="no values"):
        ranks([])


@pytest.mark.parametrize(
    ("goal", "values", "met"),
    [
        (Goal(ratio=0.5), {OURS: 5.0, "KCM tuned": 10.0}, True),
        (Goal(ratio=0.5), {OURS: 5.1, "KCM tuned": 10.0}, False),
        (Goal(ratio=0.5), {OURS: 1.0, "KCM defaults": 10.0}, None),
        (Goal(ratio=0.5, most=4), {OURS: 5.0, "KCM tuned": 10.0}, False),
        (Goal(most=4), {OURS: 4.0}, True),
        (Goal(most=4), {"KCM tuned": 1.0}, None),
    ],
)
def test_goals(goal: Goal, values: dict[str, float], met: bool | None) -> None:
    assert goal.met(values) is met


def test_goals_in_words() -> None:
    assert [str(each) for each in (Goal(ratio=1), Goal(ratio=0.4, most=50))] == ["≤ KCM", "≤ 50, ≤ 0.4 x KCM"]


def test_ratio_is_to_the_fairest_peer_there_is() -> None:
    assert ratio({OURS: 1.0, "KCM defaults": 10.0, "KCM tuned": 2.0}) == 0.5
    assert ratio({OURS: 1.0, "KCM defaults": 10.0}) == 0.1
    assert ratio({OURS: 1.0}) is None


def test_markdown_has_medians_ratio_goal_and_pictures() -> None:
    ours: list[Outcome] = [outcome(1.0, 0.002), outcome(3.0, 0.004), outcome(2.0, 0.003)]
    text = report.markdown([section({"KCM tuned": [outcome(4.0, 0.01)], OURS: ours})], "A run")
    assert "| start (s) | 4.00 | 2.00 | 0.50 | ≤ 0.7 x KCM: met |" in text
    assert "| peak RSS (MB) | 100 | 100 | 1.00 | ≤ 99: missed |" in text
    assert "KCM tuned (1) | Sliceplane (3)" in text
    assert "![latency](bench-cold-10k-latency.png)" in text


def test_report_is_written(tmp_path: Path) -> None:
    found = section({"KCM tuned": [outcome(4.0)], OURS: [outcome(1.0, 0.002, 0.0, lost=2)]})
    written = report.write([found], "A run", tmp_path / "out")
    names = [path.name for path in written]
    assert names == ["bench.json", "bench.md", "bench-cold-10k-latency.png", "bench-cold-10k-memory.png"]
    assert all(path.read_bytes().startswith(PNG) for path in written[2:])
    (record,) = json.loads(written[0].read_text())["sections"]
    assert record["goals"] == {"start_seconds": "≤ 0.7 x KCM", "peak_memory": "≤ 99"}
    assert record["results"][OURS][0]["latencies"] == [0.002, 0.0]
    assert found.lost == {OURS: 2}


def test_nothing_is_drawn_of_nothing(tmp_path: Path) -> None:
    written = report.write([section({OURS: []})], "A run", tmp_path)
    assert [path.name for path in written] == ["bench.json", "bench.md"]


def test_a_folder_that_cannot_be_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    told = CliRunner().invoke(bench.main, [f"--out={tmp_path / 'taken'}"])
    assert told.exit_code == 2
    assert f"Invalid value for --out: {tmp_path / 'taken'}: File exists" in told.output


def test_distribution_has_no_zero_on_its_logarithmic_axis() -> None:
    assert plots.steps([0.002, 0.0]) == ([plots.SHORTEST_MS, 2.0], [0.5, 1.0])


def test_orders_alternate_and_who_plays_once_has_the_first_round() -> None:
    once, every, ours, start, change = contenders("slices")
    assert [each.once for each in (once, every, ours)] == [True, False, False]
    assert turns((once, every, ours), 2) == [(0, once), (0, every), (0, ours), (1, ours), (1, every)]
    assert turns((every, ours), 3, once=True) == [(0, every), (0, ours)]
    cold, churn, idle = chosen(["cold-10k", "churn-20", "idle"], Options())
    assert playing(churn, (ours, start, change)) == [ours, change]
    assert playing(cold, (ours, start, change)) == [ours, start]
    assert playing(idle, (ours, start, change)) == [ours]


def test_scenarios_are_chosen_by_name_or_kind() -> None:
    def names(*wanted: str) -> list[str]:
        return [each.name for each in chosen(wanted, Options())]

    assert names(*QUICK) == ["cold-10k", "churn-100"]
    assert names("rolling", "cold-50k") == ["cold-50k", "rolling-one", "rolling-many"]
    assert names("all", "big") == list(NAMES)
    assert {"all", "cold", *NAMES} <= set(CHOICES)
    (big,) = chosen(["big"], Options(pods=60))
    assert big.size == Size(60, 10_000, 5_000, 1)
    (cold,) = chosen(["cold-50k"], Options())
    assert cold.size == Size(50_000, 2_500, 99, 50)


def test_slices_are_full_at_a_hundred() -> None:
    assert [Size(pods, 2).slices for pods in (0, 2, 200, 201)] == [4, 4, 4, 6]


def test_loaded_names_and_addresses_are_of_one_length_and_differ() -> None:
    pods = [(pod_name(number), *pod_addresses(number)) for number in range(0, 900_000, 37)]
    services = [service_addresses(number) for number in range(22_000)]
    for found in (*zip(*pods, strict=True), *zip(*services, strict=True)):
        assert len(set(found)) == len(found)
        assert len({len(each) for each in found}) == 1


def test_a_copy_has_its_own_names_and_no_other_length() -> None:
    template = Template(b"\x05pod-9 of \x05app-9", ("pod-9", "app-9"))
    assert template.copy("pod-1", "app-2") == b"\x05pod-1 of \x05app-2"
    with pytest.raises(LoadError, match="not as long"):
        template.copy("pod-10", "app-2")


def test_served_writes_are_those_that_were_answered_well() -> None:
    page = (
        "# TYPE apiserver_request_total counter\n"
        'apiserver_request_total{code="200",resource="endpoints",verb="PUT"} 3\n'
        'apiserver_request_total{code="201",resource="endpoints",verb="POST"} 1e+01\n'
        'apiserver_request_total{code="409",resource="endpoints",verb="PUT"} 7\n'
        'apiserver_request_total{code="200",resource="endpoints",verb="LIST"} 5\n'
    )
    assert count_writes(page) == {"endpoints": 13}


def test_growth_is_from_the_first_tenth_to_the_last() -> None:
    assert growth([(number / 5, 1000 + number) for number in range(100)]) == 90
    assert growth([(0.0, 5)]) == 0


@pytest.fixture
def observer() -> Observer:
    """One that watches nothing by itself."""
    return Observer(ApiClient(Credentials(None), SystemClock(), user_agent="test"))


def seen(family: str, ready: bool, kind: str = "MODIFIED") -> bytes:
    endpoint = {"conditions": {"ready": ready}, "targetRef": {"name": "pod-1"}}
    shown = {
        "metadata": {"name": f"web-{family}", "namespace": NAMESPACE},
        "addressType": family,
        "endpoints": [endpoint],
    }
    return json.dumps({"type": kind, "object": shown}).encode()


def test_a_change_is_measured_in_each_family(observer: Observer) -> None:
    observer.sent("pod-1", False)
    observer.see(seen("IPv4", True, "ADDED"))
    observer.see(seen("IPv6", False))
    observer.answered("pod-1", False)
    # Seen before it was answered, and not shown yet.
    assert (observer.latencies, observer.outstanding) == ([0.0], 1)
    observer.see(seen("IPv4", False))
    assert (len(observer.latencies), observer.outstanding, observer.overturned) == (2, 0, 0)
    assert observer.count() == (2, 2)
    assert observer.bytes_written == len(seen("IPv4", True, "ADDED") + seen("IPv6", False) + seen("IPv4", False))


def test_a_change_undone_unseen_is_neither_lost_nor_measured(observer: Observer) -> None:
    for family in ("IPv4", "IPv6"):
        observer.see(seen(family, True))
    for ready in (False, True):
        observer.sent("pod-1", ready)
        observer.answered("pod-1", ready)
    assert (observer.outstanding, observer.overturned) == (0, 2)
    # Written for another Pod's sake, so no latency of this one's.
    observer.see(seen("IPv4", True))
    assert observer.latencies == []
    observer.sent("pod-1", False)
    observer.answered("pod-1", False)
    assert observer.outstanding == 2


def test_a_deleted_slice_shows_nothing(observer: Observer) -> None:
    observer.see(seen("IPv4", True))
    observer.see(seen("IPv4", True, "DELETED"))
    assert (observer.names, observer.endpoints(), observer.writes) == (set(), {}, 2)


TINY: Final = Options(pods=60, services=6, nodes=30, namespaces=2, seconds=2.0, wave=20)


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    """A control plane of its own: a scenario loads a whole cluster."""
    with plane_of() as made:
        grant(made)
        yield made


def played(plane: ControlPlane, name: str, controllers: str = "all", who: str = OURS) -> Outcome:
    ours: tuple[Contender, ...] = tuple(each for each in contenders(controllers) if each.name == who)
    (scenario,) = chosen([name], TINY)
    found = asyncio.run(play(scenario, plane, ours, 1, settle_seconds=0.5))
    assert [(name, len(each)) for name, each in found.results.items()] == [(who, 1)]
    assert all(list(found.medians(row)) == [who] for row in found.rows)
    (only,) = found.results[who]
    assert only.peak_memory >= max(size for _, size in only.memory) > 0
    assert only.lost == 0
    return only


@pytest.mark.server
def test_cold_start_writes_each_slice_once(plane: ControlPlane) -> None:
    found = played(plane, "cold-10k")
    assert isinstance(found, ColdOutcome)
    assert found.writes == 12
    assert found.bytes_written > 12 * 1000
    assert 0 < found.start_cpu <= 2 * found.start_seconds


@pytest.mark.server
@pytest.mark.parametrize("controllers", list(SETS))
def test_churn_counts_what_was_changed(plane: ControlPlane, controllers: str) -> None:
    found = played(plane, "churn-20", controllers)
    assert isinstance(found, ChurnOutcome)
    assert found.changes == 40
    # Each change is one of two endpoints; of one that was turned over unseen, nothing is measured.
    assert len(found.latencies) + 2 * found.overturned >= 80 >= len(found.latencies) + found.overturned
    assert 0 < found.writes_per_change <= 2
    assert found.bytes_written > 0
    assert found.server_cpu_ms_per_change > 0
    assert (found.endpoints_writes_per_change > 0) is (controllers == "all")


@pytest.mark.server
def test_floor_of_a_start_writes_the_slices(plane: ControlPlane) -> None:
    found = played(plane, "cold-10k", who="Floor")
    assert isinstance(found, ColdOutcome)
    assert found.writes == 12
    assert found.start_seconds > 0


@pytest.mark.server
def test_floor_writes_the_changes_and_no_more(plane: ControlPlane) -> None:
    found = played(plane, "churn-20", who="Floor")
    assert isinstance(found, ChurnOutcome)
    assert found.changes == 40
    assert 0 < found.writes_per_change <= 2


@pytest.mark.server
@pytest.mark.parametrize("name", ["rolling-one", "rolling-many"])
def test_rolling_update_replaces_every_pod(plane: ControlPlane, name: str) -> None:
    found = played(plane, name)
    assert isinstance(found, RollingOutcome)
    assert found.replaced == 60
    assert len(found.latencies) == 120
    # Three waves: at least once with the new Pods, and once without the old ones, in both families.
    assert found.writes >= 3 * 2 * 2 * 6
    # The next contender finds the cluster as it was.
    names = {each["metadata"]["name"] for each in plane.client().list("Pod")}
    assert names == {pod_name(number) for number in range(60)}


@pytest.mark.server
def test_big_cluster_rests_and_changes(plane: ControlPlane) -> None:
    found = played(plane, "big")
    assert isinstance(found, BigOutcome)
    assert found.writes_at_rest == 0
    assert found.settled_memory <= found.peak_memory
    assert 0 < len(found.latencies) <= 8


@pytest.mark.server
def test_node_storm_moves_hints(plane: ControlPlane) -> None:
    found = played(plane, "storm")
    assert isinstance(found, StormOutcome)
    assert found.nodes == 3
    # Three of ten Nodes of a zone: its share of the cluster falls from a third to a quarter.
    assert found.writes_down > 0
    assert found.last_write_up >= 0


@pytest.mark.server
def test_idle_writes_nothing(plane: ControlPlane) -> None:
    found = played(plane, "idle")
    assert isinstance(found, IdleOutcome)
    assert (found.slice_writes, found.writes) == (0, 0)
    assert found.cores < 1


@pytest.mark.server
@pytest.mark.usefixtures("control_plane")
def test_command_writes_its_report(tmp_path: Path) -> None:
    sizes = ("--pods=60", "--services=6", "--nodes=9", "--settle=0.5", "--rounds=1", f"--out={tmp_path}")
    who = ("--contender=KCM tuned", "--contender=Sliceplane", "--controllers=slices")
    result = CliRunner().invoke(bench.main, ["--scenario=cold-10k", *who, *sizes], catch_exceptions=False)
    assert result.exit_code == 0
    assert "start to the last slice" in result.output
    (record,) = json.loads((tmp_path / "bench.json").read_text())["sections"]
    assert {name: each[0]["writes"] for name, each in record["results"].items()} == {"KCM tuned": 12, OURS: 12}
    assert (tmp_path / "bench-cold-10k-memory.png").read_bytes().startswith(PNG)
