"""What bgworker's own doctor says of a queue file, as findings of bgtop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgtop.model import Severity
from bgtop.symptoms import finding
from bgworker.doctor import examine
from bgworker.values import replace

if TYPE_CHECKING:
    from bgtop.model import Finding


def findings(url: str) -> tuple[Finding, ...]:
    """One look of up to 2 s into the file, which changes nothing."""
    return tuple(
        replace(
            finding("queue-file", url.rpartition("/")[2], one.evidence, one.do),
            severity=Severity(one.severity.value),
            words=one.what,
        )
        for one in examine(url)
    )
