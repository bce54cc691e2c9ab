"""The benches' own parts: the scaling law on small clusters, and what is made of stacks."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from e2e.bench.bare import Measured
from e2e.bench.flame import Share, Stack, awake, draw, ours, packages, parse, shares
from e2e.bench.scaling import law, main

ASYNCIO = "run (asyncio/runners.py:86)"
PUT = "Store.put (controllers/runtime/store.py:70)"
GET = "Store.get (controllers/runtime/store.py:57)"
SEND = "send (aiohttp/client.py:1)"
FOLDED = f"{ASYNCIO};{PUT};{GET} 3\n{ASYNCIO};{PUT};{SEND};{SEND} 5\n{ASYNCIO} 2\n"


def test_scaling_of_small_clusters(tmp_path: Path) -> None:
    sizes = ["--sizes=200,400", "--services=5", "--changes=20", "--rounds=1"]
    answer = CliRunner().invoke(main, [*sizes, f"--out={tmp_path}"], catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    found = json.loads((tmp_path / "scaling.json").read_text())["series"]
    services = {name: [(size["pods"], size["services"]) for size in each["sizes"]] for name, each in found.items()}
    assert services == {
        "a Service for every 20 Pods": [(200, 10), (400, 20)],
        "5 Services": [(200, 5), (400, 5)],
    }
    assert all(size["load_seconds"] > 0 < size["change_micros"] for each in found.values() for size in each["sizes"])
    assert answer.output.count("one change: from 200 Pods to 400") == len(found)
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("sizes", ["200", "10,200", "many"])
def test_scaling_of_one_size_is_refused(sizes: str) -> None:
    assert CliRunner().invoke(main, [f"--sizes={sizes}"]).exit_code == 2


def size_of(pods: int, seconds: float) -> Measured:
    return Measured(
        pods=pods,
        services=1,
        load_seconds=seconds,
        store_bytes=0,
        first_syncs_seconds=0.0,
        slices_bytes=0,
        change_micros=1.0,
        change_p90_micros=1.0,
    )


def test_law_of_a_line_and_of_what_is_none() -> None:
    line = law([size_of(n, 5 + 3 * n) for n in (10, 100, 1000)], lambda m: m.load_seconds)
    assert (line.slope, line.intercept, line.deviation) == pytest.approx((3, 5, 0))
    assert law([size_of(n, n * n) for n in (10, 500, 1000)], lambda m: m.load_seconds).deviation > 0.1
    assert law([size_of(n, 0) for n in (10, 500)], lambda m: m.load_seconds).deviation == 0


def test_shares_count_a_recursion_once() -> None:
    found = {share.function: share for share in shares(parse(FOLDED))}
    assert found[SEND] == Share(SEND, own=5, total=5)
    assert found[PUT] == Share(PUT, own=0, total=8)
    assert found[ASYNCIO] == Share(ASYNCIO, own=2, total=10)


def test_our_functions_answer_for_the_libraries_below() -> None:
    assert ours(parse(FOLDED)) == [Stack((ASYNCIO, PUT, GET), 3), Stack((ASYNCIO, PUT), 5), Stack((ASYNCIO,), 2)]
    assert [stack.frames[0] for stack in packages(parse(FOLDED))] == ["controllers", "aiohttp", "asyncio"]


def test_waiting_of_the_event_loop_is_no_work() -> None:
    waiting = "Runner.run (asyncio/runners.py:86) 9\nRunner.run (asyncio/runners.py:86);epoll_pwait (libc.so.6) 9\n"
    assert awake(parse(FOLDED + waiting)) == parse(FOLDED)


def test_line_that_is_no_stack_is_refused() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        parse("no samples here")


def test_flame_graph_is_as_wide_as_the_samples() -> None:
    """Boxes of one depth do not overlap, each lies within its caller, and what is shown is escaped."""
    root = ElementTree.fromstring(draw(parse(FOLDED + "<module> (x.py:1) 10\n"), "a <title> & more"))
    space = "{http://www.w3.org/2000/svg}"
    boxes = {}
    for group in root.iter(f"{space}g"):
        rect, title = group.find(f"{space}rect"), group.findtext(f"{space}title")
        assert rect is not None
        boxes[title] = (float(rect.attrib["x"]), float(rect.attrib["width"]), int(rect.attrib["y"]))
    whole, put, get = (
        boxes[f"{text}"] for text in ("all: 20 samples, 100.0%", f"{PUT}: 8 samples, 40.0%", f"{GET}: 3 samples, 15.0%")
    )
    assert put[1] == pytest.approx(whole[1] * 0.4)
    assert put[0] <= get[0]
    assert get[0] + get[1] <= put[0] + put[1]
    assert whole[2] < put[2] < get[2]
    assert root.findtext(f"{space}text") == "a <title> & more"
