"""The task for Snappea, and how to enqueue it. It keeps no results."""

from __future__ import annotations

import django
from django.apps import apps
from django.core.management import call_command
from stamps import stamp

if not apps.ready:  # a worker is; its models want that
    django.setup()

from snappea.decorators import shared_task


@shared_task
def noop(number: int) -> None:
    stamp(number)


def prepare() -> None:
    """Make its tables."""
    call_command("migrate", database="snappea", verbosity=0)


def enqueue(number: int) -> None:
    noop.delay(number)


enqueue_all = None


def stored() -> None:
    """There is nothing to count."""
