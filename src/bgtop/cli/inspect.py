"""``bgtop inspect``: what workers say of themselves, now."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from bgtop.cli.options import Mixed, Parser, add_display, add_reading, new_parser
from bgtop.cli.settings import complain, config_of
from bgtop.contracts import BackendError, NoSuchTarget
from bgtop.inspection import EVERYTHING, inspect
from bgtop.source_url import scheme_of
from bgtop.view.text import clean

if TYPE_CHECKING:
    import argparse

    from bgtop.config import Config
    from bgtop.state.worker_views import ActiveQueue, Pool, WorkerView

_WORDS: Final = (
    "Ask workers what they know, now, and show it with what was heard of them. Only Celery's "
    "workers can be asked; of others what a look at the source tells is shown."
)
_MOST_TASKS: Final = 40


def parser(_: str) -> Parser:
    """What reads the arguments."""
    usage = "bgtop inspect [WORKER] [SOURCE ...] [--format text|json] [--timeout S] [OPTIONS]"
    epilog = "exit status: 0 done, 1 a source failed or there is no such worker, 2 wrong usage\n"
    made = new_parser("bgtop inspect", _WORDS, usage=usage, epilog=epilog, kind=Mixed)
    words = "the worker, if not all, and any sources"
    made.add_argument("words", nargs="*", metavar="WORKER", help=words)
    made.add_argument("--source", action="append", metavar="SOURCE", help="a URL, or a profile")
    made.add_argument("--format", choices=("text", "json"), default="text", help="text or JSON")
    words = "how long answers and heartbeats are waited for (1)"
    made.add_argument("--timeout", type=float, default=1.0, metavar="S", help=words)
    words = f"what is asked, with commas; all of {','.join(EVERYTHING)} unless given"
    made.add_argument("--what", metavar="LIST", help=words)
    add_reading(made, rows=False)
    add_display(made)
    return made


def run(_: str, options: argparse.Namespace) -> int:
    """Ask and print."""
    names = [word for word in options.words if not scheme_of(word)]
    urls = [word for word in options.words if scheme_of(word)]
    # What follows the worker and is no URL is a profile.
    options.sources = [*(options.source or ()), *urls, *names[1:]]
    what = EVERYTHING if options.what is None else tuple(filter(None, options.what.split(",")))
    worker = names[0] if names else None
    try:
        found, status = _asked(config_of(options), worker, what, options.timeout)
    except ValueError as fault:
        parser("inspect").error(str(fault))
    if options.format == "json":
        sys.stdout.write(json.dumps({"schema": 1, "workers": found}, indent=2) + "\n")
    else:
        lines = "\n\n".join("\n".join(_lines(view)) for view in found)
        text = f"{lines}\n" if found else ""
        encoding = sys.stdout.encoding
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
    return status


def _asked(
    config: Config, worker: str | None, what: tuple[str, ...], seconds: float
) -> tuple[list[WorkerView], int]:
    found: list[WorkerView] = []
    strange: list[str] = []
    status = 0
    for spec in config.sources:
        try:
            views = inspect(spec.url, worker, what, seconds, backend=spec.backend)
        except NoSuchTarget as fault:
            strange.append(str(fault))
            continue
        except BackendError as fault:
            complain(f"{spec.name}: {fault}")
            status = 1
            continue
        found += [{**view, "source": spec.name} for view in views.values()]
    if strange and not found:
        complain(strange[0])
        status = 1
    return found, status


def _lines(view: WorkerView) -> Iterator[str]:
    """A worker as a block of lines, of which only the first is not indented."""
    software = view["software"]
    made_of = " ".join(filter(None, (software["name"], software["version"], software["platform"])))
    yield clean("  ".join(filter(None, (view["name"], view["status"], view["source"], made_of))))
    for label, words in _facts(view):
        if words:
            yield f"  {label:<13}{clean(words, 4000)}"


def _facts(view: WorkerView) -> Iterator[tuple[str, str]]:
    beat, load = view["heartbeat"], view["load"]
    yield "process", _joined(pid=view["pid"], started=view["started_at"])
    yield "heartbeat", "" if beat is None else f"{beat['age_seconds']:.1f} s ago"
    yield "load", "" if load is None else " ".join(f"{one:g}" for one in load)
    yield "jobs", _joined(active=view["active"], processed=view["processed"])
    yield "pool", "" if view["pool"] is None else _pool(view["pool"])
    yield "prefetch", _joined(count=view["prefetch_count"])
    yield "clock", _joined(at=view["clock"])
    used = view["rusage"] or {}
    yield "used", _joined(user=used.get("utime"), system=used.get("stime"))
    yield "queues", ", ".join(_queue(one) for one in view["queues"] or ())
    registered = view["registered"] or []
    more = f" and {len(registered) - _MOST_TASKS} more" if len(registered) > _MOST_TASKS else ""
    yield "tasks", ", ".join(registered[:_MOST_TASKS]) + more
    for state, held in view["tasks"].items():
        yield state, ", ".join(_task(one) for one in held)
    yield "revoked", ", ".join(view["revoked"] or ())


def _pool(pool: Pool) -> str:
    kind = (pool["implementation"] or "").rpartition(":")[0].rpartition(".")[2]
    processes = pool["processes"]
    return _joined(
        kind=kind or None,
        processes=None if processes is None else len(processes),
        threads=pool["threads"],
        started_with=pool["max_concurrency"],
        tasks_per_child=pool["max_tasks_per_child"],
        soft_limit=pool["soft_time_limit"],
        hard_limit=pool["hard_time_limit"],
    )


def _queue(queue: ActiveQueue) -> str:
    exchange = queue["exchange"]
    if exchange is None:
        return queue["name"]
    by = f"{exchange['type'] or ''} exchange {exchange['name'] or 'of its name'}"
    return f"{queue['name']} ({by}, key {queue['routing_key'] or '-'})"


def _task(held: object) -> str:
    request = held.get("request", held) if isinstance(held, dict) else {}
    return f"{request.get('name')} {request.get('id')}" if isinstance(request, dict) else "?"


def _joined(**facts: object) -> str:
    known = {name: value for name, value in facts.items() if value is not None}
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in known.items())
