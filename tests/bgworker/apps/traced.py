"""Tasks whose spans go to the file in $SPANS, one JSON object a line."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TextIO

from bgworker import BgWorker, Retry
from bgworker.tracing import trace_jobs

bg = BgWorker()


def write_spans() -> TextIO:
    """Set tracing up in this process; the file is to be closed at the end."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

    out = Path(os.environ["SPANS"]).open("a")  # noqa: SIM115 - as long as the process lives
    exporter = ConsoleSpanExporter(out=out, formatter=lambda span: f"{span.to_json(indent=None)}\n")
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return out


if "SPANS" in os.environ:
    trace_jobs(bg, in_child=write_spans)


@bg.task(name="fail", retry=Retry(max=1, delay=0.01))
def fail() -> None:
    raise LookupError("no such thing")


@bg.task(name="pass_on")
def pass_on(text: str) -> str:
    return span_of.delay(text).id


@bg.task(name="span_of")
def span_of(text: str) -> str:
    from opentelemetry import trace

    return f"{text} {trace.get_current_span().get_span_context().trace_id:032x}"


@bg.task(name="async_span_of")
async def async_span_of() -> str:
    await asyncio.sleep(0)
    return span_of("async")


@bg.task(name="leave_a_copy")
def leave_a_copy() -> None:
    """Come back twice: as the child, and as a copy of it."""
    if os.fork():
        os.wait()


@bg.task(name="libraries")
def libraries() -> list[str]:
    wanted = {"opentelemetry", "prometheus_client", "http"}
    return sorted({name.partition(".")[0] for name in sys.modules} & wanted)
