"""Jobs that failed or are dead, of all sources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bgtop.model import Frame
from bgtop.state.records import JOB_FACTS, JobRow
from bgtop.view.facts import total_facts
from bgtop.view.job_columns import JOB_FIELDS, jobs_of, moment_of, notes_on, open_job, why_no_jobs
from bgtop.view.specs import PageSpec, TableSpec
from bgtop.view.subjects import failed_jobs
from bgtop.view.ui import Ui
from bgworker.values import replace

FAILURES: Final = "failures"


def _rows(frame: Frame, ui: Ui) -> Sequence[JobRow]:
    """The newest first; those of which nobody knows when come last."""
    rows = jobs_of(frame.snapshot.sources, failed_jobs(ui.visit))
    moments = [(moment, at) for at, row in enumerate(rows) if (moment := moment_of(row))]
    moments.sort(key=lambda pair: pair[0], reverse=True)
    return [
        *(rows[at] for _, at in moments),
        *(row for row in rows if moment_of(row) is None),
    ]


PAGE: Final = PageSpec(
    name=FAILURES,
    words="jobs that failed, everywhere",
    tables=(
        TableSpec(
            key=FAILURES,
            fields=JOB_FIELDS,
            facts=JOB_FACTS,
            rows=_rows,
            empty=lambda frame, ui: why_no_jobs(
                frame.snapshot.sources, failed_jobs(ui.visit), "failed or dead jobs"
            ),
            opens=open_job,
        ),
    ),
    facts=lambda frame, _ui, _now: total_facts(frame),
    interest=lambda visit, _source, usual: replace(usual, jobs=failed_jobs(visit)),
    notes=lambda frame, ui: notes_on(frame.snapshot.sources, failed_jobs(ui.visit)),
)
