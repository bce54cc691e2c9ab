"""config/ipam, as kustomize prints it: accepted by the API server to the letter, and by the program it runs."""

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from api.ipam_config import IPAMConfiguration
from controllers import __version__
from controllers.cli import main
from controllers.ipam_operator import app
from controllers.ipam_operator.server import Certificates
from controllers.runtime.lease import RELEASE_SECONDS
from e2e.cluster.ipam import USER, rights
from e2e.cluster.kustomize import apply_strictly
from e2e.cluster.local import ControlPlane
from e2e.cluster.rest import ApiError, Object, path_of
from tests.config.overlay import NAMESPACE, ROOT, Overlay, restrict

NAME = "sliceplane-ipam"
HOST = f"{NAME}.{NAMESPACE}.svc"
SECRET = "sliceplane-ipam-webhook"


@pytest.fixture
def ipam() -> Overlay:
    return Overlay("ipam")


@pytest.fixture
def certificates() -> Overlay:
    return Overlay("ipam/cert-manager")


@pytest.fixture
def configuration(ipam: Overlay, monkeypatch: pytest.MonkeyPatch) -> IPAMConfiguration:
    """What the program would run with, if it were started as the container is."""
    found: list[IPAMConfiguration] = []
    monkeypatch.setattr(app, "run", found.append)
    monkeypatch.setattr("controllers.telemetry.logs.configure", lambda **_: None)
    outcome = CliRunner().invoke(main, ipam.container["args"])
    assert outcome.exit_code == 0, outcome.output
    (configuration,) = found
    return configuration


def of_kind(overlay: Overlay, kind: str) -> dict[str, Object]:
    """The objects of a kind, by name."""
    return {each["metadata"]["name"]: each for each in overlay.objects if each["kind"] == kind}


@pytest.mark.server
def test_is_accepted_field_by_field(control_plane: ControlPlane, ipam: Overlay) -> None:
    made = apply_strictly(control_plane.client(), ipam.objects, dry_run=True)
    assert len(made) == len(ipam.objects) > 10


@pytest.mark.server
@pytest.mark.parametrize(
    ("spoil", "refusal"),
    [
        (lambda overlay: None, ""),
        (lambda overlay: overlay.template["spec"].update(hostNetwork=True), "violates PodSecurity"),
        (lambda overlay: overlay.container["securityContext"].pop("capabilities"), "violates PodSecurity"),
    ],
    ids=["as-it-ships", "host-network", "capabilities"],
)
def test_pod_is_admitted_where_pod_security_is_restricted(
    control_plane: ControlPlane, namespace: str, ipam: Overlay, spoil: Callable[[Overlay], Any], refusal: str
) -> None:
    spoil(ipam)
    api = control_plane.client()
    restrict(api, namespace)
    # The namespace's ServiceAccount: admission looks for it.
    api.apply([{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME, "namespace": namespace}}])
    params = {"dryRun": "All", "fieldValidation": "Strict"}

    def send() -> None:
        api.request("POST", path_of("Pod", namespace=namespace), ipam.pod(namespace), params=params)

    if refusal:
        with pytest.raises(ApiError, match=refusal):
            send()
    else:
        send()


def test_root_file_system_is_read_only_and_user_is_a_number(ipam: Overlay) -> None:
    assert ipam.container["securityContext"]["readOnlyRootFilesystem"] is True
    assert ipam.template["spec"]["securityContext"]["runAsUser"] == 65532


