"""For ``django-tasks``: ``"BACKEND": "bgworker.contrib.django.backport.BgWorkerBackend"``."""

from __future__ import annotations

import django_tasks
from django_tasks.backends.base import BaseTaskBackend

from bgworker.contrib.django.queue import QueueBackend


class BgWorkerBackend(QueueBackend, BaseTaskBackend):
    """Tasks are stored in one SQLite file and run by ``manage.py bgworker``."""

    api = django_tasks
