"""The `python` of SkyPilot's runtime on a cluster, which starts in a tenth of the time.

A job needs eight helper programs of SkyPilot, and each spends two seconds of CPU on `import sky`. Here one process per cluster
imports it, while the cluster is still being set up, and every helper is forked from that one. A helper sees what it would see
otherwise: its arguments, environment, folder, files and signals; it ends with its caller, and the caller with its exit code.
Where there is no such process yet or any more, or the call is not one of SkyPilot's, the real interpreter runs instead.

SKY_LOCAL_PREFORK=0 when the local SkyPilot starts leaves this out.
"""

import array
import contextlib
import json
import os
import signal
import socket
import sys
import time

_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_PRELOADED = ("sky.backends.backend_utils", "sky.skylet.autostop_lib", "sky.skylet.job_lib", "sky.skylet.log_lib", "sky.utils.log_utils", "hostlist")


# The caller's half: what `skypilot-runtime/bin/python` runs.


def call(arguments):
    """Run the arguments in a fork of the cluster's process and return its exit code; None if the real interpreter has to."""
    runtime = os.environ.get("SKY_RUNTIME_DIR", "")
    if not runtime or not _is_sky(arguments):
        return None
    try:
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.connect(_address(runtime))
    except OSError:
        return None
    umask = os.umask(0)
    os.umask(umask)
    request = json.dumps({"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd(), "umask": umask}).encode()
    for number in _FORWARDED:
        signal.signal(number, lambda got, _frame: server.send(bytes([got])))
    try:
        server.sendmsg([len(request).to_bytes(8, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
        server.sendall(request)
        status = server.recv(8)
    except OSError:
        status = b""
    if len(status) < 8:
        return 137  # the cluster's process was killed, and so was the fork
    code = int.from_bytes(status, "big", signed=True)
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def _is_sky(arguments):
    """The three ways SkyPilot calls it: -m MODULE, -c CODE and a script, unbuffered or not."""
    rest = arguments[1:] if arguments[:1] == ["-u"] else arguments
    if len(rest) >= 2 and rest[0] == "-m":
        return rest[1].startswith("sky.")
    if len(rest) >= 2 and rest[0] == "-c":
        return "from sky" in rest[1] or "import sky." in rest[1]
    return bool(rest) and os.path.basename(rest[0]).startswith("sky_job_")


def _address(runtime):
    """The socket by a short name, however long the folder's: a socket's path ends at 108 bytes."""
    return f"/proc/self/fd/{os.open(os.path.join(runtime, '.sky'), os.O_RDONLY | os.O_DIRECTORY)}/python.sock"


# The cluster's half: it listens first and imports then, so that a caller waits for it rather than importing as well.


class _Fork(Exception):
    """Raised in the fork to leave the server's loop: from here on it is the program that was asked for."""


def serve(runtime):
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(_address(runtime))
    listener.listen(64)
    sys.path[0] = ""
    for name in _PRELOADED:
        __import__(name)
    _give_skylet_its_own_port(runtime)
    import gc

    gc.freeze()
    path = os.path.join(runtime, ".sky", "python.sock")
    try:
        _loop(listener, path)
    except _Fork as fork:
        return fork.args[0]
    return None


def _loop(listener, path):
    import selectors

    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(woken, selectors.EVENT_READ)
    children = {}
    while os.path.exists(path):
        for key, _ in selector.select(0.5):
            if key.fileobj is listener:
                connection = listener.accept()[0]
                pid = _fork(connection, selector)
                children[pid] = connection
                selector.register(connection, selectors.EVENT_READ, pid)
            elif key.fileobj == woken:
                os.read(woken, 1024)
            elif key.data in children:
                _relay(key.fileobj, key.data, selector)
        _reap(children, selector)
    for pid in children:
        _signal_tree(pid, signal.SIGKILL)


def _fork(connection, selector):
    connection.settimeout(10)
    try:
        length, ancillary, _, _ = connection.recvmsg(8, socket.CMSG_SPACE(3 * 4))
        files = array.array("i")
        for _, _, data in ancillary:
            files.frombytes(data)
        size, request = int.from_bytes(length, "big"), b""
        while len(request) < size and (part := connection.recv(size - len(request))):
            request += part
        request = json.loads(request)
    except (OSError, ValueError):
        connection.close()
        return 0
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        for number in (*_FORWARDED, signal.SIGCHLD):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        os.setsid()
        for standard, file in enumerate(files):
            os.dup2(file, standard)
        for key in list(selector.get_map().values()):
            with contextlib.suppress(OSError):
                os.close(key.fd)
        selector.close()
        connection.close()
        for file in files:
            os.close(file)
        raise _Fork(request)
    for file in files:
        os.close(file)
    connection.setblocking(False)
    return pid


def _relay(connection, pid, selector):
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


def _reap(children, selector):
    for pid in list(children):
        done, status = os.waitpid(pid, os.WNOHANG) if pid else (0, 0)
        if pid and not done:
            continue
        connection = children.pop(pid)
        if connection.fileno() < 0:
            continue
        with contextlib.suppress(KeyError):
            selector.unregister(connection)
        with contextlib.suppress(OSError):
            connection.send(os.waitstatus_to_exitcode(status).to_bytes(8, "big", signed=True))
        connection.close()


def _signal_tree(pid, number):
    parents = {}
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


def _give_skylet_its_own_port(runtime):
    """SkyPilot takes the first free port from 46590 on; two clusters that start at once take the same, and one never comes up."""
    import zlib

    from sky.skylet import constants

    constants.SKYLET_GRPC_PORT = 20000 + zlib.crc32(runtime.encode()) % 12000


def become(request):
    """In the fork: run what was asked for, as the interpreter would."""
    import random
    import runpy

    random.seed()
    os.environ.clear()
    os.environ.update(request["environment"])
    os.umask(request["umask"])
    os.chdir(request["folder"])
    arguments = request["arguments"]
    if arguments[0] == "-u":
        arguments = arguments[1:]
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif arguments[0] == "-c":
        sys.argv = ["-c", *arguments[2:]]
        exec(compile(arguments[1], "<string>", "exec"), {"__name__": "__main__", "__builtins__": __builtins__})  # noqa: S102
    else:
        sys.argv = arguments
        sys.path[0] = os.path.dirname(os.path.abspath(arguments[0]))
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        asked = serve(sys.argv[2])
        if asked is not None:
            become(asked)
    else:
        code = call(sys.argv[1:])
        if code is None:
            os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
        sys.exit(code)
