"""What a child reports is credited to the job it is about, and noise to none."""

from __future__ import annotations

import os

import pytest
from hands import MakeCrew, claim, make_quick

from bgworker.worker.frames import Order, pack_report


def test_reports_are_credited_in_order(crew: MakeCrew) -> None:
    pool, (hands,) = crew(1)
    make_quick(pool, hands)
    pool.backlog.extend(claim(n) for n in range(3))
    pool.dispatch()
    assert [c.id for c in pool.take_started()] == ["0"]
    for _ in range(2):
        hands.take()
        hands.finish()
    done, closed = pool.receive(hands.child)

    assert [(c.id, following and following.id) for c, _, following in done] == [
        ("0", "1"),
        ("1", "2"),
    ]
    assert not closed
    assert not pool.idle()
    hands.take()
    hands.finish()
    assert len(pool.receive(hands.child)[0]) == 1
    assert pool.idle()
    assert hands.child.load == 0


def test_half_a_report_of_a_dead_child_is_no_report(crew: MakeCrew) -> None:
    """It died while it wrote: its job is still held, and will be judged by its death."""
    pool, (hands,) = crew(1)
    pool.backlog.append(claim(1))
    pool.dispatch()
    hands.take()
    assert hands.order is not None
    os.write(hands.reports, pack_report(hands.order, "ok", 1, 1, "null")[:-1])
    os.close(hands.reports)
    hands.reports = -1
    pool.receive(hands.child)

    assert pool.receive(hands.child) == ([], True)
    assert [c.id for c in hands.child.held] == ["1"]


@pytest.mark.parametrize(
    "noise",
    [
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x00",
        b"\x00\x00\x08\x00then anything",
        b"\x10\x00\x00\x0099 1 ok 1 1\nnull",
        pack_report(Order("9", 1, 0, 1, ""), "ok", 1, 1, "null"),
        pack_report(Order("2", 1, 0, 1, ""), "odd", 1, 1, "null"),
    ],
)
def test_noise_in_the_pipe_ends_belief_and_loses_nothing(crew: MakeCrew, noise: bytes) -> None:
    """Reports before it count, those after it do not; what was not reported is still held."""
    pool, (hands,) = crew(1)
    make_quick(pool, hands)
    pool.backlog.extend(claim(n) for n in (1, 2, 3))
    pool.dispatch()
    hands.take()
    hands.finish()
    hands.take()
    os.write(hands.reports, noise)
    hands.finish()
    done, ended = pool.receive(hands.child)

    assert [c.id for c, _, _ in done] == ["1"]
    assert ended
    assert hands.child.garbled
    assert [c.id for c in hands.child.held] == ["2", "3"]
    hands.finish()
    assert pool.receive(hands.child) == ([], True)


def test_words_on_progress_end_nothing(crew: MakeCrew) -> None:
    pool, (hands,) = crew(1)
    pool.backlog.append(claim(1))
    pool.dispatch()
    hands.take()
    assert hands.order is not None
    os.write(hands.reports, pack_report(hands.order, "said", 5, 0, '[1,2,"",5]'))
    done, ended = pool.receive(hands.child)

    assert [(c.id, report.body, following) for c, report, following in done] == [
        ("1", '[1,2,"",5]', None)
    ]
    assert not ended
    assert [c.id for c in hands.child.held] == ["1"]
    hands.finish()
    assert len(pool.receive(hands.child)[0]) == 1
    assert pool.idle()
