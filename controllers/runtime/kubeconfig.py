"""What is wrong with a kubeconfig, in words. Asked only when it could not be used: whoever read it did not say."""

import base64
import binascii
import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import yaml

_LISTS: Final = ("clusters", "contexts", "users")
_CERTIFICATES: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_CERTIFICATE: Final = "it must be in PEM, beginning with -----BEGIN CERTIFICATE-----"
_KEY: Final = "it must be in PEM, with a line such as -----BEGIN PRIVATE KEY-----"


class Problem(NamedTuple):
    """The file, and what is wrong with it and what to do."""

    file: str
    what: str


class _Wrong(Exception):
    """What is wrong."""


class _Part(NamedTuple):
    """A cluster or a user: what it is called, what it holds, and where its relative paths begin."""

    called: str
    body: Mapping[str, Any]
    folder: Path


class _Entry(NamedTuple):
    """An item of one of the lists, and the file that it is in."""

    item: Mapping[str, Any]
    file: Path


def problem(paths: str, context: str | None) -> Problem | None:
    """What is wrong with the file, or with those of a KUBECONFIG list; None when nothing is found."""
    files = [Path(part).expanduser() for part in paths.split(os.pathsep) if part]
    files = [file for file in files if file.exists()]
    # What a pipe has told is gone.
    if not files or any(file.is_fifo() for file in files):
        return None
    found: dict[str, dict[str, _Entry]] = {name: {} for name in _LISTS}
    current = context or ""
    at = files[0]
    try:
        for at in files:
            document = _document(at)
            current = context or str(document.get("current-context") or current)
            for name in _LISTS:
                for item in _items(document, name):
                    found[name].setdefault(str(item["name"]), _Entry(item, at))
        at = found["contexts"][current].file if current in found["contexts"] else files[0]
        _check(found, current)
    except _Wrong as wrong:
        return Problem(str(at), str(wrong))
    return None


def plain(error: Exception) -> str:
    """An error in which nothing better was found, without OpenSSL's spelling."""
    if not isinstance(error, ssl.SSLError) or not error.reason:
        return str(error) or type(error).__name__
    if error.reason == "KEY_VALUES_MISMATCH":
        return "the client-certificate and the client-key do not belong together: give both of one pair"
    return f"a certificate or key in it cannot be used: {error.reason.replace('_', ' ').lower()}"


def _document(file: Path) -> Mapping[str, Any]:
    if file.is_dir():
        raise _Wrong("it is a directory: give a file in it")
    try:
        data = yaml.safe_load(file.read_bytes().decode())
    except OSError as error:
        raise _Wrong(f"it cannot be read: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise _Wrong(f"it is no kubeconfig: not UTF-8 text (byte {error.start})") from error
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise _Wrong(f"it is not valid YAML: {line}{error.problem or error.context or 'syntax error'}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _Wrong(f"it is no kubeconfig: not valid YAML: {' '.join(str(error).split())}") from error
    if data is None:
        raise _Wrong("it is empty: write the kubeconfig into it, or give another file")
    if not isinstance(data, dict) or not any(name in data for name in _LISTS):
        other = data.get("kind") if isinstance(data, dict) else None
        kind = f", but is a {other}" if isinstance(other, str) and other != "Config" else ""
        raise _Wrong(f"it is no kubeconfig: it lacks {', '.join(_LISTS)}{kind}; give another file")
    return data


def _items(document: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    items = document.get(name) or []
    if not isinstance(items, list):
        raise _Wrong(f"{name} must be a list")
    for item in items:
        if not isinstance(item, dict) or "name" not in item:
            raise _Wrong(f"{name}: each item must have a name")
    return items


def _check(found: Mapping[str, Mapping[str, _Entry]], current: str) -> None:
    """The context, and the cluster and the user that it names. Raises _Wrong."""
    there = ", ".join(found["contexts"])
    choice = f"give --context as one of: {there}" if there else "it has no contexts at all; give another file"
    if not current:
        raise _Wrong(f"it has no current-context: {choice}")
    if current not in found["contexts"]:
        raise _Wrong(f'it has no context "{current}": {choice}')
    context = found["contexts"][current].item.get("context")
    cluster = _part(found["clusters"], "cluster", current, context)
    _check_cluster(cluster)
    user = _part(found["users"], "user", current, context)
    _check_user(user)


def _part(entries: Mapping[str, _Entry], kind: str, current: str, context: object) -> _Part:
    name = context.get(kind) if isinstance(context, dict) else None
    if name is None:
        raise _Wrong(f'its context "{current}" names no {kind}: add one, or give another --context')
    if str(name) not in entries:
        raise _Wrong(f'it has no {kind} "{name}", which its context "{current}" names: add it to {kind}s')
    item, file = entries[str(name)]
    body = item.get(kind)
    if not isinstance(body, dict):
        what = "its server" if kind == "cluster" else "credentials, such as a token"
        raise _Wrong(f'its {kind} "{name}" is {"null" if body is None else "no mapping"}: give it {what}')
    return _Part(f'its {kind} "{name}"', body, file.parent)


def _check_cluster(cluster: _Part) -> None:
    server = cluster.body.get("server")
    if not isinstance(server, str) or not server:
        raise _Wrong(f"{cluster.called} has no server: give it the URL of the API server")
    try:
        parts = urlsplit(server)
    except ValueError as error:
        raise _Wrong(f"{cluster.called} has a server that is no URL: {server}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _Wrong(f"{cluster.called} has a server that is no URL with https://: {server}")
    found = _content(cluster, "certificate-authority")
    if found is not None:
        key, data = found
        try:
            # What stands between certificates is for people, in whatever letters.
            found_in = b"\n".join(_CERTIFICATES.findall(data)).decode("ascii")
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=found_in)
        except (ssl.SSLError, ValueError) as error:
            raise _Wrong(f"{cluster.called} has a {key} that is no certificate: {_CERTIFICATE}") from error


def _check_user(user: _Part) -> None:
    token = user.body.get("tokenFile")
    if isinstance(token, str) and "token" not in user.body:
        _read(user, "tokenFile", token)
    certificate, key = _content(user, "client-certificate"), _content(user, "client-key")
    if certificate is not None and b"-----BEGIN CERTIFICATE-----" not in certificate[1]:
        raise _Wrong(f"{user.called} has a {certificate[0]} that is no certificate: {_CERTIFICATE}")
    if key is not None and b"PRIVATE KEY-----" not in key[1]:
        raise _Wrong(f"{user.called} has a {key[0]} that is no private key: {_KEY}")
    if certificate is not None and key is None:
        raise _Wrong(f"{user.called} has a {certificate[0]} and no client-key: add the private key")


def _content(part: _Part, key: str) -> tuple[str, bytes] | None:
    """What a certificate or key is, and by which key it was found; None when there is none. Raises _Wrong."""
    if part.body.get(f"{key}-data"):
        text = part.body[f"{key}-data"]
        try:
            return f"{key}-data", base64.b64decode("".join(str(text).split()), validate=True)
        except (binascii.Error, ValueError) as error:
            raise _Wrong(f"{part.called} has a {key}-data that is not base64") from error
    path = part.body.get(key)
    if path is None or f"{key}-data" in part.body:
        return None
    if not isinstance(path, str):
        raise _Wrong(f"{part.called} has a {key} that is no path")
    return key, _read(part, key, path)


def _read(part: _Part, key: str, path: str) -> bytes:
    full = part.folder / path
    try:
        return full.read_bytes()
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) and error.strerror else str(error)).lower()
        raise _Wrong(f"{part.called} has a {key} that cannot be read: {full}: {reason}") from error
