"""The snapshot as a JSON document, ``schema`` 1: every key is always there, unknown is null."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Final

from bgtop.model import (
    UNKNOWN_RATES,
    CurrentTask,
    Frame,
    QueueReading,
    Rates,
    Source,
    WorkerReading,
    WorkerState,
)
from bgtop.source_url import redacted
from bgtop.state.listing import queues_of, workers_of
from bgtop.state.places import doubts_of
from bgtop.state.totals import totals_of
from bgtop.view.text import seconds_since

SCHEMA: Final = 1


def document_of(frame: Frame) -> dict[str, Any]:
    """The document. Names are as the watched system spells them; passwords are not in it."""
    queues, workers = queues_of(frame), workers_of(frame)
    totals = totals_of(frame)
    hidden = {"queues": queues.hidden, "workers": workers.hidden}
    return {
        "schema": SCHEMA,
        "taken_at": moment(frame.snapshot.taken_at),
        "sources": source_records(frame),
        "queues": [
            queue_record(source, queue, frame.rates.get((source.key, queue.name), UNKNOWN_RATES))
            for source, queue in queues.rows
        ],
        "workers": [worker_record(source, worker) for source, worker in workers.rows],
        "totals": {
            "queues": totals.queues,
            "workers": totals.workers,
            "depth": totals.depth,
            "unacked": totals.unacked,
            "scheduled": totals.scheduled,
            "running": totals.running,
            "failed": totals.failed,
            "dead": totals.dead,
            "hidden": hidden,
        },
    }


def moment(at: datetime | None) -> str | None:
    """A time as RFC 3339 in UTC, to the millisecond."""
    if at is None:
        return None
    return (
        at.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.")
        + f"{at.microsecond // 1000:03d}Z"
    )


def rounded(value: float | None) -> float | None:
    """Microseconds are enough, and shorter to read than the nearest binary fraction."""
    return None if value is None else round(value, 6)


def source_records(frame: Frame) -> list[dict[str, Any]]:
    """The sources; what is said of a search goes to the first one of its place."""
    said = {search.name: doubts_of(search, frame) for search in frame.searches}
    records = [_source(source) for source in frame.snapshot.sources]
    for record in records:
        record["warnings"] += said.pop(record["name"], [])
    return records


def _source(source: Source) -> dict[str, Any]:
    reading = source.reading
    return {
        "name": source.name,
        "url": redacted(source.info.url),
        "system": source.info.system,
        "broker": source.info.broker,
        "broker_version": reading.broker_version if reading else None,
        "taken_at": moment(reading.taken_at) if reading else None,
        "poll_seconds": rounded(source.poll_seconds),
        "round_trips": reading.round_trips if reading else None,
        "commands": reading.commands if reading else None,
        "error": source.failure.message if source.failure else None,
        "warnings": list(reading.warnings) if reading else [],
        "totals": dict(reading.totals) if reading else {},
    }


def queue_record(source: Source, queue: QueueReading, rates: Rates) -> dict[str, Any]:
    """One queue; the keys are the columns of the CSV table as well."""
    return {
        "source": source.name,
        "system": source.info.system,
        "name": queue.name,
        "depth": queue.depth,
        "by_priority": _by_priority(queue.by_priority),
        "unacked": queue.unacked,
        "scheduled": queue.scheduled,
        "deferred": queue.deferred,
        "running": queue.running,
        "failed": queue.failed,
        "dead": queue.dead,
        "oldest_age_seconds": rounded(queue.oldest.seconds) if queue.oldest else None,
        "oldest_age_is": queue.oldest.kind.value if queue.oldest else None,
        "in_per_second": rounded(rates.in_per_second),
        "out_per_second": rounded(rates.out_per_second),
        "drain_seconds": rounded(rates.drain_seconds),
        "runtime_mean_seconds": rounded(queue.runtime_mean_seconds),
        "last_completed_at": moment(queue.last_completed_at),
        "consumers": queue.consumers,
        "paused": queue.paused,
        "internal": queue.internal,
        "malformed": queue.malformed,
        "rates_are": _kind_of(rates),
    }


def _kind_of(rates: Rates) -> str | None:
    if rates.in_per_second is None and rates.out_per_second is None:
        return None
    return "estimated" if rates.are_estimates else "counted"


def _by_priority(depths: Mapping[int, int] | None) -> dict[str, int] | None:
    return None if depths is None else {str(key): depths[key] for key in sorted(depths)}


def worker_record(source: Source, worker: WorkerReading) -> dict[str, Any]:
    """One worker; ages are those of the moment its source was read."""
    taken_at = source.reading.taken_at if source.reading else None
    beat = worker.last_heartbeat_at
    return {
        "source": source.name,
        "system": source.info.system,
        "name": worker.name,
        "state": (worker.state or WorkerState.UNKNOWN).value,
        "last_heartbeat_at": moment(beat),
        "heartbeat_age_seconds": rounded(seconds_since(beat, taken_at)) if taken_at else None,
        "queues": None if worker.queues is None else list(worker.queues),
        "concurrency": worker.concurrency,
        "running": worker.running,
        "processed": worker.processed,
        "failed": worker.failed,
        "cpu_percent": rounded(worker.cpu_percent),
        "rss_bytes": worker.rss_bytes,
        "pid": worker.pid,
        "host": worker.host,
        "started_at": moment(worker.started_at),
        "version": worker.version,
        "current": None if worker.current is None else [_task(task) for task in worker.current],
    }


def _task(task: CurrentTask) -> dict[str, Any]:
    return {"id": task.id, "name": task.name, "started_at": moment(task.started_at)}
