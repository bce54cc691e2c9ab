"""The webhooks' certificates: what is published, and what the API server would refuse and is refused before."""

import datetime
import shutil
import ssl
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from controllers.ipam_operator import tls
from controllers.ipam_operator.server import Certificates
from e2e.cluster import certs
from e2e.cluster.certs import Authority, Pair

HOST = "sliceplane-ipam.kube-system.svc"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


@pytest.fixture
def pair(authority: Authority) -> Pair:
    return authority.serving([HOST, "192.0.2.1", "2001:db8::1"])


def loaded(pair: Pair, ca: Path) -> Certificates:
    return Certificates(str(pair.cert), str(pair.key), str(ca))


def joined(path: Path, *parts: Path | bytes) -> Path:
    path.write_bytes(b"".join(each if isinstance(each, bytes) else each.read_bytes() for each in parts))
    return path


def test_all_is_well(authority: Authority, pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    certificates = loaded(pair, authority.ca_file)
    for host in (HOST, HOST.upper(), "192.0.2.1", "2001:db8::1"):
        certificates.called_by(host)
    assert certificates.ca_bundle.strip() == authority.ca_file.read_bytes().strip()
    assert caplog.messages == []


@pytest.mark.parametrize("beside", [False, True])
def test_private_key_as_ca_is_refused_and_never_published(
    tmp_path: Path, authority: Authority, pair: Pair, beside: bool
) -> None:
    given = joined(tmp_path / "given", authority.ca_file if beside else b"", pair.key)
    with pytest.raises(OSError, match=f"^--webhook-ca-file={given}: there is a private key in it") as caught:
        loaded(pair, given)
    assert pair.key.read_text().splitlines()[1] not in str(caught.value)


@pytest.mark.parametrize("kind", ["PRIVATE", "RSA PRIVATE", "ENCRYPTED PRIVATE", "OPENSSH PRIVATE"])
def test_any_kind_of_key_is_one(tmp_path: Path, authority: Authority, pair: Pair, kind: str) -> None:
    given = joined(tmp_path / "given", authority.ca_file, f"-----BEGIN {kind} KEY-----\nAAAA\n".encode())
    with pytest.raises(OSError, match="there is a private key in it"):
        loaded(pair, given)


def test_nothing_but_certificates_is_published(tmp_path: Path, authority: Authority, pair: Pair) -> None:
    other = Authority(tmp_path / "other")
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    given = joined(tmp_path / "given", b"password: 1234\n", other.ca_file, parameters, authority.ca_file, b"the end")
    certificates = loaded(pair, given)
    assert certificates.ca_bundle == joined(tmp_path / "both", other.ca_file, authority.ca_file).read_bytes()
    certificates.called_by(HOST)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "there is no certificate in it"),
        (b"nonsense", "there is no certificate in it"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate 1 in it is broken"),
    ],
)
def test_ca_file_without_a_certificate_is_refused(tmp_path: Path, pair: Pair, content: bytes, said: str) -> None:
    given = joined(tmp_path / "given", content)
    with pytest.raises(OSError, match=f"^--webhook-ca-file={given}: {said}"):
        loaded(pair, given)


def test_ca_that_did_not_sign_is_refused(tmp_path: Path, pair: Pair) -> None:
    other = Authority(tmp_path / "other").ca_file
    certificates = loaded(pair, other)
    with pytest.raises(OSError, match=f"^--webhook-ca-file={other} did not sign --webhook-cert-file={pair.cert} "):
        certificates.called_by(HOST)


@pytest.mark.parametrize("host", ["other.kube-system.svc", "sliceplane-ipam", "192.0.2.2", "2001:db8::2"])
def test_certificate_for_another_name_is_refused(authority: Authority, pair: Pair, host: str) -> None:
    certificates = loaded(pair, authority.ca_file)
    with pytest.raises(OSError, match=f"^--webhook-cert-file={pair.cert}: the certificate is not for {host}, by"):
        certificates.called_by(host)


def test_common_name_is_no_name(authority: Authority) -> None:
    """As for Go, and so for the API server; this certificate has no other name."""
    pair = authority._issue("named", certs._name(HOST), ExtendedKeyUsageOID.SERVER_AUTH)
    with pytest.raises(OSError, match=f"is not for {HOST}"):
        loaded(pair, authority.ca_file).called_by(HOST)


def test_certificate_of_a_client_is_refused(authority: Authority) -> None:
    pair = authority.client("somebody")
    with pytest.raises(OSError, match=r"the API server will refuse them|is not for"):
        loaded(pair, authority.ca_file).called_by(HOST)


@pytest.mark.parametrize("order", [1, -1])
def test_either_of_two_authorities_of_the_same_name_will_do(tmp_path: Path, order: int) -> None:
    """As while a CA is replaced: where certificates do not say whose key signed them, OpenSSL tries one by its name."""
    old, new = bare_authority(tmp_path / "old"), bare_authority(tmp_path / "new")
    both = joined(tmp_path / "both", *[each.ca for each in (old, new)][::order])
    for each in (old, new):
        Certificates(str(each.cert), str(each.key), str(both)).called_by(HOST)


