"""A worker whose machine has another time: what its Python is told before anything else."""

from __future__ import annotations

import os
from pathlib import Path

PLUGINS = Path(__file__).parent

_SHIFTED = """\
import datetime
import time

real, usual = time.time, datetime.datetime
time.time = lambda: real() + {offset}


class Shifted(usual):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + datetime.timedelta(seconds={offset})

    @classmethod
    def utcnow(cls):
        return cls.now(datetime.timezone.utc).replace(tzinfo=None)


datetime.datetime = Shifted
"""


def shifted(folder: Path, offset: int) -> dict[str, str]:
    """The environment of a process whose clock is so many seconds ahead."""
    (folder / "sitecustomize.py").write_text(_SHIFTED.format(offset=offset))
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(PLUGINS)])}
