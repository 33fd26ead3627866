"""Renderers on terminals, forked by a Python that has imported them before."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from fork_server import Process, start

IMPORTED = (
    *("bgtop.testing", "bgtop.page", "bgtop.renderers.terminal", "bgtop.view.layout"),
    *("multiprocessing.connection", "multiprocessing.context", "multiprocessing.reduction"),
)
"""What every stage imports, beside the plug-in itself."""


class ForkedStage:
    """Beside a suite for renderers: what they import is most of what it takes to open one."""

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], terminal: int
    ) -> Process:
        return start(
            "bgtop.testing.renderer_stage",
            arguments,
            imported=(*IMPORTED, arguments[0].partition(":")[0]),
            environment=environment,
            folder=Path.cwd(),
            log=Path(os.ttyname(terminal)),
            leads=True,
        )
