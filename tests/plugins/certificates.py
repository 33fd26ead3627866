"""A certificate for ``localhost`` that signs itself, made by the real openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

from redis_server import program


class Certificate(NamedTuple):
    """The files of a certificate and its key."""

    path: Path
    key: Path


def make_certificate(folder: Path) -> Certificate:
    """A new one in this folder; without openssl the test is skipped."""
    made = Certificate(folder / "cert.pem", folder / "key.pem")
    words = [
        program("openssl", "apt-get install openssl"),
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
        *("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
        *("-keyout", str(made.key), "-out", str(made.path)),
    ]
    subprocess.run(words, check=True, capture_output=True)
    return made
