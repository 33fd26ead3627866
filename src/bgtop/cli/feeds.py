"""Opening the configured sources."""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Final

from bgtop.explorer import Explorer
from bgtop.registry import broker_for, inspector_of, open_backend, plugin_for
from bgtop.sampler import Feed

if TYPE_CHECKING:
    from bgtop.config import Config, SourceSpec
    from bgtop.contracts import Settings


_MOST_LOGGED: Final = 100
"""Different tracebacks of one run: who has more knows enough."""


_VALUES_OF_A_READING: Final = 25_000
"""Python looks for cycles whenever so many more values were made than freed."""


def spare_the_collector() -> None:
    """Let readings be made and freed without the collector walking through them.

    They are made of thousands of values and hold no cycles. With Python's own threshold each is
    walked through ten times while it is made, and now and then so is everything else.
    """
    import gc

    gc.set_threshold(_VALUES_OF_A_READING, 10, 10)


def open_feeds(config: Config) -> list[Feed]:
    """Every source, opened and not yet read; raises :class:`bgtop.registry.PluginError`."""
    spare_the_collector()
    return [_open(spec, config.settings) for spec in config.sources]


def _open(spec: SourceSpec, settings: Settings) -> Feed:
    broker = broker_for(spec.url) if spec.backend is None else None
    if broker is not None:
        explorer = Explorer(spec.name, spec.url, broker, settings)
        return Feed(name=spec.name, backend=explorer, newly_found=explorer.newly_found)
    plugin = plugin_for(spec.url, spec.backend)
    backend = open_backend(plugin, spec.url, settings)
    asking = inspector_of(plugin, spec.url, settings)
    return Feed(name=spec.name, backend=backend, inspector=asking)


class Faults:
    """Tracebacks of faults that became failed polls, kept until the terminal is free again.

    With a ``log`` each is also written to that file at once, should we not live to tell it.
    """

    def __init__(self, log: str | None = None) -> None:
        self._log = log
        self._told: set[str] = set()
        # The newest are enough: a source in trouble fails in the same way again and again.
        self._texts: deque[str] = deque(maxlen=10)

    def report(self, text: str) -> None:
        """Keep a traceback; called from the samplers' threads."""
        self._texts.append(text)
        if self._log is not None and text not in self._told and len(self._told) < _MOST_LOGGED:
            self._told.add(text)
            self._write(text)

    def _write(self, text: str) -> None:
        from datetime import datetime, timezone

        from bgtop.audit import open_private

        at = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        try:
            file = open_private(self._log or "")
        except OSError:
            return  # it is still said at the end
        try:
            os.write(file, f"{at}\n{text.rstrip()}\n\n".encode("utf-8", "replace"))
        finally:
            os.close(file)

    def __str__(self) -> str:
        return "\n".join(dict.fromkeys(self._texts))
