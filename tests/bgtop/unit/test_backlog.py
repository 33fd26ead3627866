"""What waits for a session that is held up: of each source only its latest look."""

from __future__ import annotations

from datetime import timedelta

from frames import T0, polled, queues

from bgtop.actions import Performed, PurgeQueue
from bgtop.backlog import Backlog
from bgtop.sampler import News
from bgtop.state.fold import PollFailed


def taken(backlog: Backlog) -> list[News]:
    found = []
    while backlog:
        found.append(backlog.popleft())
    return found


def test_a_source_waits_once_with_its_latest_look() -> None:
    backlog = Backlog()
    looks = [polled(queues("mail"), clock=float(n), source="a") for n in range(1000)]
    backlog.append(looks[0])
    backlog.append(polled(queues("push"), source="b"))
    for look in looks[1:]:
        backlog.append(look)

    assert taken(backlog) == [looks[-1], polled(queues("push"), source="b")]


def test_what_is_known_at_last_is_told_whether_it_is_good_or_bad() -> None:
    backlog = Backlog()
    good, bad = polled(queues("mail")), PollFailed(source="a", at=T0, message="refused")
    for told in ([good, bad], [bad, good], [good, bad, good, bad]):
        for one in told:
            backlog.append(one)
        assert taken(backlog) == told[-1:]


def test_no_other_news_is_left_out() -> None:
    backlog = Backlog()
    done = [Performed(source="a", action=PurgeQueue(queue=f"q{n}")) for n in range(3)]
    failed = PollFailed(source="a", at=T0 + timedelta(seconds=1), message="refused")
    for one in (done[0], failed, done[1], done[2]):
        backlog.append(one)

    assert taken(backlog) == [done[0], failed, done[1], done[2]]
    assert not backlog
