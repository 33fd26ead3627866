"""When a message counts as seen: after all that was read with it."""

from __future__ import annotations

from time import monotonic
from types import SimpleNamespace

from bgtop.backends.celery.ages import Ages
from bgtop.backends.celery.catalog import Queue


def test_a_message_that_came_during_a_slow_poll_is_not_as_old_as_the_poll() -> None:
    depths = SimpleNamespace(queues=[Queue(b"", b"mail", b":")], counts=[{0: 1}], held=[(0, 0, 1)])
    ages, message = Ages(), b'{"delivery_tag": "1"}'
    began = monotonic() - 100
    ages.begin(depths, began)
    ages.requests()
    ages.absorb([200])
    ages.meet(depths)
    ages.requests()
    put = monotonic()
    ages.absorb([message, message])

    assert ages.since[0] >= put
