"""``bgworker run`` that notes, while it works, in which of its functions its processor is.

For ``queue_profile.py``. A timer of processor time rings; what it finds counts for the innermost
function of bgworker's own, so a statement or a system call counts for the function that makes it.
It ends as ``bgworker run`` does, and writes its counts beside the stamps of the jobs.
"""

from __future__ import annotations

import collections
import json
import os
import signal
import sys
from types import FrameType

import bgworker
from bgworker.cli import main

_OURS = os.path.dirname(bgworker.__file__) + os.sep
_EVERY = 0.001  # s; the kernel rings at its next tick
_counts: collections.Counter[str] = collections.Counter()


def _note(_: int, frame: FrameType | None) -> None:
    while frame is not None and not frame.f_code.co_filename.startswith(_OURS):
        if frame.f_code.co_filename == "<string>":  # the __init__ of a dataclass
            _counts["values.py"] += 1
            return
        frame = frame.f_back
    if frame is not None:
        code = frame.f_code
        _counts[f"{code.co_filename.removeprefix(_OURS)} {code.co_name}"] += 1


if __name__ == "__main__":
    signal.signal(signal.SIGPROF, _note)
    signal.setitimer(signal.ITIMER_PROF, _EVERY, _EVERY)
    try:
        main(sys.argv[1:])
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        with open(os.environ["BENCH_STAMPS"] + ".samples", "w", encoding="utf-8") as file:
            json.dump(_counts, file)
