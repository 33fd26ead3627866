"""``bgtop demo``: watch a queue that was made for the purpose."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bgtop.cli.options import Parser, add_display, add_screen, new_parser
from bgtop.cli.settings import complain, config_of
from bgtop.cli.terminal import is_interactive
from bgtop.config import Config, SourceSpec
from bgtop.demo.stage import url_of
from bgtop.oneshot import Wanted
from bgworker.values import replace

if TYPE_CHECKING:
    import argparse

_START_WITHIN = 20.0  # seconds
_SILENT_FOR = 2.0  # seconds we wait at the end without saying why
_SNAPSHOTS = 3
_APART = 2.0  # seconds


def parser(_: str) -> Parser:
    """What reads the arguments."""
    made = new_parser(
        "bgtop demo",
        "Start a queue with workers in a temporary folder and watch it; nothing is left behind.",
        usage="bgtop demo [OPTIONS]",
    )
    add_display(made)
    add_screen(made)
    return made


def run(_: str, options: argparse.Namespace) -> int:
    """Start it and watch."""
    return run_demo(config_of(options, need_source=False), verbose=options.verbose)


def run_demo(config: Config, *, verbose: bool = False) -> int:
    """The live view of a demonstration; without a terminal three text snapshots of it."""
    with demonstration() as url:
        config = replace(
            config,
            sources=(SourceSpec(name="demo", url=url),),
            refresh_interval=min(config.refresh_interval, 1.0),
            history=False,
        )
        if is_interactive():
            from bgtop.cli.live import watch

            return watch(config, verbose=verbose)
        from bgtop.cli.snapshot import print_snapshot

        status = 0
        for number in range(_SNAPSHOTS):
            if number:
                sys.stdout.write("\n")
            wanted = Wanted(samples=2, interval=_APART)
            status = max(status, print_snapshot(config, wanted, verbose=verbose))
        return status


@contextlib.contextmanager
def demonstration() -> Iterator[str]:
    """A queue with workers and a producer, by URL; gone at the end."""
    folder = tempfile.mkdtemp(prefix="bgtop-demo-")
    stage = subprocess.Popen(
        [sys.executable, "-m", "bgtop.demo.stage", folder],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        _await_queue(os.path.join(folder, "demo.db"), stage)
        yield url_of(folder)
    finally:
        if stage.stdin is not None:
            stage.stdin.close()
        try:
            stage.wait(_SILENT_FOR)
        except subprocess.TimeoutExpired:
            complain("waiting for the demonstration's workers to end")
            stage.wait()


def _await_queue(path: str, stage: subprocess.Popen[bytes]) -> None:
    """Wait until the first job is stored: only then is there a queue to look at."""
    deadline = time.monotonic() + _START_WITHIN
    while not os.path.exists(f"{path}-wal"):
        if stage.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the demonstration did not start")
        time.sleep(0.02)
