"""arq's bytes, decoded without trust, and what follows from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hiredis import ReplyError
from hypothesis import given
from hypothesis import strategies as st

from bgtop.backends.arq.clock import ahead
from bgtop.backends.arq.heads import IDS_PER_POLL, Front, Glance, _shared
from bgtop.backends.arq.wire import Health, health_in, score_in
from bgtop.model import Age, AgeKind

REPORT = b"Nov-21 04:11:17 j_complete=12 j_failed=3 j_retried=1 j_ongoing=2 queued=7"
if TYPE_CHECKING:
    from bgtop.backends.redis_connection import Reply

NOW = 1_800_000_000_000


def test_a_report_as_arq_writes_it() -> None:
    assert health_in(REPORT) == Health(complete=12, failed=3)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"OK",
        7,
        REPORT.replace(b"j_failed=3 ", b""),
        REPORT.replace(b"=12", b"=-12"),
        REPORT.replace(b"=12", b"=" + b"9" * 16),
        REPORT.replace(b"=12", b"=\xff"),
    ],
)
def test_what_is_no_report(value: object) -> None:
    assert health_in(value) is None


COUNTS = st.integers(0, 10**15 - 1)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_report_of_counts_or_none(value: bytes) -> None:
    report = health_in(value)

    assert report is None or min(report) >= 0


@given(COUNTS, COUNTS, st.binary(max_size=20))
def test_a_report_is_read_whatever_surrounds_it(complete: int, failed: int, junk: bytes) -> None:
    counts = b"j_complete=%d j_failed=%d j_retried=1 j_ongoing=2 queued=7" % (complete, failed)

    assert health_in(junk + b" " + counts) == Health(complete, failed)


@given(st.one_of(st.binary(max_size=80), st.floats(allow_nan=False).map(lambda n: b"%r" % n)))
def test_a_score_is_the_number_that_was_written_or_none(value: bytes) -> None:
    score = score_in(value)

    assert score is None or repr(score) == repr(float(value))


@given(st.floats(allow_nan=False))
def test_every_score_of_redis_is_read(number: float) -> None:
    assert score_in(b"%r" % number) == number


def front(*jobs: tuple[int, object], singly: int = 1_000, whole: bool = False) -> Front:
    """What is read from the answers about jobs, given as (whether it runs, its score)."""
    glance = Glance([b"%d" % number for number in range(len(jobs))], min(singly, len(jobs)), whole)
    replies: list[Reply] = []
    for kind, *words in glance.commands(b"queue"):
        numbers = [int(str(word, "ascii").rpartition(":")[2]) for word in words if word != b"queue"]  # type: ignore[arg-type]
        if kind == "EXISTS":
            replies.append(sum(jobs[number][0] for number in numbers))
        else:
            score = jobs[numbers[0]][1]
            replies.append(None if score is None else str(score).encode())
    left = iter(replies)
    seen = glance.front(left)
    assert [*left] == []
    return seen


def test_the_oldest_is_the_first_that_does_not_run() -> None:
    seen = front((1, NOW - 9_000), (0, NOW - 5_000), (0, NOW - 1_000))

    assert seen.running == 1
    assert seen.oldest(NOW) == Age(5.0)


@pytest.mark.parametrize("score", [None, NOW + 1_000])
def test_a_job_that_ended_or_was_put_off_meanwhile_does_not_wait(score: int | None) -> None:
    assert front((0, score), (0, NOW - 1_000)).oldest(NOW) == Age(1.0)


@pytest.mark.parametrize("score", ["-inf", 0, 1, -5])
def test_behind_a_score_that_is_no_time_an_age_is_a_lower_bound(score: object) -> None:
    assert front((0, score), (0, NOW - 1_000)).oldest(NOW) == Age(1.0, AgeKind.AT_LEAST)
    assert front((0, score)).oldest(NOW) is None


@given(st.lists(st.integers(0, 1), max_size=30), st.integers(0, 31), st.integers(0, 40))
def test_it_is_the_same_whether_jobs_are_asked_about_singly(
    runs: list[int], singly: int, due: int
) -> None:
    jobs = [(one, NOW) for one in runs]
    some, every = front(*jobs, singly=singly), front(*jobs)

    assert some[:5] == every[:5]
    assert every.running == sum(runs)
    assert every.running_at_the_end == sum(runs[len(runs) - len(runs) // 4 :])
    assert not every.all_run
    assert some.all_run == (singly < len(runs) and all(runs[:singly]))


def test_a_front_tells_of_all_when_it_is_all_or_ends_with_waiting_jobs() -> None:
    running = [(1, NOW)] * 75
    waiting = [(0, NOW)] * 25

    assert front(*running).tells_all_of(75)
    assert not front(*running).tells_all_of(76)
    assert front(*running, *waiting).tells_all_of(10_000)
    assert not front(*running, *waiting[1:], (1, NOW)).tells_all_of(10_000)
    assert not front(*waiting).tells_all_of(26)


def test_what_came_since_all_were_fetched_waits() -> None:
    """A queue that is being filled is not unknown because of that."""
    assert front((1, NOW), (0, NOW), whole=True).tells_all_of(3)
    assert not front((1, NOW), (0, NOW)).tells_all_of(3)


@pytest.mark.parametrize("place", [0, 2, 3])
def test_a_front_that_may_not_be_read_tells_nothing(place: int) -> None:
    """Neither from one job nor from a count of many."""
    replies: list[Reply] = [1, b"1", 0, 0]
    replies[place] = ReplyError("NOPERM no")
    refused = Glance([b"a", b"b", b"c", b"d"], 1, whole=True).front(iter(replies))

    assert not refused.tells_all_of(1)
    assert refused.oldest(NOW) is None


@given(st.dictionaries(st.binary(max_size=3), st.integers(0, 5_000), max_size=30))
def test_shares_stay_within_the_budget_and_give_to_the_modest_first(
    wanted: dict[bytes, int],
) -> None:
    found = _shared(wanted)

    assert found.keys() == wanted.keys()
    assert all(found[name] <= count for name, count in wanted.items())
    assert sum(found.values()) <= IDS_PER_POLL
    if sum(wanted.values()) <= IDS_PER_POLL:
        assert found == wanted


@pytest.mark.parametrize(
    ("told", "seconds"), [(10.5, 0.0), (10.0, 0.0), (11.0, 0.0), (12.5, 1.5), (7.0, -3.0)]
)
def test_a_clock_read_between_two_moments_is_right_between_them(
    told: float, seconds: float
) -> None:
    assert ahead(told, asked_at=10.0, heard_at=11.0) == seconds
