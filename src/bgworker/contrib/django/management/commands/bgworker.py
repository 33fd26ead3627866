"""``manage.py bgworker``: run a worker for the project's tasks."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from bgworker.contrib.django.results import backends
from bgworker.errors import BgWorkerError
from bgworker.worker.run import WorkerOptions, run_worker


class Command(BaseCommand):
    """Runs until SIGTERM or Ctrl-C."""

    help = "Run a worker for the tasks of this project, until SIGTERM or Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        """As ``bgworker run`` has them."""
        parser.add_argument("--backend", metavar="ALIAS", help="of TASKS (default: the only one)")
        parser.add_argument("--concurrency", type=int, default=os.cpu_count() or 1, metavar="N")
        parser.add_argument("--queues", metavar="A,B", help="serve these only (default: QUEUES)")
        parser.add_argument("--grace", type=float, default=8.0, metavar="S")

    def handle(self, **options: Any) -> None:
        """Run a worker in this process."""
        found = {backend.alias: backend for backend in backends()}
        alias = options["backend"] or (next(iter(found)) if len(found) == 1 else None)
        if alias not in found:
            known = ", ".join(found) or "none"
            raise CommandError(f"--backend: one of TASKS that is bgworker's is needed: {known}")
        if options["concurrency"] < 1:
            raise CommandError("--concurrency must be 1 or more")
        backend = found[alias]
        queues = options["queues"].split(",") if options["queues"] else sorted(backend.queues)
        # The worker's other processes are programs of their own and must find the project too.
        paths = [sys.path[0], *filter(None, [os.environ.get("PYTHONPATH")])]
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
        try:
            run_worker(
                WorkerOptions(
                    app=f"bgworker.contrib.django.worker:{alias}",
                    concurrency=options["concurrency"],
                    queues=tuple(queues) or None,
                    grace=options["grace"],
                )
            )
        except BgWorkerError as error:
            raise CommandError(str(error)) from error
