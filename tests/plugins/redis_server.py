"""A real Redis server of our own, on a free port."""

from __future__ import annotations

import functools
import os
import secrets
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from bgtop.testing import wait_until


def program(name: str, install: str) -> str:
    """The path of a program; without it the test is skipped (with CI set: fails)."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"needs {name}: {install}")
    return path


def free_port() -> int:
    """Below those the kernel gives to whoever connects: what connects now cannot take it.

    A cluster node also takes the port 10,000 above its own.
    """
    while True:
        port = 10_000 + secrets.randbelow(22_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@functools.cache
def _knows_channels(program: str) -> bool:
    """Redis 6.0 knows no rights to channels: everybody has all, and to grant them is an error."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return "v=6.0." not in said.stdout


class RedisServer:
    """A real redis-server that keeps nothing on disk, on a free port and a unix socket.

    ``BGTOP_TEST_REDIS_SERVER`` is the program of another release.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        """Each option is a word of the command line; a configuration file may come first."""
        self.program = os.environ.get("BGTOP_TEST_REDIS_SERVER") or program(
            "redis-server", "apt-get install redis-server"
        )
        self.folder = folder
        self.port = free_port()
        self.socket_path = str(folder / "redis.sock")
        self.options = [word for word in options if word != "&*" or _knows_channels(self.program)]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, *more: str) -> None:
        """Start (again, on the same port) and wait until it accepts connections."""
        options = [
            *self.options,
            *("--bind", "127.0.0.1", "--port", str(self.port), "--unixsocket", self.socket_path),
            *("--save", "", "--appendonly", "no", "--dir", str(self.folder)),
            *more,
        ]
        log = (self.folder / "redis.log").open("ab")
        with log:
            self.process = subprocess.Popen([self.program, *options], stdout=log, stderr=log)
        wait_until(self._accepts, why=f"redis-server listens, see {log.name}")

    def _accepts(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "redis.log").read_text()
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.socket_path) == 0

    def send_signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        """End it at once; also when it is stopped by SIGSTOP. Safe to repeat."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None
