"""Opening the configured sources."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from bgtop.explorer import Explorer
from bgtop.registry import broker_for, open_backend, plugin_for
from bgtop.sampler import Feed

if TYPE_CHECKING:
    from bgtop.config import Config, SourceSpec
    from bgtop.contracts import Settings


def open_feeds(config: Config) -> list[Feed]:
    """Every source, opened and not yet read; raises :class:`bgtop.registry.PluginError`."""
    return [_open(spec, config.settings) for spec in config.sources]


def _open(spec: SourceSpec, settings: Settings) -> Feed:
    broker = broker_for(spec.url) if spec.backend is None else None
    if broker is not None:
        explorer = Explorer(spec.name, spec.url, broker, settings)
        return Feed(name=spec.name, backend=explorer, newly_found=explorer.newly_found)
    backend = open_backend(plugin_for(spec.url, spec.backend), spec.url, settings)
    return Feed(name=spec.name, backend=backend)


class Faults:
    """Tracebacks of faults that became failed polls, kept until the terminal is free again."""

    def __init__(self) -> None:
        # The newest are enough: a source in trouble fails in the same way again and again.
        self._texts: deque[str] = deque(maxlen=10)

    def report(self, text: str) -> None:
        """Keep a traceback; called from the samplers' threads."""
        self._texts.append(text)

    def __str__(self) -> str:
        return "\n".join(dict.fromkeys(self._texts))
