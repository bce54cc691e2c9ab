"""Things to do later, in a few threads."""

import heapq
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

import urllib3

from e2e.cluster.rest import ApiError

# No more than the client keeps connections open.
_WORKERS = 8
_RETRY = 0.5

_log = logging.getLogger(__name__)


class Agenda(threading.Thread):
    """A context manager; leaving it drops what is not begun.

    A job makes requests: one that the server could not answer is made again, one about an object that has gone or
    changed meanwhile (NotFound, Conflict) is dropped.
    """

    def __init__(self) -> None:
        super().__init__(name="agenda", daemon=True)
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._count = 0
        self._stopping = False
        self._workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="kubelet")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self.join()
        self._workers.shutdown(cancel_futures=True)

    def later(self, seconds: float, job: Callable[[], object]) -> None:
        """Have `job` done once in so many seconds. From any thread."""
        with self._changed:
            self._count += 1
            heapq.heappush(self._due, (time.monotonic() + seconds, self._count, job))
            self._changed.notify()

    def run(self) -> None:
        with self._changed:
            while not self._stopping:
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if wait is not None and wait <= 0:
                    self._workers.submit(self._do, heapq.heappop(self._due)[2])
                else:
                    self._changed.wait(wait)

    def _do(self, job: Callable[[], object]) -> None:
        try:
            job()
        except ApiError as error:
            if error.status == 429 or error.status >= 500:
                self.later(_RETRY, job)
            elif error.status not in (404, 409):
                _log.error("the API server refused a request: %s", error)
        except urllib3.exceptions.HTTPError:
            self.later(_RETRY, job)
        except Exception:
            _log.exception("a job failed")