def bare_authority(folder: Path) -> tls.Files:
    """A CA, and a certificate of it, with no more in them than must be."""
    folder.mkdir()
    files = tls.Files(folder / "tls.crt", folder / "tls.key", folder / "ca.crt")
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    ca = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the same")])
    leaf = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    for name, key, path in ((ca, keys[0], files.ca), (leaf, keys[1], files.cert)):
        now = datetime.datetime.now(datetime.UTC)
        made = x509.CertificateBuilder(ca, name, key.public_key(), x509.random_serial_number())
        made = made.not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1))
        made = made.add_extension(x509.BasicConstraints(ca=name is ca, path_length=None), critical=True)
        if name is leaf:
            made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        path.write_bytes(made.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    files.key.write_bytes(keys[1].private_bytes(serialization.Encoding.PEM, form, plain))
    return files


def test_certificate_itself_may_be_what_is_trusted(pair: Pair) -> None:
    """Go takes it: what is among the roots needs no signer."""
    loaded(pair, pair.cert).called_by(HOST)


def test_self_signed_one_is_for_the_host(tmp_path: Path) -> None:
    certificates = Certificates.self_signed([HOST, "192.0.2.1"], str(tmp_path))
    certificates.called_by(HOST)
    certificates.called_by("192.0.2.1")


def test_time_is_told_and_keeps_nobody_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Before(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> "Before":
            return super().now(tz) - datetime.timedelta(days=60)

    then = SimpleNamespace(datetime=Before, UTC=datetime.UTC, timedelta=datetime.timedelta)
    monkeypatch.setattr(certs, "datetime", then)
    authority = Authority(tmp_path / "ca")
    certificates = loaded(authority.serving([HOST]), authority.ca_file)
    certificates.called_by(HOST)
    assert caplog.messages == ["the API server does not accept the certificate at this time"]
    with pytest.raises(OSError, match="is not for other"):
        certificates.called_by("other")


def test_files_that_are_not_there_are_named(tmp_path: Path, authority: Authority, pair: Pair) -> None:
    nowhere = tmp_path / "nowhere"
    for flag, files in (
        ("--webhook-cert-file", (nowhere, pair.key, authority.ca_file)),
        ("--webhook-key-file", (pair.cert, nowhere, authority.ca_file)),
        ("--webhook-ca-file", (pair.cert, pair.key, nowhere)),
    ):
        with pytest.raises(OSError, match=f"^{flag}={nowhere}: no such file or directory$"):
            Certificates(*map(str, files))


def test_what_is_no_certificate_or_no_key_is_named(tmp_path: Path, authority: Authority, pair: Pair) -> None:
    locked = joined(tmp_path / "locked", b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n")
    broken = joined(tmp_path / "broken", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    for cert, key, said in (
        (pair.key, pair.key, f"^--webhook-cert-file={pair.key}: there is no certificate in it"),
        (pair.cert, pair.cert, f"^--webhook-key-file={pair.cert}: there is no private key in it"),
        (pair.cert, locked, f"^--webhook-key-file={locked}: the key is encrypted"),
        (pair.cert, broken, f"^--webhook-cert-file={pair.cert}, --webhook-key-file={broken}: cannot be loaded"),
    ):
        with pytest.raises(OSError, match=said):
            Certificates(str(cert), str(key), str(authority.ca_file))


def test_key_of_another_certificate_is_told(authority: Authority, pair: Pair) -> None:
    key = authority.client("somebody").key
    said = f"^--webhook-cert-file={pair.cert}, --webhook-key-file={key}: the key is not that of the certificate"
    with pytest.raises(OSError, match=said):
        Certificates(str(pair.cert), str(key), str(authority.ca_file))


@pytest.mark.parametrize("spoilt", ["key in the CA", "another CA", "another name", "another key"])
def test_old_ones_serve_while_new_ones_will_not_do(
    tmp_path: Path, pair: Pair, authority: Authority, spoilt: str
) -> None:
    """What is served is seen as a caller does: in a handshake that trusts the old CA."""
    ca = joined(tmp_path / "ca.crt", authority.ca_file)
    old = authority.ca_file.read_bytes()
    mine = Pair(joined(tmp_path / "tls.crt", pair.cert), joined(tmp_path / "tls.key", pair.key))
    certificates = loaded(mine, ca)
    certificates.called_by(HOST)
    other = Authority(tmp_path / "other")
    match spoilt:
        case "key in the CA":
            joined(ca, authority.ca_file, pair.key)
        case "another CA":
            shutil.copy(other.ca_file, ca)
        case "another name":
            wrong = other.serving(["elsewhere"])
            for new, at in ((wrong.cert, mine.cert), (wrong.key, mine.key), (other.ca_file, ca)):
                shutil.copy(new, at)
        case _:
            shutil.copy(other.serving([HOST]).cert, mine.cert)
    with pytest.raises(OSError, match="--webhook-"):
        certificates._load()
    assert certificates.ca_bundle == old
    assert served(certificates.context, old) == HOST
    # Mended, it is loaded.
    right = other.serving([HOST, "mended"])
    for new, at in ((right.cert, mine.cert), (right.key, mine.key), (other.ca_file, ca)):
        shutil.copy(new, at)
    assert certificates._load()
    assert served(certificates.context, other.ca_file.read_bytes()) == "mended"


def served(context: ssl.SSLContext, trusted: bytes) -> str:
    """The last DNS name of the certificate that a caller gets."""
    client = ssl.create_default_context(cadata=trusted.decode())
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    calling = client.wrap_bio(to_client, to_server, server_hostname=HOST)
    called = context.wrap_bio(to_server, to_client, server_side=True)
    with pytest.raises(ssl.SSLWantReadError):
        calling.do_handshake()
    with pytest.raises(ssl.SSLWantReadError):
        called.do_handshake()
    calling.do_handshake()
    found = calling.getpeercert()
    assert found is not None
    names: Any = found["subjectAltName"]
    return [str(value) for kind, value in names if kind == "DNS"][-1]
