"""The `git` command on one repository: without prompts, with a token that no command line shows, and with its errors as ours."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from sky_orchestrate.errors import SourceUnavailable, TaskFileError

SCHEMES = ("https", "http", "ssh", "file")
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_SHORT_COMMIT = re.compile(r"[0-9a-f]{4,39}")
_PASSING = re.compile(
    r"could not resolve host|timed out|timeout|connection (was )?(refused|reset|closed)|failed to connect|early EOF|unexpected disconnect|"
    r"RPC failed|returned error: (429|5\d\d)|network is unreachable|temporary failure|operation too slow",
    re.IGNORECASE,
)
_LOGIN = re.compile(
    r"authentication failed|could not read (username|password)|permission denied|returned error: 40[13]|host key verification",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Access:
    """What opens a private repository, under SkyPilot's names: GIT_TOKEN for https, GIT_SSH_KEY_PATH for ssh."""

    token: str = field(default="", repr=False)
    ssh_key_path: str = ""


def repository_key(*parts: str) -> str:
    """A folder's or file's name in the cache."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


class Git:
    """One repository, by its URL and what opens it."""

    def __init__(self, url: str, access: Access) -> None:
        self._url, self._access = url, access

    def resolve(self, ref: str) -> tuple[str, str]:
        """The commit of a branch, tag or commit, and what to fetch for it. A branch goes before a tag of its name, as in SkyPilot."""
        if _COMMIT.fullmatch(ref):
            return ref, ref
        wanted = [f"refs/heads/{ref}", f"refs/tags/{ref}"] if ref else ["HEAD"]
        lines = [line.partition("\t") for line in self._run("ls-remote", "--", self._url).splitlines()]
        found = {name: commit for commit, _, name in lines}
        for name in wanted:
            if name in found:
                return found.get(f"{name}^{{}}", found[name]), name
        if _SHORT_COMMIT.fullmatch(ref):
            return ref, ""
        branches = sorted(name.removeprefix("refs/heads/") for name in found if name.startswith("refs/heads/"))[:8]
        cure = f"its branches include {', '.join(branches)}" if branches else "it is empty"
        raise TaskFileError(self._url, "git_ref", f"no branch, tag or commit {ref!r}" if ref else "has no default branch", cure)

    def fetch(self, commit: str, wanted: str, cache: Path) -> tuple[str, Path]:
        """Check the commit out into the cache; `wanted` empty fetches all branches, to find a shortened commit."""
        making = Path(tempfile.mkdtemp(prefix="making-", dir=cache))
        try:
            self._run("init", "--quiet", ".", cwd=making)
            try:
                self._fetch(making, ["--depth=1", self._url, wanted] if wanted else None)
            except TaskFileError as error:
                # Not every server hands out a bare commit.
                if error.retryable or not _COMMIT.fullmatch(wanted):
                    raise
                self._fetch(making, None)
                wanted = ""
            name = "FETCH_HEAD" if wanted else commit
            found = self._run("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", cwd=making, missing=f"no commit {commit}").strip()
            self._run("-c", "advice.detachedHead=false", "checkout", "--quiet", "--detach", found, cwd=making)
            folder = cache / repository_key(self._url, found)
            try:
                making.rename(folder)
            except OSError:
                # Another process was first with the same commit.
                if not folder.is_dir():
                    raise
            return found, folder
        finally:
            shutil.rmtree(making, ignore_errors=True)

    def _fetch(self, folder: Path, what: list[str] | None) -> None:
        everything = [self._url, "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"]
        self._run("fetch", "--quiet", "--no-tags", *(what or everything), cwd=folder)

    def _run(self, *arguments: str, cwd: Path | None = None, missing: str = "") -> str:
        try:
            done = subprocess.run(
                ["git", *arguments],
                cwd=cwd,
                env=self._environ(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=600,
            )
        except FileNotFoundError:
            raise TaskFileError(self._url, "", "there is no git on this host", "install git") from None
        except subprocess.TimeoutExpired:
            raise SourceUnavailable(
                self._url, "", "git did not finish within 10 minutes", "check the network, and how large the repository is"
            ) from None
        if done.returncode == 0:
            return done.stdout
        raise self._error(missing or done.stderr)

    def _error(self, stderr: str) -> TaskFileError:
        lines = [re.sub(r"://[^@/\s]+@", "://***@", line).strip() for line in stderr.splitlines() if line.strip()]
        said = next(
            (line for line in lines if line.lower().startswith(("fatal:", "error:", "remote:"))), lines[-1] if lines else "git failed"
        )
        if self._access.token:
            said = said.replace(self._access.token, "***")
        if _PASSING.search(stderr):
            return SourceUnavailable(self._url, "", f"the repository does not answer: {said}", "check the network, and try again")
        if _LOGIN.search(stderr):
            cure = "set GIT_TOKEN (https) or GIT_SSH_KEY_PATH (ssh), and know the host's key in ~/.ssh/known_hosts"
            return TaskFileError(self._url, "", f"no access to the repository: {said}", cure)
        return TaskFileError(self._url, "", f"git says: {said}", "check the URL and the ref, and GIT_TOKEN for a private repository")

    def _environ(self) -> Mapping[str, str]:
        # A worker started by a Git hook has GIT_DIR and the like, which would point git at another repository.
        environ = {
            name: value for name, value in os.environ.items() if name not in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")
        }
        environ |= {
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "",
            "SSH_ASKPASS": "",
            "LC_ALL": "C",
            "GIT_ALLOW_PROTOCOL": ":".join(SCHEMES),
        }
        environ |= {"GIT_HTTP_LOW_SPEED_LIMIT": "1000", "GIT_HTTP_LOW_SPEED_TIME": "60"}
        if "GIT_SSH_COMMAND" not in environ:
            key = f" -i {_quoted(self._access.ssh_key_path)} -o IdentitiesOnly=yes" if self._access.ssh_key_path else ""
            environ["GIT_SSH_COMMAND"] = f"ssh -o BatchMode=yes{key}"
        parts = urlsplit(self._url)
        if self._access.token and parts.scheme == "https":
            basic = base64.b64encode(f"x-access-token:{self._access.token}".encode()).decode()
            number = int(environ.get("GIT_CONFIG_COUNT", "0"))
            environ["GIT_CONFIG_COUNT"] = str(number + 1)
            environ[f"GIT_CONFIG_KEY_{number}"] = f"http.https://{parts.netloc}/.extraHeader"
            environ[f"GIT_CONFIG_VALUE_{number}"] = f"Authorization: Basic {basic}"
        return environ


def _quoted(path: str) -> str:
    return "'" + path.replace("'", "'\\''") + "'"
