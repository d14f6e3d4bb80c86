"""The `python` of SkyPilot's runtime on a cluster, which starts in a tenth of the time.

A job needs eight helper programs of SkyPilot, and each spends two seconds of CPU on `import sky`. Here a *stem* imports what
that needs once for the project; from it a *server* for each cluster is forked, which imports SkyPilot itself in the cluster's
environment while the cluster is still being set up; and from that one every helper is forked. A helper sees what it would see
otherwise: its arguments, environment, folder, files and signals; it ends with its caller, and the caller with its exit code.
Where there is no server yet or any more, or the call is not one of SkyPilot's, the real interpreter runs instead.

    python ARGUMENTS...        as an interpreter, on a cluster
    python --stem FOLDER       listen in FOLDER
    python --serve FOLDER      the same for a cluster whose runtime is in FOLDER, forked from the stem in $SKY_LOCAL_STEM

SKY_LOCAL_PREFORK=0 when the local SkyPilot starts leaves all this out.
"""

from __future__ import annotations

import array
import contextlib
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import time

TYPE_CHECKING = False  # the caller's half is run a dozen times in a launch: `typing` would be most of it
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_STEM = (
    *("aiohttp", "alembic.runtime.environment", "casbin", "fastapi", "httpx", "jsonschema", "numpy", "paramiko"),
    *("passlib.context", "psycopg2", "requests", "rich.progress", "sqlalchemy.ext.asyncio"),
)
_SERVER = (
    *("sky", "sky.backends.backend_utils", "sky.skylet.autostop_lib", "sky.skylet.job_lib", "sky.skylet.log_lib", "sky.utils.log_utils"),
    "hostlist",
)


# The caller's half.


def call(arguments: list[str]) -> int | None:
    """Run the arguments in a fork of the cluster's server and return its exit code; None if the real interpreter has to."""
    runtime = os.environ.get("SKY_RUNTIME_DIR", "")
    server = _connect(os.path.join(runtime, ".sky")) if runtime and _is_sky(arguments) else None
    if server is None:
        return None
    for number in _FORWARDED:
        signal.signal(number, lambda got, _frame: server.send(bytes([got])))
    try:
        _send(server, arguments)
        status = server.recv(8)
    except OSError:
        status = b""
    if len(status) < 8:
        return 137  # the server was killed, and so was the fork
    code = int.from_bytes(status, "big", signed=True)
    if code < 0:
        with contextlib.suppress(OSError):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def _is_sky(arguments: list[str]) -> bool:
    """The three ways SkyPilot calls it: -m MODULE, -c CODE and a script, unbuffered or not."""
    rest = arguments[1:] if arguments[:1] == ["-u"] else arguments
    if len(rest) >= 2 and rest[0] == "-m":
        return rest[1].startswith("sky.")
    if len(rest) >= 2 and rest[0] == "-c":
        return "from sky" in rest[1] or "import sky." in rest[1]
    return bool(rest) and os.path.basename(rest[0]).startswith("sky_job_")


def _connect(folder: str) -> socket.socket | None:
    try:
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.connect(_address(folder))
    except OSError:
        return None
    return server


def _address(folder: str) -> str:
    """The socket in a folder by a short name, however long the folder's: a socket's path ends at 108 bytes."""
    return f"/proc/self/fd/{os.open(folder, os.O_RDONLY | os.O_DIRECTORY)}/python.sock"