def test_nothing_is_writable_and_nothing_is_written(
    ipam: Overlay, configuration: IPAMConfiguration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only --webhook-self-signed needs a folder, which an overlay that sets it has to mount."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError("Read-only file system")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    given: list[tuple[str, ...]] = []
    monkeypatch.setattr(app, "Certificates", lambda *files: given.append(files))
    assert all("secret" in volume for volume in mounted(ipam).values())
    assert all(each.get("readOnly") for each in ipam.container["volumeMounts"])
    with app._certificates(configuration):
        pass
    names = ("webhook_cert_file", "webhook_key_file", "webhook_ca_file")
    assert given == [tuple(getattr(configuration, name) for name in names)]
    signed = configuration.model_copy(update={"webhook_self_signed": True})
    with pytest.raises(OSError, match="Read-only"), app._certificates(signed):
        pass


def mounted(overlay: Overlay) -> dict[str, Any]:
    """The container's volumes, by where they are."""
    volumes = {each["name"]: each for each in overlay.template["spec"]["volumes"]}
    return {each["mountPath"]: volumes[each["name"]] for each in overlay.container["volumeMounts"]}


def test_program_takes_its_arguments(ipam: Overlay, configuration: IPAMConfiguration) -> None:
    ports = {each["name"]: each["containerPort"] for each in ipam.container["ports"]}
    assert configuration.metrics_bind_address == f":{ports['metrics']}"
    assert configuration.webhook_bind_address == f":{ports['webhooks']}"
    for probe in ("livenessProbe", "readinessProbe"):
        assert ipam.container[probe]["httpGet"]["port"] == "metrics"
    assert ipam.one("Deployment")["spec"]["replicas"] == 2
    assert configuration.leader_elect
    assert not configuration.webhook_self_signed


def test_certificate_is_that_of_the_secret(ipam: Overlay, configuration: IPAMConfiguration) -> None:
    folder = Path(configuration.webhook_cert_file).parent
    assert mounted(ipam)[str(folder)]["secret"]["secretName"] == SECRET
    given = (configuration.webhook_cert_file, configuration.webhook_key_file, configuration.webhook_ca_file)
    assert given == tuple(str(folder / key) for key in ("tls.crt", "tls.key", "ca.crt"))


def test_service_is_the_one_that_the_api_server_is_told_of(ipam: Overlay, configuration: IPAMConfiguration) -> None:
    service = of_kind(ipam, "Service")[configuration.webhook_service]
    assert service["metadata"]["namespace"] == configuration.namespace == NAMESPACE
    (port,) = service["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (443, "webhooks")
    # A replica whose caches have not synced would refuse nothing, and choose what is taken.
    assert "publishNotReadyAddresses" not in service["spec"]


def test_version_is_the_programs(ipam: Overlay) -> None:
    assert ipam.container["image"] == f"sliceplane:{__version__}"
    labelled = [each["metadata"]["labels"] for each in (*ipam.objects, ipam.template)]
    assert {each["app.kubernetes.io/version"] for each in labelled} == {__version__}


def test_selectors_select_the_pods_and_not_their_version(ipam: Overlay) -> None:
    spread = ipam.template["spec"]["topologySpreadConstraints"]
    selectors = [
        ipam.one("Deployment")["spec"]["selector"]["matchLabels"],
        ipam.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        *(each["spec"]["selector"] for each in of_kind(ipam, "Service").values()),
        *(each["labelSelector"]["matchLabels"] for each in spread),
    ]
    assert len(selectors) == 6
    for selector in selectors:
        assert selector
        assert selector.items() <= ipam.template["metadata"]["labels"].items()
        assert "app.kubernetes.io/version" not in selector


def test_nothing_is_taken_for_the_programs_own(ipam: Overlay, certificates: Overlay) -> None:
    """What has that label is removed by hand after the program, and by the program itself."""
    for each in (*ipam.objects, *certificates.objects):
        assert "app.kubernetes.io/managed-by" not in each["metadata"]["labels"]


def test_pods_are_not_those_of_the_controllers(ipam: Overlay, default: Overlay) -> None:
    """Their Services, budgets and scrape jobs select by these labels."""
    assert not default.one("Service")["spec"]["selector"].items() <= ipam.template["metadata"]["labels"].items()


def test_rights_are_given_to_whom_the_pods_run_as(ipam: Overlay, configuration: IPAMConfiguration) -> None:
    name = ipam.template["spec"]["serviceAccountName"]
    assert f"system:serviceaccount:{NAMESPACE}:{name}" == USER
    for kind in ("ClusterRoleBinding", "RoleBinding"):
        (subject,) = ipam.one(kind)["subjects"]
        assert subject == {"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}
    lease = (configuration.leader_elect_resource_namespace, configuration.leader_elect_resource_name)
    (role,) = (each for each in rights() if each["kind"] == "Role")
    assert role["metadata"]["namespace"] == lease[0]
    assert all(lease[1] in rule["resourceNames"] for rule in role["rules"] if "resourceNames" in rule)


def test_kubelet_is_patient_for_longer_than_a_stop_takes(ipam: Overlay) -> None:
    """What is in flight, what leads, and the page; then the lease."""
    page = 1.0
    took = 2 * app.STOP_SECONDS + page + RELEASE_SECONDS
    assert took < ipam.template["spec"]["terminationGracePeriodSeconds"]


def test_cert_manager_makes_the_certificate(certificates: Overlay) -> None:
    """Issued from a CA, so that ca.crt is in the Secret, too; for the name that the API server calls."""
    made, issuers = of_kind(certificates, "Certificate"), of_kind(certificates, "Issuer")
    leaf = made["sliceplane-ipam-webhook"]["spec"]
    assert (leaf["secretName"], leaf["dnsNames"]) == (SECRET, [HOST])
    issuer = issuers[leaf["issuerRef"]["name"]]["spec"]
    (authority,) = (each["spec"] for each in made.values() if each["spec"]["secretName"] == issuer["ca"]["secretName"])
    assert authority["isCA"] is True
    assert issuers[authority["issuerRef"]["name"]]["spec"] == {"selfSigned": {}}
    assert {each["metadata"]["namespace"] for each in certificates.objects} == {NAMESPACE}


def test_commands_for_a_certificate_by_hand_make_one(tmp_path: Path) -> None:
    """Those in docs/ipam.md, up to where the cluster is needed."""
    text = (ROOT / "docs/ipam.md").read_text()
    (block,) = (each for each in text.split("```bash\n")[1:] if "openssl req" in each)
    script = block.partition("```")[0].partition("kubectl")[0]
    done = subprocess.run(["bash", "-euc", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    certificates = Certificates(*(str(tmp_path / name) for name in ("tls.crt", "tls.key", "ca.crt")))
    assert b"BEGIN CERTIFICATE" in certificates.ca_bundle
    verified = ["openssl", "verify", "-CAfile", "ca.crt", "-verify_hostname", HOST, "-purpose", "sslserver", "tls.crt"]
    assert subprocess.run(verified, cwd=tmp_path, capture_output=True, text=True).stdout == "tls.crt: OK\n"


def test_alerts_expect_the_job_of_the_document() -> None:
    """And its scrape configuration finds these Pods."""
    rules = (ROOT / "config/monitoring/ipam-alerts.yaml").read_text()
    text = (ROOT / "docs/ipam.md").read_text()
    (block,) = (each.partition("```")[0] for each in text.split("```yaml\n")[1:] if "scrape_configs" in each)
    (job,) = yaml.safe_load(block)["scrape_configs"]
    assert job["job_name"] == NAME
    assert f'job="{NAME}"' in rules
    (selected,) = job["kubernetes_sd_configs"][0]["selectors"]
    assert selected["label"] == f"app.kubernetes.io/name={NAME}"
