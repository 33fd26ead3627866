"""What a worker's processes import: ``bgworker run --app bgworker.contrib.django.worker:ALIAS``."""

from __future__ import annotations

from typing import Any

import django
from django.db import connections
from django.utils.module_loading import autodiscover_modules

from bgworker.contrib.django.results import backends

django.setup()
autodiscover_modules("tasks")  # here once, rather than in each child
connections.close_all()  # a forked child must not share one


def __getattr__(alias: str) -> Any:
    """The app of the backend with this alias."""
    for backend in backends():
        if backend.alias == alias:
            return backend.app
    raise AttributeError(alias)
