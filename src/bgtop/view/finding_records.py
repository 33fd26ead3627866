"""Findings as JSON records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from bgtop.view.document import SCHEMA, moment, source_records

if TYPE_CHECKING:
    from bgtop.model import Frame
    from bgtop.state.findings import Case


def document_of_findings(frame: Frame, cases: Iterable[Case]) -> dict[str, Any]:
    """The JSON document."""
    return {
        "schema": SCHEMA,
        "taken_at": moment(frame.snapshot.taken_at),
        "sources": source_records(frame),
        "findings": [
            {
                "code": finding.code,
                "severity": finding.severity.value,
                "source": source.name,
                "system": source.info.system,
                "subject": finding.subject,
                "words": finding.words,
                "evidence": finding.evidence,
                "mend": finding.mend,
            }
            for source, finding in cases
        ],
    }
