"""The flags of `sliceplane run`: what they set, and that a wrong one is named."""

import re

import click
import pytest
from click.testing import CliRunner, Result
from pydantic import BaseModel

from api.config import Configuration, flag
from api.controllers import ENDPOINTS, ENDPOINTSLICE, MIRRORING, chosen
from api.settings import SETTINGS, describe
from controllers import app, cli
from controllers.runtime.credentials import CredentialsError
from tests.api.examples import FIXED, OTHER

ALL = {ENDPOINTS, ENDPOINTSLICE, MIRRORING}


def run(*flags: str) -> Result:
    return CliRunner().invoke(cli.main, ["run", *flags], catch_exceptions=False)


def test_defaults(started: list[Configuration]) -> None:
    assert run().exit_code == 0
    assert started == [Configuration()]


@pytest.mark.parametrize("field", [field for field in Configuration.model_fields if field not in FIXED])
def test_each_field_has_a_flag_that_sets_it(started: list[Configuration], field: str) -> None:
    text, value = OTHER[field]
    result = run(f"--{SETTINGS[field].flag}={text}")
    assert result.exit_code == 0, result.output
    assert started == [Configuration.model_validate({field: value})]
    assert started != [Configuration()]


@pytest.mark.parametrize(
    ("flag", "field", "value"),
    [
        ("--endpointslice-updates-batch-period=0", "endpointslice_updates_batch_period", 0.0),
        ("--topology-grace-period=0", "topology_grace_period", 0.0),
        ("--kube-api-qps=20", "kube_api_qps", 20.0),
        ("-v=4", "v", 4),
        ("--leader-elect", "leader_elect", True),
        ("--leader-elect=true", "leader_elect", True),
        ("--leader-elect=false", "leader_elect", False),
        ("--leader-elect=FALSE", "leader_elect", False),
        ("--leader-elect-resource-lock=leases", "leader_elect_resource_lock", "leases"),
        ("--metrics-bind-address=0", "metrics_bind_address", "0"),
        ("-v4", "v", 4),
    ],
)
def test_flags(started: list[Configuration], flag: str, field: str, value: object) -> None:
    result = run(flag)
    assert result.exit_code == 0, result.output
    assert getattr(started[0], field) == value


