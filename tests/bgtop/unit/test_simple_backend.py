"""What SimpleBackend makes of its four answers; the guide runs the conformance suite on one."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from bgtop.contracts import Interest, NotPermitted, Settings, Unreachable, WrongSource
from bgtop.model import Capability, WorkerReading
from bgtop.simple import SimpleBackend

NOW = datetime(2026, 11, 21, tzinfo=timezone.utc)


class Lengths(SimpleBackend):
    """The two methods everybody writes."""

    system, broker = "shelf", "memory"

    def __init__(self, **lengths: Any) -> None:
        super().__init__("shelf://user:hunter2@here", Settings())
        self.lengths: dict[str, Any] = lengths
        self.raises: BaseException | None = None
        self.disconnected = 0

    def queue_names(self) -> Iterable[str]:
        if self.raises is not None:
            raise self.raises
        return [*self.lengths, *self.lengths]

    def queue_lengths(self, names: Sequence[str], /) -> Mapping[str, int]:
        self.asked(commands=len(names))
        return {name: self.lengths[name] for name in names if self.lengths[name] is not None}

    def disconnect(self) -> None:
        self.disconnected += 1


class Everything(Lengths):
    ended: datetime = NOW

    def workers(self) -> Iterable[WorkerReading]:
        return [WorkerReading(name=name, last_heartbeat_at=NOW) for name in ("w2", "w1")]

    def last_completions(self, names: Sequence[str], /) -> Mapping[str, datetime]:
        return {"b": self.ended}


def test_capabilities_follow_from_the_methods() -> None:
    class Declared(Everything):
        capabilities = frozenset({Capability.DEPTH, Capability.WORKERS})

    assert Lengths.capabilities == {Capability.DEPTH}
    assert Everything.capabilities == {
        *(Capability.DEPTH, Capability.WORKERS),
        *(Capability.HEARTBEATS, Capability.LAST_COMPLETED),
    }
    assert Declared.capabilities == {Capability.DEPTH, Capability.WORKERS}


def test_a_reading_is_sorted_unique_and_counted() -> None:
    backend = Everything(b=2, a=0)
    backend.poll(Interest())
    reading = backend.poll(Interest())

    assert [(queue.name, queue.depth) for queue in reading.queues] == [("a", 0), ("b", 2)]
    assert [queue.last_completed_at for queue in reading.queues] == [None, NOW]
    assert [worker.name for worker in reading.workers] == ["w1", "w2"]
    assert (reading.round_trips, reading.commands) == (1, 2)
    assert reading.warnings == ()


def test_a_length_that_is_missing_is_unknown_and_said() -> None:
    reading = Lengths(**{"a\nb": None, "c": 1}).poll(Interest())

    assert [queue.depth for queue in reading.queues] == [None, 1]
    assert reading.warnings == ("the depth of 'a\\nb' is not known",)


def test_a_warning_is_one_line_and_of_one_reading() -> None:
    class Warns(Lengths):
        def queue_names(self) -> Iterable[str]:
            self.warn("two\nlines\x1b[31m")
            return ()

    backend = Warns()
    backend.poll(Interest())

    assert backend.poll(Interest()).warnings == ("two\\nlines\\x1b[31m",)


def test_times_are_made_utc_and_need_a_zone() -> None:
    backend = Everything(b=1)
    backend.ended = NOW.astimezone(timezone(timedelta(hours=5)))
    (queue,) = backend.poll(Interest()).queues
    backend.ended = NOW.replace(tzinfo=None)

    assert queue.last_completed_at is not None
    assert queue.last_completed_at.utcoffset() == timedelta(0)
    with pytest.raises(ValueError, match="time zone"):
        backend.poll(Interest())


@pytest.mark.parametrize(
    ("raised", "kind", "words"),
    [
        (FileNotFoundError(2, "No such file"), Unreachable, "No such file"),
        (PermissionError(13, "Permission denied"), NotPermitted, "Permission denied"),
        (TimeoutError(), Unreachable, "TimeoutError"),
        (WrongSource("no shelf"), WrongSource, "no shelf"),
        (ZeroDivisionError("a mistake"), ZeroDivisionError, "a mistake"),
    ],
)
def test_a_failure_disconnects_and_the_next_poll_reads(
    raised: Exception, kind: type[Exception], words: str
) -> None:
    backend = Lengths(a=1)
    backend.raises = raised
    with pytest.raises(kind) as failed:
        backend.poll(Interest())
    backend.raises = None

    assert type(failed.value) is kind
    assert words in str(failed.value)
    assert "hunter2" not in str(failed.value)
    assert backend.disconnected == 1
    assert backend.poll(Interest()).queues


def test_closing_waits_for_the_thread_that_polls() -> None:
    """Its connection is freed when nobody uses it any more, and an error of that time is ours."""
    inside, go_on = threading.Event(), threading.Event()

    class Slow(Lengths):
        def queue_lengths(self, names: Sequence[str], /) -> Mapping[str, int]:
            inside.set()
            go_on.wait(10)
            raise ZeroDivisionError

    backend = Slow(a=1)
    raised: list[BaseException] = []

    def poll() -> None:
        try:
            backend.poll(Interest())
        except BaseException as error:  # noqa: BLE001  # the test tells
            raised.append(error)

    thread = threading.Thread(target=poll)
    thread.start()
    assert inside.wait(10)
    backend.close()
    during = backend.disconnected
    go_on.set()
    thread.join(10)

    assert during == 0
    assert backend.disconnected > 0
    assert [type(error) for error in raised] == [Unreachable]
    with pytest.raises(Unreachable, match=r"shelf://user:\*\*\*@here was closed"):
        backend.poll(Interest())


def test_two_methods_have_to_be_written() -> None:
    class Nothing(SimpleBackend):
        system, broker = "shelf", "memory"

    backend = Nothing("shelf://here", Settings())

    with pytest.raises(NotImplementedError):
        backend.queue_names()
    with pytest.raises(NotImplementedError):
        backend.queue_lengths([])
