"""What a process reads before it begins: no more than it needs, and nothing stays changed by that."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def said(program: str, **env: str) -> str:
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip()


@pytest.mark.parametrize("file", ["", "/etc/own.pem"])
def test_aiohttp_is_imported_without_certificates_and_all_is_as_before(file: str) -> None:
    program = """
import gc, os
from controllers.starting import importing
with importing():
    from aiohttp import connector
found = connector._SSL_CONTEXT_VERIFIED.cert_store_stats()["x509_ca"]
print(found, gc.isenabled(), os.environ.get("SSL_CERT_FILE", ""))
"""
    assert said(program, **({"SSL_CERT_FILE": file} if file else {})) == f"0 True {file}".strip()


def test_failed_import_leaves_nothing_changed() -> None:
    program = """
import gc, os
from controllers.starting import importing
try:
    with importing():
        raise ImportError
except ImportError:
    print(gc.isenabled(), "SSL_CERT_FILE" in os.environ)
"""
    assert said(program) == "True False"


def test_command_line_imports_only_what_its_flags_need() -> None:
    program = """
import sys
import controllers.cli
print(*sorted({".".join(each.split(".")[:2]) for each in sys.modules if each.startswith("controllers.")}))
print(*(each for each in ("aiohttp", "kopf", "kubernetes", "rich") if each in sys.modules))
"""
    ours = "controllers.cli controllers.ipam_tools controllers.planning controllers.starting"
    assert said(program) == ours
