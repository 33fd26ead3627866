"""Customers: a steady trickle of jobs, and now and then a burst."""

from __future__ import annotations

import random
import time

from bgtop.demo.app import (
    call_webhook,
    capture_payment,
    import_catalogue,
    make_thumbnail,
    nightly_report,
    send_email,
)

_SUPPLIERS = ("acme", "globex", "initech", "umbrella")


def _trickle() -> None:
    """What a quarter of a second brings."""
    for _ in range(random.randrange(2, 7)):
        send_email.delay(f"customer{random.randrange(10_000)}@example.org")
    if random.random() < 0.5:
        make_thumbnail.delay(random.randrange(10_000), random.choice((120, 480, 1200)))
    if random.random() < 0.7:
        capture_payment.delay(random.randrange(100_000))
    if random.random() < 0.3:
        call_webhook.delay(f"https://shop{random.randrange(40)}.example.org/hook")
    if random.random() < 0.12:
        import_catalogue.delay(random.choice(_SUPPLIERS))
    if random.random() < 0.1:
        nightly_report.options(countdown=random.uniform(5, 40)).delay(random.randrange(40))


def _burst() -> None:
    """A newsletter, or an album of photos."""
    if random.random() < 0.5:
        send_email.map([(f"reader{n}@example.org",) for n in range(random.randrange(150, 400))])
    else:
        album = random.randrange(10_000)
        make_thumbnail.map([(album + n, 480) for n in range(random.randrange(10, 30))])


def main() -> None:
    """Produce until told to stop."""
    for shop in range(12):
        nightly_report.options(countdown=random.uniform(8, 90)).delay(shop)
    _burst()
    next_burst = time.monotonic() + 6
    while True:
        _trickle()
        if time.monotonic() >= next_burst:
            _burst()
            next_burst = time.monotonic() + random.uniform(8, 15)
        time.sleep(0.25)


if __name__ == "__main__":
    main()
