"""``bgworker``: run a worker, enqueue, look."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from bgworker.errors import BgWorkerError
from bgworker.log import complain


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 1 it failed, 2 wrong usage, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="bgworker")
    sub = parser.add_subparsers(dest="command", required=True)
    run = sub.add_parser("run")
    run.add_argument("--app", required=True)
    run.add_argument("--url")
    run.add_argument("--concurrency", type=int, default=os.cpu_count() or 1)
    run.add_argument("--queues")
    run.add_argument("--grace", type=float, default=8.0)
    args = parser.parse_args(argv)
    from bgworker.worker.run import WorkerOptions, run_worker

    try:
        run_worker(
            WorkerOptions(
                app=args.app, concurrency=args.concurrency, url=args.url, grace=args.grace
            )
        )
    except BgWorkerError as error:
        complain(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
