"""A worker with options given as JSON, for those the command line may not have."""

from __future__ import annotations

import json
import sys

from bgworker.worker.run import WorkerOptions, run_worker

if __name__ == "__main__":
    run_worker(WorkerOptions(**json.loads(sys.argv[1])))
