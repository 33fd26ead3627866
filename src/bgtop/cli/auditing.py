"""The audit log as the settings want it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from bgtop.audit import OFF, AuditLog, default_path

if TYPE_CHECKING:
    from bgtop.config import Config


@contextmanager
def audit_log(config: Config, environ: Mapping[str, str], *, by: str) -> Iterator[AuditLog | None]:
    """The log, open; ``None`` if the settings switch it off.

    Raises :class:`bgtop.audit.AuditError`.
    """
    if config.audit_log == OFF:
        yield None
        return
    path = os.path.expanduser(config.audit_log or default_path(environ))
    with closing(AuditLog(path, by=by)) as log:
        yield log
