"""Addresses of pages: from a path and its query to the page that is meant, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

from bgtop.state.intake import BadPattern
from bgtop.state.places import titles_of
from bgtop.view.pages import PAGES, page_named
from bgtop.view.ui import OVERVIEW, Pane, Ui, Visit
from bgtop.web.patterns import checked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bgtop.model import Frame, Source

SUBJECT: Final = {"queue": "name", "worker": "name", "job": "id"}
"""Pages about one thing, and the parameter that names it."""

LIMITS: Final = (100, 1000)
"""How many jobs of each state may be listed."""

_LONGEST: Final = 2000


class NoSuchPage(Exception):
    """No page is meant by this; the message says why."""


def source_named(frame: Frame, text: str) -> list[Source]:
    """The sources a text means: by title, by name, by system."""
    sources = frame.snapshot.sources
    titles = titles_of(sources)
    return [s for s in sources if titles[s.key] == text] or [
        s for s in sources if text in (s.name, s.info.system)
    ]


def ui_of(page: str, query: Mapping[str, str], frame: Frame, interval: float) -> Ui:
    """The screen an address asks for; raises :class:`NoSuchPage` and :class:`BadPattern`."""
    if page not in PAGES:
        raise NoSuchPage(f"there is no page {page}")
    if any(len(text) > _LONGEST for text in query.values()):
        raise NoSuchPage("this address is too long")
    spec = page_named(page)
    panes: dict[str, Pane] = {}
    for table in spec.tables:
        text, order = query.get(f"f-{table.key}", ""), query.get(f"s-{table.key}", "")
        keys = {field.column.key for field in table.fields}
        column = order.removeprefix("!")
        sort = (column, not order.startswith("!")) if column in keys else None
        panes[table.key] = Pane(filter=checked(text, table.facts), sort=sort)
    limit = LIMITS[1] if query.get("limit") == str(LIMITS[1]) else LIMITS[0]
    visit = Visit(page=page, subject=_subject(page, query, frame), limit=limit, panes=panes)
    return Ui(interval=interval, stack=(visit,))


def _subject(page: str, query: Mapping[str, str], frame: Frame) -> tuple[str, str] | None:
    what = SUBJECT.get(page)
    if what is None:
        return None
    if what not in query or "source" not in query:
        raise NoSuchPage(f"the page {page} needs source=… and {what}=…")
    found = source_named(frame, query["source"])
    if len(found) != 1:
        words = "no source is" if not found else "several sources are"
        raise NoSuchPage(f"{words} called {query['source']}")
    return found[0].key, query[what]


def address_of(visit: Visit, titles: Mapping[str, str]) -> str:
    """The address of a page, below the root of the site."""
    path = "" if visit.page == OVERVIEW else quote(visit.page)
    what = SUBJECT.get(visit.page)
    if what is None or visit.subject is None:
        return path
    source, name = visit.subject
    query = urlencode({"source": titles.get(source, source), what: name}, errors="backslashreplace")
    return f"{path}?{query}"


def path_words(pages: Sequence[str]) -> dict[str, str]:
    """The address of each page one can always go to, by its name."""
    return {name: "" if name == OVERVIEW else name for name in pages}


__all__ = ["BadPattern", "NoSuchPage", "address_of", "path_words", "source_named", "ui_of"]
