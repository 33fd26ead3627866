"""bgworker: its queue file, read by its own inspector."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgtop.contracts import BackendPlugin

if TYPE_CHECKING:
    from bgtop.contracts import Backend, Settings


def _open(url: str, settings: Settings) -> Backend:
    from bgtop.backends.bgworker.queue_file import BgWorkerBackend

    return BgWorkerBackend(url, settings)


plugin = BackendPlugin(
    name="bgworker",
    summary="bgworker's queue in one SQLite file",
    schemes=("sqlite",),
    open=_open,
)
