"""Asking workers now what they know: ``bgtop.inspect``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final, NamedTuple

from bgtop.contracts import Absent, BackendError, Interest, Settings
from bgtop.registry import (
    broker_for,
    load_backend,
    marks_for,
    open_backend,
    open_prober,
    plugin_for,
)
from bgtop.source_url import name_of, url_of
from bgtop.state.intake import judge
from bgtop.state.worker_views import EVERYTHING, WorkerView, worker_view
from bgworker.values import replace

if TYPE_CHECKING:
    from bgtop.contracts import Backend, BackendPlugin, Inspector
    from bgtop.model import Reading

_QUESTIONS: Final = frozenset({*EVERYTHING, "ping"})
_OF_A_TASK: Final = "query_task:"
_AGAIN: Final = 0.1
_SECONDS_TO_FIND: Final = 10.0


def inspect(
    url: str,
    worker: str | None = None,
    what: Sequence[str] = EVERYTHING,
    timeout: float = 1.0,
    *,
    backend: str | None = None,
) -> dict[str, WorkerView]:
    """Everything that is known of the workers at an address, by name; or of one of them.

    Workers that can be asked (Celery's) are asked for ``what``, all at once, and have ``timeout``
    seconds to answer; heartbeats are listened to as long. ``backend`` names the one job system to
    ask where the address is that of a broker only.

    Raises:
        NoSuchTarget: when there is no ``worker`` of that name.
        BackendError: when the source cannot be used.
        PluginError: when nothing opens such an address.
        ValueError: when no worker can be asked for some of ``what``.
    """
    wrong = [one for one in what if one not in _QUESTIONS and not one.startswith(_OF_A_TASK)]
    if wrong:
        known = ", ".join((*sorted(_QUESTIONS), f"{_OF_A_TASK}ID"))
        raise ValueError(f"no worker can be asked for {wrong[0]!r}; but for {known}")
    found: dict[str, WorkerView] = {}
    question = _Question(worker, what, timeout)
    for plugin, place in systems_at(url, backend):
        views = _views(plugin, place, name_of(url), question)
        # Two systems of one broker may have workers of the same name.
        found.update((f"{k} ({v['system']})" if k in found else k, v) for k, v in views.items())
    if worker is not None and not found:
        raise Absent(f"there is no worker {worker!r}")
    return found


def systems_at(url: str, backend: str | None = None) -> list[tuple[BackendPlugin, str]]:
    """The plug-ins that open an address, each with the address it opens."""
    broker = broker_for(url) if backend is None else None
    if broker is None:
        return [(plugin_for(url, backend), url)]
    until = time.monotonic() + _SECONDS_TO_FIND
    marks = marks_for(broker, url).by_backend
    with closing(open_prober(broker, url, Settings(), marks)) as prober:
        while not prober.poll(Interest()).complete and time.monotonic() < until:
            time.sleep(_AGAIN / 10)
        return [
            (load_backend(one.backend), url_of(one.backend, url, one.options))
            for one in prober.found
        ]


class _Question(NamedTuple):
    """What is asked whom; ``seconds`` is how long an answer is waited for."""

    worker: str | None
    what: Sequence[str]
    seconds: float


def _views(
    plugin: BackendPlugin, url: str, name: str, question: _Question
) -> dict[str, WorkerView]:
    settings = Settings()
    until = time.monotonic() + question.seconds
    with closing(open_backend(plugin, url, settings)) as backend:
        reading = backend.poll(Interest())
        answers = _answers(plugin, url, settings, question)
        reading = _listened(backend, reading, until)
    asked = plugin.inspector is not None and bool(question.what)
    at, system = datetime.now(timezone.utc), backend.info.system
    heard = {
        one.name: replace(one, state=judge(one, reading.taken_at, settings.dead_after))
        for one in reading.workers
    }
    return {
        one: worker_view((name, system), one, heard.get(one), answers.get(one, {}), at, asked=asked)
        for one in sorted({*heard, *answers})
        if question.worker in {None, one}
    }


def _answers(
    plugin: BackendPlugin, url: str, settings: Settings, question: _Question
) -> Mapping[str, Mapping[str, object]]:
    if plugin.inspector is None or not question.what:
        return {}
    inspector: Inspector = plugin.inspector(url, settings)
    names = None if question.worker is None else [question.worker]
    with closing(inspector):
        return inspector.workers(question.what, names, question.seconds)


def _listened(backend: Backend, reading: Reading, until: float) -> Reading:
    """The newest reading, once everybody was heard, or when the time is up."""
    while not reading.complete and (left := until - time.monotonic()) > 0:
        time.sleep(min(_AGAIN, left))
        reading = backend.poll(Interest())
    return reading


__all__ = ["EVERYTHING", "BackendError", "WorkerView", "inspect", "systems_at"]
