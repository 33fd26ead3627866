"""The tasks of a small shop: fast, slow, failing, retried, crashing and scheduled ones."""

from __future__ import annotations

import os
import random
import time

from bgworker import BgWorker, Retry

bg = BgWorker()

_IMPATIENT = Retry(max=3, delay=1.0, backoff=2.0, jitter=0.3)


class GatewayTimeout(Exception):
    """What a payment gateway answers on a bad day."""


@bg.task(queue="emails", priority=3)
def send_email(address: str) -> str:
    """Fast, and there are many."""
    time.sleep(random.uniform(0.01, 0.06))
    return f"sent to {address}"


@bg.task(queue="thumbnails")
def make_thumbnail(photo: int, width: int) -> dict[str, int]:
    """Slow: it really computes for a while, then waits for a disk."""
    end = time.perf_counter() + random.uniform(0.01, 0.04)
    while time.perf_counter() < end:
        pass
    time.sleep(random.uniform(0.2, 1.2))
    return {"photo": photo, "width": width}


@bg.task(queue="payments", priority=1, retry=_IMPATIENT)
def capture_payment(order: int) -> str:
    """Important and unreliable: often retried, sometimes dead in the end."""
    time.sleep(random.uniform(0.05, 0.3))
    if random.random() < 0.35:
        raise GatewayTimeout(f"order {order}: no answer from the gateway")
    return "captured"


@bg.task(queue="imports", timeout=3.0)
def import_catalogue(supplier: str) -> int:
    """Reads other people's files: fails on bad ones, and the parser crashes on the worst."""
    time.sleep(random.uniform(0.3, 1.5))
    fate = random.random()
    if fate < 0.06:
        os.abort()
    if fate < 0.25:
        raise ValueError(f"{supplier}: line {random.randrange(1, 9999)} has no price")
    return random.randrange(100, 5000)


@bg.task(queue="reports", priority=8)
def nightly_report(shop: int) -> str:
    """Scheduled for later, and not urgent."""
    time.sleep(random.uniform(0.5, 2.0))
    return f"report-{shop}.pdf"


@bg.task(queue="webhooks", retry=Retry(max=2, delay=2.0))
def call_webhook(url: str) -> int:
    """Mostly fine; some customers' servers are not."""
    time.sleep(random.uniform(0.02, 0.4))
    if random.random() < 0.1:
        raise ConnectionError(f"{url} refused the connection")
    return 200