def _send(server: socket.socket, arguments: list[str]) -> None:
    umask = os.umask(0)
    os.umask(umask)
    request = json.dumps({"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd(), "umask": umask}).encode()
    server.sendmsg([len(request).to_bytes(8, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
    server.sendall(request)


# The server's half: it listens first and imports then, so that a caller waits for it rather than importing as well.


class _Fork(Exception):
    """Raised in the fork to leave the server's loop: from here on it is the program that was asked for."""


def serve(folder: str, modules: Sequence[str]) -> dict[str, Any] | None:
    """Fork a program for each caller until the folder's socket is gone; in such a fork, return the program's request."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    path = os.path.join(folder, "python.sock")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    listener.bind(_address(folder))
    listener.listen(64)
    sys.path[0] = ""
    for name in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    if "sky" in sys.modules:
        _give_skylet_its_own_port(folder)
        _read_logs_at_once()
    import gc

    gc.freeze()
    try:
        _loop(listener, path)
    except _Fork as fork:
        return fork.args[0]
    return None


def _loop(listener: socket.socket, path: str) -> None:
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(woken, selectors.EVENT_READ)
    children: dict[int, socket.socket | None] = {}
    while os.path.exists(path):
        for key, _ in selector.select(0.5):
            if key.fileobj is listener:
                _accept(listener.accept()[0], selector, children)
            elif key.fileobj == woken:
                os.read(woken, 1024)
            elif connection := children.get(key.data):
                _relay(connection, key.data, selector)
        _reap(children, selector)
    for pid, connection in children.items():
        if connection:
            _signal_tree(pid, signal.SIGKILL)


def _accept(connection: socket.socket, selector: selectors.BaseSelector, children: dict[int, socket.socket | None]) -> None:
    try:
        request, files = _receive(connection)
    except (OSError, ValueError):
        connection.close()
        return
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        for number in (*_FORWARDED, signal.SIGCHLD):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        os.setsid()
        for standard, file in enumerate(files):
            os.dup2(file, standard)
        for each in (connection, *(key.fileobj for key in selector.get_map().values()), *children.values()):
            if isinstance(each, socket.socket):
                each.close()
        selector.close()
        raise _Fork(request)
    for file in files:
        os.close(file)
    if request["arguments"][0] == "--serve":  # a cluster's server outlives its caller
        connection.close()
        children[pid] = None
    else:
        connection.settimeout(0)
        selector.register(connection, selectors.EVENT_READ, pid)
        children[pid] = connection


def _receive(connection: socket.socket) -> tuple[dict[str, Any], array.array[int]]:
    connection.settimeout(10)
    length, ancillary, _, _ = connection.recvmsg(8, socket.CMSG_SPACE(3 * 4))
    files = array.array("i")
    for _, _, data in ancillary:
        files.frombytes(data)
    size, text = int.from_bytes(length, "big"), b""
    while len(text) < size and (part := connection.recv(size - len(text))):
        text += part
    return json.loads(text), files


def _relay(connection: socket.socket, pid: int, selector: selectors.BaseSelector) -> None:
    """A signal for the fork, or the end of its caller: then the fork ends too, as Slurm would have it."""
    try:
        received = connection.recv(64)
    except BlockingIOError:
        return
    except OSError:
        received = b""
    if not received:
        selector.unregister(connection)
        _signal_tree(pid, signal.SIGKILL)
    for number in received:
        _signal_tree(pid, number)


def _reap(children: dict[int, socket.socket | None], selector: selectors.BaseSelector) -> None:
    for pid, connection in list(children.items()):
        done, status = os.waitpid(pid, os.WNOHANG)
        if not done:
            continue
        del children[pid]
        if connection:
            with contextlib.suppress(KeyError, ValueError):
                selector.unregister(connection)
            with contextlib.suppress(OSError):
                connection.send(os.waitstatus_to_exitcode(status).to_bytes(8, "big", signed=True))
            connection.close()


def _signal_tree(pid: int, number: int) -> None:
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError, IndexError), open(f"/proc/{entry}/stat") as file:
                parents[int(entry)] = int(file.read().rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    for each in found:
        with contextlib.suppress(OSError):
            os.kill(each, number)


def _give_skylet_its_own_port(folder: str) -> None:
    """SkyPilot takes the first free port from 46590 on; two clusters that start at once take the same, and one never comes up."""
    import zlib

    constants = importlib.import_module("sky.skylet.constants")
    constants.__dict__["SKYLET_GRPC_PORT"] = 20000 + zlib.crc32(folder.encode()) % 12000


def _read_logs_at_once() -> None:
    """SkyPilot looks for a job's log once a second, and waits one more at its end for lines on a slow disk; this disk is the machine's."""
    log_lib = importlib.import_module("sky.skylet.log_lib")
    log_lib.__dict__["SKY_LOG_WAITING_MAX_RETRY"] *= 10  # as long a wait as before
    quick = type(time)("time")
    quick.__dict__.update(vars(time), sleep=lambda seconds: time.sleep(min(seconds, 0.1)))
    log_lib.__dict__["time"] = quick


def become(request: dict[str, Any]) -> list[str]:
    """In the fork: leave the server's files, take over the caller's surroundings, and return its arguments."""
    import random

    os.closerange(3, max(int(number) for number in os.listdir("/proc/self/fd")) + 1)
    random.seed()
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    os.umask(request["umask"])
    os.chdir(request["folder"])
    return request["arguments"]


def run(arguments: list[str]) -> None:
    """What the interpreter does with its arguments."""
    import runpy
    import types

    if arguments[0] == "-u":
        arguments = arguments[1:]
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif arguments[0] == "-c":
        sys.argv = ["-c", *arguments[2:]]
        sys.modules["__main__"] = main_module = types.ModuleType("__main__")
        exec(compile(arguments[1], "<string>", "exec"), main_module.__dict__)  # noqa: S102  # as `python -c` does
    else:
        sys.argv = arguments
        sys.path[0] = os.path.dirname(os.path.abspath(arguments[0]))
        runpy.run_path(arguments[0], run_name="__main__")


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--serve"]:
        stem = _connect(os.environ.get("SKY_LOCAL_STEM", ""))
        if stem is not None:
            _send(stem, arguments)
            return
    elif arguments[:1] != ["--stem"]:
        code = call(arguments)
        if code is None:
            os.execv(sys.executable, [sys.executable, *arguments])
        sys.exit(code)
    while arguments[0] in ("--stem", "--serve"):
        request = serve(arguments[1], _STEM if arguments[0] == "--stem" else _SERVER)
        if request is None:
            return
        arguments = become(request)
    run(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
