"""All that is measured of the queue, in one run: `make bench-queue`.

``queue_speed.py`` sets bgworker beside other systems, ``queue_bars.py`` measures it alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import command_line
import queue_bars
import queue_speed
from command_line import progress


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 the run is over, 130 interrupted."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        allow_abbrev=False,
        parents=[queue_speed.options(), queue_bars.options(), command_line.options()],
    )
    args = parser.parse_args(argv)
    try:
        document = {"comparison": queue_speed.compare(args)}
        command_line.tell(args.json, "")
        document["alone"] = queue_bars.measure(args)
    except KeyboardInterrupt:
        progress("")
        return 130
    command_line.write(args.json, document)
    return 0


if __name__ == "__main__":
    sys.exit(main())
