"""Where text cannot be written: one line says so, or none where nobody reads any more, and never a traceback."""

import os
import subprocess
import sys

import pytest

from tests.planning.run import COMMAND, ROOT, SHOP

IPAM = "import sys; from controllers.ipam_tools import command, facts\n"
# What is shown does not matter here, but that it is.
SHOW = f"{IPAM}command._read = lambda *_: facts.Facts()\ncommand.ipam_command(['show', '-o', sys.argv[1]])"
CHECK = f"{IPAM}command.ipam_command(['check', '--offline', '-f', {str(SHOP)!r}, *sys.argv[1:]])"
CALLS = [
    pytest.param(COMMAND, ["-f", str(SHOP)], id="plan"),
    pytest.param(COMMAND, ["-f", str(SHOP), "-o", "table"], id="plan-table"),
    pytest.param(SHOW, ["json"], id="show"),
    pytest.param(SHOW, ["yaml"], id="show-yaml"),
    pytest.param(CHECK, ["-o", "json"], id="check"),
]


def into(file: int, command: str, args: list[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", command, *args], stdout=file, stderr=subprocess.PIPE, text=True, cwd=ROOT, timeout=60
    )


@pytest.mark.parametrize(("command", "args"), CALLS)
def test_full_disk(command: str, args: list[str]) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        done = into(full, command, args)
    finally:
        os.close(full)
    assert (done.returncode, done.stderr) == (1, "error: standard output: no space left on device\n")


@pytest.mark.parametrize(("command", "args"), CALLS)
def test_closed_pipe(command: str, args: list[str]) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        done = into(theirs, command, args)
    finally:
        os.close(theirs)
    assert (done.returncode, done.stderr) == (1, "")
