"""What a plug-in implements: small protocols, and the errors it may raise.

A backend is synchronous, is called from one thread of its own, never prints and never writes to
the system it watches. See ``docs/architecture.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from bgtop.model import BackendInfo, Reading
    from bgtop.page import Page


@dataclass(frozen=True, slots=True, kw_only=True)
class Interest:
    """What the screen shows, and so what the next poll has to fetch."""

    internal: bool = False
    """Also the queues a system keeps for itself (pidboxes, event and reply queues)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a backend may need to know beside its URL. Seconds unless said otherwise."""

    connect_timeout: float = 3.0
    read_timeout: float = 5.0
    dead_after: float = 30.0


class BackendError(Exception):
    """A source could not be read; the message is one line and shown to the operator as it is."""


class Unreachable(BackendError):
    """The source did not answer: refused, reset, timed out, not found."""


class NotPermitted(BackendError):
    """The source answered, and does not let us do this (credentials or ACL)."""


class WrongSource(BackendError):
    """The source answered, and is not what its URL says (wrong system, version or file)."""


class Backend(Protocol):
    """One source, read in O(1) round trips a poll."""

    @property
    def info(self) -> BackendInfo:
        """Which system this is and what it can tell; constant after the first poll."""
        ...

    def poll(self, interest: Interest, /) -> Reading:
        """One look. Reconnects by itself after a failure; raises :class:`BackendError`."""
        ...

    def close(self) -> None:
        """Free everything; may be called from another thread, twice, and during a poll."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendPlugin:
    """What an entry point of the group ``bgtop.backends`` names.

    ``schemes`` are complete URL schemes this plug-in opens by itself (``celery+redis``);
    ``open`` only reads the URL, connecting is for the first poll: it raises ``ValueError`` for an
    address it cannot make sense of. ``requires`` is the install line shown when ``open`` raises
    ``ImportError``.
    """

    name: str
    summary: str
    schemes: tuple[str, ...]
    open: Callable[[str, Settings], Backend]
    requires: str | None = None


@dataclass(frozen=True, slots=True)
class Size:
    """A terminal's size in cells."""

    columns: int
    rows: int


@dataclass(frozen=True, slots=True)
class Look:
    """What the user and the terminal allow: colours, and letters beyond ASCII."""

    color: bool = True
    ascii: bool = False


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
