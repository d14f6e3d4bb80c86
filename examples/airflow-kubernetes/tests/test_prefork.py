"""The interpreter of SkyPilot's runtime on a local cluster (local/prefork.py): a fork must be as good as a process of its own."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import prefork, processes


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Path]:
    """A cluster's runtime folder with a server of interpreters, which has imported nothing."""
    folder = tmp_path / "runtime"
    (folder / ".sky").mkdir(parents=True)
    python = folder / "python"
    source = Path(prefork.__file__).read_text()
    source = re.sub(r"_SERVER = \(.*?\n\)", "_SERVER = ()", source, flags=re.DOTALL)
    python.write_text(f"#!{sys.executable} -IS\n{source}")
    python.chmod(0o755)
    server = subprocess.Popen([sys.executable, "-u", str(python), "--serve", str(folder / ".sky")], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while not (folder / ".sky" / "python.sock").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    try:
        yield folder
    finally:
        server.kill()
        server.wait()


def _python(cluster: Path, *arguments: str) -> list[str]:
    return [str(cluster / "python"), *arguments]


def _surroundings(cluster: Path, **more: str) -> dict[str, str]:
    return {"SKY_RUNTIME_DIR": str(cluster), "PATH": "/usr/bin:/bin", **more}


def test_a_fork_has_its_callers_arguments_environment_folder_and_files(cluster: Path, tmp_path: Path) -> None:
    code = "# from sky\nimport os, sys; print(sys.argv, os.environ['COLOUR'], os.getcwd(), sys.stdin.read(), os.getppid() != os.getpid())"
    done = subprocess.run(
        _python(cluster, "-u", "-c", code, "one", "two"),
        env=_surroundings(cluster, COLOUR="blue"),
        cwd=tmp_path,
        input="asked",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"['-c', 'one', 'two'] blue {tmp_path} asked True\n"


@pytest.mark.parametrize(
    ("code", "expected"), [("sys.exit(3)", 3), ("os._exit(7)", 7), ("os.kill(os.getpid(), 9)", -9), ("1 / 0", 1), ("pass", 0)]
)
def test_a_caller_ends_as_its_fork_does(cluster: Path, code: str, expected: int) -> None:
    done = subprocess.run(
        _python(cluster, "-c", f"# from sky\nimport os, sys; {code}"),
        env=_surroundings(cluster),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == expected
    assert ("ZeroDivisionError" in done.stderr) == (code == "1 / 0")


def test_a_signal_reaches_the_fork(cluster: Path) -> None:
    code = "# from sky\nimport signal, sys, time; signal.signal(15, lambda *_: sys.exit(5)); print('ready', flush=True); time.sleep(60)"
    caller = subprocess.Popen(_python(cluster, "-c", code), env=_surroundings(cluster), stdout=subprocess.PIPE)
    assert caller.stdout
    assert caller.stdout.readline() == b"ready\n"
    caller.terminate()
    assert caller.wait(10) == 5


def test_a_fork_ends_with_its_caller_and_so_do_its_children(cluster: Path) -> None:
    code = "# from sky\nimport os, subprocess, time; print(os.getpid(), subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
    caller = subprocess.Popen(_python(cluster, "-c", code), env=_surroundings(cluster), stdout=subprocess.PIPE)
    assert caller.stdout
    pids = [int(pid) for pid in caller.stdout.readline().split()]
    caller.kill()
    caller.wait()
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() and processes._identity(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_without_a_server_the_real_interpreter_runs(cluster: Path) -> None:
    (cluster / ".sky" / "python.sock").unlink()
    done = subprocess.run(
        _python(cluster, "-c", "# from sky\nprint(__name__)"), env=_surroundings(cluster), capture_output=True, text=True, check=True
    )
    assert done.stdout == "__main__\n"


def test_the_server_ends_when_its_cluster_is_gone(cluster: Path) -> None:
    pid = int(subprocess.check_output(_python(cluster, "-c", "# from sky\nimport os; print(os.getppid())"), env=_surroundings(cluster)))
    shutil.rmtree(cluster / ".sky")
    deadline = time.monotonic() + 10
    while processes._identity(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_logs_are_read_without_the_waits_of_a_slow_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    log_lib = importlib.import_module("sky.skylet.log_lib")
    patience = log_lib.SKY_LOG_WAITING_MAX_RETRY * log_lib.SKY_LOG_WAITING_GAP_SECONDS
    monkeypatch.setattr(log_lib, "time", log_lib.time)
    monkeypatch.setattr(log_lib, "SKY_LOG_WAITING_MAX_RETRY", log_lib.SKY_LOG_WAITING_MAX_RETRY)
    prefork._read_logs_at_once()
    began = time.monotonic()
    log_lib.time.sleep(log_lib.SKY_LOG_WAITING_GAP_SECONDS)
    took = time.monotonic() - began
    assert took < log_lib.SKY_LOG_WAITING_GAP_SECONDS / 2
    assert took * log_lib.SKY_LOG_WAITING_MAX_RETRY >= patience
    assert time.sleep is not log_lib.time.sleep
