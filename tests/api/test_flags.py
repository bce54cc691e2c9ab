"""The flags of `sliceplane run`: what they set, and that a wrong one is named."""

import re

import click
import pytest
from click.testing import CliRunner, Result

from api.config import Configuration
from api.controllers import chosen
from controllers import app, cli
from controllers.runtime.credentials import CredentialsError

ALL = {"endpointslice-controller"}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Configuration]:
    """What would be run."""
    found: list[Configuration] = []
    monkeypatch.setattr(app, "run", found.append)
    monkeypatch.setattr("controllers.telemetry.logs.configure", lambda **_: None)
    return found


def run(*flags: str) -> Result:
    return CliRunner().invoke(cli.main, ["run", *flags], catch_exceptions=False)


def test_defaults(started: list[Configuration]) -> None:
    assert run().exit_code == 0
    assert started == [Configuration()]


@pytest.mark.parametrize(
    ("flag", "field", "value"),
    [
        ("--kubeconfig=/k", "kubeconfig", "/k"),
        ("--concurrent-service-endpoint-syncs=50", "concurrent_service_endpoint_syncs", 50),
        ("--max-endpoints-per-slice=1000", "max_endpoints_per_slice", 1000),
        ("--endpointslice-updates-batch-period=1m500ms", "endpointslice_updates_batch_period", 60.5),
        ("--endpointslice-updates-batch-period=0", "endpointslice_updates_batch_period", 0.0),
        ("--topology-grace-period=1m30s", "topology_grace_period", 90.0),
        ("--topology-grace-period=0", "topology_grace_period", 0.0),
        ("--kube-api-qps=20", "kube_api_qps", 20.0),
        ("--kube-api-burst=40", "kube_api_burst", 40),
        ("--leader-elect=false", "leader_elect", False),
        ("--leader-elect=FALSE", "leader_elect", False),
        ("--metrics-bind-address=0", "metrics_bind_address", "0"),
        ("--metrics-bind-address=[::]:9", "metrics_bind_address", "[::]:9"),
        ("--logging-format=json", "logging_format", "json"),
        ("--v=4", "v", 4),
        ("-v4", "v", 4),
        ("--controllers=endpointslice", "controllers", "endpointslice"),
    ],
)
def test_flags(started: list[Configuration], flag: str, field: str, value: object) -> None:
    result = run(flag)
    assert result.exit_code == 0, result.output
    assert getattr(started[0], field) == value


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--concurrent-service-endpoint-syncs=0", "--concurrent-service-endpoint-syncs=0"),
        ("--concurrent-service-endpoint-syncs=51", "less than or equal to 50"),
        ("--max-endpoints-per-slice=1001", "less than or equal to 1000"),
        ("--max-endpoints-per-slice=many", "'many' is not a valid integer"),
        ("--endpointslice-updates-batch-period=1", "is not a duration"),
        ("--endpointslice-updates-batch-period=-1s", "is not a duration"),
        ("--leader-elect", "--leader-elect=True"),
        ("--leader-elect=true", "--leader-elect=True"),
        ("--kube-api-qps=-1", "--kube-api-qps=-1"),
        ("--logging-format=xml", "'xml' is not one of"),
        ("--controllers=foo", "--controllers: foo: not a controller; there is: endpointslice-controller"),
        ("--controllers=-foo,*", "--controllers: -foo"),
        ("--controllers=", "leaves nothing to run"),
        ("--controllers=-endpointslice-controller", "leaves nothing to run"),
        ("--controllers=*,-endpointslice", "leaves nothing to run"),
        ("--metrics-bind-address=nonsense", "--metrics-bind-address"),
        ("--metrics-bind-address=127.0.0.1:http", "--metrics-bind-address"),
        ("--metrics-bind-address=127.0.0.1:70000", "--metrics-bind-address"),
        ("--no-such-flag", "No such option"),
    ],
)
def test_wrong_flag_is_named_and_nothing_starts(started: list[Configuration], flag: str, said: str) -> None:
    result = run(flag)
    assert (result.exit_code, started) == (2, [])
    assert said in re.sub(r"\s+", " ", result.output)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*", ALL),
        ("endpointslice-controller", ALL),
        ("endpointslice", ALL),
        (" endpointslice , ", ALL),
        ("*,endpointslice-controller", ALL),
        ("-endpointslice-controller", set()),
        ("*,-endpointslice-controller", set()),
        ("-endpointslice,*", set()),
        ("endpointslice-controller,-endpointslice-controller", ALL),
        ("*,-endpoints-controller,-service-cidr-controller", ALL),
        ("*,-endpointslice-controller,-node-ipam-controller", set()),
        ("", set()),
    ],
)
def test_choice_of_controllers(text: str, expected: set[str]) -> None:
    assert chosen(text) == expected


def test_useless_configuration_is_told_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Configuration) -> None:
        raise CredentialsError("there is none")

    monkeypatch.setattr(app, "run", refuse)
    monkeypatch.setattr("controllers.telemetry.logs.configure", lambda **_: None)
    result = run()
    assert (result.exit_code, result.stderr) == (1, "sliceplane: there is none\n")


def test_each_flag_has_help() -> None:
    [command] = [each for name, each in cli.main.commands.items() if name == "run"]
    options = [each for each in command.params if isinstance(each, click.Option)]
    assert {each.name for each in options} == set(Configuration.model_fields)
    assert all(each.help for each in options)


def test_version() -> None:
    assert CliRunner().invoke(cli.main, ["version"]).output == "sliceplane 0.1.0\n"
