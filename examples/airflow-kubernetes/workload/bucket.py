"""The bucket that the steps share: objects read and written whole, by URL, through fsspec.

A write is seen whole or not at all: object stores promise it for one upload, and a local file is renamed into place.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

import fsspec
from fsspec.core import url_to_fs

from workload.errors import BucketError, MissingObjectError, SettingError

_NEEDS = {"file": "file", "s3": "s3", "r2": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az", "abfss": "az"}
_STORE_TYPES = {"s3": "s3", "gcs": "gs", "gs": "gs", "azure": "az", "az": "az", "r2": "r2"}
_URL = re.compile(r"(?P<scheme>[a-z0-9]+)://(?P<rest>[^\s:]\S*)")
_AZURE_ACCOUNT = ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_CONNECTION_STRING")
_SECRET = re.compile(r"(SECRET|KEY|TOKEN|PASSWORD|CONNECTION_STRING)", re.IGNORECASE)


def bucket_url(environ: Mapping[str, str]) -> str:
    """DATA_BUCKET_URL, else DATA_BUCKET_NAME with DATA_BUCKET_STORE_TYPE, else a folder in the home of this cluster."""
    url, name, kind = (environ.get(f"DATA_BUCKET_{part}", "").strip() for part in ("URL", "NAME", "STORE_TYPE"))
    if not url and name:
        if kind.lower() not in _STORE_TYPES:
            raise SettingError(f"DATA_BUCKET_STORE_TYPE is {kind!r}: with DATA_BUCKET_NAME it is one of s3, gcs, azure, r2")
        url = f"{_STORE_TYPES[kind.lower()]}://{name}"
    return checked(url or (Path.home() / "sky-data").as_uri(), "DATA_BUCKET_URL").rstrip("/")


def checked(url: str, setting: str) -> str:
    """The URL itself, where it is one that the steps can read and write."""
    match = _URL.fullmatch(url)
    if not match or match["scheme"] not in _NEEDS or "::" in url:
        raise SettingError(f"{setting} is {_hidden(url)!r}: it starts with s3://, gs://, az://, abfs://, r2:// or file:///")
    if match["scheme"] == "file" and not match["rest"].startswith("/"):
        raise SettingError(f"{setting} is {url!r}: a folder is file:/// and its absolute path")
    if _hidden(url) != url:
        raise SettingError(f"{setting} has credentials in it: give them as secrets of the task (AWS_ACCESS_KEY_ID and the like)")
    return url


def read(url: str) -> bytes:
    filesystem, path = _filesystem(url)
    try:
        data: Any = filesystem.cat_file(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingObjectError(f"nothing at {url}") from error
    except Exception as error:  # every store's client has errors of its own
        raise BucketError(f"cannot read {url}: {_told(error)}") from error
    return data


def write(url: str, data: bytes) -> None:
    filesystem, path = _filesystem(url)
    try:
        if "file" in filesystem.protocol:
            _replace(Path(path), data)
        else:
            filesystem.pipe_file(path, data)
    except Exception as error:  # as above
        raise BucketError(f"cannot write {url}: {_told(error)}") from error


def forget_empty_credentials(environ: MutableMapping[str, str]) -> None:
    """A task's secret that nobody gave arrives as "", which the stores' clients would take for a credential."""
    for name in [name for name, value in environ.items() if not value and name.startswith(("AWS_", "AZURE_", "GOOGLE_"))]:
        del environ[name]


def _filesystem(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    scheme, rest = url.split("://", 1)
    options: dict[str, Any] = {} if scheme == "file" else {"use_listings_cache": False}
    if scheme in ("s3", "r2"):
        options["endpoint_url"] = _s3_endpoint(scheme)
    if scheme in ("az", "abfs", "abfss") and "@" not in rest and not any(os.environ.get(name) for name in _AZURE_ACCOUNT):
        raise SettingError(f"{scheme}:// wants the account: set {' or '.join(_AZURE_ACCOUNT)}")
    try:
        return url_to_fs(f"{'s3' if scheme == 'r2' else scheme}://{rest}", **options)
    except ImportError as error:
        needs = f"workload/requirements/{_NEEDS[scheme]}.txt"
        raise BucketError(f"{scheme}:// needs a package that is not installed: install {needs} ({_told(error)})") from error
    except Exception as error:  # a store's client may look for credentials at once
        raise BucketError(f"cannot open {url}: {_told(error)}") from error


def _s3_endpoint(scheme: str) -> str | None:
    endpoint = os.environ.get("AWS_ENDPOINT_URL") or None
    if scheme == "r2" and not endpoint:
        account = os.environ.get("R2_ACCOUNT_ID")
        if not account:
            raise SettingError("r2:// wants the account: set R2_ACCOUNT_ID, or AWS_ENDPOINT_URL to the account's S3 endpoint")
        endpoint = f"https://{account}.r2.cloudflarestorage.com"
    return endpoint


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_bytes(data)
    partial.replace(path)


def _told(error: Exception) -> str:
    """The first line of what a client says, without the value of any secret in this process's environment."""
    text = (str(error).strip() or "no more is known").splitlines()[0]
    for name, value in os.environ.items():
        if len(value) >= 6 and _SECRET.search(name):
            text = text.replace(value, "***")
    return f"{type(error).__name__}: {text}"


def _hidden(url: str) -> str:
    return re.sub(r"//[^/@]*:[^/]*@", "//***@", url)
