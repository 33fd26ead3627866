"""A broker whose URL names no job system: one source that finds others at the same place."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from bgtop.contracts import WatchOnly
from bgtop.registry import (
    PluginError,
    inspector_of,
    load_backend,
    marks_for,
    open_backend,
    open_prober,
)
from bgtop.sampler import Feed, Found
from bgtop.source_url import url_of
from bgworker.values import replace

if TYPE_CHECKING:
    from bgtop.contracts import BrokerPlugin, Finding, Interest, Prober, Settings
    from bgtop.model import BackendInfo, Reading


class Explorer(WatchOnly):
    """Implements :class:`bgtop.contracts.Backend`; each system it finds becomes a feed.

    A feed is opened by the thread that takes it, not by the one that searches: what is loaded
    for it then shares the heap of everything else; the C library keeps one for each thread.
    Opening connects to nothing; each feed has a connection of its own.
    """

    def __init__(self, name: str, url: str, broker: BrokerPlugin, settings: Settings) -> None:
        marks = marks_for(broker, url)
        self._name, self._url = name, url
        self._prober: Prober = open_prober(broker, url, settings, marks.by_backend)
        self._faults = marks.faults
        self._told = 0
        # One search of a place is enough: those found there are told what it reads.
        self._settings_of_found = replace(settings, shared=self._prober.shared)

    @property
    def info(self) -> BackendInfo:
        """The broker, with no system."""
        return self._prober.info

    def poll(self, interest: Interest, /) -> Reading:
        """One step of the search; raises :class:`bgtop.contracts.BackendError`."""
        reading = self._prober.poll(interest)
        return replace(reading, warnings=(*reading.warnings, *self._faults))

    def newly_found(self) -> list[Found]:
        """What was found since this was asked last."""
        findings = self._prober.found[self._told :]
        self._told += len(findings)
        return [Found(partial(self._open, finding)) for finding in findings]

    def _open(self, finding: Finding) -> Feed | None:
        url = url_of(finding.backend, self._url, finding.options)
        try:
            plugin = load_backend(finding.backend)
            backend = open_backend(plugin, url, self._settings_of_found)
        except PluginError as fault:
            self._faults = (*self._faults, str(fault))
            return None
        words = (self._name, finding.backend, *(value for _, value in finding.options))
        asking = inspector_of(plugin, url, replace(self._settings_of_found, shared=None))
        return Feed(name=self._name, id="\0".join(words), backend=backend, inspector=asking)

    def close(self) -> None:
        """End the search; what was found is closed by whoever took it."""
        self._prober.close()
