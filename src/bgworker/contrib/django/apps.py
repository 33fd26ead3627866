"""The Django application: makes the queue's tables when a shared database is migrated."""

from __future__ import annotations

import contextlib
import importlib
from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class BgWorkerConfig(AppConfig):
    """``bgworker.contrib.django`` in ``INSTALLED_APPS``."""

    name = "bgworker.contrib.django"
    label = "bgworker"
    verbose_name = "bgworker"

    def ready(self) -> None:
        """Hear of migrations, and have our settings checked."""
        with contextlib.suppress(ImportError):  # before Django 6, and then the backport does it
            importlib.import_module("django.tasks.checks")
        post_migrate.connect(_make_tables)  # ours has no models, so it is not told itself


def _make_tables(*, using: str, **_: Any) -> None:
    """They cannot be made in the transaction of the first request that needs them."""
    from bgworker.contrib.django.results import backends

    for backend in backends():
        if backend.database == using:
            backend.prepare()
