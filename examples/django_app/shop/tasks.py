"""What is done later, in a worker."""

import signal
from pathlib import Path

from django.tasks import TaskContext, task

from shop.models import Order


@task(priority=10)
def confirm(order: int) -> str:
    """Tell the customer."""
    found = Order.objects.get(id=order)
    found.confirmed = True
    found.save()
    return f"confirmed to {found.customer}"


@task(takes_context=True)
def who(context: TaskContext) -> list[str | int]:
    """Say which job this is."""
    return [context.task_result.id, context.attempt]


@task(backend="apart")
async def add(a: int, b: int) -> int:
    """Add, by a worker of the other queue."""
    return a + b


@task(queue_name="slow")
def refuse(word: str) -> None:
    """Fail."""
    raise ValueError(word)


@task(backend="apart")
def hang(begun: str) -> None:
    """Take for ever the first time, as a task whose worker is killed."""
    try:
        Path(begun).touch(exist_ok=False)
    except FileExistsError:
        return
    signal.pause()
