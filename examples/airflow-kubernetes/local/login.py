"""The way into Slurm: an sshd of our own for SkyPilot to log in to, and what jobs find in their home folder.

The session gets its home folder and Slurm's configuration from sshd (SetEnv), so that nothing of it lands in the caller's own home.
"""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from local import machine, processes
from local.place import LocalError, Place

# What the API server and jobs take over from the caller: how the network is reached, and in which language and time zone.
_PASSED = (
    *("LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy"),
    *("PIP_CERT", "PIP_CONFIG_FILE", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"),
    *("UV_CONFIG_FILE", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_PYTHON_INSTALL_MIRROR"),
)
_HERE = Path(__file__).resolve().parent
_SCRIPTS = {"ssh": "bin", "uv": "bin", "sbatch": "bin", "scancel": "bin", "task_prolog": "etc", "keeper": "etc"}


def environment(place: Place, uv: str) -> dict[str, str]:
    """What every process of ours sees, in place of the caller's environment."""
    user = pwd.getpwuid(os.getuid()).pw_name
    return {
        **{name: os.environ[name] for name in _PASSED if os.environ.get(name)},
        "HOME": str(place.home),
        "USER": user,
        "LOGNAME": user,
        "SHELL": "/bin/bash",
        "PATH": f"{place.base}/bin:{machine.SYSTEM_PATH}",
        "TMPDIR": str(place.base / "tmp"),
        "SLURM_CONF": str(place.slurm_conf),
        "UV_CACHE_DIR": uv_cache(uv),
        "UV_SYSTEM_CERTS": "1",
        "UV_NATIVE_TLS": "1",
        processes.MARK: str(place.folder),
    }


def uv_cache(uv: str) -> str:
    """The caller's own cache: jobs install from it by hard links, and it is warm after the first time."""
    done = subprocess.run([uv, "cache", "dir"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or str(Path.home() / ".cache" / "uv")


def configure(place: Place, uv: str, port: int) -> None:
    etc = place.base / "etc"
    for name in ("id", "host"):
        if not (etc / name).exists():
            subprocess.run(
                [machine.program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "local-skypilot", "-f", str(etc / name)],
                check=True,
                stdin=subprocess.DEVNULL,
            )
    shutil.copy(etc / "id.pub", etc / "authorized_keys")
    (etc / "sshd_config").write_text(_sshd_config(place, port, environment(place, uv)))
    (etc / "ssh_config").write_text("Host *\n    GlobalKnownHostsFile /dev/null\n    UserKnownHostsFile /dev/null\n")
    programs = {name.upper(): machine.program(name) for name in ("ssh", "sbatch", "scancel")}
    settings = {**programs, "UV": uv, "UV_CACHE": uv_cache(uv), "TERMINAL": "yes" if _may_open_terminals() else ""}
    (etc / "settings").write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in settings.items()))
    for name, folder in _SCRIPTS.items():
        _install(_HERE / "shell" / name, place.base / folder / name)
    profile = f'export PATH="{place.base}/bin:$PATH" TMPDIR="{place.base}/tmp"\n'
    (etc / "profile").write_text(profile)
    (place.home / ".profile").write_text(profile)
    user = pwd.getpwuid(os.getuid()).pw_name
    (place.home / ".slurm" / "config").write_text(
        f"Host local\n    HostName 127.0.0.1\n    Port {port}\n    User {user}\n    IdentityFile {etc}/id\n    IdentitiesOnly yes\n"
    )


def start(place: Place) -> None:
    """Start our sshd if it is not running."""
    if processes.running(place, "sshd"):
        return
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where root's sshd locks its unprivileged half in
    config = place.base / "etc" / "sshd_config"
    sshd = machine.program("sshd")
    checked = subprocess.run([sshd, "-t", "-f", str(config)], capture_output=True, text=True, check=False)
    if checked.returncode != 0:
        raise LocalError(f"sshd refuses {config}: {checked.stderr.strip()}")
    processes.start(place, "sshd", [sshd, "-D", "-e", "-f", str(config)], {"PATH": machine.SYSTEM_PATH})


def _sshd_config(place: Place, port: int, variables: Mapping[str, str]) -> str:
    etc = place.base / "etc"
    given = " ".join(f'"{name}={value}"' for name, value in variables.items() if '"' not in value)
    return f"""\
Port {port}
ListenAddress 127.0.0.1
HostKey {etc}/host
PidFile {place.base}/run/sshd.own
AuthorizedKeysFile {etc}/authorized_keys
AuthenticationMethods publickey
UsePAM {"yes" if _account_is_locked() else "no"}
StrictModes no
PrintMotd no
PrintLastLog no
UseDNS no
MaxStartups 200
MaxSessions 500
SetEnv {given}
"""


def _account_is_locked() -> bool:
    """Without PAM sshd turns away accounts whose password is locked, such as root's on Ubuntu. Only root can tell, and needs to."""
    try:
        entries = Path("/etc/shadow").read_text().splitlines()
    except OSError:
        return False
    name = pwd.getpwuid(os.getuid()).pw_name
    return any(entry.startswith(f"{name}:!") for entry in entries)


def _may_open_terminals() -> bool:
    """Whether a terminal has the owner and group that sshd wants, or that it may change them; not so without root in some sandboxes."""
    if os.geteuid() == 0:
        return True
    group = next((entry.gr_gid for entry in grp.getgrall() if entry.gr_name == "tty"), os.getgid())
    try:
        ends = os.openpty()
    except OSError:
        return False
    owned = os.fstat(ends[1])
    for end in ends:
        os.close(end)
    return (owned.st_uid, owned.st_gid) == (os.getuid(), group)


def _install(source: Path, target: Path) -> None:
    """Replaced in one move: a job may be running the script."""
    fresh = target.with_suffix(".new")
    shutil.copy(source, fresh)
    fresh.chmod(0o755)
    fresh.replace(target)
