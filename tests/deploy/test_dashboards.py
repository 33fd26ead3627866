"""Every expression of the dashboards and alerts, asked of a real Prometheus that scrapes bgtop."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ending import kill
from receivers import Prometheus
from redis_server import free_port
from scripted_source import BGTOP, Script, install

from bgtop.task_events import EventKind
from bgtop.testing import wait_until

DEPLOY = Path(__file__).parents[2] / "deploy"
VARIABLES = {"$__rate_interval": "15s", "$__range": "30s", "$source": ".*", "$system": ".*"}
VARIABLES |= {"$queue": ".*", "$task": ".*"}


def told(turn: int) -> dict[str, Any]:
    """A system that tells everything there is, and at which everything happens all the time."""
    seconds = [[turn * 2, turn, turn], 0.02 * turn]
    counts = {kind.value: turn * 3 for kind in EventKind}
    series = {"task": "shop.send", "queue": "mail", "counts": counts, "in_flight": 2}
    queue = {"name": "mail", "depth": 9, "unacked": 1, "scheduled": 1, "deferred": 1}
    queue |= {"running": 1, "failed": 1, "dead": 1, "consumers": 1, "oldest": 3.5}
    queue |= {"entered_total": turn * 2, "left_total": turn * 5, "paused": False}
    workers = [{"name": f"{state}@h", "state": state, "running": 1} for state in STATES]
    return {
        "queues": [queue],
        "workers": [{**worker, "queues": ["mail"]} for worker in workers],
        "events": {"series": [{**series, "runtime": seconds, "wait": seconds}], "missed": turn},
    }


STATES = ("active", "idle", "dead", "unknown")


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """One that has scraped often enough for rates; what it scrapes goes on changing."""
    folder = tmp_path_factory.mktemp("dashboards")
    script, port = Script(folder / "script.json"), free_port()
    script.write(**told(1))
    server = Prometheus(folder / "prometheus", port)
    listens = f"127.0.0.1:{port}"
    nobody = f"127.0.0.1:{free_port()}"
    export = subprocess.Popen(
        [
            *(BGTOP, "export", f"{script.url}?system=celery", "--interval", "0.3"),
            *("--prometheus", listens, "--graphite", nobody),
        ],
        env={**os.environ, **install(folder / "site"), "HOME": str(folder)},
        stderr=subprocess.DEVNULL,
    )
    try:
        server.start()
        turns = iter(range(2, 1000))

        def seen_to_grow() -> bool:
            script.write(**told(next(turns)))
            return bool(server.ask("count_over_time(bgtop_events_missed_total[1m]) >= 5"))

        wait_until(seen_to_grow, seconds=60)
        yield server
    finally:
        server.close()
        kill(export)


def asked() -> Iterator[tuple[str, str]]:
    for path in sorted((DEPLOY / "grafana").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                if "expr" in target:
                    yield f"{path.stem}: {panel['title']}", target["expr"]


def test_every_panel_has_something_to_draw(prometheus: Prometheus) -> None:
    empty = []
    for title, text in asked():
        expression = re.sub(r"\$\w+", lambda variable: VARIABLES[variable[0]], text)
        if not prometheus.ask(expression):
            empty.append((title, expression))

    assert empty == []


def test_alerts_are_about_what_is_told(prometheus: Prometheus) -> None:
    rules = (DEPLOY / "prometheus/bgtop.rules.yml").read_text()
    names = set(re.findall(r"\bbgtop_[a-z_]+", rules))

    assert names > {"bgtop_info", "bgtop_source_up", "bgtop_queue_dead"}
    assert [name for name in sorted(names) if not prometheus.ask(name)] == []
