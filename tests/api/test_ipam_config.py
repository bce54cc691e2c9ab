"""The flags of `sliceplane ipam run`: what would only fail later, at the API server or at a socket, is refused."""

import contextlib
import re

import pytest
from click.testing import CliRunner, Result

from api.ipam_config import IPAMConfiguration
from controllers import cli
from controllers.ipam_operator import app


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[IPAMConfiguration]:
    """What would run, if anything would."""
    found: list[IPAMConfiguration] = []
    monkeypatch.setattr(app, "run", found.append)
    monkeypatch.setattr("controllers.telemetry.logs.configure", lambda **_: None)
    return found


def run(*flags: str) -> Result:
    return CliRunner().invoke(cli.main, ["ipam", "run", "--webhook-self-signed", *flags], catch_exceptions=False)


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--webhook-bind-address=0", "=0: the webhooks cannot be switched off, and need a port: give HOST:PORT, or"),
        ("--webhook-bind-address=9443", "=9443: must be HOST:PORT with a port from 1 to 65535"),
        ("--webhook-bind-address=:0", "=:0: must be HOST:PORT with a port from 1 to 65535"),
        *(
            (f"--webhook-url={url}", f"={url}: must be https://HOST[:PORT][/PATH], such as https://192.0.2.1:9443")
            for url in (
                "foo",
                "foo:9443",
                "https://",
                "https:///path",
                "http://example.com",
                "https://me@example.com",
                "https://example.com?a=b",
                "https://example.com/a#b",
                "https://example.com:0",
                "https://example.com:65536",
                "https://example.com:https",
                "https://exa mple.com",
                "https://[::g]:9443",
                "https://[10.0.0.1]:9443",
                "https://example.com/%zz",
                "https://a..example.com",
            )
        ),
        *(
            (f"--exempt-namespaces={names}", f"={names}: must be names of namespaces (RFC 1123 labels) with commas")
            for names in ("A B,,x", "a,,b", "a,", ",", "A", "a b", "a.b", "-a", "a" * 58 + "bcdefg")
        ),
    ],
)
def test_wrong_flag_is_named_and_nothing_starts(started: list[IPAMConfiguration], flag: str, said: str) -> None:
    result = run(flag)
    assert (result.exit_code, started) == (2, [])
    told = re.sub(r"\s+", " ", result.output)
    assert f"Error: {flag.partition('=')[0]}{said}".replace("a" * 58 + "bcdefg", "a" * 58 + "bc…") in told


@pytest.mark.parametrize(
    ("flag", "field", "value"),
    [
        ("--webhook-bind-address=:9443", "webhook_bind_address", ":9443"),
        ("--webhook-bind-address=[::1]:9443", "webhook_bind_address", "[::1]:9443"),
        ("--webhook-url=", "webhook_url", ""),
        *(
            (f"--webhook-url={url}", "webhook_url", url)
            for url in (
                "https://example.com",
                "https://example.com/",
                "https://a-1.example.com:9443/a/b%20c",
                "https://192.0.2.1:1",
                "https://a_container:9443",
                "https://[2001:db8::1]:65535/a",
            )
        ),
        ("--exempt-namespaces=", "exempt_namespaces", ()),
        ("--exempt-namespaces=a, b-1", "exempt_namespaces", ("a", "b-1")),
    ],
)
def test_right_flag_is_taken(started: list[IPAMConfiguration], flag: str, field: str, value: object) -> None:
    result = run(flag)
    assert result.exit_code == 0, result.output
    assert getattr(started[0], field) == value


def test_page_of_metrics_can_be_switched_off(started: list[IPAMConfiguration]) -> None:
    assert run("--metrics-bind-address=0").exit_code == 0
    assert started[0].metrics_bind_address == "0"


@pytest.mark.parametrize(
    ("told", "host"),
    [
        ({}, "sliceplane-ipam.kube-system.svc"),
        ({"webhook_service": "hooks", "namespace": "net"}, "hooks.net.svc"),
        ({"webhook_url": "https://example.com:9443/a"}, "example.com"),
        ({"webhook_url": "https://192.0.2.1"}, "192.0.2.1"),
        ({"webhook_url": "https://[2001:db8::1]:9443"}, "2001:db8::1"),
    ],
)
def test_host_is_the_one_that_the_api_server_calls(told: dict[str, str], host: str) -> None:
    assert IPAMConfiguration.model_validate({"webhook_self_signed": True, **told}).webhook_host == host


def test_no_label_of_a_host_is_longer_than_dns_has_it() -> None:
    for number in (63, 64):
        url = f"https://{'a' * number}.example.com"
        with contextlib.nullcontext() if number == 63 else pytest.raises(ValueError, match="webhook_url"):
            assert IPAMConfiguration(webhook_self_signed=True, webhook_url=url).webhook_url == url
