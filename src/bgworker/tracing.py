"""OpenTelemetry, where it is installed and asked for: a span that enqueues, and one for each run.

Nothing of it is imported before :func:`is_on` says so. The context travels with the job, beside its
arguments (see ``codec.with_headers``): jobs without one are stored as ever.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from bgworker.codec import headers_of, load_error, with_headers
from bgworker.errors import BgWorkerError
from bgworker.model import PAYLOAD_CAP, JobId, JobSpec
from bgworker.values import dataclass, replace

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from bgworker.app import BgWorker
    from bgworker.contracts import Dispatcher

_SCOPE = "bgworker"
_QUEUE = "queue"
"""The header that says which queue a job was sent to: a run is not told by anybody else."""
_FLUSH_WITHIN = 0.8
"""Seconds: a child that leaves is killed after one."""
_OTLP = {
    "": ("otlp_proto_http", "otlp_proto_grpc"),
    "http/protobuf": ("otlp_proto_http",),
    "grpc": ("otlp_proto_grpc",),
}
"""By ``OTEL_EXPORTER_OTLP_PROTOCOL``: the names of the exporter ``otlp``."""
Run: TypeAlias = Callable[[], tuple[str, str]]
Store: TypeAlias = Callable[[Sequence[JobSpec]], Sequence[JobId]]


@dataclass(frozen=True, slots=True)
class Tracing:
    """That an application wants its jobs traced; see :func:`trace_jobs`."""

    in_child: Callable[[], object] | None = None


def trace_jobs(app: BgWorker, in_child: Callable[[], object] | None = None) -> None:
    """Trace the jobs of an application with the tracer provider of each process.

    ``in_child`` is called once in every process that runs jobs, after the fork: the place to make
    a provider with a batch processor, whose thread no fork survives.

    Raises:
        BgWorkerError: ``opentelemetry-api`` is not installed.
    """
    if not _is_installed():
        raise BgWorkerError("tracing needs OpenTelemetry: pip install 'bgtop[otel]'")
    app.tracing = Tracing(in_child)
    app.close()  # what is open already does not trace


def is_on(app: BgWorker) -> bool:
    """Whether jobs are to be traced: the application says so, or the environment does."""
    return app.tracing is not None or (_asked_by_environment() and _is_installed())


def open_dispatcher(app: BgWorker) -> Dispatcher:
    """The queue of an application, through which its jobs go."""
    from bgworker.engines import open_engine

    engine = open_engine(app.url)
    if not is_on(app):
        return engine
    try:
        return cast("Dispatcher", _Traced(engine))
    except Exception as error:  # noqa: BLE001 - as for a propagator that is not installed
        _complain("jobs are", error)
        return engine


def preload(app: BgWorker) -> None:
    """Import before the fork what every child would import after it; nothing is set up yet."""
    if is_on(app):
        with contextlib.suppress(Exception):  # each child tells what is wrong
            import opentelemetry.propagate
            import opentelemetry.sdk.trace.export  # noqa: F401


class _Traced:
    """A dispatcher whose ``enqueue`` is a span, and gives each job the context of that span."""

    def __init__(self, inner: Dispatcher) -> None:
        from opentelemetry import propagate, trace

        self.inner = inner
        self._inject = propagate.inject
        self._tracer = trace.get_tracer(_SCOPE)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def enqueue(self, jobs: Sequence[JobSpec], /) -> Sequence[JobId]:
        """See :meth:`bgworker.contracts.Dispatcher.enqueue`."""
        return self.send(jobs, self.inner.enqueue)

    def enqueue_each(self, job: JobSpec, args: Sequence[str], /) -> Sequence[JobId]:
        """See :meth:`bgworker.contracts.Dispatcher.enqueue_each`."""

        def store(headers: dict[str, str]) -> Sequence[JobId]:
            jobs = [_with_context(replace(job, args=one), headers) for one in args]
            return self.inner.enqueue_each(job, [one.args for one in jobs])

        return self._in_span({job.queue}, len(args), job.task, store)

    def send(self, jobs: Sequence[JobSpec], store: Store) -> Sequence[JobId]:
        """Store jobs inside a span."""
        return self._in_span(
            {job.queue for job in jobs},
            len(jobs),
            jobs[0].task if len(jobs) == 1 else None,
            lambda headers: store([_with_context(job, headers) for job in jobs]),
        )

    def _in_span(
        self,
        queues: set[str],
        count: int,
        task: str | None,
        store: Callable[[dict[str, str]], Sequence[JobId]],
    ) -> Sequence[JobId]:
        from opentelemetry.trace import SpanKind

        queue = queues.pop() if len(queues) == 1 else None
        told = _attributes("send", queue)
        if task is not None:
            told["bgworker.task"] = task
        if count != 1:
            told["messaging.batch.message_count"] = count
        with self._tracer.start_as_current_span(
            _name("send", queue), kind=SpanKind.PRODUCER, attributes=told
        ) as span:
            headers: dict[str, str] = {}
            self._inject(headers)
            try:
                ids = store(headers)
            except Exception as error:
                span.set_attribute("error.type", type(error).__qualname__)
                raise
            if count == 1:
                span.set_attribute("messaging.message.id", ids[0])
            return ids


def beneath(dispatcher: Dispatcher) -> Dispatcher:
    """The engine itself, whether it traces or not."""
    return dispatcher.inner if isinstance(dispatcher, _Traced) else dispatcher


def send(dispatcher: Dispatcher, jobs: Sequence[JobSpec], store: Store) -> Sequence[JobId]:
    """Store jobs by ``store``, a way of its own, and trace that if ``dispatcher`` does."""
    return dispatcher.send(jobs, store) if isinstance(dispatcher, _Traced) else store(jobs)


class Tracer:
    """Belongs to one child: wraps its runs in spans."""

    def __init__(self) -> None:
        from opentelemetry import propagate, trace

        self._extract = propagate.extract
        self._tracer = trace.get_tracer(_SCOPE)
        self._pid = os.getpid()

    def run(self, execute: Run, args: str, told: dict[str, Any], queue: str) -> tuple[str, str]:
        """What ``execute`` returns; the span gets ``told``, and the error if there is one."""
        from opentelemetry import context
        from opentelemetry.trace import set_span_in_context

        headers = headers_of(args)
        sent = self._extract(headers)
        span = self._begin(sent, _attributes("process", headers.get(_QUEUE, queue)) | told)
        token = context.attach(set_span_in_context(span, sent))
        try:
            kind, body = execute()
        finally:
            context.detach(token)
        if os.getpid() == self._pid:  # else it is a copy that the task forked, and has no say
            if kind != "ok":
                _note_error(span, body)
            span.end()
        return kind, body

    def flush(self) -> None:
        """Send what is to be sent, for a moment: this process is about to end."""
        from opentelemetry import trace

        flush = getattr(trace.get_tracer_provider(), "force_flush", None)
        if flush is not None:
            sending = threading.Thread(target=flush, daemon=True)
            sending.start()
            sending.join(_FLUSH_WITHIN)

    def _begin(self, sent: Context, attributes: dict[str, Any]) -> Span:
        from opentelemetry.trace import Link, SpanKind, get_current_span

        sender = get_current_span(sent).get_span_context()
        return self._tracer.start_span(
            _name("process", attributes["messaging.destination.name"]),
            context=sent,
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=[Link(sender)] if sender.is_valid else [],
        )


def tracer_of(app: BgWorker) -> Tracer | None:
    """For a child, after the fork; ``None``: its runs are not traced.

    What goes wrong is told in a line: jobs run all the same.
    """
    if not is_on(app):
        return None
    try:
        if app.tracing is not None and app.tracing.in_child is not None:
            app.tracing.in_child()
        elif _asked_by_environment():
            _configure()
        return Tracer()
    except Exception as error:  # noqa: BLE001 - whatever an exporter or the application raises
        _complain("runs are", error)
        return None


def _configure() -> None:
    """Do what the ``OTEL_*`` variables say, unless the application made a provider itself."""
    from opentelemetry import trace

    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return
    try:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise BgWorkerError("OTEL_TRACES_EXPORTER needs: pip install 'bgtop[otel]'") from None
    provider = TracerProvider()  # it knows of sampler and resource by itself
    for name in _chosen().split(","):
        provider.add_span_processor(BatchSpanProcessor(_exporter(name.strip())))
    trace.set_tracer_provider(provider)


def _exporter(name: str) -> Any:
    """The exporter that a package has entered under this name."""
    from importlib.metadata import entry_points

    for entered in _OTLP.get(_protocol(), ()) if name == "otlp" else (name,):
        for found in entry_points(group="opentelemetry_traces_exporter", name=entered):
            return found.load()()
    raise BgWorkerError(
        f"OTEL_TRACES_EXPORTER: no installed package has the exporter {name!r}; "
        "for otlp: pip install opentelemetry-exporter-otlp"
    )


def _protocol() -> str:
    for scope in ("OTLP_TRACES", "OTLP"):
        if chosen := os.environ.get(f"OTEL_EXPORTER_{scope}_PROTOCOL", "").strip():
            return chosen
    return ""


def _chosen() -> str:
    return os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()


def _asked_by_environment() -> bool:
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return _chosen() not in {"", "none"} and not disabled


def _is_installed() -> bool:
    try:
        import opentelemetry.trace  # noqa: F401
    except ImportError:
        return False
    return True


def _complain(what: str, error: Exception) -> None:
    from bgworker.log import complain

    complain(f"{what} not traced: {type(error).__name__}: {error}")


def _with_context(job: JobSpec, headers: dict[str, str]) -> JobSpec:
    """The job with the context, unless that would make it too large to be stored."""
    if not headers:
        return job
    args = with_headers(job.args, {**headers, _QUEUE: job.queue})
    return job if len(args) > PAYLOAD_CAP else replace(job, args=args)


def _attributes(operation: str, queue: str | None) -> dict[str, Any]:
    """As the semantic conventions for messaging have them."""
    told: dict[str, Any] = {
        "messaging.system": "bgworker",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
    }
    if queue is not None:
        told["messaging.destination.name"] = queue
    return told


def _name(operation: str, queue: str | None) -> str:
    return operation if queue is None else f"{operation} {queue}"


def _note_error(span: Span, error: str) -> None:
    from opentelemetry.trace import Status, StatusCode

    kind, message, traceback = load_error(error)
    said = {
        "exception.type": kind,
        "exception.message": message,
        "exception.stacktrace": traceback,
    }
    span.add_event("exception", said)
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR, f"{kind}: {message}"))
