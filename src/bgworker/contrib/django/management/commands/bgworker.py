"""``manage.py bgworker``: run a worker for the project's tasks."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from bgworker.cli.run import add_options, worker_options
from bgworker.contrib.django.results import backends
from bgworker.errors import BgWorkerError
from bgworker.values import replace
from bgworker.worker.run import run_worker


class Command(BaseCommand):
    """Runs until SIGTERM or Ctrl-C."""

    help = "Run a worker for the tasks of this project, until SIGTERM or Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        """Those of ``bgworker run``; without ``--queues`` it serves the backend's QUEUES."""
        parser.add_argument("--backend", metavar="ALIAS", help="of TASKS (default: the only one)")
        add_options(parser)

    def handle(self, **options: Any) -> None:
        """Run a worker in this process."""
        found = {backend.alias: backend for backend in backends()}
        alias = options["backend"] or (next(iter(found)) if len(found) == 1 else None)
        if alias not in found:
            known = ", ".join(found) or "none"
            raise CommandError(f"--backend: one of TASKS that is bgworker's is needed: {known}")
        chosen = worker_options(
            Namespace(**options), app=f"bgworker.contrib.django.worker:{alias}", url=None
        )
        if chosen.queues is None:
            chosen = replace(chosen, queues=tuple(sorted(found[alias].queues)) or None)
        # The worker's other processes are programs of their own and must find the project too.
        paths = [sys.path[0], *filter(None, [os.environ.get("PYTHONPATH")])]
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
        try:
            run_worker(chosen)
        except BgWorkerError as error:
            raise CommandError(str(error)) from error
