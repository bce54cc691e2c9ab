"""Programs that start others end when they are told to."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator

import pytest

from e2e.cluster.process import interruptible


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """A shell's background jobs start with SIGINT ignored, and so would we."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Swallows:
    """Its end is where Python loses what a signal's handler raises."""

    def __init__(self, number: signal.Signals) -> None:
        self.number = number

    def __del__(self) -> None:
        os.kill(os.getpid(), self.number)


def swallowed_and_waited(number: signal.Signals) -> None:
    with interruptible(again=0.05):
        Swallows(number)
        time.sleep(60)
    pytest.fail("nothing was raised again")


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_that_a_finaliser_swallows_ends_it_all_the_same(
    number: signal.Signals, raised: type[BaseException]
) -> None:
    before = signal.getsignal(number)
    with pytest.raises(raised):
        swallowed_and_waited(number)
    assert signal.getsignal(number) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_signal_comes_once_where_it_is_heard() -> None:
    with contextlib.suppress(KeyboardInterrupt), interruptible(again=0.05):
        os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.1)


def test_a_signal_on_the_way_out_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    before, set_timer = signal.getsignal(signal.SIGINT), signal.setitimer

    def interrupted(which: int, seconds: float) -> None:
        if not seconds:
            os.kill(os.getpid(), signal.SIGINT)
        set_timer(which, seconds)

    monkeypatch.setattr(signal, "setitimer", interrupted)
    with contextlib.suppress(KeyboardInterrupt), interruptible(again=60):
        pass
    assert signal.getsignal(signal.SIGINT) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible():
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
