"""How the processes that tests start are ended, whatever state they are in.

Runs in the Pythons of other releases too (see :mod:`worlds`): it needs nothing but Python 3.8.
"""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fork_server import Process

_SECONDS = 20.0


def end(process: Process, number: int = signal.SIGTERM) -> None:
    """Send this signal and wait for the end; a process that stays is killed, and fails the test."""
    process.send_signal(number)
    try:
        process.wait(_SECONDS)
    except subprocess.TimeoutExpired:
        kill(process)
        raise


def kill(process: Process) -> None:
    """What the kernel does when memory is short: nobody can say good-bye.

    A process that leads a group takes it along. Safe to repeat.
    """
    if process.returncode is not None:
        return
    # It was not waited for, so its number is still its own, even when it has ended.
    if os.getpgid(process.pid) == process.pid:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()
