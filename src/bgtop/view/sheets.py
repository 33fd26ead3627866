"""The snapshot as CSV: the queues, an empty line, the workers; one heading line per table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any, Final

from bgtop.model import (
    UNKNOWN_RATES,
    BackendInfo,
    Frame,
    QueueReading,
    Source,
    WorkerReading,
)
from bgtop.state.listing import queues_of, workers_of
from bgtop.view.document import queue_record, worker_record
from bgtop.view.text import clean

_NOWHERE: Final = Source(name="", info=BackendInfo(system="", broker="", url=""))


def sheets_of(frame: Frame) -> str:
    """Both tables; the columns are the keys of the JSON document, unknown is an empty field."""
    queues = [
        queue_record(source, queue, frame.rates.get((source.key, queue.name), UNKNOWN_RATES))
        for source, queue in queues_of(frame).rows
    ]
    workers = [worker_record(source, worker) for source, worker in workers_of(frame).rows]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    # Records of nothing name the columns even when a table has no rows.
    writer.writerow(queue_record(_NOWHERE, QueueReading(name=""), UNKNOWN_RATES))
    writer.writerows(map(fields_of, queues))
    text.write("\n")
    writer.writerow(worker_record(_NOWHERE, WorkerReading(name="")))
    writer.writerows(map(fields_of, workers))
    return text.getvalue()


def fields_of(record: dict[str, Any]) -> Iterable[str]:
    """The values of a JSON record as texts for CSV."""
    return [_field(value) for value in record.values()]


def _field(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return " ".join(f"{key}:{part}" for key, part in value.items())
    if isinstance(value, list):
        parts = [part["name"] if isinstance(part, dict) else part for part in value]
        return clean(" ".join(parts))
    return clean(value) if isinstance(value, str) else str(value)
