"""Talks to the oracle: the upstream EndpointSlice reconciler without a server (tests/parity/oracle/README.md)."""

import contextlib
import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, ClassVar, Self

import msgspec

from e2e.cluster.build import build_module

SOURCE = Path(__file__).parent / "oracle"
READ_TIMEOUT = 60.0
STOP_TIMEOUT = 5.0
CHUNK = 1 << 20
STDERR_TAIL = 4000


class OracleError(Exception):
    """The oracle refused a line, died or did not answer in time."""


class Peer:
    """One process that answers a line with a line, for use in a `with` block by one thread.

    After a refused line it goes on with the next; once it died or ran out of time every call fails.
    """

    name: ClassVar[str]
    source: ClassVar[Path]

    def __init__(self, executable: Path | None = None, timeout: float = READ_TIMEOUT) -> None:
        self._executable = executable
        self._timeout = timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] | None = None
        self._buffer = bytearray()

    def __enter__(self) -> Self:
        executable = self._executable or build_module(self.name, self.source)
        self._stderr = tempfile.TemporaryFile()
        try:
            self._process = subprocess.Popen(
                [executable], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr, bufsize=0
            )
        except OSError as error:
            self.stop()
            raise OracleError(f"cannot start {executable}: {error}") from error
        for pipe in self._pipes(self._process):
            os.set_blocking(pipe.fileno(), False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one line."""
        line = msgspec.json.encode(question) + b"\n"
        try:
            answer = msgspec.json.decode(self._exchange(line), type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise self._failure(f"unreadable answer: {error}") from error
        except BaseException:  # also Ctrl-C: a later call must not get the answer to this one
            self.stop()
            raise
        if "fatal" in answer:
            raise OracleError(answer["fatal"])
        return answer

    def stop(self) -> None:
        """End the process; safe to call more than once."""
        process, self._process = self._process, None
        if process is not None:
            stdin, stdout = self._pipes(process)
            for pipe in (stdin, stdout):  # end of input, or a broken pipe: the program leaves by itself
                with contextlib.suppress(OSError):
                    pipe.close()
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._stderr is not None:
            self._stderr.close()
            self._stderr = None

    @staticmethod
    def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
        if process.stdin is None or process.stdout is None:  # cannot happen: both were asked for
            raise OracleError("the oracle has no pipes")
        return process.stdin, process.stdout

    def _exchange(self, line: bytes) -> bytes:
        if self._process is None:
            raise OracleError("the oracle is not running")
        stdin, stdout = self._pipes(self._process)
        deadline = time.monotonic() + self._timeout
        unsent = memoryview(line)
        # Both directions in one loop, so that neither a full pipe nor a hung process can block for ever.
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            selector.register(stdin, selectors.EVENT_WRITE)
            while True:
                end = self._buffer.find(b"\n")
                if end >= 0:
                    answer = bytes(self._buffer[:end])
                    del self._buffer[: end + 1]
                    return answer
                left = deadline - time.monotonic()
                if left <= 0:
                    raise self._failure(f"no answer within {self._timeout:g} s")
                for key, _ in selector.select(left):
                    if key.fileobj is stdout:
                        self._receive(stdout)
                    else:
                        unsent = self._send(stdin, unsent)
                        if not unsent:
                            selector.unregister(stdin)

    def _send(self, stdin: IO[bytes], unsent: memoryview) -> memoryview:
        try:
            return unsent[os.write(stdin.fileno(), unsent[:CHUNK]) :]
        except BlockingIOError:
            return unsent
        except BrokenPipeError as error:
            raise self._failure("the oracle died") from error

    def _receive(self, stdout: IO[bytes]) -> None:
        try:
            data = os.read(stdout.fileno(), CHUNK)
        except BlockingIOError:
            return
        if not data:
            raise self._failure("the oracle died")
        self._buffer += data

    def _failure(self, reason: str) -> OracleError:
        """Put an end to a process whose answers can no longer be matched to questions."""
        detail = ""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            reason += f" (exit status {self._process.returncode})"
        if self._stderr is not None:
            self._stderr.seek(0)
            detail = self._stderr.read().decode(errors="replace")[-STDERR_TAIL:]
        self.stop()
        return OracleError(f"{reason}\n{detail}".rstrip())


class Oracle(Peer):
    """Upstream's EndpointSlice reconciler."""

    name = "oracle"
    source = SOURCE

    def run(self, options: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Run one sequence of syncs from an empty start; one result per step."""
        result: list[dict[str, Any]] = self.ask({"options": options, "steps": steps})["steps"]
        return result
