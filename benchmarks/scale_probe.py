"""One refresh of bgtop after the other, timed from inside: printed as JSON, run by ``scale.py``.

A refresh is what happens between two pictures: the poll, what is remembered of it and the page
that is drawn, without the interval's wait and without the terminal's own time.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from contextlib import closing
from datetime import datetime, timezone

from bgtop.cli.feeds import spare_the_collector
from bgtop.contracts import Interest, Settings, Size
from bgtop.model import Frame, Snapshot, Source, WorkerState
from bgtop.registry import open_backend, plugin_for
from bgtop.state.fold import Polled
from bgtop.state.intake import Selection
from bgtop.state.knowledge import Knowledge, learn
from bgtop.view.keys import follow
from bgtop.view.pages import page_of
from bgtop.view.ui import Ui

_COMPLETE_WITHIN = 30.0
_ALIVE = (None, WorkerState.ACTIVE, WorkerState.IDLE)


def measure(url: str, refreshes: int, interval: float) -> dict[str, float]:
    """Medians over the refreshes that follow the first complete reading."""
    spare_the_collector()
    plugin = plugin_for(url)
    with closing(open_backend(plugin, url, Settings())) as backend:
        now = datetime.now(timezone.utc)
        sources = (Source(name="bench", info=backend.info),)
        known = Knowledge(snapshot=Snapshot(taken_at=now, sources=sources))
        began = time.monotonic()
        while not backend.poll(Interest()).complete:
            if time.monotonic() - began > _COMPLETE_WITHIN:
                raise TimeoutError("the readings do not become complete")
            time.sleep(0.05)
        ready = time.monotonic() - began
        ui = Ui(size=Size(120, 40), interval=interval)
        polls, refreshes_ms, cpu, reading = [], [], [], None
        for _ in range(refreshes):
            time.sleep(interval)
            start, used = time.perf_counter(), time.process_time()
            reading = backend.poll(Interest())
            polled = time.perf_counter()
            sample = Polled(
                source="bench",
                info=backend.info,
                reading=reading,
                clock=time.monotonic(),
                poll_seconds=polled - start,
            )
            known = learn(known, sample, Selection())
            frame = Frame(snapshot=known.snapshot, rates=known.rates)
            ui = follow(ui, frame)
            page_of(frame, ui, datetime.now(timezone.utc))
            polls.append((polled - start) * 1e3)
            refreshes_ms.append((time.perf_counter() - start) * 1e3)
            cpu.append((time.process_time() - used) * 1e3)
    assert reading is not None
    return {
        "queues": len(reading.queues),
        "workers": len(reading.workers),
        "alive": sum(
            w.state is None or w.state.value in {"idle", "active"} for w in reading.workers
        ),
        "depth": sum(queue.depth or 0 for queue in reading.queues),
        "first_s": ready,
        "poll_ms": statistics.median(polls),
        "refresh_ms": statistics.median(refreshes_ms),
        "slowest_ms": max(refreshes_ms),
        "cpu_ms": statistics.median(cpu),
        "round_trips": reading.round_trips,
        "commands": reading.commands,
        "rss_mb": _rss_mb(),
    }


def _rss_mb() -> float:
    with open("/proc/self/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    return int(fields["VmRSS"].split()[0]) / 1024


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))
