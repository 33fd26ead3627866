"""All that is measured of the queue, in one run: `make bench-queue`.

``queue_speed.py`` sets bgworker beside other systems, ``queue_bars.py`` measures it alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import command_line
import queue_bars
import queue_speed


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """One document of both."""
    comparison = queue_speed.compare(args)
    command_line.tell(args.json, "")
    return {"comparison": comparison, "alone": queue_bars.measure(args)}


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 the run is over, 130 interrupted."""
    parsers = [queue_speed.options(), queue_bars.options()]
    return command_line.run(__doc__, parsers, measure, argv)


if __name__ == "__main__":
    sys.exit(main())