@pytest.mark.parametrize(
    ("flags", "value"),
    [
        ([], True),
        (["--elect"], True),
        (["--elect=true"], True),
        (["--elect", "--other=x"], True),
        (["--elect=false"], False),
        (["--elect=F", "--other=x"], False),
    ],
)
def test_boolean_flags_are_as_kcms(flags: list[str], value: bool) -> None:
    """What `--leader-elect` will be, whose field takes one value only so far."""

    class Model(BaseModel):
        elect: bool = flag("elect", True, "Help.")

    setting = describe("elect", Model.model_fields["elect"])
    command = click.Command("x", params=[click.Option(["--other"])], callback=lambda elect, other: elect)
    cli.option(setting)(command)
    context = command.make_context("x", list(flags))
    assert setting.kind.parse(context.params["elect"]) is value


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--concurrent-service-endpoint-syncs=0", "=0: must be a whole number from 1 to 50"),
        ("--concurrent-service-endpoint-syncs=51", "=51: must be a whole number from 1 to 50"),
        ("--concurrent-service-endpoint-syncs=", "=: must be a whole number from 1 to 50"),
        ("--max-endpoints-per-slice=1001", "=1001: must be a whole number from 1 to 1000"),
        ("--max-endpoints-per-slice=many", "=many: must be a whole number from 1 to 1000"),
        ("--max-endpoints-per-slice=5.0", "=5.0: must be a whole number from 1 to 1000"),
        (f"--max-endpoints-per-slice={'9' * 5000}", f"={'9' * 60}…: must be a whole number from 1 to 1000"),
        ("--concurrent-endpoint-syncs=0", "=0: must be a whole number of 1 or more"),
        ("--endpointslice-updates-batch-period=1", "=1: must be a duration (500ms, 1m30s) of 0s or more"),
        ("--endpointslice-updates-batch-period=-1s", "=-1s: must be a duration (500ms, 1m30s) of 0s or more"),
        ("--leader-elect=no", "=no: must be true or false"),
        ("--leader-elect-lease-duration=999ms", "=999ms: must be a duration (500ms, 1m30s) of 1s or more"),
        ("--leader-elect-retry-period=0", "=0: must be a duration (500ms, 1m30s) of more than 0s"),
        (
            "--leader-elect-lease-duration=10s",
            " must be more than --leader-elect-renew-deadline: they are 10s and 10s (the default)",
        ),
        ("--leader-elect-resource-lock=endpoints", "=endpoints: must be leases"),
        ("--leader-elect-resource-namespace=", "=: must be an RFC 1123 label, such as kube-system"),
        ("--kube-api-qps=-1", "=-1: must be a number of 0 or more"),
        ("--kube-api-qps=inf", "=inf: must be a number of 0 or more"),
        ("--logging-format=xml", "=xml: must be text or json"),
        (
            "--controllers=foo,*",
            "=foo,*: foo: not a controller; there is: "
            "endpoints-controller, endpointslice-controller, endpointslice-mirroring-controller",
        ),
        ("--controllers=-foo,*", "=-foo,*: -foo: not a controller"),
        ("--controllers=", "=: leaves nothing to run"),
        ("--controllers=-endpointslice-controller", "=-endpointslice-controller: leaves nothing to run"),
        (
            "--controllers=*,-endpointslice,-endpoint,-endpointslicemirroring",
            "=*,-endpointslice,-endpoint,-endpointslicemirroring: leaves nothing to run",
        ),
        ("--metrics-bind-address=nonsense", "=nonsense: must be HOST:PORT with a port from 1 to 65535, or 0"),
        ("--metrics-bind-address=127.0.0.1:http", "=127.0.0.1:http: must be HOST:PORT"),
        ("--metrics-bind-address=127.0.0.1:70000", "=127.0.0.1:70000: must be HOST:PORT"),
    ],
)
def test_wrong_flag_is_named_and_nothing_starts(started: list[Configuration], flag: str, said: str) -> None:
    result = run(flag)
    assert (result.exit_code, started) == (2, [])
    assert f"Error: {flag.partition('=')[0]}{said}" in re.sub(r"\s+", " ", result.output)


@pytest.mark.parametrize("shard", [0, 1, 2])
def test_shard_is_one_of_the_shards(started: list[Configuration], shard: int) -> None:
    result = run("--shards=3", f"--shard={shard}")
    assert result.exit_code == 0, result.output
    assert [(each.shard, each.shards) for each in started] == [(shard, 3)]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--shard=1",), "--shards must be more than --shard: they are 1 (the default) and 1"),
        (("--shards=2", "--shard=2"), "--shards must be more than --shard: they are 2 and 2"),
        (("--shards=2", "--shard=-1"), "--shard=-1: must be a whole number of 0 or more"),
        (("--shards=0",), "--shards=0: must be a whole number of 1 or more"),
        (("--shards=two",), "--shards=two: must be a whole number of 1 or more"),
    ],
)
def test_shard_that_there_is_not_is_refused(started: list[Configuration], flags: tuple[str, ...], said: str) -> None:
    result = run(*flags)
    assert (result.exit_code, started) == (2, [])
    assert f"Error: {said}" in result.output


def test_unknown_flag(started: list[Configuration]) -> None:
    result = run("--no-such-flag")
    assert (result.exit_code, started) == (2, [])
    assert "No such option" in result.output


def test_all_wrong_flags_are_told_at_once(started: list[Configuration]) -> None:
    result = run("--v=-1", "--kube-api-burst=0", "--leader-elect-retry-period=10s")
    assert (result.exit_code, started) == (2, [])
    assert result.output.splitlines() == [
        *("Usage: main run [OPTIONS]", "Try 'main run --help' for help.", ""),
        "Error: --v=-1: must be a whole number of 0 or more",
        "Error: --kube-api-burst=0: must be a whole number of 1 or more",
        "Error: --leader-elect-renew-deadline must be more than 1.2 times --leader-elect-retry-period: "
        "they are 10s (the default) and 10s",
    ]


