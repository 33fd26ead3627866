"""Spans with the real SDK, over real processes: what enqueues and what runs are one trace."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bgtop.testing import wait_until
from bgworker.app import BgWorker
from bgworker.codec import headers_of, load_args
from bgworker.states import JobState

Start = Callable[..., Any]
PRODUCE = """
    import sys
    import traced
    from opentelemetry import trace
    traced.bg.url = sys.argv[1]
    out = traced.write_spans()
    with trace.get_tracer("shop").start_as_current_span("request"):
        {calls}
    traced.bg.close()
    trace.get_tracer_provider().shutdown()
    out.close()
"""


class Spans:
    """What was exported to a file, by all processes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def named(self, name: str) -> list[dict[str, Any]]:
        return [span for span in self.all() if span["name"] == name]

    def one(self, name: str) -> dict[str, Any]:
        (span,) = self.named(name)
        return span


def trace_of(span: dict[str, Any]) -> str:
    return str(span["context"]["trace_id"])


def id_of(span: dict[str, Any]) -> str:
    return str(span["context"]["span_id"])


@pytest.fixture
def spans(tmp_path: Path) -> Spans:
    path = tmp_path / "spans"
    path.touch()
    return Spans(path)


@pytest.fixture
def queue(url: str) -> Iterator[BgWorker]:
    """To ask about jobs; it does not trace."""
    bg = BgWorker(url)
    yield bg
    bg.close()


@pytest.fixture
def produce(
    python: Start, marked: Any, finish: Start, url: str, spans: Spans, monkeypatch: Any
) -> Start:
    """Run calls such as ``print(traced.fail.delay().id)`` in a process that traces."""
    monkeypatch.setenv("SPANS", str(spans.path))

    def run(*calls: str) -> list[str]:
        script = PRODUCE.format(calls="\n        ".join(calls))
        return finish(python(script, url)).split()

    return run


@pytest.fixture
def tracing_worker(worker: Start, spans: Spans, url: str) -> Start:
    def start(*options: str) -> Any:
        return worker(*options, app="traced", env={"SPANS": str(spans.path), "BGWORKER_URL": url})

    return start


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_a_job_and_its_run_are_one_trace(
    produce: Start, tracing_worker: Start, spans: Spans, queue: BgWorker, pool: str
) -> None:
    running = tracing_worker("--pool", pool)
    (job,) = produce("print(traced.span_of.options(queue='slow').delay('hi').id)")
    result = queue.job(job).result(10)
    running.stop()

    request, sent, run = spans.one("request"), spans.one("send slow"), spans.one("process slow")
    assert result == f"hi {trace_of(request)[2:]}"
    assert {trace_of(sent), trace_of(run)} == {trace_of(request)}
    assert (sent["parent_id"], run["parent_id"]) == (id_of(request), id_of(sent))
    assert [id_of(link) for link in run["links"]] == [id_of(sent)]
    assert (sent["kind"], run["kind"]) == ("SpanKind.PRODUCER", "SpanKind.CONSUMER")
    both = {
        "messaging.system": "bgworker",
        "messaging.destination.name": "slow",
        "messaging.message.id": job,
        "bgworker.task": "span_of",
    }
    operation = "messaging.operation.name", "messaging.operation.type"
    assert sent["attributes"] == {**both, **dict.fromkeys(operation, "send")}
    told = {**both, **dict.fromkeys(operation, "process"), "bgworker.attempt": 1}
    assert run["attributes"] == told
    assert run["status"]["status_code"] == "UNSET"


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_each_try_that_fails_is_a_span_with_its_error(
    produce: Start, tracing_worker: Start, spans: Spans, queue: BgWorker, pool: str
) -> None:
    running = tracing_worker("--pool", pool)
    (job,) = produce("print(traced.fail.delay().id)")
    wait_until(lambda: queue.job(job).status is JobState.DEAD, why="no retry is left")
    running.stop()

    tries = spans.named("process default")
    assert [run["attributes"]["bgworker.attempt"] for run in tries] == [1, 2]
    for run in tries:
        (event,) = run["events"]
        assert run["status"]["status_code"] == "ERROR"
        assert run["status"]["description"] == "LookupError: no such thing"
        assert run["attributes"]["error.type"] == "LookupError"
        assert event["name"] == "exception"
        assert event["attributes"]["exception.type"] == "LookupError"
        assert event["attributes"]["exception.message"] == "no such thing"
        assert "raise LookupError" in event["attributes"]["exception.stacktrace"]
        assert run["parent_id"] == id_of(spans.one("send default"))


