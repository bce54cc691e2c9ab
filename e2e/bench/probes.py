"""What is read of the processes and of the API server while a scenario runs."""

import asyncio
import contextlib
import os
import re
import time
from collections import Counter
from pathlib import Path
from typing import Final

from controllers.runtime.api_client import ApiClient

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
SAMPLE_SECONDS: Final = 0.2
_REQUESTS: Final = re.compile(r"^apiserver_request_total\{(?P<labels>.*)\} (?P<value>\S+)$", re.MULTILINE)
_LABEL: Final = re.compile(r'(\w+)="([^"]*)"')
_WRITING: Final = frozenset({"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"})


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def peak_memory(pid: int) -> int:
    """The most resident memory that a process has had, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0


def memory(pid: int) -> int:
    """The resident memory that a process has now, in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


class MemoryTrace:
    """Samples a process' resident memory every 0.2 s, as an async context manager."""

    def __init__(self, pid: int, since: float) -> None:
        """`since` is second 0 of the samples, in time.monotonic()."""
        self._pid, self._since = pid, since
        self._task: asyncio.Task[None] | None = None
        self.samples: list[tuple[float, int]] = []

    async def __aenter__(self) -> "MemoryTrace":
        self._task = asyncio.create_task(self._sample())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _sample(self) -> None:
        # The process may end by itself; whoever waits for its slices says so.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, IndexError):
            while True:
                self.samples.append((time.monotonic() - self._since, memory(self._pid)))
                await asyncio.sleep(SAMPLE_SECONDS)


async def served_writes(client: ApiClient) -> Counter[str]:
    """How many writes of each resource the API server has answered well since it started, by anybody."""
    return count_writes((await client.request("GET", "/metrics")).decode())


def count_writes(page: str) -> Counter[str]:
    """The same, from its page of metrics."""
    found: Counter[str] = Counter()
    for match in _REQUESTS.finditer(page):
        labels = dict(_LABEL.findall(match["labels"]))
        if labels["verb"] in _WRITING and labels["code"].startswith("2"):
            found[labels["resource"]] += round(float(match["value"]))
    return found
