"""The bucket that a pipeline's steps share, as one URL or as the name and store type of SkyPilot's guides."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

SCHEMES = ("s3", "gs", "az", "r2", "file")
_STORES = {"s3": "s3", "gcs": "gs", "gs": "gs", "azure": "az", "az": "az", "r2": "r2"}
_SCHEME_STORES = {"s3": "s3", "gs": "gcs", "az": "azure", "r2": "r2"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

URL, NAME, STORE_TYPE = "DATA_BUCKET_URL", "DATA_BUCKET_NAME", "DATA_BUCKET_STORE_TYPE"


def check_url(url: str) -> str | None:
    """What is wrong with a bucket's URL, or None."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        return "it is not s3://, gs://, az://, r2:// or file://"
    if parts.scheme == "file":
        return None if not parts.netloc and parts.path.startswith("/") else "a folder is written file:///absolute/path"
    if "@" in parts.netloc:
        return "it holds credentials; they belong in the environment of SkyPilot's server or the task's secrets"
    return None if _NAME.fullmatch(parts.netloc) else "it has no bucket's name after ://"


def from_name(name: str, store_type: str) -> str:
    """The URL of a bucket by its name and store type. Raises ValueError saying what is wrong."""
    scheme = _STORES.get((store_type or "s3").lower())
    if scheme is None:
        raise ValueError(f"{STORE_TYPE} is {store_type!r}, and would be right as s3, gcs, azure or r2")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{NAME} is {name!r}, and would be right as a bucket's bare name, such as my-bucket")
    return f"{scheme}://{name}"


def name_and_store(url: str) -> tuple[str, str]:
    """The name and store type that SkyPilot's guides use for a bucket's URL; two empty strings for a folder."""
    parts = urlsplit(url)
    return (parts.netloc, _SCHEME_STORES[parts.scheme]) if parts.scheme in _SCHEME_STORES else ("", "")
