"""What the webhooks' certificate, its key and the CA must be: looked at before the API server does, and told in flags.

Whether they go together is tried: in a handshake with ourselves, in memory, by the rules of the API server's Go.
"""

import contextlib
import re
import ssl
from pathlib import Path
from typing import Final, NamedTuple

CERT: Final = "--webhook-cert-file"
KEY: Final = "--webhook-key-file"
CA: Final = "--webhook-ca-file"

_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")
# Whatever its kind, and whether it is whole or not: RSA, EC, ENCRYPTED.
_PRIVATE_KEY: Final = re.compile(rb"-----BEGIN [^-\n]*PRIVATE KEY")
_ENCRYPTED: Final = (b"-----BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED")

# OpenSSL's X509_V_ERR_…
_OTHER_NAME: Final = {62, 64}
_UNKNOWN_SIGNER: Final = {2, 7, 18, 19, 20, 21, 24, 30}
# Not valid yet, or no more.
_NOT_FOR_EVER: Final = {9, 10}
# X509_V_FLAG_NO_CHECK_TIME, which Python has no name for.
_ANY_TIME: Final = 0x200000
# Messages go to and fro twice at most, in each version of TLS.
_FLIGHTS: Final = 4


class Files(NamedTuple):
    """Where the certificate, its key and the CA are."""

    cert: Path
    key: Path
    ca: Path


class Pems(NamedTuple):
    """What is in the files. `authorities` is the CA's certificates and nothing else: it may be published."""

    cert: bytes
    key: bytes
    authorities: bytes


def read(files: Files) -> Pems:
    """The files, as far as each is what its flag says. Raises OSError, in words for who has given the flags."""
    cert, key, ca = (_read(flag, path) for flag, path in zip((CERT, KEY, CA), files, strict=True))
    if not _CERTIFICATE.search(cert):
        raise OSError(f"{CERT}={files.cert}: there is no certificate in it (BEGIN CERTIFICATE, PEM)")
    if not _PRIVATE_KEY.search(key):
        raise OSError(f"{KEY}={files.key}: there is no private key in it (BEGIN PRIVATE KEY, PEM)")
    if any(mark in key for mark in _ENCRYPTED):
        raise OSError(f"{KEY}={files.key}: the key is encrypted, and nobody is asked for a password: decrypt it")
    return Pems(cert, key, _authorities(files.ca, ca))


def _read(flag: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise OSError(f"{flag}={path}: {(error.strerror or str(error)).lower()}") from error


def _authorities(path: Path, pem: bytes) -> bytes:
    """The certificates of a CA file: everybody may read them in the webhook configurations, so nothing else goes there.

    Raises OSError when there is none, one that is broken, or a private key beside them.
    """
    if _PRIVATE_KEY.search(pem):
        raise OSError(
            f"{CA}={path}: there is a private key in it, and this file is published, in the webhook configurations:"
            f" give one with the CA's certificates alone, such as ca.crt"
        )
    found = _CERTIFICATE.findall(pem)
    if not found:
        raise OSError(f"{CA}={path}: there is no certificate in it (BEGIN CERTIFICATE, PEM): give the CA's, ca.crt")
    for number, each in enumerate(found, 1):
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=each.decode())
        except (ssl.SSLError, ValueError) as error:
            raise OSError(f"{CA}={path}: certificate {number} in it is broken: {error}") from error
    return b"\n".join(found) + b"\n"


def serving(files: Files, context: ssl.SSLContext) -> None:
    """Loads certificate and key into the context of a listener. Raises OSError when they do not go together."""
    try:
        context.load_cert_chain(str(files.cert), str(files.key))
    except ssl.SSLError as error:
        told = (
            "the key is not that of the certificate: give the two that were made together"
            if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH")
            else f"cannot be loaded: {error.reason or error}"
        )
        raise OSError(f"{CERT}={files.cert}, {KEY}={files.key}: {told}") from error


def check(files: Files, authorities: bytes, host: str) -> str:
    """Tries whether who trusts the CA, and calls us by the name or address `host`, will believe the certificate.

    Returns what will not do now but in time, "" when all is well: a certificate is renewed while we run. Raises OSError
    for what will never do.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving(files, server)
    try:
        _believed(server, authorities, host, any_time=True)
        _believed(server, authorities, host, any_time=False)
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in _NOT_FOR_EVER:
            return f"{CERT}={files.cert}, {CA}={files.ca}: {error.verify_message}"
        raise OSError(_refused(files, host, error)) from error
    except ssl.SSLError as error:
        raise OSError(f"{CERT}={files.cert}: a TLS handshake with it fails: {error.reason or error}") from error
    return ""


def _believed(server: ssl.SSLContext, authorities: bytes, host: str, *, any_time: bool) -> None:
    """Returns when one of the CAs will do. Raises ssl.SSLError when none does.

    Of two with the same name, as while a CA is replaced, OpenSSL tries one, and Go both.
    """
    first: ssl.SSLCertVerificationError | None = None
    for each in (authorities, *_CERTIFICATE.findall(authorities)):
        try:
            _handshake(server, _client(each, any_time=any_time), host)
        except ssl.SSLCertVerificationError as error:
            first = first or error
        else:
            return
    if first is not None:
        raise first


def _refused(files: Files, host: str, error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _OTHER_NAME:
        return (
            f"{CERT}={files.cert}: the certificate is not for {host}, by which the API server calls the webhooks: make"
            " one that has it as a subjectAltName, or have another name called, by --webhook-service and --namespace,"
            " or by --webhook-url"
        )
    if error.verify_code in _UNKNOWN_SIGNER:
        return (
            f"{CA}={files.ca} did not sign {CERT}={files.cert} ({error.verify_message}): give the CA that did;"
            f" intermediates belong to {CERT}, after the certificate itself"
        )
    return f"{CERT}={files.cert}, {CA}={files.ca}: the API server will refuse them: {error.verify_message}"


def _client(authorities: bytes, *, any_time: bool) -> ssl.SSLContext:
    """As Go verifies: what is given is trusted, a root or not, and a name counts as a subjectAltName alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.hostname_checks_common_name = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if any_time:
        context.verify_flags |= ssl.VerifyFlags(_ANY_TIME)
    context.load_verify_locations(cadata=authorities.decode())
    return context


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> None:
    """Returns when the client believes the server. Raises ssl.SSLError when it does not."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    calling = client.wrap_bio(to_client, to_server, server_hostname=host)
    called = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(_FLIGHTS):
        with contextlib.suppress(ssl.SSLWantReadError):
            calling.do_handshake()
            return
        with contextlib.suppress(ssl.SSLWantReadError):
            called.do_handshake()
    raise ssl.SSLError("the handshake does not end")
