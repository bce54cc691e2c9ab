"""The sync that is under way: what it is for, how long its parts take, what it has written, and its trace.

It travels in a context variable, so that a writer need not be told on whose behalf it writes.
"""

import functools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from controllers.runtime.causes import Cause
from controllers.telemetry import metrics
from controllers.telemetry.tracing import OUTGOING, Span, Tracing, Value


class Sync:
    """One sync of a key by a controller; `span` is None unless it is traced."""

    __slots__ = ("cause", "controller", "span", "writes")

    def __init__(self, controller: str, key: str, cause: Cause | None, waited: float, tracing: Tracing | None) -> None:
        """`waited` is how many seconds the key was in the queue."""
        self.controller, self.cause = controller, cause
        self.writes = 0
        self.span = tracing.begin("sync", waited) if tracing is not None else None
        if self.span is not None:
            self._describe(self.span, key, waited)

    def _describe(self, span: Span, key: str, waited: float) -> None:
        namespace, _, name = key.rpartition("/")
        span.set(controller=self.controller, namespace=namespace, service=name)
        if self.cause is not None:
            about = f"{self.cause.kind} {self.cause.namespace}/{self.cause.name}".replace(" /", " ")
            span.set(cause=self.cause.what.value, cause_object=about)
        span.past("queue", waited)

    def succeeded(self, now: float) -> None:
        """It has done all that it could; `now` is the time (seconds, monotonic) of its last answer."""
        if self.cause is not None and self.writes:
            _watch_to_write(self.controller, self.cause.what.value).observe(now - self.cause.at)

    def ended(self, error: BaseException | None) -> None:
        """It has ended, well or not."""
        if self.span is not None:
            self.span.set(writes=self.writes)
            if error is not None:
                self.span.fail(str(error) or type(error).__name__)
            self.span.end()


# Looking a series up costs as much as counting in it.
_watch_to_write: Final = functools.cache(metrics.WATCH_TO_WRITE_SECONDS.labels)
_reconcile: Final = functools.cache(metrics.RECONCILE_SECONDS.labels)

CURRENT: Final[ContextVar[Sync | None]] = ContextVar("sync", default=None)


@contextmanager
def planning() -> Iterator[None]:
    """Measures the pure part of the sync under way."""
    sync = CURRENT.get()
    start = time.perf_counter()
    yield
    if sync is None:
        return
    taken = time.perf_counter() - start
    _reconcile(sync.controller).observe(taken)
    if sync.span is not None:
        sync.span.past("reconcile", taken)


@contextmanager
def writing(verb: str, kind: str, name: str) -> Iterator[None]:
    """One write of the sync under way; its request says which trace it is part of."""
    sync = CURRENT.get()
    if sync is None or sync.span is None:
        yield
    else:
        with sync.span.child(f"{verb} {kind}", verb=verb, kind=kind, name=name) as span:
            token = OUTGOING.set(span.traceparent)
            try:
                yield
            finally:
                OUTGOING.reset(token)
    if sync is not None:
        sync.writes += 1


def traced() -> bool:
    """Whether it is worth saying more about the sync under way."""
    sync = CURRENT.get()
    return sync is not None and sync.span is not None


def tell(**attributes: Value) -> None:
    """Says more about the sync under way, if it is traced."""
    sync = CURRENT.get()
    if sync is not None and sync.span is not None:
        sync.span.set(**attributes)