def test_a_job_that_enqueues_another_hands_its_trace_on(
    produce: Start, tracing_worker: Start, spans: Spans, queue: BgWorker
) -> None:
    running = tracing_worker()
    (job,) = produce("print(traced.pass_on.delay('x').id)")
    queue.job(queue.job(job).result(10)).result(10)
    running.stop()

    assert {trace_of(span) for span in spans.all()} == {trace_of(spans.one("request"))}
    runs = {run["attributes"]["bgworker.task"]: run for run in spans.named("process default")}
    first, second = runs["pass_on"], runs["span_of"]
    sent = next(s for s in spans.named("send default") if s["parent_id"] == id_of(first))
    assert second["parent_id"] == id_of(sent)


def test_many_jobs_at_once_are_one_span_and_a_coroutine_is_inside_its_own(
    produce: Start, tracing_worker: Start, spans: Spans, queue: BgWorker
) -> None:
    running = tracing_worker()
    *jobs, coroutine = produce(
        "print(*[job.id for job in traced.span_of.map([('a',), ('b',)])])",
        "print(traced.async_span_of.delay().id)",
    )
    results = [queue.job(job).result(10) for job in (*jobs, coroutine)]
    running.stop()

    trace = trace_of(spans.one("request"))[2:]
    assert results == [f"a {trace}", f"b {trace}", f"async {trace}"]
    counted = "messaging.batch.message_count"
    (batch,) = [sent for sent in spans.named("send default") if counted in sent["attributes"]]
    assert (batch["attributes"][counted], batch["attributes"]["bgworker.task"]) == (2, "span_of")
    assert sum(run["parent_id"] == id_of(batch) for run in spans.named("process default")) == 2


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_spans_are_sent_before_a_child_is_replaced(
    produce: Start, tracing_worker: Start, spans: Spans, queue: BgWorker, pool: str
) -> None:
    tracing_worker("--pool", pool, "--max-jobs-per-child", "1", "--concurrency", "1")
    jobs = produce("print(*[job.id for job in traced.span_of.map([('a',), ('b',), ('c',)])])")
    for job in jobs:
        queue.job(job).result(10)

    # The worker runs on, and a batch waits for five seconds: leaving is what sends it.
    wait_until(lambda: len(spans.named("process default")) == 3, seconds=4, why="three spans")


def test_a_copy_of_the_child_says_nothing(
    produce: Start, tracing_worker: Start, spans: Spans, queue: BgWorker
) -> None:
    running = tracing_worker("--concurrency", "1")
    (job,) = produce("print(traced.leave_a_copy.delay().id)")
    queue.job(job).result(10)
    running.stop()

    assert len(spans.named("process default")) == 1


def test_the_environment_alone_traces_runs(worker: Start, queue: BgWorker) -> None:
    running = worker(
        app="traced",
        env={"OTEL_TRACES_EXPORTER": "console", "OTEL_SERVICE_NAME": "shop-worker"},
    )
    job = queue.dispatcher.enqueue([spec("span_of", '[["x"],{}]')])[0]
    result = queue.job(job).result(10)
    running.stop()

    span = json.loads(running.stdout.read_text())
    assert result == f"x {trace_of(span)[2:]}"
    assert span["name"] == "process default"
    assert span["parent_id"] is None
    assert span["resource"]["attributes"]["service.name"] == "shop-worker"


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_TRACES_EXPORTER": "console", "OTEL_SDK_DISABLED": "true"},
    ],
)
def test_unless_asked_for_nothing_is_imported(
    worker: Start, queue: BgWorker, environment: dict[str, str]
) -> None:
    worker(app="traced", env=environment)
    job = queue.dispatcher.enqueue([spec("libraries")])[0]

    assert queue.job(job).result(10) == []


