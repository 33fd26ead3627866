"""What StatsD and Graphite are sent, by letters; and what becomes of it when nobody takes it."""

from __future__ import annotations

import pickle
import socket
import struct
from typing import Any

import pytest
from frames import T0, frame, source
from hypothesis import given
from hypothesis import strategies as st

from bgtop.contracts import ExportSettings
from bgtop.exporters import graphite, statsd
from bgtop.exporters.addresses import Address, address_of
from bgtop.exporters.graphite_points import Point, Times, pickled, plaintext, quantile
from bgtop.exporters.names import Named, Naming, part
from bgtop.exporters.statsd_lines import Accounts, Line, datagrams, gauge_text, spread
from bgtop.model import QueueReading, Reading
from bgtop.state.measures import EVENTS, QUEUE_GAUGES, RUNTIME, Family, Labels, Spec
from bgtop.task_events import BUCKETS, EventsReading, HistogramReading, TaskEventsReading
from bgtop.testing import wait_until

HERE = ("h:6379/0", "celery", "mail", "shop.send")
SENT = Family(EVENTS, (((*HERE, "failed"), 3.0),))


def same(spec: Spec, labels: Labels) -> Labels:
    return labels


def texts(family: Family, tags: str | None = None, accounts: Accounts | None = None) -> list[str]:
    lines = list((accounts or Accounts()).lines([family], Naming("bgtop", tags), same))
    for line in lines:
        if accounts:
            accounts.settle(line)
    return [line.text for line in lines if line.times]


@pytest.mark.parametrize(
    ("tags", "line"),
    [
        (None, "bgtop.celery.h_6379-0.task.shop_send.failed:3|c"),
        (
            "datadog",
            "bgtop.task.failed:3|c|#source:h:6379/0,system:celery,queue:mail,task:shop.send",
        ),
        (
            "influx",
            "bgtop.task.failed,source=h_6379/0,system=celery,queue=mail,task=shop.send:3|c",
        ),
        (
            "graphite",
            "bgtop.task.failed;source=h_6379/0;system=celery;queue=mail;task=shop.send:3|c",
        ),
    ],
)
def test_each_dialect_has_its_letters(tags: str | None, line: str) -> None:
    assert texts(SENT, tags) == [line]


def test_only_what_was_added_is_sent() -> None:
    accounts = Accounts()

    first = texts(SENT, accounts=accounts)
    nothing = texts(SENT, accounts=accounts)
    more = texts(Family(EVENTS, (((*HERE, "failed"), 5.0),)), accounts=accounts)

    assert [line.rpartition(":")[2] for line in (*first, *nothing, *more)] == ["3|c", "2|c"]


def test_what_was_not_sent_is_sent_with_the_rest() -> None:
    accounts = Accounts()
    list(accounts.lines([SENT], Naming("bgtop"), same))

    assert texts(SENT, accounts=accounts) == ["bgtop.celery.h_6379-0.task.shop_send.failed:3|c"]


def test_negative_gauges_are_set_by_way_of_zero_where_a_sign_means_a_change() -> None:
    named = Named("a", "")

    assert gauge_text(named, -5.0, signed=False) == "a:0|g\na:-5|g"
    assert gauge_text(named, -5.0, signed=True) == "a:-5|g"
    assert gauge_text(named, 0.25, signed=False) == "a:0.25|g"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.b", "a_b"),
        ("a b\t", "a_b_"),
        ("q/1", "q-1"),
        ("w@h:1|#", "w_h_1__"),
        ("ä", "_"),
        ("", "unknown"),
    ],
)
def test_no_name_makes_another_level_or_another_line(name: str, expected: str) -> None:
    assert part(name) == expected


@given(st.text(), st.sampled_from([None, "datadog", "influx", "graphite"]))
def test_whatever_a_task_is_called_a_line_is_a_line(name: str, tags: str | None) -> None:
    [line] = texts(Family(EVENTS, (((*HERE[:3], name, "failed"), 1.0),)), tags)

    assert line.isascii()
    assert not set(line) & set("\n\r\t \0")
    assert line.count("|") == (2 if tags == "datadog" else 1)


def test_names_that_become_the_same_are_added_up() -> None:
    depth = QUEUE_GAUGES[0]
    rows = ((("a", "celery", "x.y"), 1.0), (("a", "celery", "x_y"), 2.0))

    assert texts(Family(depth, rows)) == ["bgtop.celery.a.queue.x_y.depth:3|g"]


@given(st.lists(st.lists(st.floats(0, 4000), max_size=30), min_size=1, max_size=4))
def test_timers_have_the_count_and_the_sum_of_what_was_measured(batches: list[list[float]]) -> None:
    from bgtop.state.event_series import Histogram

    histogram, accounts = Histogram(), Accounts()
    values: list[float] = []
    for batch in batches:
        for seconds in batch:
            histogram.observe(seconds)
        family = Family(RUNTIME, ((HERE, histogram.reading),))
        for line in accounts.lines([family], Naming("b"), same):
            accounts.settle(line)
            if line.times:
                values += [float(line.text.split(":")[1].split("|")[0])] * line.times

    expected = [seconds for batch in batches for seconds in batch]
    assert len(values) == len(expected)
    assert sum(values) == pytest.approx(sum(expected) * 1000, rel=1e-4, abs=1e-3)


def test_each_value_lies_in_its_bucket() -> None:
    counts = (2, 0, 3, *[0] * (len(BUCKETS) - 3), 1)
    told = spread(HistogramReading(counts=counts, seconds=2000.0))
    limits = list(zip((0.0, *BUCKETS), (*BUCKETS, 1e9), strict=True))

    assert all(low <= value <= high for (_, value), (low, high) in zip(told, limits, strict=True))
    assert sum(count * value for count, value in told) == pytest.approx(2000.0)