@pytest.mark.parametrize(
    "swallowed", [("--kubeconfig", "nope"), ("--kubeconfig=nope",), ("-vv",), ("-x", "--shards=2")]
)
def test_flag_that_v_has_swallowed_is_named(started: list[Configuration], swallowed: tuple[str, ...]) -> None:
    result = run("-v", *swallowed)
    assert (result.exit_code, started) == (2, [])
    told = f"Error: -v takes a number: '{swallowed[0]}' is none; give one, such as -v 4"
    assert result.output.splitlines()[3:] == [told]


@pytest.mark.parametrize(
    ("flags", "said"), [(("-v", "-1"), "--v=-1"), (("-v", "four"), "--v=four"), (("-v", ""), "--v=")]
)
def test_v_is_a_whole_number(started: list[Configuration], flags: tuple[str, ...], said: str) -> None:
    result = run(*flags)
    assert (result.exit_code, started) == (2, [])
    assert f"Error: {said}: must be a whole number of 0 or more" in result.output


@pytest.mark.parametrize(
    "value",
    [
        *("foo", "not a url", "collector:4318", "//collector", "ftp://collector", "grpc://collector:4317", "http://"),
        *("http://:4318", "http://c:0", "http://c:port", "http://c:70000", "http://[::1", "http://c\n", "http://a b/"),
    ],
)
def test_endpoint_of_traces_is_a_url(started: list[Configuration], value: str) -> None:
    result = run(f"--tracing-endpoint={value}")
    assert (result.exit_code, started) == (2, [])
    wanted = f"Error: --tracing-endpoint={value}: must be a URL that begins with http:// or https:// and names a host,"
    assert wanted in result.output


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*", ALL),
        ("endpointslice-controller", {ENDPOINTSLICE}),
        ("endpointslice", {ENDPOINTSLICE}),
        ("endpoint,endpointslicemirroring", {ENDPOINTS, MIRRORING}),
        (" endpointslice , ", {ENDPOINTSLICE}),
        ("*,endpointslice-controller", ALL),
        ("-endpointslice-controller", set()),
        ("*,-endpointslice-controller", {ENDPOINTS, MIRRORING}),
        ("-endpointslice,*", {ENDPOINTS, MIRRORING}),
        ("endpointslice-controller,-endpointslice-controller", {ENDPOINTSLICE}),
        ("*,-endpoints-controller,-service-cidr-controller", {ENDPOINTSLICE, MIRRORING}),
        ("*,-endpointslice-controller,-node-ipam-controller", {ENDPOINTS, MIRRORING}),
        ("*,bootstrapsigner,tokencleaner", ALL),
        ("*,bootstrapsigner,tokencleaner,-endpoint,-nodeipam", {ENDPOINTSLICE, MIRRORING}),
        ("deployment,csrsigning", set()),
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
    assert {each.name for each in options} == {*Configuration.model_fields, "config"}
    assert all(each.help for each in options)


def test_help_tells_limits_and_defaults() -> None:
    text = re.sub(r"\s+", " ", run("--help").output)
    for field, setting in SETTINGS.items():
        assert setting.text in text, field
    assert (
        "--max-endpoints-per-slice INTEGER The most endpoints that are added to one EndpointSlice. [from 1 to" in text
    )
    assert "1000; default: 100]" in text
    assert "[1s or more; default: 15s]" in text
    assert "--leader-elect [true|false]" in text


@pytest.mark.parametrize("how", ["version", "--version"])
def test_version(how: str) -> None:
    result = CliRunner().invoke(cli.main, [how])
    assert (result.exit_code, result.output) == (0, "sliceplane 0.1.0\n")
