"""Run ``bgworker run --app tasks``, then ``python enqueue.py``."""

from bgworker import BgWorker, Retry

bg = BgWorker()  # the queue is $BGWORKER_URL, else bgworker.db in this folder


@bg.task(name="count_words", retry=Retry(max=3, delay=2), timeout=30)
def count_words(text: str) -> int:
    """Count."""
    return len(text.split())


@bg.task(name="total")
def total(counts: list[int]) -> int:
    """Add up what others have counted."""
    return sum(counts)
