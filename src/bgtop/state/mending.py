"""The commands that mend: those of the watched systems, with names made safe for a shell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from bgtop.model import Source

_START: Final = {
    "celery": "celery -A APP worker -Q {queue}",
    "rq": "rq worker {queue} --url {broker}",
    "huey": "huey_consumer APP.huey",
    "dramatiq": "dramatiq APP -Q {queue}",
    "arq": "arq APP.WorkerSettings",
    "bgworker": "bgworker run --app APP --queues {queue} --url {url}",
}
_ASK: Final = {
    "celery": "celery -A APP inspect ping -d {worker}",
    "rq": "rq info --url {broker}",
    "bgworker": "bgworker doctor --url {url}",
}


_NAME: Final = re.compile(r"{queue}|{worker}")


def quoted(text: str) -> str:
    """A name as one word of a shell."""
    return shlex.quote(text)


def starting(source: Source) -> Callable[[str], str]:
    """By the name of a queue, what starts a worker for it; ``APP`` is the application's module.

    Thousands of queues may have none: what is the same for all is worked out once.
    """
    system = source.info.system or ""
    own_names = source.reading.own_names if source.reading else {}
    words = _START.get(system, "start a worker that takes from {queue}")
    parts = _words_at(words, source.info.url)
    return lambda queue: quoted(own_names.get(queue, queue)).join(parts)


def ask_or_start(source: Source, worker: str, queue: str) -> str:
    """What to do about an idle worker of which nobody knows what it takes from."""
    if source.info.system != "celery":
        return restart(source, worker, dead=False)
    ask = _filled("celery -A APP inspect active_queues -d {worker}", source, worker)
    mend = f"if it has the queue, restart it; if not, {starting(source)(queue)}"
    return f"{ask}; {mend}"


def restart(source: Source, worker: str, *, dead: bool) -> str:
    """What to do about a worker that is dead, or that lives and does nothing."""
    system = source.info.system or ""
    if not dead and system in _ASK:
        words = _filled(_ASK[system], source, worker)
        return f"{words}; if it does not answer, restart it"
    return f"look at the log of {quoted(worker)}, and start it again"


def _filled(words: str, source: Source, name: str) -> str:
    return quoted(name).join(_words_at(words, source.info.url))


@lru_cache(maxsize=64)
def _words_at(words: str, url: str) -> list[str]:
    """What stands around the names: at one address a thousand queues are told with the same."""
    broker = url.partition("+")[2] if "+" in url.partition("://")[0] else url
    parts = _NAME.split(words)
    return [part.format(url=quoted(url), broker=quoted(broker)) for part in parts]