def test_a_great_many_runs_are_sampled_with_their_true_count() -> None:
    reading = HistogramReading(counts=(100_000, *[0] * len(BUCKETS)), seconds=200.0)
    lines = list(Accounts().lines([Family(RUNTIME, ((HERE, reading),))], Naming("b"), same))

    [line] = [line for line in lines if line.times]
    assert line.times == 1000
    assert line.text.endswith(":2|ms|@0.01")


def test_datagrams_are_as_full_as_they_may_be() -> None:
    lines = [Line("x" * 50, times=100), Line("y" * 1431)]
    sent = list(datagrams(lines, 1432))

    assert all(len(each.data) <= 1432 for each in sent)
    assert sum(each.data.count(b"x" * 50) for each in sent) == 100
    assert len(sent) == 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("h:1", Address("udp", "h", 1)),
        ("h", Address("udp", "h", 8125)),
        (":9", Address("udp", "localhost", 9)),
        ("[::1]:9", Address("udp", "::1", 9)),
        ("tcp://h:1/", Address("tcp", "h", 1)),
        ("unix:/run/x", Address("unix", "/run/x")),
        ("unix:///run/x", Address("unix", "/run/x")),
    ],
)
def test_addresses(text: str, expected: Address) -> None:
    assert address_of(text, kind="udp", port=8125, kinds=("udp", "tcp", "unix")) == expected


@pytest.mark.parametrize("text", ["h:x", "h:70000", "::1", "[::1", "http://h", "unix:"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"port|spoken|PORT|socket"):
        address_of(text, kind="udp", port=8125, kinds=("udp", "tcp", "unix"))


def test_plain_text_and_pickle_say_the_same() -> None:
    points = [Point("a.b", 3.0, 100), Point("a.c", 0.25, 100)]

    data = pickled(points)
    [length] = struct.unpack("!L", data[:4])
    assert pickle.loads(data[4 : 4 + length]) == [("a.b", (100, 3.0)), ("a.c", (100, 0.25))]
    assert plaintext(points) == b"a.b 3 100\na.c 0.25 100\n"


def test_graphite_has_counts_since_the_start_and_figures_of_the_interval() -> None:
    times = Times()

    def told(counts: tuple[int, ...], seconds: float) -> dict[str, float]:
        reading = HistogramReading(
            counts=(*counts, *[0] * (len(BUCKETS) + 1 - len(counts))), seconds=seconds
        )
        points = times.points([Family(RUNTIME, ((HERE, reading),))], Naming("b"), 1)
        return {point.path.rpartition(".")[2]: point.value for point in points}

    first = told((0, 0, 0, 0, 0, 10), 0.9)
    idle = told((0, 0, 0, 0, 0, 10), 0.9)
    later = told((0, 0, 0, 0, 0, 10, 2), 1.3)

    assert first["count"] == 10
    assert first["mean"] == pytest.approx(90)
    assert 75 < first["p50"] < 100
    assert set(idle) == {"count", "sum"}
    assert later["mean"] == pytest.approx(200)
    assert later["sum"] == pytest.approx(1300)


def test_a_quantile_beyond_all_bounds_is_the_last_bound() -> None:
    last = HistogramReading(counts=(*[0] * len(BUCKETS), 3), seconds=9000)

    assert quantile(last, 0.5) == BUCKETS[-1]


def seen(depth: int, **events: Any) -> Any:
    reading = Reading(taken_at=T0, queues=(QueueReading(name="q", depth=depth),))
    if events:
        series = (TaskEventsReading(task="t", counts=events["counts"]),)
        from dataclasses import replace

        reading = replace(reading, events=EventsReading(since=T0, series=series))
    return frame(source(reading))


def test_what_waits_for_graphite_has_a_bound_and_the_oldest_goes_first() -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        port = unheard.getsockname()[1]
    exporter = graphite.GraphiteExporter(
        Address("tcp", "127.0.0.1", port), ExportSettings(), most=20
    )
    try:
        for depth in range(30):
            exporter.export(seen(depth))
        wait_until(lambda: exporter.trouble)
        assert exporter.trouble == f"127.0.0.1:{port}: connection refused"
        assert exporter.dropped > 0
        with socket.create_server(("127.0.0.1", port)) as server:
            server.settimeout(20)
            link, _ = server.accept()
            with link:
                data = b"".join(iter(lambda: link.recv(65536), b""))
        wait_until(lambda: exporter.trouble is None)
        depths = [line.split()[1] for line in data.decode().splitlines() if ".depth " in line]
        assert depths[-1] == "29"
        assert data.count(b"\n") <= 20
        assert exporter.dropped + data.count(b"\n") == 30 * (data.count(b"\n") // len(depths))
    finally:
        exporter.close()


def test_a_unix_socket_that_is_not_there_yet_loses_no_count(tmp_path: Any) -> None:
    from bgtop.task_events import EventKind

    path = str(tmp_path / "statsd.sock")
    exporter = statsd.plugin.open(f"unix:{path}", ExportSettings())
    try:
        exporter.export(seen(1, counts={EventKind.SENT: 3}))
        wait_until(lambda: exporter.trouble)
        assert exporter.dropped > 0
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
            server.bind(path)
            server.settimeout(20)
            exporter.export(seen(2, counts={EventKind.SENT: 5}))
            lines = server.recv(9000).decode().splitlines()
        assert "bgtop.celery.a.task.t.sent:5|c" in lines
        assert "bgtop.celery.a.queue.q.depth:2|g" in lines
    finally:
        exporter.close()
