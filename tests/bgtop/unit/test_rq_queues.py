"""What is asked of very many RQ queues, poll by poll."""

from __future__ import annotations

from bgtop.backends.rq.queues import MOST_RECHECKED, Queues
from bgtop.backends.rq.troubles import Troubles

NUMBER = 2_500
THEN = b"2026-11-21T04:00:00.000000Z"


def jobs_asked(queues: Queues) -> list[bytes]:
    """One poll in which each queue holds one job, always the same; which of them are asked."""
    for place, (asked, absorb) in enumerate(queues.presence()):
        absorb([0 if place else 1 for _ in asked])
    for asked, absorb in queues.parts(0.0):
        number = sum(request.replies for request in asked) // 2
        absorb([one for job in range(number) for one in (1, [b"%d" % job])])
    queues.settle(Troubles())
    commands = [*queues.job_commands()]
    queues.absorb_jobs([THEN] * len(commands), Troubles())
    return [bytes(key) for _, key, *_ in commands if isinstance(key, bytes)]


def test_jobs_whose_time_is_known_are_asked_again_in_turns() -> None:
    queues = Queues()
    queues.plan(b"%d" % number for number in range(NUMBER))

    first = jobs_asked(queues)
    later = [jobs_asked(queues) for _ in range(3)]

    assert len(first) == NUMBER
    assert all(len(asked) <= MOST_RECHECKED for asked in later)
    assert sorted(job for asked in later for job in asked) == sorted(first)
    assert all(row.oldest(1e10) is not None for row in queues.rows)
