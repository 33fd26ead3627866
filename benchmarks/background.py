"""Programs that run beside a measurement; nothing of them is left afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

_START_WITHIN = 60.0


@contextlib.contextmanager
def program(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: str,
    log: IO[bytes] | int = subprocess.DEVNULL,
) -> Iterator[subprocess.Popen[bytes]]:
    """A program that says nothing, or to ``log`` only, until the end of the block."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def redis_server() -> Iterator[int]:
    """An empty Redis on the loopback device that keeps nothing on the disk, as its port.

    Raises:
        FileNotFoundError: Redis is not installed.
        TimeoutError: it does not start.
    """
    server = shutil.which("redis-server")
    if server is None:
        raise FileNotFoundError("redis-server is not installed")
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        with program([server, *options], {}, folder):
            deadline = time.monotonic() + _START_WITHIN
            while not _listens(port):
                if time.monotonic() > deadline:
                    raise TimeoutError("redis-server does not start")
                time.sleep(0.02)
            yield port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """A TCP port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
