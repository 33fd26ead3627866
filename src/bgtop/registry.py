"""Plug-ins: found by their entry points, loaded when they are used.

Installed distributions declare entry points in a small text file beside their other metadata.
Those files are read directly: ``importlib.metadata`` gives the same answer for five times the
start-up time and four more megabytes, and is asked only when a name is not found this way (a
distribution inside a zip file, an importer of its own).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from bgtop.contracts import BackendPlugin, BrokerPlugin, ExporterPlugin, RendererPlugin
from bgtop.source_url import redacted_in, scheme_of
from bgworker.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

    from bgtop.contracts import (
        Backend,
        Exporter,
        ExportSettings,
        Inspector,
        Mark,
        MetricsPage,
        Prober,
        Settings,
    )

BACKENDS: Final = "bgtop.backends"
BROKERS: Final = "bgtop.brokers"
RENDERERS: Final = "bgtop.renderers"
EXPORTERS: Final = "bgtop.exporters"

_Plugin = TypeVar("_Plugin")


class PluginError(Exception):
    """A plug-in is unknown or cannot be loaded; the message is one line for the user."""


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """One line of a distribution's entry points: ``name = module:attribute``."""

    name: str
    value: str
    distribution: str


def entry_points(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name; the first on ``sys.path`` counts."""
    found: dict[str, EntryPoint] = {}
    seen: set[str] = set()
    for path in sys.path:
        for metadata in _metadata_folders(path or "."):
            distribution = os.path.basename(metadata).rpartition(".")[0]
            name = distribution.partition("-")[0].lower().replace("_", "-")
            if name not in seen:
                seen.add(name)
                for entry in _declared(metadata, group, distribution):
                    found.setdefault(entry.name, entry)
    return dict(sorted(found.items()))


def _metadata_folders(path: str) -> Iterator[str]:
    try:
        with os.scandir(path) as entries:
            names = [e.name for e in entries if e.name.endswith((".dist-info", ".egg-info"))]
    except OSError:
        # Zip files and folders that are gone are usual on sys.path.
        return
    yield from (os.path.join(path, name) for name in sorted(names))


def _declared(metadata: str, group: str, distribution: str) -> Iterator[EntryPoint]:
    try:
        with open(os.path.join(metadata, "entry_points.txt"), encoding="utf-8") as file:
            text = file.read()
    except OSError:
        return
    if group not in text:
        return
    section = ""
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("["):
            section = line.strip("[] ")
        elif section == group and "=" in line and not line.startswith(("#", ";")):
            name, _, value = line.partition("=")
            yield EntryPoint(name.strip(), value.partition("[")[0].strip(), distribution)


def load_backend(name: str) -> BackendPlugin:
    """The backend plug-in of this name; raises :class:`PluginError`."""
    return _load(BACKENDS, name, BackendPlugin)


def load_broker(name: str) -> BrokerPlugin:
    """The plug-in of the brokers with this scheme; raises :class:`PluginError`."""
    return _load(BROKERS, name, BrokerPlugin)


def load_renderer(name: str) -> RendererPlugin:
    """The renderer plug-in of this name; raises :class:`PluginError`."""
    return _load(RENDERERS, name, RendererPlugin)


def check_renderer(name: str) -> None:
    """Refuse a name no renderer has, without loading one; raises :class:`PluginError`."""
    _entry(RENDERERS, name)


def load_exporter(name: str) -> ExporterPlugin:
    """The exporter plug-in of this name; raises :class:`PluginError`."""
    return _load(EXPORTERS, name, ExporterPlugin)


def _kind(group: str) -> str:
    return group.partition(".")[2].removesuffix("s")


def _entry(group: str, name: str) -> EntryPoint:
    known = entry_points(group)
    entry = known.get(name) or _asked_slowly(group, name)
    if entry is None:
        raise PluginError(f"unknown {_kind(group)} {name!r}; known: {', '.join(known) or 'none'}")
    return entry


def _load(group: str, name: str, wanted: type[_Plugin]) -> _Plugin:
    entry, kind = _entry(group, name), _kind(group)
    module, _, attribute = entry.value.partition(":")
    try:
        __import__(module)
        plugin = getattr(sys.modules[module], attribute)
    except ImportError as fault:
        raise PluginError(
            f"{kind} {name!r} cannot be loaded: {fault}; try: {install_line(entry)}"
        ) from fault
    except Exception as fault:  # a plug-in may fail in any way while it is imported
        raise PluginError(
            f"{kind} {name!r} cannot be loaded: {type(fault).__name__}: {fault}"
        ) from fault
    if not isinstance(plugin, wanted):
        raise PluginError(f"{kind} {name!r} is no {wanted.__name__}")
    return plugin


def _asked_slowly(group: str, name: str) -> EntryPoint | None:
    from importlib.metadata import entry_points as installed

    for entry in installed(group=group, name=name):
        distribution = f"{entry.dist.name}-{entry.dist.version}" if entry.dist else ""
        return EntryPoint(entry.name, entry.value, distribution)
    return None


def install_line(entry: EntryPoint) -> str:
    """What mends a plug-in that lacks something: its extra of bgtop, or its own distribution."""
    distribution = entry.distribution.partition("-")[0]
    wanted = f"bgtop[{entry.name}]" if distribution in {"bgtop", ""} else distribution
    return f"pip install '{wanted}'"


def broker_for(url: str) -> BrokerPlugin | None:
    """The plug-in of the broker a URL names without naming a job system; ``None`` for others."""
    scheme = scheme_of(url)
    return load_broker(scheme) if scheme in entry_points(BROKERS) else None


def plugin_for(url: str, name: str | None = None) -> BackendPlugin:
    """The plug-in that opens a URL: the one named, else the one its scheme belongs to."""
    if name is not None:
        return load_backend(name)
    scheme = scheme_of(url)
    search = _opening(scheme)
    if search.plugin is None:
        raise PluginError("; ".join([_unopened(scheme, search.schemes), *search.faults]))
    return search.plugin


def name_fault(key: str, name: str) -> str | None:
    """Why no plug-in has this name, which a setting ``backend`` or ``renderer`` gives."""
    try:
        _entry({"backend": BACKENDS, "renderer": RENDERERS}[key], name)
    except PluginError as fault:
        return str(fault)
    return None


def scheme_fault(scheme: str) -> str | None:
    """Why no plug-in opens URLs of this scheme; ``None`` where one may that cannot be loaded.

    It is asked about addresses that nobody opens now, and what else is wrong there is no matter.
    """
    if not scheme:
        return "is not a URL, such as redis://localhost:6379/0"
    if scheme in entry_points(BROKERS):
        return None
    try:
        search = _opening(scheme)
    except PluginError:
        return None
    return None if search.plugin or search.faults else _unopened(scheme, search.schemes)


class _Search(NamedTuple):
    """Who opens a scheme; if nobody does, those there are, and who could not be asked."""

    plugin: BackendPlugin | None
    schemes: list[str]
    faults: list[str]


def _opening(scheme: str) -> _Search:
    known = entry_points(BACKENDS)
    system = scheme.partition("+")[0]
    if system in known:
        plugin = load_backend(system)
        if scheme in plugin.schemes:
            return _Search(plugin, [], [])
    schemes: list[str] = []
    faults: list[str] = []
    for candidate in known:
        try:
            plugin = load_backend(candidate)
        except PluginError as fault:
            faults.append(str(fault))
            continue
        if scheme in plugin.schemes:
            return _Search(plugin, [], [])
        schemes += plugin.schemes
    return _Search(None, schemes, faults)


def _unopened(scheme: str, known: list[str]) -> str:
    of_systems = [f"{name}://" for name in sorted(known) if name.endswith(f"+{scheme}")]
    if scheme and of_systems:
        return f"{scheme}:// cannot be searched; name the system: {' or '.join(of_systems)}"
    system = scheme.partition("+")[0]
    of_system = [f"{name}://" for name in sorted(known) if name.startswith(f"{system}+")]
    if "+" in scheme and of_system:
        return f"{scheme}:// is not supported; for {system} bgtop reads {', '.join(of_system)}"
    schemes = sorted([*known, *entry_points(BROKERS)])
    return f"no backend opens {scheme}://; known: {', '.join(schemes)}"


class Marks(NamedTuple):
    """By what the systems at a broker are recognised, and which plug-ins could not say."""

    by_backend: dict[str, tuple[Mark, ...]]
    faults: tuple[str, ...]


def marks_for(broker: BrokerPlugin, url: str) -> Marks:
    """The marks of every backend that can be opened where this URL leads."""
    scheme = scheme_of(url)
    found: dict[str, tuple[Mark, ...]] = {}
    faults = []
    for name in entry_points(BACKENDS):
        try:
            plugin = load_backend(name)
        except PluginError as fault:
            faults.append(str(fault))
            continue
        marks = tuple(mark for mark in plugin.marks if mark.broker == broker.name)
        if marks and f"{name}+{scheme}" in plugin.schemes:
            found[name] = marks
    return Marks(found, tuple(faults))


def open_prober(
    broker: BrokerPlugin, url: str, settings: Settings, marks: dict[str, tuple[Mark, ...]]
) -> Prober:
    """Who looks for systems at this URL; raises :class:`PluginError` for a bad address."""
    try:
        return broker.probe(url, settings, marks)
    except ImportError as fault:
        hint = broker.requires or f"pip install 'bgtop[{broker.name}]'"
        raise PluginError(f"broker {broker.name!r} lacks a library: {fault}; {hint}") from fault
    except ValueError as fault:
        words = redacted_in(str(fault))
        raise PluginError(f"broker {broker.name!r} cannot read this URL: {words}") from fault


def inspector_of(
    plugin: BackendPlugin, url: str, settings: Settings
) -> Callable[[], Inspector] | None:
    """What opens who asks the workers at this URL; ``None`` where nobody can."""
    make = plugin.inspector
    return None if make is None else lambda: make(url, settings)


def open_backend(plugin: BackendPlugin, url: str, settings: Settings) -> Backend:
    """The opened source; raises :class:`PluginError` for a bad address or a missing library."""
    try:
        return plugin.open(url, settings)
    except ImportError as fault:
        hint = plugin.requires or f"pip install 'bgtop[{plugin.name}]'"
        raise PluginError(f"backend {plugin.name!r} lacks a library: {fault}; {hint}") from fault
    except ValueError as fault:
        words = redacted_in(str(fault))
        raise PluginError(f"backend {plugin.name!r} cannot read this URL: {words}") from fault


def metrics_page(plugin: ExporterPlugin, settings: ExportSettings) -> MetricsPage:
    """The page of an exporter for a server of our own; raises :class:`PluginError`, ``ValueError``.

    The latter is for settings it cannot use.
    """
    if plugin.page is None:
        raise PluginError(f"exporter {plugin.name!r} has no page to be fetched")
    try:
        return plugin.page(settings)
    except ImportError as fault:
        hint = plugin.requires or f"pip install 'bgtop[{plugin.name}]'"
        raise PluginError(f"exporter {plugin.name!r} lacks a library: {fault}; {hint}") from fault


def open_exporter(plugin: ExporterPlugin, address: str, settings: ExportSettings) -> Exporter:
    """The opened exporter; raises :class:`PluginError` for a missing library.

    Also raises ``ValueError`` for an address or settings it cannot use, ``OSError`` where it cannot
    listen.
    """
    try:
        return plugin.open(address, settings)
    except ImportError as fault:
        hint = plugin.requires or f"pip install 'bgtop[{plugin.name}]'"
        raise PluginError(f"exporter {plugin.name!r} lacks a library: {fault}; {hint}") from fault
