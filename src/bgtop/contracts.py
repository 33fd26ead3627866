"""What a plug-in implements: small protocols, and the errors it may raise.

A backend is synchronous, is called from one thread of its own, never prints, and writes nothing to
the system it watches but what an action asks for. See ``docs/architecture.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from bgworker.values import dataclass

if TYPE_CHECKING:
    from bgtop.actions import Action, Outcome
    from bgtop.model import BackendInfo, Frame, JobQuery, Reading
    from bgtop.page import Page


@dataclass(frozen=True, slots=True, kw_only=True)
class Interest:
    """What the screen shows, and so what the next poll has to fetch."""

    internal: bool = False
    """Also the queues a system keeps for itself (pidboxes, event and reply queues)."""
    jobs: JobQuery | None = None
    """Single jobs, answered by :attr:`bgtop.model.Reading.jobs`."""
    task_types: bool = False
    schedules: bool = False
    events: bool = False
    """Follow what happens to jobs from now on: :attr:`bgtop.model.Reading.events`."""
    told: bool = False
    """Also keep what these events say of single jobs: :attr:`bgtop.model.Reading.told`."""
    checkup: bool = False
    """Look for what is wrong, beyond what the numbers say: :attr:`bgtop.model.Reading.findings`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a backend may need to know beside its URL. Seconds unless said otherwise."""

    connect_timeout: float = 3.0
    read_timeout: float = 5.0
    dead_after: float = 30.0
    shared: object | None = None
    """What a :class:`Prober` shares with what it found; those of its own kind know what that is."""


class BackendError(Exception):
    """A source could not be read; the message is one line and shown to the operator as it is."""


class Unreachable(BackendError):
    """The source did not answer: refused, reset, timed out, not found."""


class NotPermitted(BackendError):
    """The source answered, and does not let us do this (credentials or ACL)."""


class WrongSource(BackendError):
    """The source answered, and is not what its URL says (wrong system, version or file)."""


class Unsupported(BackendError):
    """This system cannot do that; the message says why, and what can be done instead."""


class NoSuchTarget(BackendError):
    """The job or queue an action names is not there, or not in a state that allows it."""


class Absent(NoSuchTarget):
    """It is nowhere, as far as was looked; nothing has been done."""


class NoReply(BackendError):
    """The worker an action names is there, and did not answer in time."""


class Refused(BackendError):
    """The worker an action names answered that it cannot; the message carries its own words."""


class Backend(Protocol):
    """One source, read in O(1) round trips a poll."""

    @property
    def info(self) -> BackendInfo:
        """Which system this is and what it can tell; constant after the first poll."""
        ...

    def poll(self, interest: Interest, /) -> Reading:
        """One look. Reconnects by itself after a failure; raises :class:`BackendError`."""
        ...

    def perform(self, action: Action, /) -> Outcome:
        """Do this once, wholly or not at all; called from the thread that polls.

        What one command cannot do is made of steps that leave the system as it was when they are
        cut short. Raises :class:`Unsupported` for verbs that are not among ``info.verbs``,
        :class:`NoSuchTarget`, :class:`NotPermitted`, :class:`BackendError`.
        """
        ...

    def close(self) -> None:
        """Free everything; may be called from another thread, twice, and during a poll."""
        ...


class Inspector(Protocol):
    """Asks workers what they know themselves; on a connection of its own, from one thread.

    Asking writes messages, and costs each worker some milliseconds: so it is done when somebody
    wants to know, and never by a poll or an export.
    """

    silent: int | None
    """How many of those that got the last question did not answer; ``None`` if nobody knows."""

    prefixes: Mapping[str, str]
    """Of who answered: what begins the names of its queues where several applications share a
    place. Nothing for most."""

    def workers(
        self, what: Sequence[str], names: Sequence[str] | None, seconds: float, /
    ) -> Mapping[str, Mapping[str, object]]:
        """By worker what it answered to each of these methods, as it said it (JSON).

        ``what`` may be ``stats``, ``active_queues``, ``registered``, ``scheduled``, ``active``,
        ``reserved``, ``revoked``, ``conf``, ``clock``, ``ping`` and ``query_task:ID``; ``names``
        are the workers to ask, ``None`` all of them. Each method is waited for ``seconds`` at
        most; who answers later is left out, and its answer goes nowhere. An error of the worker is
        its answer: ``{"error": TEXT}``.

        Raises:
            ValueError: for a method that is none of these.
            BackendError: when nobody can be asked.
        """
        ...

    def close(self) -> None:
        """Free the connection; safe from another thread, and twice."""
        ...


class WatchOnly:
    """For backends that watch and change nothing: every action is refused."""

    def perform(self, action: Action, /) -> Outcome:
        """Raises :class:`Unsupported`."""
        raise Unsupported(f"bgtop can only watch this system, not {action.verb.value} anything")


class Mark(NamedTuple):
    """One name by which a broker shows that a job system lives there.

    ``name`` is that of a key (Redis) or of a queue (``amqp``); each ``*`` in it stands for any
    text, everything else for itself. Names without ``*`` are asked for at once; the others are held
    against all names, which takes its time. ``type`` is what Redis has to say of the key's type;
    at ``amqp`` it is ``exchange`` for the name of an exchange, which has no ``*``.
    The text for the first ``*`` becomes the URL option ``option``, if that is given.
    """

    name: str
    type: str | None = None
    option: str | None = None
    broker: str = "redis"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendPlugin:
    """What an entry point of the group ``bgtop.backends`` names.

    ``schemes`` are complete URL schemes this plug-in opens by itself (``celery+redis``);
    ``open`` only reads the URL, connecting is for the first poll: it raises ``ValueError`` for an
    address it cannot make sense of. ``requires`` is the install line shown when ``open`` raises
    ``ImportError``. Where one of the ``marks`` is seen, at a bare ``redis://…``, the plug-in opens
    ``NAME+redis://…``, which has to be among its schemes. ``inspector`` opens who asks the workers
    at such a URL, where they can be asked.
    """

    name: str
    summary: str
    schemes: tuple[str, ...]
    open: Callable[[str, Settings], Backend]
    requires: str | None = None
    marks: tuple[Mark, ...] = ()
    inspector: Callable[[str, Settings], Inspector] | None = None


class Finding(NamedTuple):
    """A system that was recognised: the plug-in's name, and the options its URL needs."""

    backend: str
    options: tuple[tuple[str, str], ...] = ()


