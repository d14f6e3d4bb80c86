"""A Git repository as the source of tasks: checked out shallow at a branch, tag or commit, and pinned to the commit it resolved to.

A checkout is kept by its commit, and a run keeps the commit it first resolved to. A public https repository is fetched by the
cluster itself. Any other is uploaded from this host's checkout, so that no token or key leaves it: SkyPilot would send them along.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import tempfile
import time
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sky_orchestrate.errors import TaskFileError
from sky_orchestrate.git import SCHEMES, Access, Git, repository_key

_SCP = re.compile(r"(?:(?P<user>[^@/:\s]+)@)?(?P<host>[^@/:\s]{2,}):(?!//)(?P<path>\S+)")
_REF = re.compile(r"[A-Za-z0-9_][^\s~^:?*\[\\]*")
_KEPT_SECONDS = 7 * 24 * 3600


@dataclass(frozen=True)
class Origin:
    """The repository as asked for (an empty ref is its default branch), and the commit that was."""

    url: str
    ref: str
    commit: str

    @property
    def workdir(self) -> dict[str, str]:
        """SkyPilot's Git workdir: the cluster fetches this very commit."""
        return {"url": self.url, "ref": self.commit}

    @property
    def said(self) -> str:
        return f"{self.url} at {self.ref or 'its default branch'} ({self.commit[:10]})"


@dataclass(frozen=True)
class Checkout:
    """A repository's files on this host. `public`: anyone may fetch it over https."""

    folder: Path
    origin: Origin
    public: bool


def is_git_url(text: str) -> bool:
    """A URL, or ssh's `user@host:path`; any other text is a folder."""
    return "://" in text or (_SCP.fullmatch(text) is not None and "@" in text)


def refuse_credentials(url: str, source: str, field: str) -> None:
    """A URL is stored and shown in clear, on SkyPilot's server too."""
    user = re.match(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<user>[^/@]*)@", url)
    # ssh has a user's name there, https may have a token in its place.
    if user is not None and (":" in user["user"] or user["scheme"].lower() in ("http", "https")):
        cure = "leave them out and set GIT_TOKEN in the environment or as a secret, or use ssh"
        raise TaskFileError(source, field, "the URL holds credentials, which would be stored and shown", cure)


def checkout(url: str, ref: str, access: Access, *, run: str | None = None, cache: Path | None = None) -> Checkout:
    """The repository at `ref`: a branch, tag or commit, or its default branch where that is empty.

    Within one `run` the answer stays the same on this host. Raises TaskFileError, or SourceUnavailable where a later attempt may do.
    """
    _check(url, ref)
    git = Git(url, access)
    cache = cache or _cache()
    pin = cache / f"{repository_key(url, ref, run or '')}.json"
    kept = _kept(pin) if run else None
    if kept is None:
        commit, fetched = git.resolve(ref)
        folder = cache / repository_key(url, commit)
        if not folder.is_dir():
            commit, folder = git.fetch(commit, fetched, cache)
        kept = Checkout(folder, Origin(url, ref, commit), public=urlsplit(url).scheme == "https" and anyone_may_read(url))
        if run:
            kept = _pin(pin, kept, cache)
    elif not kept.folder.is_dir():
        git.fetch(kept.origin.commit, kept.origin.commit, cache)
    os.utime(kept.folder)
    _forget_old(cache)
    return kept


def anyone_may_read(url: str) -> bool:
    """Whether the repository answers over https without credentials: SkyPilot's own first question to it."""
    bare = re.sub(r"(\.git)?/*$", "", url)
    question = f"{bare}.git/info/refs?service=git-upload-pack"
    try:
        with urllib.request.urlopen(question, timeout=10) as answer:  # noqa: S310  # only asked of https URLs
            return answer.status == 200
    except (OSError, ValueError):
        return False


def _check(url: str, ref: str) -> None:
    refuse_credentials(url, "base_path", "")
    try:
        scheme = urlsplit(url).scheme if "://" in url else "ssh"
    except ValueError:
        scheme = ""
    if scheme not in SCHEMES or url.startswith("-") or re.search(r"\s", url):
        raise TaskFileError(
            url,
            "",
            "no Git URL this can fetch",
            "https://host/owner/repo.git, ssh://, git@host:owner/repo.git and file:///folder are right",
        )
    if ref and (not _REF.fullmatch(ref) or ".." in ref):
        raise TaskFileError(
            url, "git_ref", f"{ref!r} is no branch, tag or commit", "a name such as main or v1.2, or a commit's hash, is right"
        )


def _cache() -> Path:
    chosen = os.environ.get("XDG_CACHE_HOME") or ""
    folder = (Path(chosen) if chosen else Path.home() / ".cache") / "sky-orchestrate" / "git"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    temporary = Path(tempfile.mkdtemp(prefix="sky-orchestrate-git-"))
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)
    return temporary


def _kept(pin: Path) -> Checkout | None:
    try:
        said = json.loads(pin.read_text(encoding="utf-8"))
        origin = Origin(**said["origin"])
        return Checkout(pin.parent / repository_key(origin.url, origin.commit), origin, bool(said["public"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _pin(pin: Path, found: Checkout, cache: Path) -> Checkout:
    """Keep the run's commit; where another process was first, its answer counts."""
    with tempfile.NamedTemporaryFile("w", dir=cache, prefix="making-", encoding="utf-8", delete=False) as making:
        json.dump({"origin": asdict(found.origin), "public": found.public}, making)
    try:
        os.link(making.name, pin)
    except FileExistsError:
        return _kept(pin) or found
    finally:
        Path(making.name).unlink()
    return found


def _forget_old(cache: Path) -> None:
    oldest = time.time() - _KEPT_SECONDS
    for path in cache.iterdir():
        try:
            if path.stat().st_mtime < oldest:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
        except OSError:
            continue
