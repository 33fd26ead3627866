"""Processes of the watched systems, forked by a Python that has imported their libraries before.

The tests start hundreds of workers, and most of what it takes to start one is to import its
library. Here one Python for each system does that once. Whoever is started is a process of its own
in everything else: its arguments, environment, folder, output and end are those of
``python -m MODULE ARGUMENTS``.

Runs in the Pythons of other releases too (see :mod:`worlds`): it needs nothing but Python 3.8.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import importlib.machinery
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Union


class Forked:
    """What :class:`subprocess.Popen` is for a process that is started there."""

    def __init__(self, server: _Server, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._server = server

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._server.ask({"pid": self.pid})
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        began, pause = time.monotonic(), 0.001
        while self.poll() is None:
            if timeout is not None and time.monotonic() - began > timeout:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            time.sleep(pause)
            pause = min(pause * 2, 0.05)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        # Until it was polled its number is its own.
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


Process = Union[Forked, "subprocess.Popen[bytes]"]


def start(
    module: str,
    arguments: Sequence[str],
    *,
    python: str = sys.executable,
    imported: Sequence[str] = (),
    environment: Mapping[str, str],
    folder: Path,
    log: Path,
    leads: bool = False,
    anew: bool = False,
) -> Process:
    """``python -m module arguments`` in a folder; with ``leads`` it is a process group of its own.

    A ``log`` that is a terminal is its input too, and the terminal it is controlled by when it
    leads. ``imported`` are the modules that are there before; one that cannot be had is left out.
    With ``anew`` nothing is: for an environment that Python itself reads when it starts.
    """
    if anew:
        with log.open("ab") as output:
            return subprocess.Popen(
                [python, "-m", module, *arguments],
                env=environment,
                cwd=folder,
                stdout=output,
                stderr=output,
                start_new_session=leads,
            )
    server = _server(python, tuple(imported))
    words = {
        "module": module,
        "arguments": list(arguments),
        "environment": dict(environment),
        "folder": str(folder),
        "log": str(log),
        "leads": leads,
    }
    return Forked(server, server.ask(words))


class _Server:
    """The Python that forks; it ends with its standard input, and those it has started with it."""

    def __init__(self, python: str, modules: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            [python, __file__, *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        self._lock = threading.Lock()
        atexit.register(self._close)

    def ask(self, words: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            print(json.dumps(words), file=self._process.stdin, flush=True)
            return json.loads(self._process.stdout.readline())

    def _close(self) -> None:
        with self._process:
            pass


@lru_cache(maxsize=None)  # noqa: UP033  # Python 3.8 has no cache
def _server(python: str, modules: tuple[str, ...]) -> _Server:
    return _Server(python, modules)


# The other side


def _serve(modules: Sequence[str]) -> dict[str, Any]:
    """Start processes, and tell how they end; returns in those that were started."""
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    # What is printed while importing must not meet the pipe.
    os.dup2(2, 1)
    # One that comes right after the fork would be forgotten: it waits until the child is ready.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    for module in modules:
        with suppress(ImportError):
            importlib.import_module(module)
    gc.collect()
    gc.freeze()
    started = set()
    for line in requests:
        words: dict[str, Any] = json.loads(line)
        if "module" in words:
            answer: int | None = os.fork()
            if answer == 0:
                requests.close()
                answers.close()
                return words
            started.add(answer)
        else:
            pid, status = os.waitpid(words["pid"], os.WNOHANG)
            started.discard(pid)
            answer = _code(status) if pid else None
        print(json.dumps(answer), file=answers, flush=True)
    for pid in started:
        leads = os.getpgid(pid) == pid
        (os.killpg if leads else os.kill)(pid, signal.SIGKILL)
    sys.exit()


def _code(status: int) -> int:
    """As :attr:`subprocess.Popen.returncode`; what the standard library has since Python 3.9."""
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _become(words: dict[str, Any], path: list[str]) -> None:
    """Be the process that was asked for, up to its first line."""
    if words["leads"]:
        os.setsid()
    os.chdir(words["folder"])
    log = os.open(words["log"], os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    source = log if os.isatty(log) else os.open(os.devnull, os.O_RDONLY)
    for number, file in enumerate((source, log, log)):
        os.dup2(file, number)
    if os.isatty(log):
        # Those of the server were opened for a pipe, and write when a block is full.
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
        sys.stdout = os.fdopen(1, "w", 1, encoding="utf-8", closefd=False)
        sys.stderr = os.fdopen(2, "w", 1, encoding="utf-8", closefd=False)
    os.close(log)
    os.environ.clear()
    os.environ.update(words["environment"])
    added = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [words["folder"], *filter(None, added), *path]
    sys.argv[:] = [words["module"], *words["arguments"]]
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _tell_spec(package: str) -> None:
    """Celery before 5.2 takes its own package's place without telling where it comes from."""
    found: Any = sys.modules.get(package)
    if found is not None and getattr(found, "__spec__", None) is None:
        found.__spec__ = importlib.machinery.PathFinder.find_spec(package)


if __name__ == "__main__":
    # Without the folder of this file, which is on the path of nobody else.
    PATH = sys.path[1:]
    sys.path[:] = PATH
    WORDS = _serve(sys.argv[1:])
    _become(WORDS, PATH)
    _tell_spec(WORDS["module"])
    runpy.run_module(WORDS["module"], run_name="__main__", alter_sys=True)
