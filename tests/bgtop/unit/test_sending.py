"""The thread that sends: what came last is sent, also at the end."""

from __future__ import annotations

from threading import Event, Thread

from bgtop.exporters.sending import Courier
from bgtop.testing import wait_until


class Receiver:
    """Takes what there is whenever it is let, and keeps what it took."""

    def __init__(self) -> None:
        self.newest = 0
        self.taken: list[int] = []
        self.busy, self.free = Event(), Event()

    def deliver(self) -> str | None:
        newest = self.newest
        self.busy.set()
        assert self.free.wait(20)
        self.taken.append(newest)
        return None


def test_what_came_while_something_was_sent_is_sent_before_the_end() -> None:
    receiver = Receiver()
    courier = Courier("test", receiver.deliver)
    receiver.newest = 1
    courier.ring()
    assert receiver.busy.wait(20)
    receiver.newest = 2
    courier.ring()
    closing = Thread(target=courier.close)
    closing.start()
    wait_until(lambda: courier.is_over, why="the end to be near")
    receiver.free.set()
    closing.join(20)

    assert receiver.taken == [1, 2]
