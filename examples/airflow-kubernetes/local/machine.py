"""What this machine must have: a few Debian or Ubuntu packages, uv, a Python for the API server, a host name that resolves."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from local.place import LocalError, Place

# A program of each package, by which its presence is told.
PACKAGES = {
    "slurm-wlm": ("slurmctld", "slurmd", "sbatch", "srun", "squeue"),
    "munge": ("munged",),
    "openssh-server": ("sshd", "ssh-keygen"),
    "openssh-client": ("ssh",),
    "rsync": ("rsync",),
    "socat": ("socat",),
    "netcat-openbsd": ("nc",),
}
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SERVER_PYTHONS = ((3, 10), (3, 13))


def program(name: str) -> str:
    found = shutil.which(name, path=SYSTEM_PATH)
    if found is None:
        raise LocalError(f"{name} is not installed: sudo apt-get install {' '.join(PACKAGES)}")
    return found


def missing_packages() -> list[str]:
    return [package for package, programs in PACKAGES.items() if not all(shutil.which(name, path=SYSTEM_PATH) for name in programs)]


def install_packages() -> bool:
    """Install what is missing, as root or with sudo; the packages' own daemons are none of ours. True if there was anything to do."""
    missing = missing_packages()
    if not missing:
        return False
    command = f"sudo apt-get install -y {' '.join(missing)}"
    if not shutil.which("apt-get"):
        raise LocalError(f"the local SkyPilot needs Debian or Ubuntu ({', '.join(missing)} is missing): elsewhere, see local/Dockerfile")
    root = [] if os.geteuid() == 0 else _sudo()
    if root is None:
        raise LocalError(f"packages are missing and there is no root or sudo to install them: {command}")
    print(f"installing {', '.join(missing)}", flush=True)
    environment = [*root, "env", "DEBIAN_FRONTEND=noninteractive"]
    _run([*environment, "apt-get", "update", "-q"])
    if not _run([*environment, "apt-get", "install", "-y", "-q", "--no-install-recommends", *missing]) or missing_packages():
        raise LocalError(f"the packages could not be installed: try {command}")
    if "openssh-server" in missing:
        print("openssh-server's own service is not needed for this: sudo systemctl disable --now ssh", flush=True)
    return True


def address() -> str:
    """The address the host name resolves to: jobs look their own up by it."""
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        name = socket.gethostname()
        raise LocalError(f"the host name {name} does not resolve: echo '127.0.1.1 {name}' | sudo tee -a /etc/hosts") from None


def find_uv(place: Place) -> str:
    """The uv program itself: a version manager's stand-in would not work from a job's home folder."""
    candidates = [shutil.which("uv"), _packaged_uv(), str(place.folder.parent / ".uv" / "bin" / "uv")]
    for candidate in candidates:
        if candidate and _is_program(Path(candidate)):
            return str(Path(candidate).resolve())
    project = place.folder.parent
    bootstrap = [str(project / "local" / "uv.sh"), "--version"]
    done = subprocess.run(bootstrap, cwd=project, capture_output=True, text=True, check=False)
    if _is_program(Path(str(candidates[-1]))):
        return str(candidates[-1])
    reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    raise LocalError(f"uv is not here and could not be had ({reason}): install it, such as with `python3 -m pip install uv`")


def server_python() -> str:
    """What `uv venv --python` is given: this interpreter where SkyPilot's server runs on it, else any that does."""
    oldest, newest = _SERVER_PYTHONS
    if oldest <= sys.version_info[:2] <= newest:
        return str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}")
    return f">={oldest[0]}.{oldest[1]},<{newest[0]}.{newest[1] + 1}"


def _sudo() -> list[str] | None:
    if not shutil.which("sudo"):
        return None
    asks = sys.stdin.isatty()
    able = asks or subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0
    return (["sudo"] if asks else ["sudo", "-n"]) if able else None


def _run(command: Sequence[str]) -> bool:
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


def _packaged_uv() -> str | None:
    """The one that came as a Python package."""
    for interpreter in (sys.executable, "python3"):
        done = subprocess.run([interpreter, "-c", "import uv; print(uv.find_uv_bin())"], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout.strip()
    return None


def _is_program(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"\x7fELF" and os.access(path, os.X_OK)
    except OSError:
        return False
