"""The configuration file: flags over file over defaults, and every mistake in it told at once, in place."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from api import config_file
from api.config import Configuration
from api.settings import SETTINGS
from controllers import cli
from tests.api.examples import FIXED, OTHER

HEADER = "apiVersion: config.sliceplane.dev/v1alpha1\nkind: SliceplaneConfiguration\n"
RUN = "Usage: sliceplane run [OPTIONS]\nTry 'sliceplane run --help' for help.\n\nError: "


def load(text: str | bytes, **flags: str) -> Configuration:
    data = text if isinstance(text, bytes) else text.encode()
    return config_file.configured(flags, config_file.read("f", data))


def problems(text: str | bytes, **flags: str) -> list[str]:
    with pytest.raises(config_file.ConfigurationError) as caught:
        load(text, **flags)
    return str(caught.value).splitlines()


def settled(text: str | bytes) -> Configuration | str:
    """What comes out, or what is said against it."""
    try:
        return load(text)
    except config_file.ConfigurationError as error:
        return str(error)


def document(path: tuple[str, ...], value: object) -> str:
    tree: Any = value
    for key in reversed(path):
        tree = {key: tree}
    return HEADER + yaml.safe_dump(tree)


def sliceplane(*args: str) -> Result:
    return CliRunner().invoke(cli.main, args, prog_name="sliceplane", catch_exceptions=False)


@pytest.mark.parametrize("field", [field for field in Configuration.model_fields if field not in FIXED])
def test_each_field_has_a_key_that_sets_it(field: str) -> None:
    text, value = OTHER[field]
    written = text if SETTINGS[field].kind.plain else value
    assert load(document(SETTINGS[field].path, written)) == Configuration.model_validate({field: value})


def test_shards_are_told_by_file_and_flag() -> None:
    """One file for all shards, and a flag that tells them apart."""
    assert load(f"{HEADER}shards: 2\n", shard="1") == Configuration(shards=2, shard=1)
    assert load(f"{HEADER}shards: 3\nshard: 2\n") == Configuration(shards=3, shard=2)
    told = "f:4: shards must be more than shard: they are 2 and 2"
    assert problems(f"{HEADER}shard: 2\nshards: 2\n") == [told]
    assert problems(f"{HEADER}\nshards: 2\n", shard="2") == [told.replace("than shard", "than --shard")]


def test_keys_and_flags_are_one_each() -> None:
    assert len({setting.path for setting in SETTINGS.values()}) == len(SETTINGS)
    assert len({setting.flag for setting in SETTINGS.values()}) == len(SETTINGS)
    sections = {setting.path[:-1] for setting in SETTINGS.values()}
    assert sections == {(), ("clientConnection",), ("leaderElection",), ("logging",), ("tracing",)}
    assert not sections & {setting.path for setting in SETTINGS.values()}


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("controllers: ['*', -endpoints-controller]", "controllers", "*,-endpoints-controller"),
        ("controllers: '*,-endpoints-controller'", "controllers", "*,-endpoints-controller"),
        ("endpointUpdatesBatchPeriod: 500ms", "endpoint_updates_batch_period", 0.5),
        ("endpointUpdatesBatchPeriod: 0", "endpoint_updates_batch_period", 0.0),
        ("metricsBindAddress: 0", "metrics_bind_address", "0"),
        ("clientConnection: {qps: 20}", "kube_api_qps", 20.0),
        ("maxEndpointsPerSlice: 0x10", "max_endpoints_per_slice", 16),
        ("leaderElection: {leaderElect: no}", "leader_elect", False),
        ("leaderElection: {resourceName: 2026-01-01}", "leader_elect_resource_name", "2026-01-01"),
        ("clientConnection:\n  # kubeconfig: x\n", "kubeconfig", ""),
        ('{"maxEndpointsPerSlice": 7}', "max_endpoints_per_slice", 7),
    ],
)
def test_spellings(text: str, field: str, value: object) -> None:
    if text.startswith("{"):
        text = text.replace("{", '{"apiVersion": "config.sliceplane.dev/v1alpha1", "kind": "SliceplaneConfiguration", ')
    else:
        text = HEADER + text
    assert getattr(load(text), field) == value


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("maxEndpointsPerSlice: 0", "f:3: maxEndpointsPerSlice: 0: must be a whole number from 1 to 1000"),
        ("maxEndpointsPerSlice: 1001", "f:3: maxEndpointsPerSlice: 1001: must be a whole number from 1 to 1000"),
        ('maxEndpointsPerSlice: "5"', 'f:3: maxEndpointsPerSlice: "5": must be a whole number from 1 to 1000'),
        ("maxEndpointsPerSlice: 5.0", "f:3: maxEndpointsPerSlice: 5.0: must be a whole number from 1 to 1000"),
        ("maxEndpointsPerSlice: yes", "f:3: maxEndpointsPerSlice: yes: must be a whole number from 1 to 1000"),
        ("maxEndpointsPerSlice:", "f:3: maxEndpointsPerSlice: null: must be a whole number from 1 to 1000"),
        ("maxEndpointsPerSlice: [5]", "f:3: maxEndpointsPerSlice: [5]: must be a whole number from 1 to 1000"),
        ("maxEndpointsPerSlice: {a: 5}", "f:3: maxEndpointsPerSlice: a mapping: must be a whole number from 1 to 1000"),
        ("maxEndpointsPerSlice: !!int x", "f:3: maxEndpointsPerSlice: x: must be a whole number from 1 to 1000"),
        (
            f"maxEndpointsPerSlice: {'9' * 5000}",
            f"f:3: maxEndpointsPerSlice: {'9' * 60}…: must be a whole number from 1 to 1000",
        ),
        ("concurrentEndpointSyncs: 0", "f:3: concurrentEndpointSyncs: 0: must be a whole number of 1 or more"),
        (
            "leaderElection:\n  leaseDuration: 15",
            "f:4: leaderElection.leaseDuration: 15: must be a duration (500ms, 1m30s) of 1s or more",
        ),
        (
            "leaderElection:\n  leaseDuration: 5 seconds",
            'f:4: leaderElection.leaseDuration: "5 seconds": must be a duration (500ms, 1m30s) of 1s or more',
        ),
        (
            "leaderElection: {retryPeriod: 0s}",
            'f:3: leaderElection.retryPeriod: "0s": must be a duration (500ms, 1m30s) of more than 0s',
        ),
        ("leaderElection: {leaderElect: 0}", "f:3: leaderElection.leaderElect: 0: must be true or false"),
        ("leaderElection: {resourceLock: endpoints}", 'f:3: leaderElection.resourceLock: "endpoints": must be leases'),
        ("clientConnection: {qps: .inf}", "f:3: clientConnection.qps: .inf: must be a number of 0 or more"),
        ("clientConnection: {kubeconfig: 5}", "f:3: clientConnection.kubeconfig: 5: must be text"),
        ("logging: {format: xml}", 'f:3: logging.format: "xml": must be text or json'),
        (
            "metricsBindAddress: 8080",
            "f:3: metricsBindAddress: 8080: must be HOST:PORT with a port from 1 to 65535, or 0",
        ),
        (
            "controllers: [endpoints-controller, foo]",
            'f:3: controllers: ["endpoints-controller", "foo"]: foo: not a controller; there is: '
            "endpoints-controller, endpointslice-controller, endpointslice-mirroring-controller",
        ),
        ("controllers: []", "f:3: controllers: []: leaves nothing to run"),
        (
            'tracing: {endpoint: "not a url"}',
            'f:3: tracing.endpoint: "not a url": must be a URL that begins with http:// or https:// and names a host, '
            "or nothing",
        ),
        (
            "controllers: [[]]",
            'f:3: controllers: [a list]: must be names of controllers, "*" or "-name", '
            "in a list or with commas between them",
        ),
        ("leaderElection: 5", "f:3: leaderElection: must be a mapping, not 5"),
        ("leaderElection: [leaderElect]", "f:3: leaderElection: must be a mapping, not a list"),
        ("kind: x", "f:3: kind: given twice, first in line 2"),
        ("logging: {format: json, format: text}", "f:3: logging.format: given twice, first in line 3"),
        ("logging: {}\nlogging: {}", "f:4: logging: given twice, first in line 3"),
        ("maxEndpointPerSlice: 5", "f:3: maxEndpointPerSlice: unknown key; did you mean maxEndpointsPerSlice?"),
        ("max-endpoints-per-slice: 5", "f:3: max-endpoints-per-slice: unknown key; did you mean maxEndpointsPerSlice?"),
        ("leaseDuration: 5s", "f:3: leaseDuration: unknown key; did you mean leaderElection.leaseDuration?"),
        ("leaderElect: false", "f:3: leaderElect: unknown key; did you mean leaderElection.leaderElect?"),
        ("logging: {Format: text}", "f:3: logging.Format: unknown key; did you mean logging.format?"),
        ("logging: {kubeconfig: x}", "f:3: logging.kubeconfig: unknown key; did you mean clientConnection.kubeconfig?"),
        ("kube-api-qps: 5", "f:3: kube-api-qps: unknown key; did you mean clientConnection.qps?"),
        ("spec: {replicas: 3}", "f:3: spec: unknown key"),
        ("<<: {v: 3}", "f:3: <<: unknown key"),
        ("? [a]\n: 5", "f:3: a list: unknown key"),
        ('"\\e[31m": 5', 'f:3: "\\u001b[31m": unknown key'),
        ("logging: {apiVersion: x}", "f:3: logging.apiVersion: unknown key; did you mean apiVersion?"),
    ],
)
def test_mistakes(text: str, told: str) -> None:
    assert problems(HEADER + text) == [told]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ["kind: missing, must be SliceplaneConfiguration"]),
        ("kind: SliceplaneConfiguration", []),
        ("- a", None),
        ("text", None),
    ],
)
def test_without_a_header(text: str, told: list[str] | None) -> None:
    if told is None:
        assert len(problems(text)) == 1
        return
    missing = "f: apiVersion: missing, must be config.sliceplane.dev/v1alpha1"
    assert problems(text) == [missing, *(f"f: {each}" for each in told)]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"- a", "f:1: must be a mapping of keys to values, not a list"),
        (b"\n5", "f:2: must be a mapping of keys to values, not 5"),
        (b"a: b: c", "f:1: not valid YAML: mapping values are not allowed in this context"),
        (b"a: *b", "f:1: not valid YAML: found undefined alias"),
        (b"kind: \xff", "f: not UTF-8 text (byte 6)"),
        (b"kind: \x01", "f: not valid YAML: "),
        (b"{a: b}\n---\n{a: b}", "f:2: not valid YAML: expected a single document in the stream"),
        (b"[" * 100_000, "f"),
        (b"\x00", "f"),
    ],
)
def test_what_is_no_configuration(data: bytes, told: str) -> None:
    [only] = problems(data)
    assert only.startswith(told)


def test_another_kind_is_told_and_its_keys_are_not() -> None:
    assert problems("apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {}") == [
        'f:1: apiVersion: "v1": must be config.sliceplane.dev/v1alpha1',
        'f:2: kind: "Service": must be SliceplaneConfiguration',
    ]
    assert problems("apiVersion: 1\nkind: [SliceplaneConfiguration]") == [
        "f:1: apiVersion: 1: must be config.sliceplane.dev/v1alpha1",
        'f:2: kind: ["SliceplaneConfiguration"]: must be SliceplaneConfiguration',
    ]


def test_another_version_is_told_with_all_else() -> None:
    assert problems("apiVersion: config.sliceplane.dev/v1\nkind: SliceplaneConfiguration\nv: 3") == [
        'f:1: apiVersion: "config.sliceplane.dev/v1": must be config.sliceplane.dev/v1alpha1',
        "f:3: v: unknown key; did you mean logging.verbosity?",
    ]


def test_aliases_are_read_and_do_not_blow_up() -> None:
    assert load(f"{HEADER}endpointUpdatesBatchPeriod: &p 2s\ntopologyGracePeriod: *p\n").topology_grace_period == 2
    bomb = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))
    assert len(problems(f"{HEADER}a0: &a0 [x]\n{bomb}\ncontrollers: *a29")) == 31
    assert problems(f"{HEADER}logging: &l\n  format: json\n  logging: *l\n") == [
        "f:5: logging.logging: unknown key; did you mean logging?"
    ]


def test_all_mistakes_are_told_at_once_in_order() -> None:
    text = (
        f"{HEADER}maxEndpointsPerSlice: 0\nfoo: 1\nleaderElection:\n  leaseDuration: 3s\n  renewDeadline: 3s\n"
        "  retryPeriod: 3s\n  resourceName: A\nlogging: {verbosity: -1}\nfoo: 2\n"
    )
    assert problems(text, kube_api_burst="0", v="x") == [
        "f:3: maxEndpointsPerSlice: 0: must be a whole number from 1 to 1000",
        "f:4: foo: unknown key",
        'f:9: leaderElection.resourceName: "A": must be an RFC 1123 subdomain, such as sliceplane',
        "f:10: logging.verbosity: -1: must be a whole number of 0 or more",
        "f:11: foo: given twice, first in line 4",
        "--v=x: must be a whole number of 0 or more",
        "--kube-api-burst=0: must be a whole number of 1 or more",
        "f:6: leaderElection.leaseDuration must be more than leaderElection.renewDeadline: they are 3s and 3s",
        "f:7: leaderElection.renewDeadline must be more than 1.2 times leaderElection.retryPeriod: they are 3s and 3s",
    ]


def test_rules_hold_for_what_comes_out() -> None:
    text = f"{HEADER}leaderElection:\n  leaseDuration: 8s\n"
    assert problems(text) == [
        "f:4: leaderElection.leaseDuration must be more than leaderElection.renewDeadline: "
        "they are 8s and 10s (the default)"
    ]
    assert load(text, leader_elect_renew_deadline="5s").leader_elect_lease_duration == 8
    assert problems(text, leader_elect_renew_deadline="9s") == [
        "f:4: leaderElection.leaseDuration must be more than --leader-elect-renew-deadline: they are 8s and 9s"
    ]
    # What cannot be read is in no rule: its default is not what was meant.
    assert len(problems(f"{HEADER}leaderElection: {{leaseDuration: 5x, renewDeadline: 20s}}")) == 1


def test_flags_over_file_over_defaults(started: list[Configuration], tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"{HEADER}maxEndpointsPerSlice: 7\nconcurrentEndpointSyncs: 8\nlogging: {{verbosity: 3}}\n")
    # --max-endpoints-per-slice has its default value, and wins as any other does.
    assert sliceplane("run", f"--config={path}", "--max-endpoints-per-slice=100", "-v4").exit_code == 0
    assert started == [Configuration(max_endpoints_per_slice=100, concurrent_endpoint_syncs=8, v=4)]


def test_a_wrong_value_is_told_even_where_a_flag_wins(started: list[Configuration], tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"{HEADER}maxEndpointsPerSlice: 0\n")
    result = sliceplane("run", f"--config={path}", "--max-endpoints-per-slice=5")
    assert (result.exit_code, started) == (2, [])
    assert result.output == f"Error: {path}:3: maxEndpointsPerSlice: 0: must be a whole number from 1 to 1000\n"


@pytest.mark.parametrize(
    ("flags", "about_flags"),
    [
        ((), False),
        (("--shards=2",), False),
        (("--shards=0",), True),
        (("--leader-elect-renew-deadline=9s",), True),
        (("--leader-elect-renew-deadline=5s",), False),
    ],
)
def test_usage_is_told_when_flags_are_wrong(
    started: list[Configuration], tmp_path: Path, flags: tuple[str, ...], about_flags: bool
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"{HEADER}foo: 1\nleaderElection: {{leaseDuration: 8s}}\nbar: 2\n")
    result = sliceplane("run", f"--config={path}", *flags)
    assert (result.exit_code, started) == (2, [])
    head, mark, told = result.output.partition("Error: ")
    assert head == (RUN.removesuffix("Error: ") if about_flags else "")
    lines = (mark + told).splitlines()
    assert lines[:2] == [f"Error: {path}:3: foo: unknown key", f"Error: {path}:5: bar: unknown key"]
    assert all(line.startswith("Error: ") for line in lines)


@pytest.mark.parametrize(("name", "told"), [("nowhere", "no such file or directory"), ("", "is a directory")])
def test_unreadable_file(started: list[Configuration], tmp_path: Path, name: str, told: str) -> None:
    result = sliceplane("run", f"--config={tmp_path / name}")
    assert (result.exit_code, result.output) == (2, f"{RUN}--config={tmp_path / name}: {told}\n")
    assert started == []


def test_printed_default_is_the_default() -> None:
    result = sliceplane("config", "--print-default")
    assert result.exit_code == 0
    file = config_file.read("default", result.output.encode())
    assert config_file.configured({}, file) == Configuration()
    assert file.values.keys() == Configuration.model_fields.keys()
    # Read as others read it, too.
    assert yaml.safe_load(result.output)["leaderElection"]["leaseDuration"] == "15s"


def test_printed_default_has_help_and_limits() -> None:
    text = config_file.default_text()
    assert (
        "\n# The most endpoints that are added to one EndpointSlice.\n"
        "# --max-endpoints-per-slice: a whole number from 1 to 1000\nmaxEndpointsPerSlice: 100\n" in text
    )
    words = " ".join(text.replace("#", " ").split())
    for setting in SETTINGS.values():
        assert " ".join(f"{setting.text} --{setting.flag}: {setting.accepted} {setting.path[-1]}:".split()) in words
    assert max(map(len, text.splitlines())) <= 100


def test_config_check(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"{HEADER}maxEndpointsPerSlice: 7\n")
    result = sliceplane("config", f"--check={path}")
    assert (result.exit_code, result.output) == (0, f"{path}: valid\n")
    path.write_text(f"{HEADER}maxEndpointsPerSlice: 0\nfoo: 1\n")
    result = sliceplane("config", f"--check={path}")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        f"Error: {path}:3: maxEndpointsPerSlice: 0: must be a whole number from 1 to 1000",
        f"Error: {path}:4: foo: unknown key",
    ]


@pytest.mark.parametrize("flags", [("--check", "-"), ("--check=-",)])
def test_config_check_of_standard_input(flags: tuple[str, ...]) -> None:
    def checked(text: str) -> tuple[int, str]:
        result = CliRunner().invoke(cli.main, ["config", *flags], input=text, catch_exceptions=False)
        return result.exit_code, result.output

    assert checked(f"{HEADER}maxEndpointsPerSlice: 7\n") == (0, "standard input: valid\n")
    assert checked(f"{HEADER}foo: 1\n") == (2, "Error: standard input:3: foo: unknown key\n")


@pytest.mark.parametrize("flags", [(), ("--print-default", "--check=x")])
def test_config_needs_one_thing_to_do(flags: tuple[str, ...]) -> None:
    result = sliceplane("config", *flags)
    assert result.exit_code == 2
    assert "give either --print-default or --check=FILE" in result.output


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_law_reading_never_raises(data: bytes) -> None:
    assert settled(data)
    assert settled(HEADER.encode() + data)


_KEYS = sorted({key for setting in SETTINGS.values() for key in setting.path} | {"apiVersion", "kind", "a"})
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates()
_TREES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=6),
    max_leaves=12,
)


@given(_TREES)
def test_law_any_tree_is_read_or_refused(tree: object) -> None:
    assert settled(f"{HEADER}{yaml.safe_dump(tree)}" if isinstance(tree, dict) and tree else yaml.safe_dump(tree))
