"""Workers that are forked from a process which has imported TensorFlow: the import costs 3 s of processor time each.

``python warm_workers.py serve SOCKET`` is that process; ``python warm_workers.py run SOCKET ARGUMENTS...`` is the
command with such workers. What a worker imports, and what the system does to one that starts, other tests show with real ones.
``python warm_workers.py small SOCKET`` forks workers of the models of `fault_child`, without TensorFlow.
"""

import array
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
# What the command starts in place of a worker: hands the descriptors on, and ends as the worker ends.
STUB = """
import array, json, os, socket, sys
reader, writer = sys.argv[1:]
connection = socket.socket(socket.AF_UNIX)
connection.connect({address!r})
text = json.dumps([os.getcwd(), dict(os.environ)]).encode()
descriptors = array.array("i", [int(reader), int(writer), 2])
connection.sendmsg([len(text).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
connection.sendall(text)
os.close(int(reader)), os.close(int(writer)), os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
status = int.from_bytes(connection.recv(4), "big")
if os.WIFSIGNALED(status):
    os.kill(os.getpid(), os.WTERMSIG(status))
os._exit(os.waitstatus_to_exitcode(status))
"""


def serve(address):
    """Import what workers compute with, then fork them."""
    from actviz.worker import server

    blocker = server._ImportBlocker()
    sys.meta_path.insert(0, blocker)
    import keras  # noqa: F401
    import tensorflow as tf  # noqa: F401

    def main():
        sys.meta_path.remove(blocker)  # as the worker finds it
        server.main()

    _fork_workers(address, main)


def serve_small(address):
    """Import what the models of `fault_child` compute with, then fork workers for them."""
    import fault_child
    import numpy as np  # noqa: F401

    import actviz.statistics.running_statistics
    import actviz.worker.client  # noqa: F401

    _fork_workers(address, fault_child.main)


def _fork_workers(address, main):
    """Fork a worker, which calls `main`, for every connection until the tests end."""
    parent = os.getppid()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        while os.getppid() == parent:
            if not select.select([listener], [], [], 1)[0]:
                continue
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _watch(connection, main)
            connection.close()


def _watch(connection, main):
    """Fork the worker; tell the stub how it ended, or end it with the stub."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, ancillary, _, _ = connection.recvmsg(4, socket.CMSG_SPACE(3 * 4))
    descriptors = array.array("i", ancillary[0][2])
    text = connection.makefile("rb").read(int.from_bytes(size, "big"))
    worker = os.fork()
    if worker == 0:
        connection.close()
        _work(main, *descriptors, *json.loads(text))
    for descriptor in descriptors:
        os.close(descriptor)
    while True:
        ended, status = os.waitpid(worker, os.WNOHANG)
        if ended:
            with contextlib.suppress(OSError):
                connection.sendall(status.to_bytes(4, "big"))
            os._exit(0)
        if select.select([connection], [], [], 0.01)[0]:
            os.kill(worker, signal.SIGKILL)


def _work(main, reader, writer, errors, folder, environment):
    os.setsid()
    os.dup2(errors, 2)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:] = ["-c", str(reader), str(writer)]
    main()


def start(address, action="serve"):
    """Start the process that forks workers, ``serve`` or ``small``; return once it does."""
    from actviz.worker.client import environment

    process = subprocess.Popen(
        [sys.executable, "-P", __file__, action, address],
        env={**environment(verbose=False), "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not os.path.exists(address):
        assert process.poll() is None, "no process to fork workers from"
        time.sleep(0.05)
    return process


if __name__ == "__main__":
    action, address = sys.argv[1:3]
    if action == "serve":
        serve(address)
    elif action == "small":
        sys.path.append(str(Path(__file__).parent))  # -P leaves it out
        serve_small(address)
    else:
        from actviz.cli import main
        from actviz.worker import client

        client.PROGRAM = STUB.format(address=address)
        sys.argv[:] = ["actviz", *sys.argv[3:]]
        main()
