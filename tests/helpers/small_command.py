"""The command as a shell runs it, with the models of `fault_child`: a process without TensorFlow.

``python small_command.py FAULT ARGUMENTS...``; FAULT is ``none`` or one of `FAULTS`.
"""

import errno
import os
import sys
import threading
from pathlib import Path

sys.path.append(str(Path(__file__).parent))

import faults

from actviz.batch import figure_writer
from actviz.cli import main
from actviz.system import processes
from actviz.worker import client


def no_process(number):
    """Let no process be started from that number on, as beyond ``ulimit -u``."""
    real, started = processes.subprocess.Popen, []

    def start(*arguments, **options):
        if len(started) >= number:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        started.append(real(*arguments, **options))
        return started[-1]

    processes.subprocess.Popen = start


def no_thread(number):
    """Let no thread be started from that number on."""
    real, started = threading.Thread.start, []

    def start(thread):
        if len(started) >= number:
            message = "can't start new thread"
            raise RuntimeError(message)
        started.append(thread)
        real(thread)

    threading.Thread.start = start


FAULTS = {
    "no process": lambda: no_process(0),
    **{f"threads {number}": lambda number=number: no_thread(number) for number in range(8)},
}

if __name__ == "__main__":
    client.PROGRAM = faults.BEGUN
    figure_writer.warm_up = lambda: None
    fault = sys.argv.pop(1)
    if fault != "none":
        FAULTS[fault]()
    main()
