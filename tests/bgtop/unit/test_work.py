"""Rates of queues that count nothing, from what their workers count."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import pytest

from bgtop.contracts import Size
from bgtop.model import (
    BackendInfo,
    Capability,
    Frame,
    QueueReading,
    Rates,
    Reading,
    Snapshot,
    Source,
    WorkerReading,
)
from bgtop.state.fold import Polled
from bgtop.state.intake import Selection, name_filter
from bgtop.state.knowledge import Knowledge, learn
from bgtop.state.record import Reader, Scribe
from bgtop.state.totals import totals_of
from bgtop.view.document import queue_record
from bgtop.view.layout import layout
from bgtop.view.pages import page_of
from bgtop.view.ui import Ui

T0 = datetime(2026, 11, 22, tzinfo=timezone.utc)
INFO = BackendInfo(
    system="test",
    broker="none",
    url="test://",
    capabilities=frozenset({Capability.DEPTH, Capability.WORKERS}),
)


@dataclass(frozen=True)
class At:
    """What is there at one time: depths by queue, and by worker its count and what it serves."""

    depths: dict[str, int | None]
    workers: dict[str, tuple[int | None, tuple[str, ...] | None]]
    unacked: int | None = None


def known_after(
    looks: Sequence[At], every: float = 10.0, keep: Selection | None = None
) -> Knowledge:
    known = Knowledge(snapshot=Snapshot(taken_at=T0, sources=(Source(name="a", info=INFO),)))
    for number, look in enumerate(looks):
        seconds = number * every
        reading = Reading(
            taken_at=T0 + timedelta(seconds=seconds),
            queues=tuple(
                QueueReading(name=name, depth=depth, unacked=look.unacked)
                for name, depth in look.depths.items()
            ),
            workers=tuple(
                WorkerReading(name=name, processed=count, queues=queues)
                for name, (count, queues) in look.workers.items()
            ),
        )
        sample = Polled(source="a", info=INFO, reading=reading, clock=seconds, poll_seconds=0.001)
        known = learn(known, sample, keep or Selection())
    return known


def rates_after(*looks: At, every: float = 10.0) -> dict[str, Rates]:
    return {name: rates for (_, name), rates in known_after(looks, every).rates.items()}


def test_what_workers_process_leaves_their_only_queue() -> None:
    found = rates_after(
        At({"mail": 100}, {"w1": (50, None), "w2": (0, None)}),
        At({"mail": 120}, {"w1": (70, None), "w2": (20, None)}),
    )

    assert found == {"mail": Rates(in_per_second=6.0, out_per_second=4.0, are_estimates=True)}


def test_what_was_delivered_has_come_already() -> None:
    before = At({"mail": 0}, {"w": (5, None)}, unacked=0)

    assert rates_after(before, At({"mail": 0}, {"w": (5, None)}, unacked=30)) == {
        "mail": Rates(in_per_second=3.0, out_per_second=0.0, are_estimates=True)
    }


def test_of_several_queues_those_whose_workers_serve_no_other_are_told() -> None:
    found = rates_after(
        *(
            At(
                {"mail": 0, "slow": 0, "both": 0},
                {"w1": (n, ("mail",)), "w2": (n, ("slow", "both")), "w3": (n, ("both",))},
            )
            for n in (0, 50)
        )
    )

    assert found == {"mail": Rates(in_per_second=5.0, out_per_second=5.0, are_estimates=True)}


def test_nobody_knows_which_of_several_queues_a_worker_serves_that_does_not_say() -> None:
    looks = [At({"mail": 0, "slow": 0}, {"w": (n, None)}) for n in (0, 50)]

    assert rates_after(*looks) == {}
    known = known_after(looks)
    whole = Rates(in_per_second=5.0, out_per_second=5.0, are_estimates=True)
    assert known.source_rates == {"a": whole}
    totals = totals_of(
        Frame(snapshot=known.snapshot, rates=known.rates, source_rates=known.source_rates)
    )
    assert (totals.in_per_second, totals.out_per_second) == (5.0, 5.0)
    assert totals.estimated
    assert "in_per_second" not in totals.at_least


@pytest.mark.parametrize(
    "workers",
    [
        {"w": (None, None)},
        {},
        {"w": (7, None), "silent": (None, None)},
        {"w": (7, ())},
    ],
)
def test_without_the_counts_of_all_its_workers_nothing_is_estimated(
    workers: dict[str, tuple[int | None, tuple[str, ...] | None]],
) -> None:
    assert rates_after(*[At({"mail": 10}, workers)] * 3) == {}


def test_two_heartbeats_have_to_fall_between() -> None:
    looks = [At({"mail": 0}, {"w": (n, None)}) for n in (0, 2, 4)]

    assert rates_after(*looks, every=2.0) == {}
    assert rates_after(*looks, every=3.0)["mail"].out_per_second == pytest.approx(4 / 6)


def test_a_worker_that_starts_anew_takes_nothing_back() -> None:
    found = rates_after(
        At({"mail": 0}, {"w": (100, None)}),
        At({"mail": 0}, {"w": (120, None)}),
        At({"mail": 0}, {"w": (3, None)}),
        At({"mail": 0}, {"w": (13, None), "late": (1000, None)}),
    )

    assert found["mail"].out_per_second == pytest.approx(30 / 30)


def test_a_purge_is_not_taken_for_work() -> None:
    found = rates_after(At({"mail": 5000}, {"w": (0, None)}), At({"mail": 0}, {"w": (10, None)}))

    assert found == {"mail": Rates(out_per_second=1.0, are_estimates=True)}


def test_nothing_comes_into_a_queue_that_is_emptied() -> None:
    """A count may be some tasks behind the depth."""
    (found,) = rates_after(
        At({"mail": 1000}, {"w": (0, None)}), At({"mail": 795}, {"w": (200, None)})
    ).values()

    assert (found.in_per_second, found.out_per_second) == (0.0, 20.0)


def test_workers_and_queues_that_are_not_shown_count() -> None:
    shown = Selection(queues=name_filter("mail"), workers=name_filter("w1"))
    looks = [At({"mail": 0}, {"w1": (n, ("mail",)), "w2": (n, ("mail",))}) for n in (0, 50)]

    known = known_after(looks, keep=shown)

    assert len(known.snapshot.sources[0].reading.workers) == 1  # type: ignore[union-attr]
    assert known.rates["a", "mail"].out_per_second == 10.0


def test_a_total_of_estimates_is_one_though_not_all_workers_tell() -> None:
    looks = [At({"mail": 1}, {"w1": (n, ("mail",)), "w2": (None, ("gone",))}) for n in (0, 50)]

    known = known_after(looks)
    totals = totals_of(Frame(snapshot=known.snapshot, rates=known.rates))

    assert known.source_rates == {}
    assert totals.out_per_second == 5.0
    assert totals.estimated


def test_a_recording_goes_on_with_what_was_estimated() -> None:
    looks = [At({"mail": n}, {"w": (n * 5, None)}) for n in range(4)]
    known = known_after(looks)
    keyframe = json.loads(json.dumps(Scribe().keyframe(known, 1.0)))

    again = Reader(keyframe).known

    assert (again.rates, again.source_rates) == (known.rates, known.source_rates)
    assert again.work == known.work
    assert known.rates["a", "mail"].are_estimates


def test_an_estimate_is_marked() -> None:
    known = known_after([At({"mail": 1}, {"w": (n, None)}) for n in (0, 50)])
    (source,) = known.snapshot.sources
    assert source.reading is not None
    record = queue_record(source, source.reading.queues[0], known.rates["a", "mail"])

    assert record["rates_are"] == "estimated"
    frame = Frame(snapshot=known.snapshot, rates=known.rates, source_rates=known.source_rates)
    size = Size(120, 10)
    screen = layout(page_of(frame, Ui(size=size, interval=1.0), T0), size)
    shown = ["".join(span.text for span in line) for line in screen.lines]
    (totals,) = [line for line in shown if "Out/s" in line]
    assert "In/s ~5.0" in totals
    assert "Out/s ~5.0" in totals
    (row,) = [line for line in shown if "mail" in line]
    assert row.split().count("~5.0") == 2
