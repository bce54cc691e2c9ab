"""Where the API server is and who we are: kubeconfig, `$KUBECONFIG` or the Pod's own ServiceAccount.

Reading and refreshing credentials is the `kubernetes` package's work; here it becomes an SSL context and a header.
"""

import asyncio
import contextlib
import importlib.util
import os
import ssl
import sys
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import yaml

from controllers.telemetry.logs import bind


def _only_parts_of(package: str) -> None:
    """Lets modules of a package be imported without all that the package itself imports."""
    spec = importlib.util.find_spec(package)
    if package not in sys.modules and spec is not None:
        sys.modules[package] = importlib.util.module_from_spec(spec)


# Clients of every kind, which nobody here asks for, are 9 MB of memory and a fifth of the time to start.
_only_parts_of("kubernetes")
_only_parts_of("kubernetes.aio")

from kubernetes.aio import config as kube  # noqa: E402
from kubernetes.aio.client import Configuration  # noqa: E402
from kubernetes.aio.config.config_exception import ConfigException  # noqa: E402
from kubernetes.aio.config.kube_config import _cleanup_temp_files  # noqa: E402

_REMEDY: Final = "Give --kubeconfig FILE, or set KUBECONFIG, or run inside a Pod."


class CredentialsError(Exception):
    """There is no usable configuration; the message says where it was looked for, what is wrong, and what to do."""


class _Missing(ConfigException):
    """None of the files is there."""


# What the kubernetes package raises where a file is not what it takes it for.
_UNUSABLE: Final = (
    ConfigException,
    RuntimeError,
    yaml.YAMLError,
    AttributeError,
    LookupError,
    OSError,
    TypeError,
    ValueError,
)


class Credentials:
    """An API server and the means to prove who we are to it.

    `server` is its URL; `tls` verifies it (unless the kubeconfig says insecure-skip-tls-verify); `server_name` is the
    name that its certificate must carry, when that differs from the URL's; `proxy` is a URL or None.
    """

    def __init__(self, kubeconfig: str | None, context: str | None = None) -> None:
        self._kubeconfig = kubeconfig or os.environ.get("KUBECONFIG") or None
        self._context = context
        self._configuration = Configuration()
        self._refresher: asyncio.Task[None] | None = None
        self.server = ""
        self.tls: ssl.SSLContext | None = None
        self.server_name: str | None = None
        self.proxy: str | None = None

    @property
    def authority(self) -> str:
        """Whose signature the API server's certificate must have, in words."""
        if self._configuration.ssl_ca_cert:
            return f"the certificate-authority of {'the kubeconfig' if self._kubeconfig else 'the Pod'}"
        return "an authority that this system trusts, and the kubeconfig names no certificate-authority"

    async def load(self) -> None:
        """Reads the configuration, now and again after a 401; what was read before stays until this has succeeded.

        Raises CredentialsError.
        """
        configuration = Configuration()
        try:
            if self._kubeconfig is not None:
                loader = await self._load_kubeconfig(configuration, self._kubeconfig)
            else:
                kube.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
                loader = None
            server = str(configuration.host).rstrip("/")
            tls = _ssl_context(configuration) if urlsplit(server).scheme == "https" else None
        except _UNUSABLE as error:
            raise CredentialsError(self._told(error)) from error
        finally:
            # What the kubeconfig embeds was written to temporary files: a private key must not stay in one.
            _cleanup_temp_files()  # type: ignore[no-untyped-call]
        await self.close()
        # Only tokens are refreshed; a certificate that has expired is refused (401), and everything read anew.
        if loader is not None and configuration.api_key:
            refresh = kube.refresh_token(loader, configuration)  # type: ignore[no-untyped-call]
            self._refresher = asyncio.create_task(refresh)
        self._configuration = configuration
        self.server, self.tls = server, tls
        self.server_name = configuration.tls_server_name or None
        self.proxy = configuration.proxy or None

    def _told(self, error: Exception) -> str:
        """Why the configuration cannot be used."""
        # Imported here: almost no start needs it.
        from controllers.runtime.kubeconfig import plain, problem

        if not self._kubeconfig:
            nothing = "no kubeconfig is given, and this is no Pod: KUBERNETES_SERVICE_HOST is not set"
            what = plain(error) if "KUBERNETES_SERVICE_HOST" in os.environ else nothing
            return f"cannot use in-cluster configuration: {what}\n{_REMEDY}"
        try:
            found = problem(self._kubeconfig, self._context)
        except _UNUSABLE:
            # Such as a folder that may not be looked into.
            found = None
        file, what = found or (self._kubeconfig, plain(error))
        told = f"cannot use kubeconfig {file}: {what}"
        return f"{told}\n{_REMEDY}" if isinstance(error, _Missing) else told

    async def _load_kubeconfig(self, configuration: Configuration, path: str) -> object:
        """Fills the configuration; returns what its token can be refreshed with."""
        if not _exists(path):
            raise _Missing("the file does not exist")
        loader: object = await kube.load_kube_config(  # type: ignore[no-untyped-call]
            config_file=path, context=self._context, client_configuration=configuration, persist_config=False
        )
        if "server" not in getattr(loader, "_cluster", {}):
            # The package would ask localhost.
            raise ConfigException("its cluster has no server")
        asked_plugin = "exec" in getattr(loader, "_user", {})
        if asked_plugin and not configuration.api_key and not configuration.cert_file:
            # The package logs a plugin's failure, and goes on as nobody.
            raise ConfigException("its exec plugin gave no credentials: run the plugin by hand to see why")
        return loader

    async def headers(self) -> dict[str, str]:
        """The Authorization header of a request, refreshed when it is due; empty with a client certificate.

        Raises CredentialsError.
        """
        try:
            settings = await self._configuration.auth_settings()
        except Exception as error:
            # The hook reads files and runs plugins: what it raises is its own.
            raise CredentialsError(f"cannot refresh the credentials: {error}") from error
        token = settings.get("BearerToken")
        # A mounted token may end in a newline, which no header may hold.
        return {"Authorization": str(token["value"]).strip()} if token else {}

    async def close(self) -> None:
        """Stops refreshing."""
        if self._refresher is not None:
            self._refresher.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._refresher
            self._refresher = None


def _exists(path: str) -> bool:
    """Whether any of the files of a KUBECONFIG list is there."""
    return any(Path(part).expanduser().exists() for part in path.split(os.pathsep) if part)


def _ssl_context(configuration: Configuration) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert or None)
    if not configuration.verify_ssl:
        bind("controllers.runtime.credentials").warning("the API server's certificate is not verified, as configured")
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return context
