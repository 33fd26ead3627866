"""What Flower tells of the tasks it has seen in events, where these are followed all the time."""

from __future__ import annotations

from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any, Final, get_args

from bgtop.state.seen_tasks import Column, Order, SeenQuery
from bgtop.state.task_search import BadSearch, search_of
from bgtop.web.flower_answers import Declined, arguments_of, json_of, sources

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from bgtop.web.flower_answers import Arguments
    from bgtop.web.grants import Person
    from bgtop.web.site import Site

NOTE: Final = "X-Bgtop-Note"
"""A header that says why an answer is empty; its shape is that of Flower."""

_NOT_FOLLOWED: Final = "no task is remembered: start bgtop web with --events"
_EVERYTHING: Final = "All"
_TIME: Final = "%Y-%m-%d %H:%M"
_SORTED_BY: Final = sorted({*get_args(Order)} - {"timestamp"})
_COLUMNS: Final = frozenset({*get_args(Order), *get_args(Column)})


async def tasks(site: Site, request: Request, person: Person) -> Response:
    """``GET /api/tasks``: those seen since this server began, as far as there is room."""
    asked = await arguments_of(request)
    try:
        query = _query(asked)
    except BadSearch as fault:
        return json_of({"error": str(fault)}, 400)
    seen, keys = site.hub.seen, _keys(site, person)
    if seen is None:
        return json_of({}, headers={NOTE: _NOT_FOLLOWED})
    covers = person.grant.covers_queue

    def told() -> Response:
        return json_of({task["uuid"]: task for task in seen.tasks(keys, covers, query).tasks})

    return await site.hub.apart(told)


async def datatable(site: Site, request: Request, person: Person) -> Response:
    """``/tasks/datatable``: a window of them, for DataTables, which names its columns by number."""
    asked = await arguments_of(request)
    answer: dict[str, Any] = {"draw": asked.number("draw")}
    answer |= {"data": [], "recordsTotal": 0, "recordsFiltered": 0}
    seen, keys = site.hub.seen, _keys(site, person)
    fault = ""
    try:
        query = _window(asked)
    except BadSearch as wrong:
        query, fault = SeenQuery(limit=0), str(wrong)
    if seen is None:
        headers = {NOTE: _NOT_FOLLOWED}
        return json_of({**answer, "searchError": fault} if fault else answer, headers=headers)
    covers = person.grant.covers_queue

    def told() -> Response:
        window = seen.tasks(keys, covers, query)
        answer["recordsTotal"] = window.total
        if fault:
            return json_of({**answer, "searchError": fault})
        return json_of({**answer, "data": window.tasks, "recordsFiltered": window.found})

    return await site.hub.apart(told)


def told_of(site: Site, person: Person, id_: str) -> dict[str, Any] | None:
    """One task, as far as events told of it."""
    seen = site.hub.seen
    if seen is None:
        return None
    return seen.task(_keys(site, person), person.grant.covers_queue, id_)


def _keys(site: Site, person: Person) -> frozenset[str]:
    return frozenset(source.key for source in sources(site, person))


def _query(asked: Arguments) -> SeenQuery:
    """Raises :class:`Declined`, and :class:`BadSearch`."""
    said = asked.values
    sort = said.get("sort_by", "-timestamp")
    order: Any = sort.removeprefix("-")
    if "sort_by" in said and order not in _SORTED_BY:
        words = f"Invalid sort_by '{escape(sort)}', expected one of {', '.join(_SORTED_BY)}"
        raise Declined(400, words)
    return SeenQuery(
        limit=asked.number("limit") if "limit" in said else None,
        offset=max(0, asked.number("offset", 0)),
        name=_named(said.get("taskname")),
        worker=_named(said.get("workername")),
        state=(_named(said.get("state")) or "").upper() or None,
        received_from=_local(said.get("received_start")),
        received_until=_local(said.get("received_end")),
        holds=search_of(said.get("search", "")),
        order=order,
        descending=sort.startswith("-"),
    )


def _window(asked: Arguments) -> SeenQuery:
    """Raises :class:`Declined`, and :class:`BadSearch`."""
    column = asked.number("order[0][column]")
    order: Any = asked.values.get(f"columns[{column}][data]")
    return SeenQuery(
        limit=asked.number("length"),
        offset=max(0, asked.number("start")),
        holds=search_of(asked.values.get("search[value]", "")),
        order=order if order in _COLUMNS else "timestamp",
        descending=not order or asked.values.get("order[0][dir]") == "desc",
    )


def _named(text: str | None) -> str | None:
    return None if text in {None, "", _EVERYTHING} else text


def _local(text: str | None) -> float | None:
    """A minute by the clock of this machine, as epoch seconds."""
    if not text:
        return None
    try:
        return datetime.strptime(text, _TIME).timestamp()  # noqa: DTZ007 - it is local
    except (ValueError, OverflowError):
        words = "Invalid received_start or received_end, expected format 'YYYY-MM-DD HH:MM'"
        raise Declined(400, words) from None
