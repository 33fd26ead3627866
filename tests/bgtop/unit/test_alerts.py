"""Rules of the user's: when they are broken, and what happens then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from frames import T0, frame, queues, source

from bgtop.alarms import MOST_AT_ONCE, Alarms
from bgtop.model import (
    Age,
    Alert,
    Failure,
    Frame,
    QueueReading,
    Reading,
    WorkerReading,
    WorkerState,
)
from bgtop.state.alerts import GONE_FOR, Memory, Rules, alerts_of
from bgtop.state.thresholds import Limit, Measure
from bgtop.testing import wait_until

DEEP = Limit(measure=Measure.DEPTH, value=5)


def seen(*rows: QueueReading, workers: tuple[WorkerReading, ...] = ()) -> Frame:
    return frame(source(Reading(taken_at=T0, queues=rows, workers=workers)))


def subjects(rules: Rules, *frames: Frame, apart: float = 1.0) -> list[tuple[str, str]]:
    """Rule and subject of each alert after all frames, so many seconds apart."""
    memory, found = Memory(), ()
    for number, one in enumerate(frames):
        found, memory = alerts_of(rules, one, memory, number * apart)
    return [(alert.rule, alert.subject) for alert in found]


def test_limits() -> None:
    rules = Rules(
        limits=(
            DEEP,
            Limit(measure=Measure.AGE, value=60, queue="mail"),
            Limit(measure=Measure.CONSUMERS),
        )
    )
    found = seen(
        QueueReading(name="mail", depth=1, oldest=Age(61), consumers=0),
        QueueReading(name="push", depth=6, oldest=Age(99), consumers=1),
        QueueReading(name="unknown"),
    )

    assert subjects(rules, found) == [("depth", "push"), ("age", "mail"), ("consumers", "mail")]
    assert subjects(rules, seen()) == []


def test_a_queue_beyond_two_limits_is_told_once_by_its_own() -> None:
    rules = Rules(limits=(DEEP, Limit(measure=Measure.DEPTH, value=8, queue="mail")))

    def told(depth: int) -> list[str]:
        found, _ = alerts_of(rules, seen(QueueReading(name="mail", depth=depth)), Memory(), 0)
        return [alert.words for alert in found]

    assert told(9) == ["9 waiting, more than 8"]
    assert told(7) == ["7 waiting, more than 5"]


def test_what_a_source_said_before_it_failed_is_no_alert() -> None:
    down = source(queues("q"), failure=Failure(message="refused", since=T0))

    assert subjects(Rules(limits=(replace(DEEP, value=0),)), frame(down)) == []


def test_a_worker_that_was_alive_and_is_not() -> None:
    rules = Rules(worker_gone=True)
    alive = seen(workers=(WorkerReading(name="w", state=WorkerState.IDLE),))
    dead = seen(workers=(WorkerReading(name="w", state=WorkerState.DEAD),))

    assert subjects(rules, alive, dead) == subjects(rules, alive, seen()) == [("worker_gone", "w")]
    assert subjects(rules, dead) == subjects(rules, alive, dead, alive) == []
    assert subjects(rules, alive, dead, apart=GONE_FOR + 1) == []


def test_the_share_of_failures_since_it_is_watched() -> None:
    def at(processed: int, failed: int) -> Frame:
        worker = WorkerReading(name="w", processed=processed, failed=failed)
        return seen(workers=(replace(worker, state=WorkerState.IDLE),))

    rules = Rules(failures=0.1)

    assert subjects(rules, at(1000, 500), at(1020, 503)) == [("failures", "celery")]
    assert subjects(rules, at(1000, 500), at(1020, 502)) == []
    assert subjects(rules, at(1000, 500), at(1009, 509)) == []
    assert subjects(rules, at(1000, 500)) == []


class Bell:
    def __init__(self, rules: Rules) -> None:
        self.rung = 0
        self.now = 0.0
        self.faults: list[str] = []
        self.alarms = Alarms(rules, self.ring, self.faults.append, clock=lambda: self.now)

    def ring(self) -> None:
        self.rung += 1


ALERT = Alert("depth", "h:6379/0", "mail", "9 waiting, more than 5")


def test_the_bell_rings_once_for_what_is_new() -> None:
    bell = Bell(Rules(repeat=60))
    other = ALERT._replace(subject="push")

    for alerts in ([ALERT], [ALERT._replace(words="10 waiting")], [], [ALERT], [ALERT, other]):
        bell.alarms.hear(alerts)
    assert bell.rung == 2

    bell.now = 61
    bell.alarms.hear([])
    bell.alarms.hear([ALERT])
    assert bell.rung == 3


def test_the_command_gets_the_alert_by_its_environment_and_no_shell_sees_it(
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    script = f'printf "%s|%s" "$BGTOP_ALERT_SUBJECT" "$0" > {out}.new && mv {out}.new {out}'
    bell = Bell(Rules(bell=False, command=("sh", "-c", script, "$(touch hacked)")))

    bell.alarms.hear([ALERT._replace(subject="$(touch hacked); \0\udc80")])

    wait_until(out.exists)
    assert out.read_text() == "$(touch hacked);  ?|$(touch hacked)"
    assert (bell.rung, bell.faults, list(tmp_path.iterdir())) == (0, [], [out])
    wait_until(lambda: bell.alarms.running == 0)


def test_no_more_commands_than_can_be_borne(tmp_path: Path) -> None:
    script = (
        f"touch {tmp_path}/$BGTOP_ALERT_SUBJECT; while [ ! -e {tmp_path}/end ]; do sleep 0.1; done"
    )
    bell = Bell(Rules(command=("sh", "-c", script)))

    bell.alarms.hear([ALERT._replace(subject=f"q{number}") for number in range(20)])

    wait_until(lambda: len(list(tmp_path.iterdir())) == MOST_AT_ONCE)
    assert bell.alarms.running == MOST_AT_ONCE
    (tmp_path / "end").write_text("")
    wait_until(lambda: bell.alarms.running == 0)


def test_a_command_that_is_not_there_is_reported() -> None:
    bell = Bell(Rules(command=("/no/such/program",)))

    bell.alarms.hear([ALERT])

    assert bell.faults == ["the command of [alerts]: No such file or directory: /no/such/program\n"]
