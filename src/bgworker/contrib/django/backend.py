"""For ``django.tasks``: ``"BACKEND": "bgworker.contrib.django.backend.BgWorkerBackend"``."""

from __future__ import annotations

import django.tasks
from django.tasks.backends.base import BaseTaskBackend

from bgworker.contrib.django.queue import QueueBackend


class BgWorkerBackend(QueueBackend, BaseTaskBackend):
    """Tasks are stored in one SQLite file and run by ``manage.py bgworker``."""

    api = django.tasks