EXPORTERS = """
from pathlib import Path
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

class Http(SpanExporter):
    def export(self, spans):
        with Path(__file__).with_name("exported").open("a") as file:
            file.writelines(f"{type(self).__name__} {span.name}\\n" for span in spans)
        return SpanExportResult.SUCCESS

class Grpc(Http): ...
"""


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({}, {"Http"}),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, {"Grpc"}),
        ({"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}, {"Http"}),
        ({"OTEL_TRACES_EXPORTER": "otlp_proto_grpc, otlp_proto_http"}, {"Http", "Grpc"}),
    ],
)
def test_exporters_are_those_that_packages_have_entered(
    worker: Start,
    queue: BgWorker,
    tmp_path: Path,
    monkeypatch: Any,
    environment: dict[str, str],
    names: set[str],
) -> None:
    folder = tmp_path / "installed"
    package = folder / "exporters-1.0.dist-info"
    package.mkdir(parents=True)
    (folder / "exporters.py").write_text(EXPORTERS)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: exporters\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(
        "[opentelemetry_traces_exporter]\n"
        "otlp_proto_http = exporters:Http\notlp_proto_grpc = exporters:Grpc\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(folder))
    running = worker(app="traced", env={"OTEL_TRACES_EXPORTER": "otlp", **environment})
    job = queue.dispatcher.enqueue([spec("span_of", '[["x"],{}]')])[0]
    queue.job(job).result(10)
    running.stop()

    exported = (folder / "exported").read_text().splitlines()
    assert sorted(exported) == sorted(f"{name} process default" for name in names)


def test_an_exporter_that_is_not_there_stops_no_job(worker: Start, queue: BgWorker) -> None:
    running = worker("--concurrency", "1", app="traced", env={"OTEL_TRACES_EXPORTER": "pigeon"})
    job = queue.dispatcher.enqueue([spec("libraries")])[0]

    queue.job(job).result(10)
    running.stop()
    lines = [line for line in running.words().splitlines() if "not traced" in line]
    assert len(lines) == 1
    assert lines[0].startswith(
        "bgworker: runs are not traced: BgWorkerError: OTEL_TRACES_EXPORTER: "
    )
    assert "pigeon" in lines[0]


def test_a_propagator_that_is_not_there_stops_no_job(
    worker: Start, queue: BgWorker, python: Start, url: str, monkeypatch: Any
) -> None:
    monkeypatch.setenv("OTEL_PROPAGATORS", "pigeon")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    process = python(
        "import sys, traced; traced.bg.url = sys.argv[1]; print(traced.libraries.delay().id)", url
    )
    job, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "bgworker: jobs are not traced: ValueError: " in err

    running = worker("--concurrency", "1", app="traced")
    queue.job(job.strip()).result(10)
    running.stop()
    assert "bgworker: runs are not traced: ValueError: " in running.words()


STRANGE = ["{}", '{"traceparent": 7, "queue": {}}', '{"traceparent": "-"}']


def test_a_strange_context_stops_no_job(
    tracing_worker: Start, spans: Spans, queue: BgWorker
) -> None:
    running = tracing_worker("--concurrency", "1")
    for third in STRANGE:
        job = queue.dispatcher.enqueue([spec("span_of", f'[["x"],{{}},{third}]')])[0]
        assert queue.job(job).result(10).startswith("x "), third
    running.stop()

    runs = spans.named("process default")
    assert [run["parent_id"] for run in runs] == [None] * len(STRANGE)


def test_without_the_library_the_environment_is_ignored_and_the_call_refused(
    worker: Start, queue: BgWorker, python: Start, tmp_path: Path, monkeypatch: Any
) -> None:
    missing = tmp_path / "missing" / "opentelemetry"
    missing.mkdir(parents=True)
    (missing / "__init__.py").write_text("raise ImportError('it is not installed')\n")
    monkeypatch.setenv("PYTHONPATH", str(missing.parent))
    worker(app="traced", env={"OTEL_TRACES_EXPORTER": "console"})
    job = queue.dispatcher.enqueue([spec("libraries")])[0]
    assert queue.job(job).result(10) == []

    process = python(
        "import traced; from bgworker.tracing import trace_jobs\n"
        "try: trace_jobs(traced.bg)\nexcept Exception as error: print(error)"
    )
    out, err = process.communicate(timeout=20)
    assert (out, err) == ("tracing needs OpenTelemetry: pip install 'bgtop[otel]'\n", "")


def test_only_traced_jobs_carry_a_context(
    produce: Start, url: str, queue: BgWorker, cli: Start
) -> None:
    (traced,) = produce("print(traced.span_of.options(queue='slow').delay('hi').id)")
    plain = queue.dispatcher.enqueue([spec("span_of", '[["hi"],{}]')])[0]
    args = queue.dispatcher.fetch(traced).args  # type: ignore[arg-type]

    assert set(headers_of(args)) == {"traceparent", "queue"}
    assert load_args(args) == (["hi"], {})
    assert queue.dispatcher.fetch(plain).args == '[["hi"],{}]'
    shown = cli("inspect", traced, "--json", "--url", url).json()
    assert (shown["args"], shown["kwargs"]) == (["hi"], {})


def test_a_queue_that_cannot_be_used_is_an_error_of_the_span(
    produce: Start, spans: Spans, tmp_path: Path
) -> None:
    (tmp_path / "jobs.db").write_text("this is no database, and long enough to be seen as none")
    words = produce(
        "try:",
        "    traced.fail.delay()",
        "except Exception as error:",
        "    print(type(error).__name__)",
    )

    assert words == ["UnusableDatabase"]
    sent = spans.one("send default")
    assert sent["status"]["status_code"] == "ERROR"
    assert sent["attributes"]["error.type"] == "UnusableDatabase"


def spec(task: str, args: str = "[[],{}]") -> Any:
    from bgworker.model import JobSpec

    return JobSpec(task=task, args=args)