class Prober(Backend, Protocol):
    """Finds out which systems live at a broker; its readings hold nothing but warnings.

    A poll takes one bounded step, and ``complete`` says whether everything was looked at once.
    ``info.system`` is ``None``.
    """

    @property
    def found(self) -> Sequence[Finding]:
        """What was recognised so far; it only grows, at its end."""
        ...

    @property
    def shared(self) -> object | None:
        """What those found may use of it, as their :attr:`Settings.shared`; from any thread."""
        ...


class BrokerPlugin(NamedTuple):
    """What an entry point of the group ``bgtop.brokers`` names: a broker several systems can use.

    The entry point is called like the scheme of the URLs, which name no system; ``name`` is what
    marks call the broker. ``probe`` is given such a URL and, by plug-in, the marks for this broker;
    like ``open`` of a backend it does not connect yet. ``requires`` is the install line shown when
    it raises ``ImportError``.
    """

    name: str
    probe: Callable[[str, Settings, Mapping[str, Sequence[Mark]]], Prober]
    requires: str | None = None


@dataclass(frozen=True, slots=True)
class Size:
    """A terminal's size in cells."""

    columns: int
    rows: int


@dataclass(frozen=True, slots=True)
class Look:
    """What the user and the terminal allow: colours, letters beyond ASCII, a mouse.

    ``theme`` is the name of one in :mod:`bgtop.view.themes`, which also says what ``colors`` may
    be: pairs of a part of the screen and its paint, in place of the theme's.
    """

    color: bool = True
    ascii: bool = False
    mouse: bool = True
    theme: str = "default"
    colors: tuple[tuple[str, str], ...] = ()


class Interrupted(Exception):
    """The process was told to end; ``signal`` is the number of the signal that said so."""

    def __init__(self, signal: int) -> None:
        super().__init__(f"ended by signal {signal}")
        self.signal = signal


class NoTerminal(Exception):
    """This terminal cannot show a live view; the message says why."""


class Renderer(Protocol):
    """Shows pages and reads keys; used from one thread."""

    @property
    def size(self) -> Size:
        """The size the next page is drawn for."""
        ...

    def draw(self, page: Page, /) -> None:
        """Show this page, writing only what differs from the last one."""
        ...

    def next_key(self, timeout: float, /) -> str | None:
        """The next key by name (``"j"``, ``"down"``, ``"resize"``); ``None`` after ``timeout``.

        A mouse is keys too: ``"click COLUMN ROW"`` of the cell, counted from 0, ``"wheelup COLUMN
        ROW"`` and ``"wheeldown COLUMN ROW"``.

        Raises :class:`Interrupted` when the process was told to end.
        """
        ...

    def wake(self) -> None:
        """Make a waiting :meth:`next_key` return ``None`` at once; safe from any thread."""
        ...

    def close(self) -> None:
        """Give the terminal back exactly as it was."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RendererPlugin:
    """What an entry point of the group ``bgtop.renderers`` names.

    ``open`` takes the terminal over; it raises :class:`NoTerminal` where that is impossible.
    """

    name: str
    summary: str
    open: Callable[[Look], Renderer]
    requires: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSettings:
    """How numbers are called outside: see ``docs/reference/metrics.md``.

    ``prefix`` begins every StatsD and Graphite name. ``tags`` is a dialect for labels (``datadog``,
    ``influx``, ``graphite``), or ``None`` for names with dots. ``compat`` are other exporters whose
    names are told as well. ``dropped`` says what each exporter of this run threw away so far, and
    is called from any thread.
    """

    prefix: str = "bgtop"
    tags: str | None = None
    compat: tuple[str, ...] = ()
    dropped: Callable[[], Mapping[str, int]] = dict


class Exporter(Protocol):
    """Passes frames on to another system; ``export`` is called from one thread and never waits."""

    @property
    def dropped(self) -> int:
        """How many numbers were thrown away because the other side did not take them."""
        ...

    @property
    def trouble(self) -> str | None:
        """Why numbers do not get through at present, in one line."""
        ...

    def export(self, frame: Frame, /) -> None:
        """Take this frame, the newest; what is not sent yet may be superseded by it."""
        ...

    def close(self) -> None:
        """Send what can be sent at once, and free everything."""
        ...


class MetricsPage(Protocol):
    """Numbers to be fetched from a server that is there anyway; used from any thread."""

    def take(self, frame: Frame, /) -> None:
        """This is the newest; every one has to be shown, in order."""
        ...

    def text(self, accept: str, /) -> tuple[str, bytes]:
        """The type of the page for who accepts this (a header of HTTP), and the page."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ExporterPlugin:
    """What an entry point of the group ``bgtop.exporters`` names.

    ``open`` takes an address as the command line has it (``HOST:PORT``) and raises ``ValueError``
    for one it cannot make sense of, ``OSError`` where it cannot be listened to. ``page`` makes the
    same for a server of somebody else, where there is such a thing.
    """

    name: str
    summary: str
    open: Callable[[str, ExportSettings], Exporter]
    page: Callable[[ExportSettings], MetricsPage] | None = None
    requires: str | None = None
