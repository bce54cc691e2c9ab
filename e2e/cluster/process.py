"""Child processes that cannot outlive us, and the ports they listen on."""

import atexit
import contextlib
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import NoReturn, TypeVar

T = TypeVar("T")

# Runs between fork and the program itself: asks Linux to kill it when its parent dies, and stops if the parent is dead
# by then. A program and not a `preexec_fn`, because Python code between fork and exec can deadlock with threads.
_LEASH = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(sys.argv[1]):
        sys.exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""

# Below what Linux hands out for outgoing connections, so that no client takes the port between our test and the bind.
_LOWEST_PORT, _HIGHEST_PORT = 20000, 32767

_running: list["Process"] = []


class Process:
    """A started child process.

    `log` holds its output, both streams. `url` is where it serves, for those that serve.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        """Start `argv` in a session of its own, in `folder` (default: ours); `env` adds to our environment.

        Raises OSError when the program is not there or may not be run. From any thread: the fork itself is done by one
        that lives as long as Python does, because Linux counts the end of the forking thread as the parent's death.
        """
        if not os.access(argv[0], os.X_OK):
            raise FileNotFoundError(f"{name}: {argv[0]} is not an executable file")
        self.name = name
        self.log = log
        self.url: str | None = None
        self._popen: subprocess.Popen[bytes]
        _on_spawner(lambda: self._start(argv, {**os.environ, **(env or {})}, folder))

    def _start(self, argv: Sequence[str], env: Mapping[str, str], folder: Path | None) -> None:
        with self.log.open("ab") as out:
            self._popen = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _LEASH, str(os.getpid()), *argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=folder,
                start_new_session=True,
            )
        # Only what has a process: Ctrl-C may end everything while the caller still waits for this.
        _running.append(self)

    @property
    def pid(self) -> int:
        return self._popen.pid

    def poll(self) -> int | None:
        """The exit code (negative: the signal that killed it), or None while it runs."""
        return self._popen.poll()

    def wait(self, timeout: float | None = None) -> int:
        """Wait up to `timeout` seconds for its end; the exit code. Raises subprocess.TimeoutExpired."""
        return self._popen.wait(timeout)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process alone, not to what it started."""
        self._popen.send_signal(number)

    def stop(self, timeout: float = 10.0) -> int:
        """Ask it to end (SIGTERM), kill it after `timeout` seconds; the exit code. Does nothing when it has ended."""
        self.send(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(timeout)
        return self.kill()

    def kill(self) -> int:
        """Kill it and what it started in its process group, and wait until it is gone; the exit code."""
        # Once only: later the number may belong to another group.
        if self in _running:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            self.wait()
            _running.remove(self)
        return self.wait()

    def tail(self, lines: int = 25) -> str:
        """The last lines of its log, for an error message."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def stop_all(processes: Sequence[Process], timeout: float = 5.0) -> None:
    """Ask all to end at once, and kill those that have not after `timeout` seconds."""
    for process in processes:
        process.send(signal.SIGTERM)
    until = time.monotonic() + timeout
    for process in processes:
        process.stop(max(0.0, until - time.monotonic()))


def end_on_sigterm() -> None:
    """Has SIGTERM end this program as `sys.exit` does, so that what it has started and made is taken away."""

    def terminated(*_: object) -> NoReturn:
        sys.exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, terminated)


@contextlib.contextmanager
def interruptible(again: float = 1.0) -> Iterator[None]:
    """Has Ctrl-C and SIGTERM leave the block, with KeyboardInterrupt and SystemExit, even where Python loses those.

    They are raised wherever the main thread happens to be. A finaliser there swallows them, and urllib3's answers each
    have one: of 200 Ctrl-C among requests one came to nothing. So they are raised again every `again` seconds until the
    block has been left, and nothing is printed of those that were lost. What takes longer than that to be taken away
    belongs outside, since it would be interrupted, too. For the main thread, and not within itself: there is one timer.
    A signal that is ignored (Ctrl-C, in a shell's background) stays ignored.
    """
    asked, left = signal.SIGINT, False

    def leave(number: int, frame: object) -> None:
        nonlocal asked
        if left:
            return
        if number != signal.SIGALRM:
            asked = signal.Signals(number)
        signal.setitimer(signal.ITIMER_REAL, again)
        if asked == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + asked)

    def lost(what: "sys.UnraisableHookArgs") -> None:
        if not issubclass(what.exc_type, KeyboardInterrupt | SystemExit):
            tell(what)

    heard = [each for each in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(each) is not signal.SIG_IGN]
    before = {each: signal.getsignal(each) for each in (*heard, signal.SIGALRM)}
    tell = sys.unraisablehook
    try:
        sys.unraisablehook = lost
        for each in before:
            signal.signal(each, leave)
        try:
            yield
        finally:
            left = True
    finally:
        # Once more, for a signal that came just before the first time: from here on nothing is raised.
        left = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        for each, handler in before.items():
            signal.signal(each, handler)
        sys.unraisablehook = tell


@atexit.register
def _kill_rest() -> None:
    while _running:
        _running[-1].kill()


class _Spawner(threading.Thread):
    """The one thread that forks."""

    def __init__(self) -> None:
        super().__init__(name="spawner", daemon=True)
        self.jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def run(self) -> None:
        while True:
            self.jobs.get()()


_spawner: _Spawner | None = None
_spawner_lock = threading.Lock()


def _on_spawner(work: Callable[[], T]) -> T:
    global _spawner
    with _spawner_lock:
        if _spawner is None:
            _spawner = _Spawner()
            _spawner.start()
    done: Future[T] = Future()

    def job() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    _spawner.jobs.put(job)
    return done.result()


_given: set[int] = set()


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on, and that this process has not been given before.

    Where the search starts depends on the process id, so that parallel test workers look in different places. Two may
    still be given the same port, so a server that cannot bind it is started again with another. Raises OSError if there
    is none.
    """
    width = _HIGHEST_PORT - _LOWEST_PORT
    for step in range(width):
        port = _LOWEST_PORT + (os.getpid() * 101 + step) % width
        if port in _given:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            # As the servers do it: a connection of a server that has just ended does not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            _given.add(port)
            return port
    raise OSError(f"no free port between {_LOWEST_PORT} and {_HIGHEST_PORT}")
