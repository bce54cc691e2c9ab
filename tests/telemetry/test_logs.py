"""Log lines: a constant message and its values, as text or JSON."""

import json
import logging
import re
from collections.abc import Callable, Iterator

import pytest

from controllers.telemetry import logs

Written = Callable[[], str]


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Written]:
    """What was logged; the logging of the tests themselves is put back afterwards."""
    root, ours = logging.getLogger(), logging.getLogger("controllers")
    before = root.handlers[:], root.level, ours.level
    yield lambda: capsys.readouterr().err
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


def test_text(written: Written) -> None:
    logs.configure(json=False, verbosity=0)
    logs.bind("controllers.runtime.watch", kind="Pod").info("listed", count=3, seconds=0.5, error='a "b"\nc')
    line = r'I\d{4} \d\d:\d\d:\d\d\.\d{6} watch\] "listed" kind="Pod" count=3 seconds=0\.5 error="a \\"b\\"\\nc"\n'
    assert re.fullmatch(line, written())


@pytest.mark.parametrize(("level", "letter"), [("warning", "W"), ("error", "E")])
def test_letters(written: Written, level: str, letter: str) -> None:
    logs.configure(json=False, verbosity=0)
    getattr(logs.bind("controllers.x"), level)("message")
    assert written()[0] == letter


def test_json(written: Written) -> None:
    logs.configure(json=True, verbosity=0)
    logs.bind("controllers.x", kind="Pod").warning("skipped", names=["a", "b"], odd={1: object()})
    line = json.loads(written())
    assert line["ts"] > 1.7e12
    expected = {"level": "warning", "logger": "controllers.x", "msg": "skipped", "kind": "Pod", "names": ["a", "b"]}
    assert expected.items() <= line.items()


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_exception_comes_with_its_trace(written: Written, as_json: bool) -> None:
    logs.configure(json=as_json, verbosity=0)
    logs.bind("controllers.x").error("failed", exc_info=ZeroDivisionError("no"))
    text = written()
    assert "ZeroDivisionError: no" in text
    assert text.count("\n") == (1 if as_json else 2)


@pytest.mark.parametrize(("verbosity", "shown"), [(0, False), (3, False), (4, True), (9, True)])
def test_verbosity(written: Written, verbosity: int, shown: bool) -> None:
    logs.configure(json=False, verbosity=verbosity)
    logs.bind("controllers.x").debug("detail")
    logging.getLogger("aiohttp").info("noise of others")
    text = written()
    assert ("detail" in text) is shown
    assert "noise" not in text


def test_bound_values_add_up() -> None:
    bound = logs.bind("controllers.x", service="ns/s")
    assert bound.process("m", {"count": 1})[1]["extra"]["values"] == {"service": "ns/s", "count": 1}
