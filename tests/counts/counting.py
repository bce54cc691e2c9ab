"""Counts what Python does, so that "fast" can be tested without a clock."""

import gc
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Work:
    """Calls by qualified name (C functions, too), and instructions of bytecode."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.instructions = 0

    @property
    def encodes(self) -> int:
        """How many slices were encoded."""
        return self.calls["_encode_slice"]

    @property
    def endpoints(self) -> int:
        """How many endpoints were made from Pods."""
        return self.calls["_endpoint"]

    @property
    def lookups(self) -> dict[str, int]:
        """How often each index was asked."""
        return {name: self.calls[name] for name in LOOKUPS if self.calls[name]}

    def profile(self, frame: FrameType, event: str, arg: Any) -> None:
        if event == "call":
            self.calls[frame.f_code.co_qualname] += 1
        elif event == "c_call":
            self.calls[arg.__qualname__] += 1

    def trace(self, frame: FrameType, event: str, arg: Any) -> Callable[..., Any]:
        if event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        elif event == "opcode":
            self.instructions += 1
        return self.trace


LOOKUPS = (
    "Store.get",
    "Store.names",
    "Store.all",
    "NodeStore.by_name",
    "PodStore.selected_by",
    "PodStore.on_node",
    "ServiceStore.selecting",
    "SliceStore.of_service",
)


@contextmanager
def without_collections() -> Iterator[None]:
    """Has no garbage collected inside: when that happens depends on all that came before, and finalisers are calls."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def counted() -> Iterator[Work]:
    """Counts what is called inside; not the frame itself that is inside."""
    work, profile, trace = Work(), sys.getprofile(), sys.gettrace()
    with without_collections():
        sys.setprofile(work.profile)
        sys.settrace(work.trace)
        try:
            yield work
        finally:
            sys.settrace(trace)
            sys.setprofile(profile)


class Allocated:
    """Memory that Python allocated: the highest, and what was kept, in bytes and in blocks."""

    peak = 0
    kept = 0
    blocks = 0


@contextmanager
def allocated() -> Iterator[Allocated]:
    """Follows what is allocated inside."""
    found = Allocated()
    with without_collections():
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            yield found
            peak = tracemalloc.get_traced_memory()[1]
            # What goes in circles has been let go as well.
            gc.collect()
            now = tracemalloc.get_traced_memory()[0]
            found.peak, found.kept = peak - before, now - before
            found.blocks = len(tracemalloc.take_snapshot().traces)
        finally:
            tracemalloc.stop()
