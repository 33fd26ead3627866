"""Our worker and our producers at work, with their transactions metered."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import replace

from background import program
from peers.meter import Meter
from queue_site import Site, site
from queue_subjects import CHILDREN, PEERS, Subject, ours

_METERED = os.path.join(PEERS, "metered.py")
_STARTED_WITHIN = 60.0


def bgworker(durability: str) -> Subject:
    """Ours, with a durability and isolated children."""
    return next(subject for subject in ours() if subject.name == f"bgworker {durability}")


@contextlib.contextmanager
def queue(durability: str, folder: str) -> Iterator[Site]:
    """A new queue; nobody works yet."""
    with site(bgworker(durability), folder, 1) as here:
        yield here


def url(here: Site) -> str:
    """Where the jobs of a queue are."""
    return f"sqlite:///{here.address}"


@contextlib.contextmanager
def worker(here: Site, *options: str, statements: bool = False) -> Iterator[tuple[int, Meter]]:
    """A worker that has run a job already, as its pid, and the meter of its transactions."""
    path = os.path.join(here.memory, "worker.meter")
    command = (sys.executable, _METERED, "run", "--app", "bgworker_app")
    settings = {**here.subject.settings, "BENCH_METER": path}
    if statements:
        settings["BENCH_STATEMENTS"] = "1"
    subject = replace(
        here.subject,
        worker=(*command, "--concurrency", str(CHILDREN), *options),
        settings=settings,
    )
    meter = Meter(path)
    metered = replace(here, subject=subject)
    here.stamps.clear()
    with metered.worker() as pid:
        metered.drive("fill", 1)
        here.stamps.wait(_STARTED_WITHIN)
        yield pid, meter


@contextlib.contextmanager
def producer(here: Site, number: int) -> Iterator[Meter]:
    """A program that enqueues one job after the other, as fast as it can."""
    path = os.path.join(here.memory, f"producer-{number}.meter")
    meter = Meter(path)
    environment = {**here.environment(), "BENCH_METER": path}
    with program([sys.executable, _METERED, "produce"], environment, PEERS):
        yield meter
