"""What an OpenTelemetry collector gets, read with the protocol's own messages."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from frames import T0, frame, source
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from bgtop.contracts import ExportSettings
from bgtop.exporters import otlp
from bgtop.model import QueueReading, Reading
from bgtop.task_events import (
    BUCKETS,
    EventKind,
    EventsReading,
    HistogramReading,
    TaskEventsReading,
)
from bgtop.testing import wait_until


class Collector(BaseHTTPRequestHandler):
    """Keeps what it is sent; refuses the first request."""

    got: list[tuple[str, ExportMetricsServiceRequest]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        request = ExportMetricsServiceRequest()
        request.ParseFromString(body)
        self.got.append((self.path, request))
        self.send_response(400 if len(self.got) == 1 else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[HTTPServer]:
    Collector.got = []
    server = HTTPServer(("127.0.0.1", 0), Collector)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_collector_gets_gauges_sums_and_histograms(collector: HTTPServer) -> None:
    histogram = HistogramReading(counts=(3, *[0] * len(BUCKETS)), seconds=0.01)
    series = TaskEventsReading(
        task="t\ud800", queue="q", counts={EventKind.SENT: 3}, in_flight=1, runtime=histogram
    )
    events = EventsReading(since=T0, series=(series,), kinds=frozenset({EventKind.SENT}))
    reading = Reading(taken_at=T0, queues=(QueueReading(name="q", depth=2),), events=events)
    exporter = otlp.plugin.open(f"http://127.0.0.1:{collector.server_port}", ExportSettings())
    try:
        exporter.export(frame(source(reading)))
        wait_until(lambda: exporter.trouble)
        assert exporter.dropped > 0
        wait_until(lambda: exporter.trouble is None and len(Collector.got) >= 2)
    finally:
        exporter.close()

    path, request = Collector.got[-1]
    [resource] = request.resource_metrics
    metrics = {metric.name: metric for metric in resource.scope_metrics[0].metrics}
    assert path == "/v1/metrics"
    assert metrics["bgtop.queue_depth"].gauge.data_points[0].as_double == 2
    [sent] = metrics["bgtop.task_events"].sum.data_points
    assert (sent.as_double, metrics["bgtop.task_events"].sum.is_monotonic) == (3, True)
    assert {each.key: each.value.string_value for each in sent.attributes} == {
        "source": "a",
        "system": "celery",
        "queue": "q",
        "task": "t\\ud800",
        "event": "sent",
    }
    [runs] = metrics["bgtop.task_runtime_seconds"].histogram.data_points
    assert (runs.count, runs.sum, len(runs.bucket_counts)) == (3, 0.01, len(BUCKETS) + 1)
    assert not runs.HasField("max")


@pytest.mark.parametrize("text", ["h:4318", "ftp://h", "http://", "http://h:x"])
def test_what_is_no_url_is_refused(text: str) -> None:
    settings: Any = ExportSettings()
    with pytest.raises(ValueError, match="is not http"):
        otlp.plugin.open(text, settings)
