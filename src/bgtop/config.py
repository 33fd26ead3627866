"""Settings from the file, the environment and the command line, checked as a whole.

Precedence: command line, then ``BGTOP_*`` variables, then the profile, then ``[DEFAULT]``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from bgtop.config_file import DEFAULT, ConfigFile, Entry, Layer, in_order, read_sections
from bgtop.config_values import KEYS, color_faults, faults_of, values_of
from bgtop.contracts import Interest, Look, Settings
from bgtop.source_url import name_of, port_fault, redis_url, scheme_of
from bgtop.state.intake import NameFilter, Selection
from bgworker.values import dataclass, field, replace

if TYPE_CHECKING:
    from bgtop.state.alerts import Rules

_HOW_TO_BEGIN: Final = (
    "no source given, and none found here. To begin, one of:",
    "  bgtop redis://localhost:6379/0    watch every job system in this Redis",
    "  bgtop demo, or bgtop init         look around with a queue made for it, or be asked",
)

_COLORS: Final = "colors"
_SECTIONS: Final = frozenset({_COLORS, "keys", "alerts"})
"""Sections that are not profiles."""

_WHERE: Final = frozenset({"url", "redis_host", "redis_port", "redis_db"})
_OF_A_SOURCE: Final = _WHERE | {"backend", "redis_username", "redis_password"}

_MOUNTED: Final = ("url", "redis_password")
"""Keys that hold a secret: ``BGTOP_…_FILE`` names the file a container has it in."""

_LOCAL_DATABASE: Final = "bgworker.db"


class ConfigError(Exception):
    """What is wrong with the settings, a line each."""

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """A source to open: what to call it, where it is, and which plug-in opens it if named."""

    name: str
    url: str = field(repr=False)
    backend: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All settings of one run; times in seconds."""

    sources: tuple[SourceSpec, ...] = ()
    refresh_interval: float = 5.0
    dead_after: float = 30.0
    queue_filter: NameFilter | None = None
    worker_filter: NameFilter | None = None
    max_queues: int | None = None
    max_workers: int | None = None
    show_internal: bool = False
    events: bool = False
    redact: str = ""
    read_only: bool = False
    audit_log: str = ""
    """A path, ``off``, or nothing for the usual place."""
    history: bool = False
    """Whether the live view keeps its last hour for the next one."""
    history_size: int = 16_000_000
    """Octets of that at most."""
    renderer: str = "curses"
    sort: str | None = None
    """The column the first table of the live view is sorted by; ``!`` before it turns it round."""
    no_mouse: bool = False
    no_color: bool = False
    ascii: bool = False
    theme: str = "default"
    colors: tuple[tuple[str, str], ...] = ()
    keys: Mapping[str, str] = field(default_factory=dict)
    """What a key that is pressed stands for; nothing for one that is switched off."""
    alerts: Rules | None = None

    @property
    def selection(self) -> Selection:
        """What is kept of each reading."""
        return Selection(
            queues=self.queue_filter,
            workers=self.worker_filter,
            internal=self.show_internal,
            dead_after=self.dead_after,
            redact=self.redact,
        )

    @property
    def interest(self) -> Interest:
        """What each poll fetches."""
        return Interest(internal=self.show_internal, events=self.events)

    @property
    def look(self) -> Look:
        """What the user allows a renderer."""
        return Look(
            color=not self.no_color,
            ascii=self.ascii,
            mouse=not self.no_mouse,
            theme=self.theme,
            colors=self.colors,
        )

    @property
    def settings(self) -> Settings:
        """What a backend is told."""
        return Settings(dead_after=self.dead_after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """The command line as typed: sources, and the text of each option by its configuration key."""

    sources: Sequence[str] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    config: str | None = None
    profile: str | None = None


def load_config(
    arguments: Arguments,
    environ: Mapping[str, str],
    *,
    need_source: bool = True,
    scheme_fault: Callable[[str], str | None] = lambda _scheme: None,
    name_fault: Callable[[str, str], str | None] = lambda _key, _name: None,
) -> Config:
    """Read, check and merge all settings; raises :class:`ConfigError` with every fault found.

    ``scheme_fault`` says of a scheme why nothing opens it, if nothing does, and ``name_fault`` of
    a ``backend`` or ``renderer`` why there is none of this name.
    """
    file = _read_file(arguments.config or environ.get("BGTOP_CONFIG"), environ)
    sections = _sections(file)
    variables = _variables(environ)
    options = {key: Entry(text, option_of(key)) for key, text in arguments.options.items()}
    profiles, chosen = _profiles(arguments, environ)
    of_urls = [] if "backend" in {**variables, **options} else _url_faults(file, scheme_fault)
    of_file = *file.faults, *_section_faults(file), *sections.faults
    faults = [
        *in_order(*of_file, *_name_faults(file, name_fault), *of_urls),
        *faults_of(variables),
        *faults_of(options),
        *_profile_faults([*profiles, *([chosen] if chosen else [])], file),
    ]
    if faults:
        raise ConfigError(*dict.fromkeys(faults))
    section = file.sections.get(DEFAULT, {}), file.sections.get(chosen or DEFAULT, {})
    layers = (*section, variables, options)
    if arguments.sources:
        specs = [_named(text, file, variables, options) for text in arguments.sources]
    else:
        specs = list(_unnamed(chosen, layers, environ))
    if need_source and not specs:
        raise ConfigError(*_HOW_TO_BEGIN)
    values = values_of(*layers)
    display = {key: value for key, value in values.items() if key not in _OF_A_SOURCE}
    display |= {"colors": sections.colors, "keys": sections.keys, "alerts": sections.alerts}
    return Config(sources=tuple(_distinct(specs)), **display)


def _variables(environ: Mapping[str, str]) -> Layer:
    names = {key: f"BGTOP_{key.upper()}" for key in KEYS}
    found = {key: Entry(environ[name], name) for key, name in names.items() if name in environ}
    for key in _MOUNTED:
        if path := environ.get(f"{names[key]}_FILE"):
            if key in found:
                raise ConfigError(f"{names[key]} and {names[key]}_FILE are both set: keep one")
            found[key] = Entry(_text_of(path).strip(), f"{names[key]}_FILE")
    return found


def _profiles(arguments: Arguments, environ: Mapping[str, str]) -> tuple[Sequence[str], str | None]:
    """The profiles among the sources, and the one whose settings hold for everything."""
    profiles = [text for text in arguments.sources if not scheme_of(text)]
    chosen = arguments.profile or environ.get("BGTOP_PROFILE")
    if chosen is None and len(profiles) == 1:
        [chosen] = profiles
    return profiles, chosen


def option_of(key: str) -> str:
    """The command-line option that sets a key."""
    return "--interval" if key == "refresh_interval" else f"--{key.replace('_', '-')}"


def _read_file(path: str | None, environ: Mapping[str, str]) -> ConfigFile:
    """The file named, which has to be there, or the first of the usual ones."""
    if path is None:
        home = environ.get("HOME") or os.path.expanduser("~")
        folder = environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
        usual = (os.path.join(home, ".bgtoprc"), os.path.join(folder, "bgtop", "config"))
        path = next(filter(os.path.isfile, usual), None)
    if path is None:
        return ConfigFile({})
    return read_sections(_text_of(path), path)


def _text_of(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as fault:
        raise ConfigError(f"{path}: {(fault.strerror or 'cannot be read').lower()}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text") from None


def _section_faults(file: ConfigFile) -> Iterator[str]:
    for name, section in file.sections.items():
        if name == _COLORS:
            yield from color_faults(section)
        elif name not in _SECTIONS:
            yield from faults_of(section)


def _name_faults(file: ConfigFile, name_fault: Callable[[str, str], str | None]) -> Iterator[str]:
    """Plug-ins that are not there, also of profiles that are not in use."""
    for name, section in file.sections.items():
        for key in ("backend", "renderer") if name not in _SECTIONS else ():
            entry = section.get(key)
            fault = name_fault(key, entry.text) if entry is not None and entry.text else None
            if entry is not None and fault is not None:
                yield f"{entry.label}: {fault}"


def _url_faults(file: ConfigFile, scheme_fault: Callable[[str], str | None]) -> Iterator[str]:
    """Addresses nothing can open, also of profiles that are not in use.

    A backend that is named may read addresses of other schemes than it declares.
    """
    profiles = [section for name, section in file.sections.items() if name not in _SECTIONS]
    if "backend" in file.sections.get(DEFAULT, {}):
        return
    faults: dict[str, str | None] = {}
    for profile in profiles:
        url = profile.get("url")
        if url is None or not url.text or "backend" in profile:
            continue
        scheme = scheme_of(url.text)
        if scheme not in faults:
            faults[scheme] = scheme_fault(scheme)
        fault = faults[scheme] or port_fault(url.text)
        if fault is not None:
            yield f"{url.label}: {fault}"


class _Sections(NamedTuple):
    """What the sections say that are no profiles, and what is wrong with them."""

    colors: tuple[tuple[str, str], ...]
    keys: Mapping[str, str]
    alerts: Rules | None
    faults: tuple[str, ...]


def _sections(file: ConfigFile) -> _Sections:
    colors = tuple([(key, entry.text) for key, entry in file.sections.get(_COLORS, {}).items()])
    if not {"keys", "alerts"} & set(file.sections):
        return _Sections(colors, {}, None, ())
    from bgtop.config_sections import keys_of, rules_of

    keys, of_keys = keys_of(file.sections.get("keys", {}))
    rules, of_rules = rules_of(file.sections.get("alerts", {}))
    return _Sections(colors, keys, rules, (*of_keys, *of_rules))


def _profile_faults(names: Sequence[str], file: ConfigFile) -> Iterator[str]:
    for name in names:
        if name in file.sections and name not in _SECTIONS:
            continue
        if os.path.exists(name):
            yield f"{name!r} is not a URL; a database file is written sqlite:///{name}"
            continue
        known = ", ".join(sorted(set(file.sections) - {DEFAULT} - _SECTIONS)) or "none"
        yield f"{name!r} is neither a URL, nor a profile (known: {known}), nor a command in front"


def _named(text: str, file: ConfigFile, variables: Layer, options: Layer) -> SourceSpec:
    """A source of the command line. The environment may add how to log in, not where."""
    if scheme_of(text):
        backend = values_of(variables, options).get("backend")
        return SourceSpec(name=name_of(text), url=text, backend=backend)
    login = {key: entry for key, entry in variables.items() if key not in _WHERE}
    layers = (file.sections.get(DEFAULT, {}), file.sections[text], login, options)
    found = _located(layers)
    if found is None:
        raise ConfigError(f"profile {text!r} has neither url nor redis_host")
    return SourceSpec(name=text, url=found, backend=values_of(*layers).get("backend"))


def _unnamed(
    chosen: str | None, layers: Sequence[Layer], environ: Mapping[str, str]
) -> Iterator[SourceSpec]:
    """The source when none is named: the settings', bgworker's, or the database file here."""
    backend = values_of(*layers).get("backend")
    found = _located(layers)
    if found is not None:
        yield SourceSpec(name=chosen or name_of(found), url=found, backend=backend)
    elif environ.get("BGWORKER_URL"):
        url = environ["BGWORKER_URL"]
        yield SourceSpec(name=name_of(url), url=url)
    elif os.path.exists(_LOCAL_DATABASE):
        yield SourceSpec(name=_LOCAL_DATABASE, url=f"sqlite:///{_LOCAL_DATABASE}")


def _located(layers: Sequence[Layer]) -> str | None:
    """The URL of these layers; the later one counts, and in one layer ``url``."""
    for index in range(len(layers), 0, -1):
        if "url" in layers[index - 1]:
            return layers[index - 1]["url"].text
        if _WHERE & set(layers[index - 1]) - {"url"}:
            return redis_url(values_of(*layers))
    return None


def _distinct(specs: Sequence[SourceSpec]) -> Iterator[SourceSpec]:
    """The same with names that are all different, as everything else is keyed by them."""
    taken: set[str] = set()
    for spec in specs:
        name, number = spec.name, 1
        while name in taken:
            number += 1
            name = f"{spec.name} ({number})"
        taken.add(name)
        yield replace(spec, name=name)
