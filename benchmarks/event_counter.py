"""bgtop as an exporter uses it: follows the events of a source, and reads the sums every 2 s.

``event_counter.py URL``: prints a line when it hears, and one with the counts for each line of its
standard input.
"""

from __future__ import annotations

import json
import select
import sys
import time
from contextlib import closing

from bgtop.contracts import Interest, Settings
from bgtop.registry import open_backend, plugin_for

_INTERVAL = 2.0


def main() -> None:
    """Until standard input is closed."""
    url = sys.argv[1]
    with closing(open_backend(plugin_for(url), url, Settings())) as backend:
        while (reading := backend.poll(Interest(events=True)).events) is None:
            time.sleep(0.05)
        print("hears", flush=True)
        while True:
            ready, _, _ = select.select([sys.stdin], [], [], _INTERVAL)
            reading = backend.poll(Interest(events=True)).events
            if ready:
                if not sys.stdin.readline():
                    return
                counts = {"missed": reading.missed if reading else None}
                for series in reading.series if reading else ():
                    for kind, count in series.counts.items():
                        counts[kind.value] = (counts.get(kind.value) or 0) + count
                print(json.dumps(counts), flush=True)


if __name__ == "__main__":
    main()
