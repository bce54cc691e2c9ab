"""kopf's webhook server with what it lacks: reasons in refusals, JSON patches of our own, certificates that rotate.

kopf's answer carries a message and a code; the API server's allocator heeds the reason (IP-61). kopf opens its listener
anew when a certificate changes; here the certificate is loaded into the listener's own context, and no call is refused.
"""

import asyncio
import base64
import datetime
import hashlib
import ipaddress
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final

import kopf
from msgspec import Struct

from controllers.ipam_operator import tls
from controllers.telemetry import ipam_metrics
from controllers.telemetry.logs import bind

_REASONS: Final = {403: "Forbidden", 409: "AlreadyExists", 422: "Invalid"}
_RELOAD_SECONDS: Final = 5.0
_NEVER: Final = 10.0 * 365 * 86400
_VALID: Final = datetime.timedelta(days=365)


class Review(Struct):
    """The admission review that is being answered, and what its handler adds to kopf's answer."""

    uid: str
    request: Mapping[str, Any]
    patch: list[dict[str, Any]] | None = None


REVIEW: ContextVar[Review] = ContextVar("review")


class WebhookServer(kopf.WebhookServer):
    """Serves kopf's admission handlers; see the module. `listening` is set while it does.

    Why it could not begin is in `failed`: kopf would log it with a traceback.
    """

    def __init__(self, host: str, port: int, certificates: "Certificates") -> None:
        """`host` "" is every interface."""
        # kopf is told the files because it would make a certificate otherwise; it looks at them once, we follow them.
        cert, key = certificates.files
        super().__init__(
            addr=host or None,
            port=port,
            host="localhost",
            context=certificates.context,
            certfile=cert,
            pkeyfile=key,
            file_check_interval=_NEVER,
        )
        self.listening = asyncio.Event()
        self.failed: asyncio.Future[OSError] = asyncio.get_running_loop().create_future()

    async def __call__(self, fn: Any) -> AsyncIterator[Any]:  # noqa: ANN401 (kopf's protocols are not public)
        """As kopf calls it, with a function that answers reviews."""

        async def answered(request: Any, **details: Any) -> Any:  # noqa: ANN401
            started = time.perf_counter()
            inner = request["request"]
            review = Review(inner["uid"], inner)
            REVIEW.set(review)
            answer = await fn(_unremembered(request), **details)
            _complete(answer["response"], review)
            ipam_metrics.ADMISSION_SECONDS.observe(time.perf_counter() - started)
            return answer

        try:
            async for client_config in super().__call__(answered):
                self.listening.set()
                yield client_config
        except OSError as error:
            if self.listening.is_set() or self.failed.done():
                raise
            self.failed.set_result(error)
            # Whoever waits for `failed` ends us.
            await asyncio.Event().wait()
        finally:
            self.listening.clear()


def _unremembered(request: dict[str, Any]) -> dict[str, Any]:
    """The request without the object's uid: kopf would keep a memo for each object that is ever updated."""
    inner = dict(request["request"])
    for key in ("object", "oldObject"):
        if inner.get(key):
            inner[key] = {**inner[key], "metadata": {**inner[key].get("metadata", {}), "uid": ""}}
    return {**request, "request": inner}


def _complete(response: dict[str, Any], review: Review) -> None:
    if not response["allowed"]:
        status = response.get("status") or {}
        status["reason"] = _REASONS.get(status.get("code", 0), "InternalError")
        response["status"] = status
    elif review.patch:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(json.dumps(review.patch).encode()).decode()


class Certificates:
    """The certificate of the webhooks, from files that may be replaced at any time, or made here.

    `context` is the listener's; `ca_bundle` is what the API server verifies with: certificates in PEM, nothing else.
    """

    def __init__(self, cert_file: str, key_file: str, ca_file: str) -> None:
        """Raises OSError, with the flag that is to be mended, when the files cannot be read or do not go together."""
        self._files = tls.Files(Path(cert_file), Path(key_file), Path(ca_file))
        self._log = bind("controllers.ipam_operator.server")
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.ca_bundle = b""
        self._digest = b""
        self._host = ""
        self._load()

    @property
    def files(self) -> tuple[Path, Path]:
        """Where the certificate and its key are."""
        return self._files.cert, self._files.key

    @classmethod
    def self_signed(cls, hosts: Iterable[str], folder: str) -> "Certificates":
        """A fresh one for these names and addresses, in files in `folder`. Raises OSError."""
        cert, key = _make_certificate(list(hosts))
        paths = [Path(folder) / name for name in ("tls.crt", "tls.key")]
        for path, data in zip(paths, (cert, key), strict=True):
            path.touch(mode=0o600)
            path.write_bytes(data)
        return cls(str(paths[0]), str(paths[1]), str(paths[0]))

    def called_by(self, host: str) -> None:
        """From now on every certificate must be for this name or address, and signed by the CA.

        Raises OSError when the one that there is will never do; that it is not valid at this time is only logged.
        """
        self._check(self.ca_bundle, host)
        self._host = host

    async def follow(self) -> None:
        """Loads the files anew whenever they change, until cancelled; while they are not whole, the old ones serve."""
        while True:
            await asyncio.sleep(_RELOAD_SECONDS)
            try:
                if self._load():
                    self._log.info("certificate loaded anew")
            except OSError as error:
                self._log.warning("certificate cannot be loaded, the old one serves on", error=str(error))

    def _load(self) -> bool:
        found = tls.read(self._files)
        # Only a digest is kept: a key has no business in our memory.
        digest = hashlib.sha256(b"\0".join(found)).digest()
        if digest == self._digest:
            return False
        # Not into the listener's at once: what is refused there is half loaded.
        tls.serving(self._files, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        if self._host:
            self._check(found.authorities, self._host)
        tls.serving(self._files, self.context)
        self.ca_bundle, self._digest = found.authorities, digest
        return True

    def _check(self, authorities: bytes, host: str) -> None:
        for_now = tls.check(self._files, authorities, host)
        if for_now:
            self._log.warning("the API server does not accept the certificate at this time", error=for_now)


def _make_certificate(hosts: list[str]) -> tuple[bytes, bytes]:
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import NameOID
    except ImportError as error:
        raise OSError("--webhook-self-signed needs the package cryptography: pip install cryptography") from error
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectAlternativeName([_alternative(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    )
    certificate = builder.sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private


def _alternative(host: str) -> Any:  # noqa: ANN401 (cryptography is imported late)
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def own_names() -> list[str]:
    """By which names and addresses this machine might be called."""
    return [socket.gethostname(), "localhost", "127.0.0.1", "::1"]
